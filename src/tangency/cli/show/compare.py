"""A comparison of two classifiers on the terminal: a table, and each difference in words."""

from __future__ import annotations

from tangency.cli.tables import FittedTable, console, number, say, table
from tangency.evaluate.compare import ModelComparison
from tangency.evaluate.significance import SHOWN
from tangency.report.text.comparison import in_words, overall
from tangency.report.text.numbers import estimate, number_or_dash


def print_comparison(comparison: ModelComparison) -> None:
    """Warnings, the table sorted by effect size, and the significant differences in words."""
    screen = console()
    say(screen, f"A = {comparison.a}")
    say(screen, f"B = {comparison.b}")
    for warning in comparison.warnings:
        say(screen, f"Warning: settings differ: {warning}")
    for side, keys in comparison.only.items():
        if keys:
            more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
            say(screen, f"Only {side.upper()} has {', '.join(keys[:4])}{more}.")
    say(screen, overall(comparison))
    screen.print(_table(comparison))
    for row in comparison.measures:
        if row.p_holm is not None and row.p_holm <= SHOWN:
            words = in_words(row, estimate(row.difference, signed=True))
            say(screen, f"• {words}")
    say(
        screen,
        f"Intervals: 95 %, paired over {comparison.images} test images, one network each; they hold for these two "
        "networks, not for others of the same training. d_z: mean difference in standard deviations of the "
        f"differences. p: {comparison.permutations} swaps of A and B image by image, two-sided; Holm's over the "
        "measures shown.",
    )


def _table(comparison: ModelComparison) -> FittedTable:
    left = comparison.left_out
    aside = f" ({left['a']} of A and {left['b']} of B left out)" if left["a"] or left["b"] else ""
    rows = [
        [
            row.key,
            number_or_dash(row.a.mean),
            number_or_dash(row.b.mean),
            estimate(row.difference, signed=True),
            "–" if row.dz is None else number_or_dash(row.dz, 2, signed=True),
            number(row.p, ".2g"),
            number(row.p_holm, ".2g"),
        ]
        for row in comparison.measures
    ]
    title = f"{comparison.data}: {comparison.images} images that both have{aside}"
    return table(("measure", "A", "B", "A − B [95 %]", "d_z", "p", "Holm"), rows, title=title)
