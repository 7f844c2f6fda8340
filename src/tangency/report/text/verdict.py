"""The claim of a study and the sentences behind it: each says no more than its interval shows."""

from __future__ import annotations

from dataclasses import dataclass

from tangency.evaluate.entries import IntervalEntry
from tangency.measures.keys import Key
from tangency.report.read.score import score_card
from tangency.report.read.trials import STANDARD, mean_of, trained
from tangency.report.text.glossary import REGIMES, control_name
from tangency.report.text.measures import describe
from tangency.report.text.numbers import above_zero, band, below_zero, estimate, negated, number
from tangency.report.text.trials import regime_label, trial_name
from tangency.study.summary.entries import HeadlineEntry, StudySummary, TangentsEntry, TrialEntry


@dataclass(frozen=True)
class StudyVerdict:
    """The head of the page: a claim, the sentences behind it, and whether it says "more tangent"."""

    claim: str
    evidence: tuple[str, ...]
    more_tangent: bool


def verdict(summary: StudySummary) -> StudyVerdict:
    """What the study shows about its headline trial, against the standard network and against the controls.

    "More tangent" is said only where F² minus its best equal-rank control is positive, and its paired rise over the
    standard network as well; otherwise the claim names the control that explains the rise.
    """
    headline = summary.headline
    if headline is None:
        return no_verdict(summary)
    trials = {trial.id: trial for trial in summary.trials}
    trial = trials[headline.trial]
    evidence = (
        tangent_evidence(headline),
        alignment_evidence(headline),
        accuracy_text(trial, trials[headline.baseline]),
        f"This trial was chosen by a rule: {headline.rule}. The intervals are not corrected for choosing the largest "
        "of several.",
    )
    return StudyVerdict(tangent_claim(trial_name(trial), headline), evidence, is_more_tangent(headline))


def no_verdict(summary: StudySummary) -> StudyVerdict:
    """Why no rise can be claimed."""
    trials, card = trained(summary.trials), score_card(summary)
    standard = [trial for trial in trials if trial.objective == STANDARD]
    regimes = sorted({regime_label(trial) for trial in trials if trial.objective != STANDARD})
    if not standard:
        claim = "No standard-trained network in this run, so no rise can be claimed"
        text = "Add the objective “standard” to the spec for a paired comparison."
    elif all(trial.outcome != "ok" for trial in standard):
        claim = f"The standard network {standard[0].outcome}, so no rise can be claimed"
        text = "Every comparison is with it: lower the learning rate, or train for longer."
    elif not regimes:
        claim = "Only the standard network was trained, so no rise can be claimed"
        text = "Add a robust objective to the spec for a paired comparison."
    elif regimes == [REGIMES["undetermined"][0]]:
        claim = "The intervals do not settle the regime of any robust network, so no rise is claimed"
        text = f"{unsettled_criteria(summary)}Raise “measured” in the spec, or add seeds."
    elif not {REGIMES["weak"][0], REGIMES["bayes_aligned"][0]} & set(regimes):
        claim = "No robust network stayed in the weak or the Bayes-aligned regime, so no rise is claimed"
        text = f"The others are {', '.join(regimes)}. Add smaller strengths to the spec."
    elif card.kind == "none" and card.network is None:
        claim = "There is no score, so alignment was not measured and no rise is claimed"
        text = "Leave “score: none” out of the spec; no network is trained again for it."
    else:
        claim = "The headline's alignment was not measured, so no rise is claimed"
        text = "Add [margin, bayes_gradient] to measures.alignments in the spec; no network is trained again for it."
    return StudyVerdict(claim, (f"The page shows levels only. {text}",), False)


def unsettled_criteria(summary: StudySummary) -> str:
    """The criteria whose band contains their threshold, and for which trials; "" where none is known."""
    limits = summary.regimes.thresholds
    margin = -limits.accuracy_margin
    criteria = (
        ("kappa_ratio", limits.kappa_ratio, f"κ/κ₀ against {limits.kappa_ratio:g}"),
        ("accuracy_difference", margin, f"the accuracy difference against the margin {number(margin, 2)}"),
        ("change_on_ratio", limits.change_on_ratio, f"the on-manifold ratio against {limits.change_on_ratio:g}"),
    )
    parts = []
    for name, limit, criterion in criteria:
        unsettled = [
            f"{trial_name(trial)} {band((low, high))}"
            for trial in summary.trials
            if trial.regime == "undetermined" and trial.regime_bands
            for low, high in [trial.regime_bands[name]]
            if low is not None and high is not None and low <= limit <= high
        ]
        if unsettled:
            parts.append(f"{criterion} ({', '.join(unsettled)})")
    return f"Not settled: {'; '.join(parts)}. " if parts else ""


