"""Tables of `tangency tangents eval`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

_WIDE = 140  # columns where the output is no terminal
_PROBES = {"neighbour": "nearest new image", "transformation": "shift, turn, growth"}


def print_tangents(summary: Mapping[str, Any]) -> None:
    """What each estimator holds of known directions, how far they agree, their floors, and the verdict."""
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=_WIDE)
    console.print(
        f"Tangent spaces of {summary['images']} held-out images of {summary['data']} in {summary['dimension']} "
        "dimensions (95 % intervals)",
        markup=False,
    )
    console.print(_estimators(summary["estimators"]))
    console.print(
        "\nShare of known directions in the tangent space, and its excess over the best control of equal rank"
    )
    console.print(_shares(summary["estimators"]))
    if summary["agreement"]:
        console.print("\nAgreement: share of the smaller space in the other, and principal angles in degrees")
        console.print(_agreement(summary["agreement"]))
    if any(entry["floor"] for entry in summary["estimators"]):
        console.print("\nOn worlds of this size and rank, against the truth")
        console.print(_floors(summary["estimators"]))
    for entry in summary["estimators"]:
        for world, found in entry["floor"].items():
            if "unavailable" in found:
                console.print(f"{entry['name']} on {world}: {found['unavailable']}", markup=False)
    console.print(f"\n{summary['verdict']['words']}", soft_wrap=True, markup=False)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for title in titles:
        table.add_column(title, justify="left" if title in ("estimator", "best control", "pair") else "right")
    return table


def _estimators(entries: list[Mapping[str, Any]]) -> Table:
    table = _table("estimator", "rank", "from–to", "gap", "residual ‖x − x̂‖", "reach ≤", "asymmetry", "taken")
    for entry in entries:
        rank = entry["rank"]
        table.add_row(
            entry["name"],
            f"{rank['mean']:.1f}",
            f"{rank['least']:.0f}–{rank['most']:.0f}",
            _short(entry["gap"]),
            _short((entry["residual"] or {}).get("mean")),
            _short(entry["reach"]),
            _short((entry["asymmetry"] or {}).get("mean")),
            entry["where"],
        )
    return table


def _shares(entries: list[Mapping[str, Any]]) -> Table:
    probes = [probe for probe in _PROBES if probe in entries[0]]
    table = _table("estimator", *(title for p in probes for title in (_PROBES[p], "excess", "best control")))
    for entry in entries:
        cells = []
        for probe in probes:
            share, excess = entry[probe]["share"], entry[probe]["excess"]
            cells += [_open(share), _open(excess), excess["best_control"]]
        table.add_row(entry["name"], *cells)
    return table


def _agreement(pairs: list[Mapping[str, Any]]) -> Table:
    table = _table("pair", "overlap", "chance", "mean angle", "largest")
    for pair in pairs:
        table.add_row(
            f"{pair['first']}, {pair['second']}",
            _open(pair["overlap"]),
            *(_short(pair[name]["mean"]) for name in ("chance", "mean_angle", "largest_angle")),
        )
    return table


def _floors(entries: list[Mapping[str, Any]]) -> Table:
    worlds = next(entry["floor"] for entry in entries if entry["floor"])
    table = _table(
        "estimator", *(title for world in worlds for title in (f"{world}: mean angle", "largest", "leakage"))
    )
    for entry in entries:
        cells: list[str] = []
        for world in worlds:
            found = entry["floor"].get(world, {})
            cells += [_short(found.get(name)) for name in ("mean_angle", "largest_angle", "leakage")]
        table.add_row(entry["name"], *cells)
    return table


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _open(value: Mapping[str, Any]) -> str:
    if value["mean"] is None:
        return "–"
    return f"{_short(value['mean'])} [{_short(value['low'])}, {_short(value['high'])}]"
