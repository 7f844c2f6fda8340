"""Verdicts as dataclasses; `evaluate.entries.to_json` writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tangency.evaluate.entries import ABSENT
from tangency.statistics.crossed import CrossedEstimate
from tangency.statistics.intervals import WithInterval
from tangency.statistics.regimes import Regime, Thresholds

OnManifold = Literal["shown", "shown (global)", "not", "open"]
ThesisStatus = Literal["holds", "fails", "open"]


@dataclass(frozen=True, kw_only=True)
class AlignmentUnder:
    """L = cosine with a Bayes direction − its shuffled control, under one direction.

    Args:
        column: of the cosine.
        cosine: itself.
        alignment: L.
        over_standard: L − the standard recipe's, paired by seed and image; None where there is none, as for the rest.
        over_filter: L − that of the standard networks behind the best fixed linear filter.
        beyond_filter: the same less `Thresholds.filter_margin` of that filter's own rise over the standard recipe, or
            less the slack of the search where that is more.
        filtered: name of the filtered standard recipe.
        over_weaker: recipe of the same objective at a smaller strength that is not collapsed to L − its L; levels are
            corrected for their number.
    """

    column: str
    cosine: CrossedEstimate
    alignment: CrossedEstimate
    over_standard: CrossedEstimate | None = None
    over_filter: CrossedEstimate | None = None
    beyond_filter: CrossedEstimate | None = None
    filtered: str | None = None
    over_weaker: dict[str, CrossedEstimate] = field(default_factory=dict)

    @property
    def compared(self) -> list[CrossedEstimate]:
        """The differences that a label rests on."""
        return [each for each in (self.over_standard, self.beyond_filter, *self.over_weaker.values()) if each]


@dataclass(frozen=True, kw_only=True)
class WorstControl(WithInterval):
    """A number against several controls: the least of the means, of the lows and of the highs, and whose low it is.

    So it lies above zero only where the number beats every control, and below only where some control beats it. The
    highs are those of intervals whose level is corrected for the number of controls, as any of them may speak.
    """

    control: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ManifoldUnder:
    """log F²/control under one tangent estimator, for each control of equal rank.

    Args:
        status: "shown" where the worst bound is above 0; "shown (global)" where it is and no control of other images'
            tangent spaces is left; "not" where some control is shown to be no lower than F², at a level corrected for
            their number; else "open".
        reason: in words and numbers.
        worst: over the controls; None where nothing is measured.
        controls: name to log F² − log F² of the control.
        left_out: controls that are the same subspace, with their mean overlap; None where no image has another space.
        missing: controls and overlaps that are not measured.
    """

    status: OnManifold
    reason: str
    worst: WorstControl | None
    controls: dict[str, CrossedEstimate]
    left_out: dict[str, float | None]
    missing: list[str]


@dataclass(frozen=True, kw_only=True)
class Radius:
    """Effective strength: mean over networks of the median of margin/‖∇margin‖₂, and that of each network."""

    mean: float
    each: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RecipeVerdict:
    """All that is said of a recipe.

    Args:
        reference: whether it is no trained recipe, and so never "best".
        networks: S.
        unit: "images" where intervals are of one network, or one seed is all that a recipe shares with what it is
            compared with: then nothing is said of other seeds.
        regime, reason: the label, and the test that decided it with its numbers.
        sensitivity: δ to the label at it.
        accuracy_difference: to the standard recipe, paired.
        aligned: Bayes direction to L.
        disattenuated: √(cos(g, b₁)·cos(g, b₂)/cos(b₁, b₂)), which assumes that the errors of both are independent.
        on_manifold: over all estimators; "open" where they disagree.
        manifold: tangent estimator ("" for the first) to log F²/control.
        radius: effective strength.
        missing: what was not measured, in words.
    """

    name: str
    objective: str
    strength: float
    reference: bool
    networks: int
    unit: Literal["networks", "images"]
    regime: Regime
    reason: str
    sensitivity: dict[str, Regime]
    accuracy: CrossedEstimate | None
    accuracy_difference: CrossedEstimate | None = field(default=None, metadata=ABSENT)
    aligned: dict[str, AlignmentUnder]
    disattenuated: CrossedEstimate | None = field(default=None, metadata=ABSENT)
    on_manifold: OnManifold
    manifold: dict[str, ManifoldUnder]
    radius: Radius | None = field(default=None, metadata=ABSENT)
    missing: list[str]


@dataclass(frozen=True, kw_only=True)
class StrengthSigns:
    """How L and log F²/control change from the standard recipe to one strength: by direction, by estimator."""

    strength: float
    alignment: dict[str, CrossedEstimate]
    fraction: dict[str, WorstControl]


@dataclass(frozen=True, kw_only=True)
class ThesisVerdict:
    """The paper's thesis on one objective's sweep, as a statement that can be false.

    Args:
        status: "holds" where at every strength the changes of L and of log F²/control have one sign, both shown, and
            the recipe of the best L is on-manifold, and all those that may be it; "fails" where one of these is shown
            to be false; else "open", as without a standard recipe that is not collapsed.
        reasons: in words and numbers.
        best: Bayes direction to the recipe of the highest L, the standard one among them.
        changes: recipe to its changes.
        left_out: collapsed recipes.
    """

    status: ThesisStatus
    reasons: list[str]
    best: dict[str, str]
    changes: dict[str, StrengthSigns]
    left_out: list[str]


@dataclass(frozen=True, kw_only=True)
class SweepVerdicts:
    """The verdicts of a sweep.

    Args:
        thresholds: of the rule.
        order: of the tests, in words.
        recipes: name to verdict, of the trained recipes.
        references: the same of the Bayes rule, untrained networks and wrappers.
        thesis: objective to the paper's thesis.
    """

    thresholds: Thresholds
    order: tuple[str, ...]
    recipes: dict[str, RecipeVerdict]
    references: dict[str, RecipeVerdict]
    thesis: dict[str, ThesisVerdict]