def is_more_tangent(headline: HeadlineEntry) -> bool:
    """Whether F² is above its best control, by more than the standard network's is."""
    excess = headline.tangent_excess
    return bool(excess.positive) and above_zero(excess) and above_zero(headline.tangent_excess_rise)


def tangent_claim(name: str, headline: HeadlineEntry) -> str:
    """The claim in one line."""
    control = control_name(headline.tangent_excess.best_control)
    if is_more_tangent(headline):
        return f"With {name}, gradients are more tangent to the data manifold, and no control explains it"
    if above_zero(headline.tangent_excess):
        return f"With {name}, gradients beat every control, but no rise over the standard network is shown"
    if above_zero(headline.raw_rise.tangent_fraction):
        return f"With {name}, the tangent fraction rises, but a control explains the rise: {control}"
    return f"With {name}, no rise of the tangent fraction is shown, and a control does as well: {control}"


def by_sign(e: IntervalEntry, above: str, below: str, neither: str) -> str:
    """The text for an interval that is wholly above zero, wholly below, or neither."""
    return above if above_zero(e) else below if below_zero(e) else neither


def tangent_evidence(headline: HeadlineEntry) -> str:
    """Raw rise, excess over the best control, and the paired rise of that excess."""
    excess, rise = headline.tangent_excess, headline.tangent_excess_rise
    held = "that subspace, which is not this image's own, holds"
    meaning = by_sign(
        excess,
        f", paired over {excess.n} images: the gradient prefers this image's own tangent space.",
        f": {held} more of the gradient.",
        f": {held} as much of the gradient.",
    )
    nearer = ": nearer to the control, not past it" if above_zero(rise) and not above_zero(excess) else ""
    return (
        f"The tangent fraction F² {change_text(headline.raw_rise.tangent_fraction)} over the standard network's. "
        f"F² minus its best equal-rank control, {control_name(excess.best_control)}, is "
        f"{estimate(excess, signed=True)}{meaning} That difference is {against_standard(rise)}{nearer}."
    )


def change_text(e: IntervalEntry) -> str:
    """A paired change in words: "rises by 0.2 [0.1, 0.3]", "falls by …", or that none is shown."""
    none = f"changes by {estimate(e, signed=True)}, not distinguishable from no change,"
    return by_sign(e, f"rises by {estimate(e)}", f"falls by {estimate(negated(e))}", none)


def against_standard(e: IntervalEntry) -> str:
    """A paired difference compared with the standard network's."""
    standard = "the standard network's"
    none = f"not distinguishable from {standard} ({estimate(e, signed=True)})"
    return by_sign(e, f"{estimate(e)} above {standard}", f"{estimate(negated(e))} below {standard}", none)


def alignment_evidence(headline: HeadlineEntry) -> str:
    """Alignment minus shuffled, and its paired rise."""
    title = describe(Key.parse(headline.alignment)).title
    excess = headline.alignment_excess
    fit = "better" if above_zero(excess) else "no better"
    return (
        f"{title} minus its shuffled control is {estimate(excess, signed=True)}: the gradients fit their own image's "
        f"target {fit} than another image's. That difference is {against_standard(headline.alignment_excess_rise)}."
    )


def accuracy_text(trial: TrialEntry, baseline: TrialEntry) -> str:
    """The accuracy of the trial and of the standard network."""
    now, before = (mean_of(each, "accuracy") for each in (trial, baseline))
    if now is None or before is None:
        return "The accuracy of one of the two networks is undefined."
    return f"Accuracy is {number(now, 3)}; the standard network's is {number(before, 3)}."


def claim_sentence(tangents: TangentsEntry) -> str:
    """Under which estimators F² minus its best control rises over the standard network's, and is above 0."""
    if not tangents.claim:
        return "No trial is robust and accurate enough for the claim to be tested."
    robust, count = tangents.claim[0].trial, len(tangents.claim)

    def listed(names: list[str], none: str) -> str:
        return f"all {count} estimators" if len(names) == count else ", ".join(names) or none

    rises = listed([each.name for each in tangents.claim if above_zero(each.rise)], "none of the estimators")
    above = listed([each.name for each in tangents.claim if above_zero(each.excess)], "none")
    return (
        f"From the standard network to {robust}, F² minus its best control of equal rank rises under {rises} (95 % "
        f"intervals); in {robust} it is above 0 under {above}."
    )
