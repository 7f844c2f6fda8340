"""The claim of a study and the sentences behind it: each says no more than its interval shows."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from tangency.evaluate.entries import IntervalEntry
from tangency.evaluate.verdicts.entries import WorstControl
from tangency.report.read.sweep import filter_names, trained_cells
from tangency.report.read.trials import STANDARD, trained
from tangency.report.text.glossary import REGIMES, control_name
from tangency.report.text.numbers import above_zero, below_zero, capital, estimate, negated, number
from tangency.report.text.score import direction_name
from tangency.report.text.trials import label_of, regime_label, trial_name
from tangency.statistics import CrossedEstimate
from tangency.study.summary.entries import StudySummary
from tangency.study.summary.sweep_entries import CellEntry, ClaimEntry, HeadlineEntry

ABOUT_L = "L: cosine of the gradient with the image's own Bayes direction minus that with another image's."


@dataclass(frozen=True)
class StudyVerdict:
    """The head of the page: a claim, the sentences behind it, and whether it says "Bayes-aligned".

    `beside` are the sentences without which the claim misleads; they are shown with it.
    """

    claim: str
    evidence: tuple[str, ...]
    aligned: bool
    beside: tuple[str, ...] = ()


def verdict(summary: StudySummary) -> StudyVerdict:
    """What the study shows of its headline recipe, with the estimator of the tangent space that says the least."""
    headline = summary.headline
    if headline is None:
        return no_verdict(summary)
    cell = next(cell for cell in summary.cells if cell.id == headline.recipe)
    evidence = [unit_sentence(headline), alignment_sentence(summary, headline)]
    evidence += [claim_words(claim) for claim in headline.claims]
    if headline.withheld:
        evidence.append("The numbers are shown, and no label, thesis or change point is claimed of them.")
    elif cell.verdict:
        evidence.append(f"Its label: {cell.verdict.reason}.")
    evidence.append(f"It was chosen by a rule: {headline.rule}.")
    beside = (ABOUT_L, larger_sentence(summary, cell, headline), margins_sentence(summary, cell))
    return StudyVerdict(
        headline_claim(summary, cell, headline),
        tuple(evidence),
        headline.regime == "bayes_aligned",
        tuple(sentence for sentence in beside if sentence),
    )


def larger_sentence(summary: StudySummary, cell: CellEntry, headline: HeadlineEntry) -> str:
    """Which recipe has a larger L than the headline's, with its accuracy and label; "" where none clearly has.

    The largest is that of the mean over Bayes directions, as the headline's; it is clear where its interval under the
    headline's direction lies above the headline's L.
    """
    levels = {
        each.id: statistics.fmean(under.alignment.mean for under in each.verdict.aligned.values())
        for each in trained_cells(summary)
        if each.verdict and each.verdict.aligned and each.verdict.regime != "collapsed"
    }
    largest = next((each for each in summary.cells if levels and each.id == max(levels, key=levels.__getitem__)), None)
    if cell.withheld or largest is None or largest.id == cell.id or largest.verdict is None:
        return ""
    under, difference = largest.verdict.aligned.get(headline.direction), largest.verdict.accuracy_difference
    if under is None or under.alignment.low <= headline.alignment.mean:
        return ""
    accuracy = "" if difference is None else f", accuracy {number(difference.mean, 3, signed=True)}"
    whose = "of the Bayes-aligned recipes" if headline.regime == "bayes_aligned" else "with accuracy kept"  # its rule
    level = number(under.alignment.mean, 3)
    return (
        f"Largest L {whose}; the largest of all is that of {trial_name(largest)} "
        f"({level}{accuracy}, {label_of(largest) or 'no label'})."
    )


def margins_sentence(summary: StudySummary, cell: CellEntry) -> str:
    """The label of the headline at the other margins of accuracy, where it is another one."""
    if cell.withheld or cell.verdict is None:
        return ""
    places: dict[str, list[str]] = {}
    for margin, regime in sorted(cell.verdict.sensitivity.items(), key=lambda item: float(item[0])):
        if regime != cell.verdict.regime:
            places.setdefault(REGIMES[regime][0], []).append(margin)
    if not places:
        return ""
    words = "; ".join(f"{label} at δ = {' and '.join(margins)}" for label, margins in places.items())
    return f"Its label depends on δ, the accuracy that may be lost (here {_margin(summary):g}): {words}."


def _margin(summary: StudySummary) -> float:
    return summary.regimes.thresholds.accuracy_margin if summary.regimes.thresholds else 0.0


def headline_claim(summary: StudySummary, cell: CellEntry, headline: HeadlineEntry) -> str:
    """The claim in one line: recipe, unit, label, and on-manifold or not, by the estimator of the lowest number."""
    whom = f"{capital(trial_name(cell))}, {unit_words(headline.networks, summary.data.measured)}"
    if headline.withheld:
        return f"{whom}: the label is withheld. {headline.withheld.rstrip('.')}"
    label = REGIMES[headline.regime][0] if headline.regime in REGIMES else headline.regime
    return f"{whom}: {label}; {manifold_words(headline)}"


def unit_words(networks: int, images: int) -> str:
    """ "one network on 1,000 images", "5 networks on 1,000 images"."""
    return f"{'one network' if networks == 1 else f'{networks} networks'} on {images:,} images"


def manifold_words(headline: HeadlineEntry) -> str:
    """On-manifold or not, with the estimator that says the least and its number."""
    if not headline.claims:
        return "on-manifold was not measured"
    worst, several = headline.claims[0], len(headline.claims) > 1
    which = f"under {worst.name}, the {f'lowest of {len(headline.claims)} estimators' if several else 'only estimator'}"
    measured = f"log F²/control {interval(worst.worst)} {which}" if worst.worst else f"no control was measured {which}"
    agreed = len({claim.status for claim in headline.claims}) == 1
    status = {
        "shown": "on-manifold",
        "shown (global)": "on-manifold (global)",
        "not": "not on-manifold",
    }.get(headline.on_manifold, "on-manifold is open" + ("" if agreed else ", as the estimators disagree"))
    return f"{status} ({measured})"


def unit_sentence(headline: HeadlineEntry) -> str:
    """What the intervals are over."""
    if headline.unit == "networks":
        return f"Intervals hold for the recipe: {headline.networks} networks crossed with the measured images."
    return "One network: intervals are over its images, and nothing is claimed of the recipe, that is, of other seeds."


def alignment_sentence(summary: StudySummary, headline: HeadlineEntry) -> str:
    """L under the direction that says the least, and its rises."""
    words = (
        f"L, the cosine with the Bayes direction minus that with another image's, is {interval(headline.alignment)} "
        f"under {direction_name(summary, headline.direction)}, the direction that says the least"
    )
    if headline.over_standard:
        words += f"; it is {against(headline.over_standard, 'the standard network')}"
    if headline.over_filter:
        behind = f"it behind the best fixed linear filter, {filter_names(summary, headline.direction)}"
        words += f", and {against(headline.over_filter, behind)}"
    return f"{words}. {chosen_words(headline)}".rstrip()


def chosen_words(headline: HeadlineEntry) -> str:
    """That the intervals of L are corrected, as its recipe and direction were chosen; "" where there was no choice."""
    if headline.among < 2:
        return ""
    return (
        f"It was chosen among {headline.among} levels of L, of recipes and directions, and its 95 % intervals are "
        "corrected for that (Bonferroni)."
    )


def against(e: CrossedEstimate, whom: str) -> str:
    """A difference in words: "0.1 [0.05, 0.15] above the standard network"."""
    entry = interval_of(e)
    none = f"not distinguishable from {whom} ({estimate(entry, signed=True)})"
    above = f"{estimate(entry)} above {whom}"
    return by_sign(entry, above, f"{estimate(negated(entry))} below {whom}", none)


def claim_words(claim: ClaimEntry) -> str:
    """log F²/control under one estimator, against its best control, and the change from the standard network."""
    if claim.worst is None:
        return f"Under {claim.name}, {claim.reason}."
    words = f"Under {claim.name}, log F²/control is {interval(claim.worst)} against {control_name(claim.worst.control)}"
    change = f"; its change from the standard network is {interval(claim.change)}" if claim.change else ""
    return f"{words}{change}; on-manifold: {claim.status}."


def claim_sentence(summary: StudySummary) -> str:
    """log F²/control of the headline under every estimator."""
    headline = summary.headline
    if headline is None or not headline.claims:
        return "No recipe is accurate enough for the claim to be tested."
    return f"For {headline.recipe}: " + " ".join(claim_words(claim) for claim in headline.claims)


def interval_of(e: WorstControl | CrossedEstimate) -> IntervalEntry:
    """The numbers of an estimate alone."""
    return IntervalEntry(mean=e.mean, low=e.low, high=e.high)


def interval(e: WorstControl | CrossedEstimate) -> str:
    """A signed number with its interval."""
    return estimate(interval_of(e), signed=True)


def by_sign(e: IntervalEntry, above: str, below: str, neither: str) -> str:
    """The text for an interval that is wholly above zero, wholly below, or neither."""
    return above if above_zero(e) else below if below_zero(e) else neither


def no_verdict(summary: StudySummary) -> StudyVerdict:
    """Why nothing is claimed."""
    trials = trained(summary.trials)
    standard = [trial for trial in trials if trial.objective == STANDARD]
    regimes = sorted({regime_label(trial) for trial in trials if trial.objective != STANDARD})
    if not standard:
        claim = "No standard-trained network in this run, so nothing is claimed"
        text = "Add the objective “standard” to the spec for a paired comparison."
    elif all(trial.outcome != "ok" for trial in standard):
        claim = f"The standard network {standard[0].outcome}, so nothing is claimed"
        text = "Every comparison is with it: lower the learning rate, or train for longer."
    elif not regimes:
        claim = "Only the standard network was trained, so nothing is claimed"
        text = "Add a robust objective to the spec for a paired comparison."
    elif summary.regimes.rule == "kappa":
        claim = "Labels are those of the former rule, on κ, which has no headline"
        text = "Leave “rule: kappa” out of the spec; no network is trained again for it."
    elif not any(cell.verdict and cell.verdict.aligned for cell in summary.cells):
        claim = "No cosine with a Bayes direction was measured, so nothing is claimed"
        text = "Add [margin, bayes_gradient] to measures.alignments in the spec; no network is trained again for it."
    else:
        claim = "No robust recipe is shown to keep the accuracy, so nothing is claimed"
        text = f"The others are {', '.join(regimes)}. Add smaller strengths to the spec, or measure more images."
    return StudyVerdict(claim, (f"The page shows levels only. {text}",), False)
