"""The claim of a study and the sentences behind it: each says no more than its interval shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tangency.measures.keys import Key
from tangency.report.read.trials import STANDARD, trained
from tangency.report.text.glossary import REGIMES, control_name
from tangency.report.text.measures import describe
from tangency.report.text.numbers import Estimate, above_zero, band, below_zero, estimate, negated, number
from tangency.report.text.trials import regime_label, trial_name


@dataclass(frozen=True)
class StudyVerdict:
    """The head of the page: a claim, the sentences behind it, and whether it says "more tangent"."""

    claim: str
    evidence: tuple[str, ...]
    more_tangent: bool


def verdict(summary: Mapping[str, Any]) -> StudyVerdict:
    """What the study shows about its headline trial, against the standard network and against the controls.

    "More tangent" is said only where F² minus its best equal-rank control is positive, and its paired rise over the
    standard network as well; otherwise the claim names the control that explains the rise.
    """
    headline = summary["headline"]
    if headline is None:
        return no_verdict(summary)
    trials = {trial["id"]: trial for trial in summary["trials"]}
    trial = trials[headline["trial"]]
    name = trial_name(trial)
    return StudyVerdict(
        tangent_claim(name, headline),
        (
            tangent_evidence(headline),
            alignment_evidence(headline),
            accuracy_text(trial, trials[headline["baseline"]]),
            rule_sentence(headline),
        ),
        is_more_tangent(headline),
    )


def no_verdict(summary: Mapping[str, Any]) -> StudyVerdict:
    """Why no rise can be claimed."""
    trials = trained(summary["trials"])
    standard = [trial for trial in trials if trial["objective"] == STANDARD]
    regimes = sorted({regime_label(trial) for trial in trials if trial["objective"] != STANDARD})
    if not standard:
        claim = "No standard-trained network in this run, so no rise can be claimed"
        text = "Add the objective “standard” to the spec for a paired comparison."
    elif all(trial["outcome"] != "ok" for trial in standard):
        claim = f"The standard network {standard[0]['outcome']}, so no rise can be claimed"
        text = "Every comparison is against it: lower the learning rate, or train for longer."
    elif not regimes:
        claim = "Only the standard network was trained, so no rise can be claimed"
        text = "Add a robust objective to the spec for a paired comparison."
    elif regimes == [REGIMES["undetermined"][0]]:
        claim = "The intervals do not settle the regime of any robust network, so no rise is claimed"
        text = f"{open_criteria(summary)}Raise “measured” in the spec, or add seeds."
    elif not {REGIMES["weak"][0], REGIMES["bayes_aligned"][0]} & set(regimes):
        claim = "No robust network stayed in the weak or the Bayes-aligned regime, so no rise is claimed"
        text = f"The others are {', '.join(regimes)}. Add smaller strengths to the spec."
    elif summary["score"]["kind"] == "none" and "network" not in summary["score"]:
        claim = "There is no score, so alignment was not measured and no rise is claimed"
        text = "Leave “score: none” out of the spec; no network is trained again for it."
    else:
        claim = "The headline's alignment was not measured, so no rise is claimed"
        text = "Add [logp_y, bayes_gradient] to measures.alignments in the spec; no network is trained again for it."
    return StudyVerdict(claim, (f"The page shows levels only. {text}",), False)


def open_criteria(summary: Mapping[str, Any]) -> str:
    """Which criteria are open, as their band contains their threshold, and for which trials; "" where none is known."""
    limits = summary["regimes"]["thresholds"]
    margin = limits["accuracy_margin"]
    criteria = (
        ("kappa_ratio", limits["kappa_ratio"], f"κ/κ₀ against {limits['kappa_ratio']:g}"),
        ("accuracy_difference", -margin, f"the accuracy difference against the margin {number(-margin, 2)}"),
        ("change_on_ratio", limits["change_on_ratio"], f"the on-manifold ratio against {limits['change_on_ratio']:g}"),
    )
    parts = []
    for name, limit, criterion in criteria:
        unsettled = [
            f"{trial_name(trial)} {band(bands[name])}"
            for trial in summary["trials"]
            if trial["regime"] == "undetermined" and (bands := trial.get("regime_bands"))
            if None not in bands[name] and bands[name][0] <= limit <= bands[name][1]
        ]
        if unsettled:
            parts.append(f"{criterion} ({', '.join(unsettled)})")
    return f"Open is {'; '.join(parts)}. " if parts else ""


def rule_sentence(headline: Mapping[str, Any]) -> str:
    """How the trial was chosen, and that its intervals do not account for the choice."""
    return (
        f"This trial was chosen by a rule: {headline['rule']}. "
        "The intervals are not corrected for choosing the largest of several."
    )


def is_more_tangent(headline: Mapping[str, Any]) -> bool:
    """Whether F² is above its best control, by more than the standard network's is."""
    excess = headline["tangent_excess"]
    return bool(excess["positive"]) and above_zero(excess) and above_zero(headline["tangent_excess_rise"])


