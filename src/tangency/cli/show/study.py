"""Tables of studies and measurements on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from tangency.autodiff import CALIBRATED, Temperature
from tangency.cli.show.tangents import PROBE_NAMES
from tangency.cli.tables import console, number, table
from tangency.evaluate.fitting.posterior import PosteriorAccuracy, bayes_rule_words
from tangency.measures.keys import FRACTION, KAPPA, TANGENT_CONTROLS
from tangency.report.read.keys import alignment_key
from tangency.report.read.trials import filter_twins
from tangency.report.text.glossary import REFERENCE_TEXTS

ORIGINS = {"mfa": "the mixture's", "exact": "the world's exact"}  # kind of score: whose Bayes direction it gives
KAPPA_TITLES = ("trial", "accuracy", "F²", "F² − best control", "κ", "cos Bayes", "regime, rule kappa")
_KAPPA_WORDS = "κ: energy off over on the manifold, per dimension (chance 1)."
_CLOSED = "bayes_gradient"
_WIDE = 136


def _half_width(entry: Mapping[str, Any] | None, form: str = ".3f") -> str:
    """ "0.314 ± 0.010": the mean and half the width of its interval, where it has one."""
    if not entry or entry["mean"] is None:
        return "–"
    half = "" if entry["low"] is None else f" ± {(entry['high'] - entry['low']) / 2:.3f}"
    return f"{entry['mean']:{form}}{half}"


def print_study(summary: Mapping[str, Any]) -> None:
    """One line a trial: accuracy, L and its rise over the filter, log F² over its worst control, κ, regime."""
    title = f"{summary['name']}: {summary['data']['measured']} test images, mean ± half the 95 % interval over images"
    screen = console(_WIDE)
    for sentence in summary["absent"]:
        screen.print(sentence, markup=False, soft_wrap=True)
    whose = ORIGINS.get(summary["score"]["kind"], "the score's")
    if summary["regimes"]["rule"] == "kappa":
        screen.print(table(KAPPA_TITLES, map(_kappa_row, summary["trials"]), title=title))
        screen.print(
            "F²: share of gradient energy in the tangent space (chance k/d). "
            f"{_KAPPA_WORDS}\ncos Bayes: cosine of the margin's gradient with {whose} Bayes direction, largest σ "
            f"(chance 0). {summary['seconds']:.0f} s in all."
        )
        return
    direction = _direction(summary["trials"])
    level = "L (closed form)" if direction == _CLOSED else "L (trained score)"
    titles = ("trial", "accuracy", level, "L over filter", "log F²/worst control", "κ", "regime")
    twins = filter_twins(
        (t["id"], t["objective"], t["seed"], (t.get("filter") or {}).get("name")) for t in summary["trials"]
    )
    rows = [_trial_row(trial, direction, twins) for trial in summary["trials"] if trial["id"] not in twins]
    screen.print(table(titles, rows, title=title))
    if twins:
        screen.print("(both): one filter was chosen for both Bayes directions.", soft_wrap=True)
    if cells := _recipes(summary["cells"]):
        screen.print(f"Recipes, with networks as the unit: {cells}.", markup=False, soft_wrap=True)
    target = f"{whose} Bayes direction" if direction == _CLOSED else "the trained score's Bayes direction"
    screen.print(
        f"L: cosine of the margin's gradient with {target} minus that with another image's, largest σ (chance 0).\n"
        "L over filter: minus L of the standard network behind the best fixed linear filter.\n"
        "log F²/worst control: gradient energy in the tangent space over that in its worst control of equal rank, "
        "under the worst estimator.\n"
        f"{_KAPPA_WORDS} {summary['seconds']:.0f} s in all."
    )


def _direction(trials: Sequence[Mapping[str, Any]]) -> str:
    """The closed form's Bayes direction, or the first other one that was measured."""
    measured = dict.fromkeys(target for trial in trials for target in (trial.get("verdict") or {}).get("aligned", {}))
    return _CLOSED if _CLOSED in measured or not measured else next(iter(measured))


def _trial_row(trial: Mapping[str, Any], direction: str, twins: Mapping[str, str]) -> list[str]:
    verdict = trial.get("verdict") or {}
    aligned = verdict.get("aligned", {}).get(direction, {})
    worst = [under["worst"] for under in verdict.get("manifold", {}).values() if under["worst"]]
    least = min(worst, key=lambda each: each["low"], default=None)
    return [
        trial["id"] + " (both)" * (trial["id"] in twins.values()),
        _half_width(trial["measures"].get("accuracy")),
        _half_width(aligned.get("alignment")),
        _half_width(aligned.get("over_filter"), "+.3f"),
        _half_width(least, "+.3f") + (f" {least['control']}" if least else ""),
        _half_width(trial["measures"].get(KAPPA)),
        _regime(trial),
    ]


def _recipes(cells: Sequence[Mapping[str, Any]]) -> str:
    """The labels of recipes of several networks; a label of one network stands in its row."""
    own = [cell for cell in cells if len(cell["seeds"]) > 1 and cell["objective"] not in REFERENCE_TEXTS]
    return ", ".join(f"{cell['id']} {_regime({'outcome': 'not judged', **cell})}" for cell in own)


def _kappa_row(trial: Mapping[str, Any]) -> list[str]:
    measures, excess = trial["measures"], trial["excess"].get(FRACTION)
    return [
        trial["id"],
        *(_half_width(measures.get(key)) for key in ("accuracy", FRACTION)),
        _half_width(excess, "+.3f") + (f" {excess['best_control']}" if excess else ""),
        *(_half_width(measures.get(key)) for key in (KAPPA, alignment_key(measures))),
        _regime(trial),
    ]


def _regime(labelled: Mapping[str, Any]) -> str:
    """The label, that it is withheld, or what stands in its place."""
    label = "withheld" if labelled.get("withheld") else labelled["regime"] or ""
    return label.replace("_", "-") or REFERENCE_TEXTS.get(labelled["objective"], ("", labelled["outcome"]))[1]


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
    """Shares of known directions in the tangent spaces, the accuracy of the Bayes rule, and the temperature."""
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
    if "temperature" in summary:
        screen.print(f"{CALIBRATED}: {Temperature(**summary['temperature']).sentence}.", markup=False, soft_wrap=True)
