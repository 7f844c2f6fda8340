"""Several estimators of the tangent space beside each other: does the claim hold under all of them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tangency.report.canvas import COLOURS, SOFT, STYLE, new_figure
from tangency.report.glossary import objective_name, swept
from tangency.report.inputs import RunFiles
from tangency.report.trusted import png_uri
from tangency.report.words import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KEY = "tangent_fraction.logp_y"
_MARKERS, _LINES = "os^Dv", ("-", "--", ":", "-.")


def tangents_section(run: RunFiles) -> dict[str, Any] | None:
    """What the template shows of the estimators; None where there is but one."""
    import matplotlib as mpl

    summary = run.summary
    told = summary.get("tangents")
    if not told:
        return None
    with mpl.rc_context(STYLE):
        figure = tangents_figure(run)
    names = [entry["name"] for entry in told["estimators"]]
    return {
        "estimators": told["estimators"],
        "sentence": claim_sentence(told),
        "figure": None if figure is None else png_uri(figure),
        "rows": [
            {
                "name": trial["id"],
                "cells": [_cell(trial, _key(place, name)) for place, name in enumerate(names)],
            }
            for trial in summary["trials"]
            if trial["excess"]
        ],
    }


def claim_sentence(told: Mapping[str, Any]) -> str:
    """Under which estimators robust gradients are more tangent than a standard network's, against the best control."""
    claim = told["claim"]
    if not claim:
        return "No trial is robust and accurate enough for the claim to be tested."
    ups = [e["name"] for e in claim if e["rise"]["low"] is not None and e["rise"]["low"] > 0]
    above = [e["name"] for e in claim if e["excess"]["low"] is not None and e["excess"]["low"] > 0]
    robust, count = claim[0]["trial"], len(claim)
    rises = f"under {_all(ups, count)}" if ups else "under none of the estimators"
    beats = f"under {_all(above, count)}" if above else "under none"
    return (
        f"From the standard network to {robust}, F² minus its best control of equal rank rises {rises} (95 % "
        f"intervals); it is above every control there {beats}."
    )


def _all(names: list[str], count: int) -> str:
    return f"all {count} estimators" if len(names) == count else ", ".join(names)


def _key(place: int, name: str) -> str:
    return f"{_KEY}.tangents={name}" if place else _KEY


def _cell(trial: Mapping[str, Any], key: str) -> dict[str, str]:
    excess = trial["excess"][key]
    low, high = (number(excess[end], 3, signed=True) for end in ("low", "high"))
    return {
        "fraction": number(trial["measures"][key]["mean"], 3),
        "excess": number(excess["mean"], 3, signed=True),
        "interval": f"{low} … {high}",
        "control": excess["best_control"].replace("_", " "),
    }


def tangents_figure(run: RunFiles) -> Figure | None:
    """F² minus its best control of equal rank against strength: a line for each estimator, a panel an objective."""
    from tangency.report.figures import label_strengths, positions

    summary = run.summary
    told, objectives = summary.get("tangents"), swept(summary["trials"])
    if not told or not objectives:
        return None
    styles = _styles(told["estimators"])
    figure, axes = new_figure(1, len(objectives), 2.8, sharey=True)
    for ax, objective in zip(axes[0], objectives, strict=True):
        trials = [t for t in summary["trials"] if t["objective"] in (objective, "standard") and t["excess"]]
        place = positions(trials)
        for at, (name, style) in enumerate(styles.items()):
            _draw(ax, trials, _key(at, name), place, label=name, **style)
        ax.axhline(0, color=SOFT, linestyle="--", linewidth=0.8, label="best control")
        label_strengths(ax, trials, place)
        ax.set(title=objective_name(objective), xlabel="strength")
    axes[0, 0].set_ylabel("F² minus its best control")
    lines = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels()), strict=True))
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=4)
    return figure


def _styles(estimators: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A colour for each kind; its members differ in marker and line."""
    kinds = list(dict.fromkeys(entry["kind"] for entry in estimators))
    seen: dict[str, int] = {}
    found = {}
    for entry in estimators:
        number = seen[entry["kind"]] = seen.get(entry["kind"], -1) + 1
        found[entry["name"]] = {
            "color": COLOURS[kinds.index(entry["kind"]) % len(COLOURS)],
            "marker": _MARKERS[number % len(_MARKERS)],
            "linestyle": _LINES[number % len(_LINES)],
        }
    return found


def _draw(ax: Any, trials: list[Mapping[str, Any]], key: str, place: Any, **style: Any) -> None:
    """Means over seeds with the mean of their intervals."""
    found: dict[float, list[tuple[float, float, float]]] = {}
    for trial in trials:
        entry = trial["excess"].get(key)
        if entry and entry["mean"] is not None:
            found.setdefault(trial["strength"], []).append((entry["mean"], entry["low"], entry["high"]))
    strengths = sorted(found)
    if not strengths:
        return
    means, lows, highs = zip(
        *([sum(column) / len(found[s]) for column in zip(*found[s], strict=True)] for s in strengths), strict=True
    )
    x = [place(s) for s in strengths]
    ax.fill_between(x, lows, highs, color=style["color"], alpha=0.16, linewidth=0)
    ax.plot(x, means, **style)
