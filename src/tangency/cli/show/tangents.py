"""Tables of `tangency tangents eval`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.cli.tables import FittedTable, console, interval, number, say, table

PROBE_NAMES = {"neighbour": "nearest new image", "transformation": "shift, turn, growth"}


def print_tangents(summary: Mapping[str, Any]) -> None:
    """What each estimator holds of known directions, how far they agree, their floors, and the verdict."""
    screen = console()
    say(screen, f"{summary['verdict']['words']}\n")
    screen.print(
        f"Tangent spaces of {summary['images']} held-out images of {summary['data']} in {summary['dimension']} "
        "dimensions (95 % intervals)",
        markup=False,
    )
    screen.print(_estimators(summary["estimators"]))
    screen.print("\nShare of known directions in the tangent space, and its excess over the best control of equal rank")
    screen.print(_shares(summary["estimators"]))
    if summary["agreement"]:
        screen.print("\nAgreement: share of the smaller space in the other, and principal angles in degrees")
        screen.print(_agreement(summary["agreement"]))
    if any(entry["floor"] for entry in summary["estimators"]):
        screen.print("\nOn worlds of this size and rank, against the truth")
        screen.print(_floors(summary["estimators"]))
    for entry in summary["estimators"]:
        for world, floor in entry["floor"].items():
            if "unavailable" in floor:
                say(screen, f"{entry['name']} on {world}: {floor['unavailable']}")


def _estimators(entries: list[Mapping[str, Any]]) -> FittedTable:
    rows = []
    for entry in entries:
        rank, means = entry["rank"], [(entry[name] or {}).get("mean") for name in ("residual", "asymmetry")]
        numbers = (entry["gap"], means[0], entry["reach"], means[1])
        ranks = f"{rank['mean']:.1f}", f"{rank['least']:.0f}–{rank['most']:.0f}"
        rows.append([entry["name"], *ranks, *map(number, numbers), entry["where"]])
    titles = ("estimator", "rank", "from–to", "gap", "residual ‖x − x̂‖", "reach ≤", "asymmetry", "taken")
    return table(titles, rows, wrapped=("taken",))


def _shares(entries: list[Mapping[str, Any]]) -> FittedTable:
    probes = [probe for probe in PROBE_NAMES if probe in entries[0]]
    rows = []
    for entry in entries:
        cells = []
        for share, excess in ((entry[probe]["share"], entry[probe]["excess"]) for probe in probes):
            cells += [interval(share), interval(excess), excess["best_control"]]
        rows.append([entry["name"], *cells])
    titles = [title for probe in probes for title in (PROBE_NAMES[probe], "excess", "best control")]
    return table(["estimator", *titles], rows)


def _agreement(pairs: list[Mapping[str, Any]]) -> FittedTable:
    rows = []
    for pair in pairs:
        means = (number(pair[name]["mean"]) for name in ("chance", "mean_angle", "largest_angle"))
        rows.append([f"{pair['first']}, {pair['second']}", interval(pair["overlap"]), *means])
    return table(("pair", "overlap", "chance", "mean angle", "largest"), rows)


def _floors(entries: list[Mapping[str, Any]]) -> FittedTable:
    worlds = next(entry["floor"] for entry in entries if entry["floor"])
    keys = ("mean_angle", "largest_angle", "leakage")
    rows = [
        [entry["name"], *(number(entry["floor"].get(world, {}).get(key)) for world in worlds for key in keys)]
        for entry in entries
    ]
    titles = [title for world in worlds for title in (f"{world}: mean angle", "largest", "leakage")]
    return table(["estimator", *titles], rows)
