"""What a causal study asks for: a YAML file, checked to the last key, and the ordinary studies that it stands for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tangency.cause.arms import WHOLE, Arm, Sham, arms_of
from tangency.errors import SpecError, quoted, unknown_name
from tangency.measures import MeasureConfig
from tangency.measures.keys import MARGIN
from tangency.study.spec import StudySpec, parse_spec, read_yaml
from tangency.tangents.references import ESTIMATORS, kind_of
from tangency.validation import complaints

CAUSE_SCHEMA = 1
SHIPPED = ("linear", "offset", "fitted", "fashion")
OWN_KEYS = ("name", "sweep", "seeds", "convergence", "generate", "judge", "guide_fraction")
EXACT = "exact"  # the truth of a world: it decides even where it guides
_DIRECTIONS = {"bayes_gradient": "closed form", "network_bayes_gradient": "trained score"}
_Strength = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(gt=0, lt=1)]
_Margin = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MatchSpec(_Checked):
    """When two arms are matched: what is done to the network by equal amounts, not by equal strengths.

    Args:
        by: how strengths are chosen: "radius", of equal median radius; "accuracy", the largest that costs no more than
            half the tolerance of accuracy, for arms that cannot have equal radii.
        radius: by how much the median radius may differ, as a share; null where it need not agree.
        accuracy: by how much the accuracy may differ; null where it need not agree.
    """

    by: Literal["radius", "accuracy"] = "radius"
    radius: _Share | None = 0.05
    accuracy: _Share | None = 0.01

    @model_validator(mode="after")
    def _tolerated(self) -> MatchSpec:
        if getattr(self, self.by) is None:
            raise SpecError(f"match.{self.by}: got null with by: {self.by}, expected a tolerance.")
        return self


class MarginSpec(_Checked):
    """Differences up to which own tangent spaces are no better than the best sham, if the interval shows it.

    Args:
        direction: of a cosine.
        fraction: of log F².
    """

    direction: _Margin = 0.02
    fraction: _Margin = 0.05


class CauseSpec(_Checked):
    """Arms, their calibration, and what they are rated by.

    Args:
        name: of the study.
        study: keys of an ordinary study: data, model, train, score, tangents (the held-out estimators), measures, …
        guide: reference of the tangent spaces that the penalties project on.
        guide_fraction: share of the training images kept from all arms, to which the guide is fitted; 0 for an exact
            one.
        shams: what stands in place of the own tangent space in the controls of `off-own`.
        base: the arm that the others are matched to.
        base_strength: its strength.
        strengths: of every other arm in the calibration.
        arm_strengths: arm to strengths of its own there.
        seeds: of the matched study, at least two; a claim wants five.
        calibration_seeds: others than `seeds`, so that no arm is chosen by the networks that it is rated by.
        refinements: how many times strengths that do not match are corrected and trained anew.
        match: tolerances.
        margin: what counts as no difference.
    """

    name: str = "cause"
    study: dict[str, Any]
    guide: str = Field(min_length=1)
    guide_fraction: float = Field(0.0, ge=0, lt=1)
    shams: tuple[Sham, ...] = Field(min_length=1)
    base: str = WHOLE
    base_strength: _Strength
    strengths: tuple[_Strength, ...]
    arm_strengths: dict[str, tuple[_Strength, ...]] = Field(default_factory=dict)
    seeds: tuple[_Seed, ...] = (0, 1, 2, 3, 4)
    calibration_seeds: tuple[_Seed, ...] = Field((100, 101), min_length=1)
    refinements: int = Field(1, ge=0, le=3)
    match: MatchSpec = MatchSpec()
    margin: MarginSpec = MarginSpec()

    @model_validator(mode="after")
    def _arms_known(self) -> CauseSpec:
        if len(set(self.shams)) < len(self.shams):
            raise SpecError(f"shams: got {list(self.shams)}, expected distinct ones.")
        penalised = [arm.name for arm in self.arms if arm.part]
        if self.base not in penalised:
            raise SpecError(f"base: {unknown_name('arm with a penalty', self.base, penalised)}")
        for name in self.arm_strengths:
            if name not in penalised or name == self.base:
                others = [arm for arm in penalised if arm != self.base]
                raise SpecError(f"arm_strengths: {unknown_name('arm that is matched', name, others)}")
        several = {"strengths": self.strengths, "seeds": self.seeds}
        several |= {f"arm_strengths.{name}": own for name, own in self.arm_strengths.items()}
        for key, numbers in several.items():
            if len(set(numbers)) < max(2, len(numbers)):
                raise SpecError(f"{key}: got {list(numbers)}, expected at least two distinct numbers.")
        return self

    @model_validator(mode="after")
    def _guide_known(self) -> CauseSpec:
        known = (*ESTIMATORS, "autoencoder")
        if kind_of(self.guide) not in known:
            raise SpecError(f"guide: {unknown_name('tangent spaces', self.guide, known)}")
        return self

    @model_validator(mode="after")
    def _seeds_apart(self) -> CauseSpec:
        if len(set(self.calibration_seeds)) < len(self.calibration_seeds):
            raise SpecError(f"calibration_seeds: got {list(self.calibration_seeds)}, expected distinct numbers.")
        if both := sorted({*self.seeds} & {*self.calibration_seeds}):
            raise SpecError(
                f"calibration_seeds: {both} stand among seeds too, expected others: strengths would be chosen by the "
                "networks that are compared."
            )
        return self

    @model_validator(mode="after")
    def _studies_sound(self) -> CauseSpec:
        for key in self.study:
            if key in OWN_KEYS:
                raise SpecError(f"study.{key}: is decided by the causal study; leave it out, or use the key beside it.")
        middle = {arm.name: self.strengths_of(arm)[0] for arm in self.arms}
        matched = self.matched(middle)
        held_out = [name for name, kept in self.held_out(matched).items() if kept]
        for kind, known in (("direction", _DIRECTIONS), ("tangents", None)):
            if not any((name in _DIRECTIONS) == (known is not None) for name in held_out):
                raise SpecError(
                    f"study: no {kind} is held out from the guide '{self.guide}'; name tangents of another "
                    "kind, and a score of another kind or a network_score."
                )
        return self

    @property
    def arms(self) -> list[Arm]:
        """All of them, controls last."""
        return arms_of(self.shams)

    def strengths_of(self, arm: Arm) -> tuple[float, ...]:
        """Strengths of an arm in the calibration; none without a penalty."""
        if not arm.part:
            return (0.0,)
        return (self.base_strength,) if arm.name == self.base else self.arm_strengths.get(arm.name, self.strengths)

    def matched(self, strengths: Mapping[str, float]) -> StudySpec:
        """The study of all arms at these strengths, by arm; of the one without a penalty none is needed."""
        sweep = {arm.name: (strengths.get(arm.name, 0.0),) for arm in self.arms}
        return self._study("matched", sweep, self.seeds, {"untrained": False} | self.study)

    def calibration(self, strengths: Mapping[str, Sequence[float]], stage: str = "calibration") -> StudySpec:
        """The study that strengths are read from, of the arms that are named; it measures what matching needs.

        Alignment with the closed form's direction is measured too, where there is one, for the common curve.
        """
        given = {key: value for key, value in self.study.items() if key not in ("network_score", "tangents", "bayes")}
        if self._whole().score.kind == "none":  # then the trained score gives the only direction
            given = dict(self.study)
        measures = dict(given.get("measures") or {})
        cheap = {
            "directions": 1,
            "metrics": ["cosine"],
            "rho_sigmas": [],
            "epsilons": list(self._measures.epsilons)[:1],
        }
        kept = [list(pair) for pair in self._measures.alignments if not pair[1].startswith("network_")]
        cheap |= {"alignments": kept} if kept and "alignments" in measures else {}
        given |= {"measures": measures | cheap, "rule": "kappa", "untrained": False}  # no labels are asked for
        return self._study(stage, strengths, self.calibration_seeds, given)

    def held_out(self, matched: StudySpec) -> dict[str, bool]:
        """Criterion, a Bayes direction or an estimator's reference, to whether it is of another kind than the guide."""
        guide = kind_of(self.guide)
        criteria = {
            target: True for name, target in matched.measures.alignments if name == MARGIN and target in _DIRECTIONS
        }
        if "bayes_gradient" in criteria and matched.score.kind in (guide, "none"):
            criteria["bayes_gradient"] = guide == EXACT
        if "network_bayes_gradient" in criteria and guide in ("denoiser", "score-svd"):
            criteria["network_bayes_gradient"] = False
        tangents = matched.tangents or (matched.score.kind,)
        return criteria | {name: kind_of(name) != guide or guide == EXACT for name in tangents}

    def digest(self) -> str:
        """Hash of everything that can change a result."""
        content = self.model_dump(mode="json", exclude={"study"})
        middle = {arm.name: self.strengths_of(arm)[0] for arm in self.arms}
        identity = [CAUSE_SCHEMA, content, self.matched(middle).digest()]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def changes(self, earlier: CauseSpec) -> list[str]:
        """What keeps this spec from adding to another one, key by key; whether `study` only adds its runs decide."""
        own, other = self.model_dump(mode="json"), earlier.model_dump(mode="json")
        kept = [key for key in own if key not in ("study", "seeds") and own[key] != other[key]]
        lost = sorted({*earlier.seeds} - {*self.seeds})
        return [f"{key} {other[key]}, not {own[key]}" for key in kept] + ([f"seeds {lost} too"] if lost else [])

    @property
    def _measures(self) -> MeasureConfig:
        return self._whole().measures

    def _whole(self) -> StudySpec:
        return parse_spec({**self.study, "sweep": [{"objective": "standard"}]}, "study")

    def _study(
        self, stage: str, strengths: Mapping[str, Sequence[float]], seeds: Sequence[int], given: Mapping[str, Any]
    ) -> StudySpec:
        sweep = [arm.entry(self.guide, strengths[arm.name]) for arm in self.arms if arm.name in strengths]
        content = {**given, "name": f"{self.name}-{stage}", "sweep": sweep, "seeds": list(seeds)}
        content |= {"guide_fraction": self.guide_fraction} if self.guide_fraction else {}
        return parse_spec(content, "study")


