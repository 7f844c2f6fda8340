"""Tables of studies and measurements on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tangency.cli.tables import console, plus_minus, say, table
from tangency.measures.keys import FRACTION, KAPPA
from tangency.report.read.keys import alignment_key
from tangency.report.read.trials import filter_twins
from tangency.report.text.glossary import REFERENCE_TEXTS

ORIGINS = {"mfa": "the mixture's", "exact": "the world's exact"}  # kind of score: whose Bayes direction it gives
KAPPA_TITLES = ("trial", "regime, rule kappa", "accuracy", "F²", "F² − best control", "κ", "cos Bayes")
_KAPPA_WORDS = "κ: gradient energy off over on the manifold, per dimension (chance 1)."
_CLOSED = "bayes_gradient"


def print_study(summary: Mapping[str, Any]) -> None:
    """One line a trial: accuracy, L and its rise over the filter, log F² over its best control, κ, regime."""
    title = f"{summary['name']}: {summary['data']['measured']} test images, mean ± half the 95 % interval over images"
    screen = console()
    for sentence in summary["absent"]:
        say(screen, sentence)
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
    titles = ("trial", "regime", "accuracy", level, "L over filter", "log F²/best control", "κ")
    twins = filter_twins(
        (t["id"], t["objective"], t["seed"], (t.get("filter") or {}).get("name")) for t in summary["trials"]
    )
    rows = [_trial_row(trial, direction, twins) for trial in summary["trials"] if trial["id"] not in twins]
    screen.print(table(titles, rows, title=title))
    if twins:
        say(screen, "(both): one filter was chosen for both Bayes directions.")
    if cells := _recipes(summary["cells"]):
        say(screen, f"Recipes, with networks as the unit: {cells}.")
    target = f"{whose} Bayes direction" if direction == _CLOSED else "the trained score's Bayes direction"
    screen.print(
        f"L: cosine of the margin's gradient with {target} minus that with another image's, largest σ (chance 0).\n"
        "L over filter: minus L of the standard network behind the best fixed linear filter.\n"
        "log F²/best control: gradient energy in the tangent space over that in its best control of equal rank, "
        "under the estimator where it is lowest.\n"
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
        _regime(trial),
        plus_minus(trial["measures"].get("accuracy")),
        plus_minus(aligned.get("alignment")),
        plus_minus(aligned.get("over_filter"), signed=True),
        plus_minus(least, signed=True) + (f" {least['control']}" if least else ""),
        plus_minus(trial["measures"].get(KAPPA)),
    ]


def _recipes(cells: Sequence[Mapping[str, Any]]) -> str:
    """The labels of recipes of several networks; a label of one network stands in its row."""
    own = [cell for cell in cells if len(cell["seeds"]) > 1 and cell["objective"] not in REFERENCE_TEXTS]
    return ", ".join(f"{cell['id']} {_regime({'outcome': 'not judged', **cell})}" for cell in own)


def _kappa_row(trial: Mapping[str, Any]) -> list[str]:
    measures, excess = trial["measures"], trial["excess"].get(FRACTION)
    return [
        trial["id"],
        _regime(trial),
        *(plus_minus(measures.get(key)) for key in ("accuracy", FRACTION)),
        plus_minus(excess, signed=True) + (f" {excess['best_control']}" if excess else ""),
        *(plus_minus(measures.get(key)) for key in (KAPPA, alignment_key(measures))),
    ]


def _regime(labelled: Mapping[str, Any]) -> str:
    """The label, that it is withheld, or what stands in its place."""
    label = "withheld" if labelled.get("withheld") else labelled["regime"] or ""
    return label.replace("_", "-") or REFERENCE_TEXTS.get(labelled["objective"], ("", labelled["outcome"]))[1]
