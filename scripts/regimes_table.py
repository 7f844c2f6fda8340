"""Print the tables of docs/regimes.md from a finished run of the study `regimes`: `regimes_table.py RUN`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_NAMES = {"bayes_gradient": "mixture", "network_bayes_gradient": "trained score"}


def interval(one: dict[str, Any], digits: int = 3) -> str:
    """Mean with its interval."""
    return f"{one['mean']:.{digits}f} [{one['low']:.{digits}f}, {one['high']:.{digits}f}]"


def crossing(one: dict[str, Any]) -> str:
    """A strength with its interval."""
    if one["estimate"] is None:
        return one["reason"] or "not reached"
    return f"{one['estimate']:.3g} [{one['low']:.3g}, {one['high']:.3g}]"


def levels(curve: dict[str, Any], cells: dict[str, Any]) -> list[str]:
    """One row for each strength."""
    rows = ["| strength | accuracy | median radius | L, mixture | L, trained score | log F²/best control |"]
    rows.append("|---|---|---|---|---|---|")
    for i, strength in enumerate(curve["strengths"]):
        alignment = [interval(curve["directions"][name]["levels"][i]) for name in _NAMES]
        radius = "" if curve["radius"][i] is None else f"{curve['radius'][i]:.2f}"
        worst = best_control(cells[curve["cells"][i]])
        accuracy = interval(curve["accuracy"][i])
        rows.append(f"| {strength:g} | {accuracy} | {radius} | {alignment[0]} | {alignment[1]} | {worst} |")
    return rows


def best_control(cell: dict[str, Any]) -> str:
    """The best control under the worst estimator, with its interval, and what is shown."""
    claims = [claim["worst"] for claim in cell["verdict"]["manifold"].values() if claim["worst"]]
    worst = min(claims, key=lambda claim: claim["low"])
    return f"{worst['mean']:+.3f} [{worst['low']:+.3f}, {worst['high']:+.3f}] {worst['control']}"


def turns(curves: list[dict[str, Any]]) -> list[str]:
    """Peaks and change points of every objective and direction."""
    rows = ["| objective | direction | peak shown (t, critical) | peak at | t₁ | t₂ by L | t₂ by accuracy |"]
    rows.append("|---|---|---|---|---|---|---|")
    for curve in curves:
        for name, words in _NAMES.items():
            one, by_accuracy = curve["directions"][name], crossing(curve["t2_accuracy"])
            peak = one["peak"]
            shown = f"{'yes' if peak['shown'] else 'no'} ({peak['t']:.1f}, {peak['critical']:.1f})"
            at = f"{peak['peak']['strength']:g}"
            found = [crossing(one[key]) for key in ("t1", "t2")]
            rows.append(f"| {curve['objective']} | {words} | {shown} | {at} | {' | '.join(found)} | {by_accuracy} |")
    return rows


def moves(entries: list[dict[str, Any]]) -> list[str]:
    """What moved when networks were trained twice as long."""
    rows = [
        "| recipe | Δ ln κ (allowed) | Δ log F²/control, mfa (allowed) | local-pca (allowed) |",
        "|---|---|---|---|",
    ]
    for one in entries:
        parts = [one["log_kappa"], *one["fraction"].values()]
        rows.append(
            f"| {one['cell']} | " + " | ".join(f"{p['change']:+.3f} ({p['allowed']:.3f})" for p in parts) + " |"
        )
    return rows


def main(run: Path) -> None:
    """Print all tables."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    cells = {cell["id"]: cell for cell in summary["cells"]}
    for curve in summary["curves"]:
        print(f"### {curve['objective']}", "", *levels(curve, cells), "", sep="\n")
        print(
            f"Thesis: {curve['thesis']['status']}; withheld: {curve['withheld']}", *curve["thesis"]["reasons"], sep="\n"
        )
    print("", *turns(summary["curves"]), "", *moves(summary["convergence"]), "", sep="\n")
    for one in summary["common_curves"]:
        print(f"common curve, {_NAMES[one['direction']]}: R² {one['r2']:.2f}, left out {one['r2_out']:.2f}")
    print(f"seconds: {summary['seconds']:.0f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
