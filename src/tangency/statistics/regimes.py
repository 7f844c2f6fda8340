"""The regime of a recipe, from intervals alone: what is shown decides, in a printed order.

Two axes, alignment with Bayes directions and accuracy, both against the standard network of the same seeds. L is the
cosine of the gradient of the hard margin with a Bayes direction minus the same with another image's direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tangency.statistics.crossed import CrossedEstimate

Regime = Literal["collapsed", "excessive", "bayes_aligned", "weak", "undetermined"]
MARGINS = (0.02, 0.05, 0.10)  # of accuracy, at which the sensitivity of every label is printed
ORDER = (
    "collapsed: accuracy is not shown to be above that of the best constant answer",
    "excessive: accuracy is shown to be lower than the standard network's by more than δ, or L is shown to be below "
    "that of a network of the same objective at a smaller strength, under every measured direction",
    "Bayes-aligned: L is shown to be above the standard network's, and above that of the standard network behind the "
    "best fixed linear input filter, under every measured direction, at least two unless one is exact; accuracy is "
    "shown not to be lower by δ",
    "weak: accuracy is shown not to be lower by δ, and under some direction L is no better than behind that filter",
    "undetermined: none of these",
)


@dataclass(frozen=True)
class Thresholds:
    """What the verdicts depend on; printed with them.

    Args:
        accuracy_margin: δ; the labels at `MARGINS` are printed as well.
        filter_margin: share of the best filter's own rise over the standard network by which L must exceed the filter
            (at least by the slack of its search): a filter between two of the grid would else be beyond smoothing by a
            digit.
        overlap: mean tr(P_own P_control)/k from which on a control is the same subspace and is left out.
        floor: of F², in units of k/d.
        images: least share of the images whose gradients a claim rests on. A gradient of zero has no direction, and a
            network that has one only where it points well would else be judged by those images.
        level: of the intervals.
    """

    accuracy_margin: float = 0.05
    filter_margin: float = 0.1
    overlap: float = 0.95
    floor: float = 0.01
    images: float = 0.5
    level: float = 0.95


@dataclass(frozen=True)
class DirectionEvidence:
    """What is known of L under one Bayes direction; None where it is not measured.

    Args:
        over_standard: L − L of the standard network.
        beyond_filter: L − L of the filtered standard network, less the margin (`Thresholds.filter_margin`).
        over_weaker: name of a recipe of the same objective at a smaller strength to L − its L, the level of each
            corrected for their number.
        share: of the images that have L of the standard network, those that have it of this one as well.
    """

    over_standard: CrossedEstimate | None = None
    beyond_filter: CrossedEstimate | None = None
    over_weaker: Mapping[str, CrossedEstimate] = field(default_factory=dict)
    share: float = 1.0


@dataclass(frozen=True)
class RegimeEvidence:
    """What the regime of a recipe is decided by; None where it is not measured.

    Args:
        above_constant: accuracy − that of the best constant answer.
        accuracy: accuracy − the standard network's.
        directions: words for a Bayes direction to L under it.
        exact: whether the first direction is the truth, so that one suffices.
        standard: whether it is the standard recipe itself.
        baseless: whether the standard recipe is collapsed, so that it is no baseline.
    """

    above_constant: CrossedEstimate | None
    accuracy: CrossedEstimate | None
    directions: Mapping[str, DirectionEvidence]
    exact: bool = False
    standard: bool = False
    baseless: bool = False


@dataclass(frozen=True)
class Label:
    """A regime, with the test that decided it, in words and numbers."""

    regime: Regime
    reason: str


def regime_of(evidence: RegimeEvidence, thresholds: Thresholds) -> Label:
    """The regime of a recipe, by the first test of `ORDER` that holds.

    Args:
        evidence: intervals of accuracy and L against the standard recipe, its filtered one, and weaker ones.
        thresholds: δ; the intervals have the other ones in them.

    Returns:
        The regime and its reason.

    Source: ours; THEORY 7.2. Deviation: the paper (arXiv 2305.19101) draws its regimes by eye.

    Example:
        >>> level = CrossedEstimate(0.5, 0.4, 0.6, 1, "images", (0.5,))
        >>> regime_of(RegimeEvidence(level, None, {}), Thresholds()).reason
        'accuracy against the standard network is not measured'
    """
    margin = thresholds.accuracy_margin
    constant, accuracy = evidence.above_constant, evidence.accuracy
    if constant is None:
        return Label("undetermined", "accuracy is not measured")
    if not constant.low > 0:
        return Label("collapsed", f"accuracy − the best constant answer's is {spoken(constant)}")
    if evidence.standard:
        return Label("weak", "it is the standard network itself")
    if evidence.baseless:
        return Label("undetermined", "the standard network is collapsed, and so no baseline")
    if accuracy is None:
        return Label("undetermined", "accuracy against the standard network is not measured")
    if accuracy.high < -margin:
        return Label("excessive", f"accuracy − the standard network's is {spoken(accuracy)}, below −{margin:g}")
    if past := _past_the_best(evidence.directions):
        return Label("excessive", past)
    if not accuracy.low > -margin:
        return Label(
            "undetermined",
            f"accuracy − the standard network's is {spoken(accuracy)}: neither above nor below −{margin:g} is shown",
        )
    gaps = _gaps(evidence, thresholds.images)
    if not gaps:
        shown = "; ".join(
            f"{name}: L − the standard network's {spoken(d.over_standard)}, beyond the filter {spoken(d.beyond_filter)}"
            for name, d in evidence.directions.items()
        )
        return Label("bayes_aligned", f"{shown}; accuracy − the standard network's is {spoken(accuracy)}")
    if weak := _no_better(evidence.directions):
        return Label("weak", weak)
    return Label("undetermined", "; ".join(gaps))


def _past_the_best(directions: Mapping[str, DirectionEvidence]) -> str:
    """Under every direction the weaker recipe that L is shown to be below, in words; "" where one has none."""
    words = []
    for name, evidence in directions.items():
        weaker = min(evidence.over_weaker.items(), key=lambda item: item[1].high, default=None)
        if weaker is None or not weaker[1].high < 0:
            return ""
        words.append(f"{name}: L − that of {weaker[0]} is {spoken(weaker[1])}")
    return "; ".join(words)


def _gaps(evidence: RegimeEvidence, images: float) -> list[str]:
    """What is missing for Bayes-aligned, in words."""
    gaps = []
    if not evidence.directions:
        gaps.append("no Bayes direction is measured")
    elif len(evidence.directions) < 2 and not evidence.exact:
        gaps.append("one Bayes direction only, which is an estimate: two are needed")
    for name, direction in evidence.directions.items():
        if direction.share < images:
            gaps.append(f"{name}: only {direction.share:.0%} of the images have a gradient, {images:.0%} are needed")
        tests = {
            "L − the standard network's": direction.over_standard,
            "L beyond the best fixed linear filter": direction.beyond_filter,
        }
        for what, estimate in tests.items():
            if estimate is None:
                gaps.append(f"{name}: {what} is not measured")
            elif not estimate.low > 0:
                gaps.append(f"{name}: {what} is {spoken(estimate)}, not shown to be above 0")
    return gaps


def _no_better(directions: Mapping[str, DirectionEvidence]) -> str:
    """The direction under which L is no better than behind a filter, in words; "" for none.

    To leave the image as it is is a fixed linear filter too, so without a filtered standard its own L is the bar.
    """
    for name, direction in directions.items():
        if direction.beyond_filter is not None and direction.beyond_filter.mean <= 0:
            return f"{name}: L beyond the best fixed linear filter is {spoken(direction.beyond_filter)}"
        if direction.over_standard is not None and direction.over_standard.mean <= 0:
            return f"{name}: L − the standard network's is {spoken(direction.over_standard)}"
    return ""


class Bounded(Protocol):
    """A number with its bounds."""

    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def spoken(estimate: Bounded | None) -> str:
    """An estimate as text: "+0.031 [0.012, 0.050]"."""
    if estimate is None:
        return "not measured"
    return f"{estimate.mean:+.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