def parse_cause(content: Any, origin: str) -> CauseSpec:
    """A checked spec from parsed YAML; `SpecError` with every complaint in one paragraph."""
    if not isinstance(content, dict):
        raise SpecError(f"{origin}: got {type(content).__name__}, expected a mapping with the keys of a causal study.")
    try:
        return CauseSpec.model_validate(content)
    except SpecError as error:
        raise SpecError(f"{origin}: {quoted(error)}") from None
    except ValidationError as error:
        raise SpecError(f"{origin}: {complaints(error, CauseSpec, _keys_beside, _all_keys())}.") from None


def load_cause(path: str | Path) -> CauseSpec:
    """Read and check a YAML spec; a name in `SHIPPED` that is no file stands for that study.

    Args:
        path: the file, or a name in `SHIPPED`.

    Raises:
        SpecError: no such file, or keys that are unknown or out of their range, all in one paragraph.

    Example:
        >>> load_cause("linear").shams
        ('dct', 'random', 'fresh')
    """
    if not isinstance(path, str | Path):
        raise SpecError(
            f"spec: got {type(path).__name__}, expected the path of a YAML file, or one of {', '.join(SHIPPED)}."
        )
    named = Path(path)
    if named.as_posix() in SHIPPED and not named.exists():
        text = (resources.files("tangency.cause") / "specs" / f"{named}.yaml").read_text(encoding="utf-8")
        return parse_cause(yaml.safe_load(text), str(named))
    return parse_cause(read_yaml(named, SHIPPED), f"spec '{path}'")


def dump_cause(spec: CauseSpec) -> str:
    """The spec as YAML, its own defaults written out."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


_TABLES: dict[str, Any] = {"match": MatchSpec.model_fields, "margin": MarginSpec.model_fields}


def _all_keys() -> list[str]:
    """All keys of a causal study, with dots, and those of the study within it."""
    below = [f"{key}.{name}" for key, names in _TABLES.items() for name in names]
    return [*CauseSpec.model_fields, *below, *(f"study.{name}" for name in StudySpec.model_fields)]


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """Keys that are known where the unknown one stands."""
    if len(location) == 1:
        return list(CauseSpec.model_fields)
    return [".".join([*map(str, location[:-1]), key]) for key in _TABLES[str(location[0])]]
