"""What the page's script needs to label recipes and networks by other thresholds, exactly as `regime_of` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tangency.evaluate.entries import plain_number
from tangency.evaluate.verdicts.aligned import WORDS
from tangency.evaluate.verdicts.entries import AlignmentUnder, RecipeVerdict
from tangency.measures.config import BAYES
from tangency.report.read.trials import STANDARD
from tangency.report.text.score import EXACT
from tangency.statistics.crossed import CrossedEstimate
from tangency.statistics.regimes import Thresholds
from tangency.study.summary.entries import StudySummary, TrialEntry
from tangency.study.summary.sweep_entries import CellEntry

THRESHOLDS = {  # those that apply to intervals as they stand: name to title, ends and step of its slider
    "accuracy_margin": ("δ, how much accuracy may be lost", 0.0, 0.3, 0.005),
    "images": ("least share of the images that must have a gradient", 0.0, 1.0, 0.05),
}


def rule_payload(summary: StudySummary) -> dict[str, Any] | None:
    """Thresholds with their ends, and of each recipe and network what its label is decided by; None by rule: kappa.

    A case holds `above_constant` (accuracy − the best constant answer's) and `accuracy` (− the standard network's) as
    [mean, low, high] or null; `standard`, `baseless` (the standard recipe is collapsed), `exact` (one direction
    suffices) and `withheld`; and for each direction `over_standard`, `beyond_filter`, `past` (minus the smaller
    strength that it is furthest below, with its name) and `share` of the images. The tests are those of `order`:

    1. collapsed: not above_constant.low > 0 (undetermined where it is null); a standard recipe is weak then, and the
       others are undetermined where it is baseless or accuracy is null;
    2. excessive: accuracy.high < −accuracy_margin, or there are directions and past.high < 0 under all;
    3. undetermined: not accuracy.low > −accuracy_margin;
    4. bayes_aligned: two directions, or one where it is exact; under each share ≥ images, over_standard.low > 0 and
       beyond_filter.low > 0;
    5. weak: under some direction beyond_filter.mean ≤ 0 or over_standard.mean ≤ 0;
    6. undetermined.
    """
    rule = summary.regimes.thresholds
    if rule is None:
        return None
    numbers = {trial.id: number for number, trial in enumerate(summary.trials)}
    recipes = [case for cell in summary.cells if (case := _recipe_case(cell, summary, numbers))]
    networks = [case for trial in summary.trials if (case := _network_case(trial, summary, numbers))]
    return {
        "order": summary.regimes.order,
        "thresholds": [threshold_payload(name, rule) for name in THRESHOLDS],
        "recipes": recipes,
        "networks": networks,
    }


def threshold_payload(name: str, rule: Thresholds) -> dict[str, Any]:
    """A threshold as its slider needs it."""
    title, least, most, step = THRESHOLDS[name]
    value = getattr(rule, name)
    return {
        "id": name,
        "title": title,
        "default": value,
        "min": min(least, value),
        "max": max(most, value),
        "step": step,
    }


def _recipe_case(cell: CellEntry, summary: StudySummary, numbers: Mapping[str, int]) -> dict[str, Any] | None:
    if cell.verdict is None:
        return None
    standard = _standard(each.verdict for each in summary.cells)
    trials = [numbers[name] for seed in cell.seeds if (name := f"{cell.id}-s{seed}") in numbers]
    about = {"id": cell.id, "trials": trials, "withheld": cell.withheld, "regime": cell.regime}
    return about | case_of(cell.verdict, standard, summary)


def _network_case(trial: TrialEntry, summary: StudySummary, numbers: Mapping[str, int]) -> dict[str, Any] | None:
    if trial.verdict is None:
        return None
    standard = _standard(each.verdict for each in summary.trials if each.seed == trial.seed)
    about = {"id": trial.id, "trials": [numbers[trial.id]], "withheld": trial.withheld, "regime": trial.regime}
    return about | case_of(trial.verdict, standard, summary)


def _standard(verdicts: Iterable[RecipeVerdict | None]) -> RecipeVerdict | None:
    """That of the standard recipe, against which the others are judged."""
    return next((each for each in verdicts if each and each.objective == STANDARD and not each.reference), None)


def case_of(verdict: RecipeVerdict, standard: RecipeVerdict | None, summary: StudySummary) -> dict[str, Any]:
    """What a label is decided by.

    Args:
        verdict: on the recipe or network.
        standard: on the one that it is judged against.
        summary: of the study.
    """
    unmeasured = [target for target, words in WORDS.items() if f"L under {words}" in verdict.missing]
    return {
        "above_constant": _interval(verdict.accuracy, -summary.regimes.constant),
        "accuracy": _interval(verdict.accuracy_difference),
        "standard": verdict is standard,
        "baseless": standard is not None and standard.regime == "collapsed",
        "exact": summary.score.get("kind") == EXACT and BAYES in verdict.aligned,
        "directions": [_direction(target, verdict.aligned[target], standard) for target in verdict.aligned]
        + [
            {"name": target} | dict.fromkeys(("over_standard", "beyond_filter", "past")) | {"share": 1.0}
            for target in unmeasured
        ],
    }


def _direction(target: str, under: AlignmentUnder, standard: RecipeVerdict | None) -> dict[str, Any]:
    name, past = min(under.over_weaker.items(), key=lambda item: item[1].high, default=("", None))
    return {
        "name": target,
        "over_standard": _interval(under.over_standard),
        "beyond_filter": _interval(under.beyond_filter),
        "past": None if past is None else {"over": name, "interval": _interval(past)},
        "share": _share(under, standard.aligned.get(target) if standard else None),
    }


def _share(under: AlignmentUnder, standard: AlignmentUnder | None) -> float:
    """Of the images that have L of the standard networks, the share that has it of these as well."""
    if under.over_standard is None or standard is None or not standard.alignment.images:
        return 1.0
    return under.over_standard.images / standard.alignment.images


def _interval(estimate: CrossedEstimate | None, shift: float = 0.0) -> list[float | None] | None:
    """[mean, low, high] as they stand: a rounded end might be on the other side of a threshold."""
    if estimate is None:
        return None
    return [plain_number(value + shift) for value in (estimate.mean, estimate.low, estimate.high)]
