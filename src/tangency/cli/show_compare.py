"""A comparison of two classifiers on the terminal: a table, and each difference in words."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tangency.evaluate.compare_words import SHOWN, in_words, overall
from tangency.report.text.numbers import estimate, number_or_dash
from tangency.study.summary.entries import EstimateEntry


def print_comparison(found: dict[str, Any]) -> None:
    """Warnings, the table sorted by effect size, and the differences that are shown, in words."""
    console = Console(width=max(Console().width, 150), highlight=False)
    console.print(f"A = {escape(found['a'])}\nB = {escape(found['b'])}", soft_wrap=True)
    for warning in found["warnings"]:
        console.print(f"[bold yellow]settings differ:[/] {escape(warning)}", soft_wrap=True)
    for side, keys in found["only"].items():
        if keys:
            more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
            console.print(f"Only {side.upper()} has {escape(', '.join(keys[:4]))}{more}.", soft_wrap=True)
    console.print(_table(found))
    console.print(overall(found))
    for row in found["measures"]:
        if row["p_holm"] is not None and row["p_holm"] <= SHOWN:
            said = in_words(row, estimate(EstimateEntry(**row["difference"]), signed=True))
            console.print(f"• {escape(said)}", soft_wrap=True)
    console.print(
        f"Intervals: 95 %, paired over images. d_z: mean difference in standard deviations of the differences. p: "
        f"{found['permutations']} swaps of A and B image by image, two-sided; Holm's over the measures of this table.",
        soft_wrap=True,
    )


def _table(found: dict[str, Any]) -> Table:
    left = found["left_out"]
    aside = f" ({left['a']} of A and {left['b']} of B left out)" if left["a"] or left["b"] else ""
    table = Table(
        title=f"{found['data']}: {found['images']} images that both have{aside}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in ("measure", "A", "B", "A − B [95 %]", "d_z", "p", "Holm"):
        table.add_column(name, no_wrap=True)
    for row in found["measures"]:
        table.add_row(
            escape(row["key"]),
            number_or_dash(row["a"]["mean"]),
            number_or_dash(row["b"]["mean"]),
            estimate(EstimateEntry(**row["difference"]), signed=True),
            "–" if row["dz"] is None else number_or_dash(row["dz"], 2, signed=True),
            _p(row["p"]),
            _p(row["p_holm"]),
        )
    return table


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"