def tangent_claim(name: str, headline: Mapping[str, Any]) -> str:
    """The claim in one line."""
    excess, raw = headline["tangent_excess"], headline["raw_rise"]["tangent_fraction"]
    control = control_name(excess["best_control"])
    if is_more_tangent(headline):
        return f"With {name}, gradients are more tangent to the data manifold, and no control explains it"
    if above_zero(excess):
        return f"With {name}, gradients beat every control, but no rise over the standard network is shown"
    if above_zero(raw):
        return f"With {name}, the tangent fraction rises, but a control explains the rise: {control}"
    return f"With {name}, no rise of the tangent fraction is shown, and a control does as well: {control}"


def tangent_evidence(headline: Mapping[str, Any]) -> str:
    """Raw rise, excess over the best control, and the paired rise of that excess."""
    excess, rise, raw = (
        headline["tangent_excess"],
        headline["tangent_excess_rise"],
        headline["raw_rise"]["tangent_fraction"],
    )
    control = control_name(excess["best_control"])
    first = f"The tangent fraction F² {change_text(raw)} over the standard network's."
    where = f"F² minus its best equal-rank control, {control}, is {estimate(excess, signed=True)}"
    if above_zero(excess):
        second = f"{where}, paired over {excess['n']} images: the gradient prefers this image's own tangent space."
    elif below_zero(excess):
        second = f"{where}: that subspace, which is not this image's own, holds more of the gradient."
    else:
        second = f"{where}: that subspace, which is not this image's own, holds as much of the gradient."
    nearer = above_zero(rise) and not above_zero(excess)
    third = f"That difference is {against_standard(rise)}{': nearer to the control, not past it' if nearer else ''}."
    return f"{first} {second} {third}"


def change_text(e: Estimate) -> str:
    """A paired change in words: "rises by 0.2 [0.1, 0.3]", "falls by …", or that none is shown."""
    if above_zero(e):
        return f"rises by {estimate(e)}"
    if below_zero(e):
        return f"falls by {estimate(negated(e))}"
    return f"changes by {estimate(e, signed=True)}, not distinguishable from no change,"


def against_standard(e: Estimate) -> str:
    """A paired difference compared with the standard network's."""
    if above_zero(e):
        return f"{estimate(e)} above the standard network's"
    if below_zero(e):
        return f"{estimate(negated(e))} below the standard network's"
    return f"not distinguishable from the standard network's ({estimate(e, signed=True)})"


def alignment_evidence(headline: Mapping[str, Any]) -> str:
    """Alignment minus shuffled, and its paired rise."""
    title = describe(Key.parse(headline["alignment"])).title
    excess, rise = headline["alignment_excess"], headline["alignment_excess_rise"]
    fit = "their own image's target better than" if above_zero(excess) else "their own image's target no better than"
    return (
        f"{title} minus its shuffled control is {estimate(excess, signed=True)}: the gradients fit {fit} another "
        f"image's. That difference is {against_standard(rise)}."
    )


def accuracy_text(trial: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """The accuracy of the trial and of the standard network."""
    now, before = (t["measures"].get("accuracy", {}).get("mean") for t in (trial, baseline))
    if now is None or before is None:
        return "The accuracy of one of the two networks is undefined."
    return f"Accuracy is {number(now, 3)}; the standard network's is {number(before, 3)}."
