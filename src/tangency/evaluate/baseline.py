"""The regime of one foreign model: only against a standard-trained network of the same data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.evaluate.regimes import (
    STANDARD,
    bands,
    change_key,
    criteria,
    judge_regimes,
    rows_numbers,
)
from tangency.measures import Rows
from tangency.measures.keys import FRACTION, KAPPA
from tangency.models.independence import averaged_note
from tangency.statistics import PairedBootstrap, Thresholds
from tangency.types import Card, Dataset

Numbers = dict[str, Any]  # an estimate in JSON
_NAMES = {"weak": "weak", "bayes_aligned": "Bayes-aligned", "excessive": "excessive", "undetermined": "undetermined"}


def regime_alone(measures: Mapping[str, Numbers], excesses: Mapping[str, Numbers]) -> dict[str, Any]:
    """What can be said without a baseline: that a regime needs one, and κ and F² against their controls."""
    said = ["A regime is a statement about a sweep: give a standard-trained network of the same data as --baseline."]
    kappa, fraction, excess = measures.get(KAPPA), measures.get(FRACTION), excesses.get(FRACTION)
    if kappa and kappa["mean"] is not None:
        said.append(f"Alone: κ = {_estimate(kappa)} (chance 1).")
    if fraction and fraction["mean"] is not None:
        chance = "" if fraction.get("chance") is None else f" (chance {fraction['chance']:.3f})"
        said.append(f"F² = {_estimate(fraction)}{chance}.")
    if excess and excess["mean"] is not None:
        p = "" if excess.get("p") is None else f", p = {excess['p']:.2g}"
        said.append(f"F² minus its best control ({excess['best_control']}): {_estimate(excess, '+')}{p}.")
    return {"regime": None, "baseline": None, "text": " ".join(said)}


def regime_against(rows: Rows, baseline: Rows, name: str, card: Card, data: Dataset) -> dict[str, Any]:
    """The regime of a classifier against a standard-trained one on the same images, with bands and warnings.

    Args:
        rows, baseline: of both, from the same measurement.
        name: reference of the baseline.
        card: of the baseline.
        data: what both were measured on.

    Returns:
        {"regime", "baseline", "baseline_accuracy", "bands", "sensitivity", "thresholds", "change", "warnings",
        "text"}; the regime is None where either does not do better than the best constant answer.
    """
    boot = PairedBootstrap(len(rows.ids), 2000)
    own, base = rows_numbers(rows, boot), rows_numbers(baseline, boot)
    about: dict[str, Any] = {"baseline": name, "warnings": _doubts(card, data)}
    change = change_key(own.draws)
    if KAPPA not in own.draws or change is None:
        missing = "κ of log p(y|x)" if KAPPA not in own.draws else "on-manifold changes (--epsilons)"
        return about | {"regime": None, "text": f"No regime: it needs {missing}, which are not measured."}
    guessing = float(data.test.class_counts.max()) / len(data.test)
    for who, numbers in (("model", own), ("baseline", base)):
        if not numbers.estimates["accuracy"].low > guessing:
            text = f"No regime: the accuracy of the {who} is not shown to be above a constant answer's, {guessing:.3f}."
            return about | {"regime": None, "text": text}
    verdicts, sensitivity = judge_regimes({"model": criteria(own, base, change)})
    verdict = verdicts["model"]
    return about | {
        "regime": verdict.regime,
        "baseline_accuracy": base.estimates["accuracy"].mean,
        "change": change,
        "bands": bands(verdict),
        "sensitivity": sensitivity["model"],
        "thresholds": vars(Thresholds()),
        "text": f"Against {name} the model is {_NAMES[verdict.regime]}: "
        f"κ/κ₀ in {_span(verdict.kappa_ratio)}, accuracy difference in {_span(verdict.accuracy_difference)}, "
        f"R_on/R_on(0) in {_span(verdict.change_on_ratio)} (simultaneous 95 % bands).",
    }


def _doubts(card: Card, data: Dataset) -> list[str]:
    """What its card says against a classifier's being a standard-trained network of these data."""
    objective, digest = card.provenance.get("objective"), card.provenance.get("data_digest")
    doubts = []
    if objective not in (None, STANDARD):
        doubts.append(f"The baseline was trained with {objective}, expected a standard-trained network.")
    if digest not in (None, data.train.digest):
        doubts.append(f"The baseline was trained on other images than those of '{data.name}'.")
    reading, warnings = (card.provenance.get(key) for key in ("reading", "warnings"))
    sentences = [*(warnings if isinstance(warnings, list) else [])]
    sentences += [averaged_note()] if isinstance(reading, list) and averaged_note() in reading else []
    return doubts + [f"The baseline: {str(sentence).rstrip('.')}." for sentence in sentences]


def _estimate(e: Numbers, sign: str = "") -> str:
    return f"{e['mean']:{sign}.3f} [{e['low']:.3f}, {e['high']:.3f}]"


def _span(band: tuple[float, float]) -> str:
    return f"[{band[0]:.3f}, {band[1]:.3f}]"
