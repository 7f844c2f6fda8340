"""Tables of studies and measurements on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from tangency.cli.show_tangents import PROBE_NAMES
from tangency.cli.tables import console, number, table
from tangency.evaluate.fitting.posterior import PosteriorAccuracy, bayes_rule_words
from tangency.measures.keys import FRACTION, KAPPA, TANGENT_CONTROLS
from tangency.report.read.keys import alignment_key
from tangency.report.text.glossary import REFERENCE_TEXTS

ORIGINS = {"mfa": "the mixture's", "exact": "the world's exact"}  # kind of score: whose Bayes gradient it gives
_WIDE = 136


def _half_width(entry: Mapping[str, Any] | None, form: str = ".3f") -> str:
    """ "0.314 ± 0.010": the mean and half the width of its interval, where it has one."""
    if not entry or entry["mean"] is None:
        return "–"
    half = "" if entry["low"] is None else f" ± {(entry['high'] - entry['low']) / 2:.3f}"
    return f"{entry['mean']:{form}}{half}"


def print_study(summary: Mapping[str, Any]) -> None:
    """One line a trial: accuracy, F², its excess over the best control, κ, alignment, regime."""
    titles = ("trial", "accuracy", "F²", "F² − best control", "κ", "cos Bayes", "regime")
    title = f"{summary['name']}: {summary['data']['measured']} test images, mean ± half the 95 % interval"
    screen = console(_WIDE)
    screen.print(table(titles, map(_trial_row, summary["trials"]), title=title))
    origin = ORIGINS.get(summary["score"]["kind"], "the score's")
    screen.print(
        "F²: share of gradient energy in the tangent space (chance k/d). "
        "κ: energy off over on the manifold, per dimension (chance 1).\n"
        f"cos Bayes: cosine of ∇ log p(y|x) with {origin} Bayes gradient, largest σ (chance 0). "
        f"{summary['seconds']:.0f} s in all."
    )


def _trial_row(trial: Mapping[str, Any]) -> list[str]:
    measures, excess = trial["measures"], trial["excess"].get(FRACTION)
    regime = (
        trial["regime"]
        or ("withheld" if trial.get("withheld") else "")
        or REFERENCE_TEXTS.get(trial["objective"], ("", trial["outcome"]))[1]
    )
    return [
        trial["id"],
        *(_half_width(measures.get(key)) for key in ("accuracy", FRACTION)),
        _half_width(excess, "+.3f") + (f" {excess['best_control']}" if excess else ""),
        *(_half_width(measures.get(key)) for key in (KAPPA, alignment_key(measures))),
        regime.replace("_", "-"),
    ]


def print_measures(summary: Mapping[str, Any]) -> None:
    """Every measure of one classifier with its interval and chance level."""
    rows = [
        [key, _half_width(entry), number(entry["chance"], ".3f"), str(entry["degenerate"])]
        for key, entry in summary["measures"].items()
    ]
    for key, entry in summary["excess"].items():
        best = entry["best_control"]
        others = {name: other for name, other in entry["controls"].items() if name != best}
        for name, other in {best: entry, **others}.items():
            rows.append([f"{key} − {name}", _half_width(other, "+.3f"), "0", str(other["degenerate"])])
    screen = console(_WIDE)
    for sentence in summary["reading"]:
        screen.print(f"model: {sentence}", markup=False)
    title = f"{summary['model']} on {summary['data']}: {summary['measured']} images, mean ± half the 95 % interval"
    screen.print(table(("measure", "mean", "chance", "degenerate"), rows, title=title))
    _print_rests(screen, summary)
    regime = summary["regime"]
    for sentence in (*summary["check"]["warnings"], *summary["warnings"], *regime.get("warnings", ())):
        screen.print(f"Warning: {sentence}", markup=False, soft_wrap=True)
    screen.print(regime["text"], markup=False, soft_wrap=True)


def _print_rests(screen: Console, summary: Mapping[str, Any]) -> None:
    """Shares of known directions in the tangent spaces, and the accuracy of the closed form's Bayes rule."""
    rows = []
    for name, entry in summary.get("known_directions", {}).items():
        for probe in [probe for probe in PROBE_NAMES if probe in entry]:
            share, controls = entry[probe]["share"], entry[probe]["controls"]
            over = [_half_width(controls.get(control), "+.3f") for control in TANGENT_CONTROLS]
            rows.append([f"{name}, {PROBE_NAMES[probe]}", number(entry["rank"]), _half_width(share), *over])
    if rows:
        images = max(entry["images"] for entry in summary["known_directions"].values())
        titles = ("share of known directions", "rank", "share", *(f"− {control}" for control in TANGENT_CONTROLS))
        title = f"\nWhat the tangent spaces of {images} images hold, and their excess over controls of equal rank"
        screen.print(table(titles, rows, title=title))
    accuracies = [PosteriorAccuracy(**entry) for entry in summary.get("posterior_accuracy", ())]
    if words := bayes_rule_words(summary["settings"]["score"]["kind"], accuracies):
        screen.print(f"\n{words}", markup=False)
