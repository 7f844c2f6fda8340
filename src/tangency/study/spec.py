"""What a study asks for: a YAML file, checked to the last key."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tangency.errors import SpecError, unknown_name
from tangency.measures import MeasureConfig
from tangency.objectives import make
from tangency.training import TrainConfig


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSpec(_Strict):
    """Architecture and its keyword arguments."""

    architecture: str = "convnet"
    options: dict[str, Any] = Field(default_factory=dict)


class ScoreSpec(_Strict):
    """The closed-form score: a mixture of factor analysers for each class, which also gives the tangent spaces."""

    kind: Literal["mfa"] = "mfa"
    components: int = Field(default=4, ge=1)
    rank: int = Field(default=12, ge=1)
    noise: Literal["isotropic", "diagonal"] = "isotropic"
    seed: int = 0


class SweepEntry(_Strict):
    """One objective at one or more strengths."""

    objective: str
    strengths: tuple[float, ...] = (0.0,)
    options: dict[str, Any] = Field(default_factory=dict)
    legacy: Literal["pags"] | None = None

    @model_validator(mode="after")
    def _known(self) -> SweepEntry:
        for strength in self.strengths:
            self.build(strength)
        return self

    def build(self, strength: float) -> Any:
        """The objective at one strength; a `SpecError` where there is none such."""
        options = self.options | ({"legacy": self.legacy} if self.legacy else {})
        return make(self.objective, strength, **options)


class StudySpec(_Strict):
    """A sweep of objectives, strengths and seeds, and what is measured on every trial.

    Args:
        name: stands on the report.
        data: reference of a data set with a training and a test split.
        measured: test images that are measured, a fixed random subset; all where there are fewer.
        sweep: objectives and strengths; `standard` is the baseline that regimes are relative to.
        seeds: each trial is trained once for each.
        untrained: also measure the network as initialised, a control.
        weights: "last" epoch, or "best" on the validation images.
        shard: measured images to a task; part of how work is cut, not of any result.
        workers, threads: processes, and threads of each; threads belong to a trial's identity, since the order of
            floating-point sums depends on them.
        replicates: bootstrap resamples.
    """

    name: str = "study"
    data: str = "fashion-mnist-5k"
    measured: int = Field(500, ge=2)
    model: ModelSpec = ModelSpec()
    train: TrainConfig = TrainConfig()
    score: ScoreSpec = ScoreSpec()
    sweep: tuple[SweepEntry, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    untrained: bool = True
    weights: Literal["last", "best"] = "last"
    measures: MeasureConfig = MeasureConfig()
    pictures: int = Field(10, ge=0, le=64)
    shard: int = Field(125, ge=1)
    workers: int = Field(2, ge=1)
    threads: int = Field(1, ge=1)
    device: str = "auto"
    replicates: int = Field(2000, ge=100)

    @model_validator(mode="after")
    def _distinct(self) -> StudySpec:
        if len(set(self.seeds)) != len(self.seeds):
            raise SpecError(f"seeds: got {list(self.seeds)}, expected distinct numbers.")
        return self

    def digest(self) -> str:
        """Hash of everything that can change a result."""
        content = self.model_dump(mode="json", exclude={"workers", "shard", "device"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def parse_spec(content: Any, origin: str) -> StudySpec:
    """A checked spec from parsed YAML; `SpecError` with every complaint in one paragraph."""
    if not isinstance(content, dict):
        raise SpecError(f"{origin}: got {type(content).__name__}, expected a mapping with at least the key 'sweep'.")
    try:
        return StudySpec.model_validate(content)
    except ValidationError as error:
        complaints = "; ".join(_complaint(item) for item in error.errors())
        raise SpecError(f"{origin}: {complaints}") from None


def load_spec(path: Path) -> StudySpec:
    """Read and check a YAML spec."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SpecError(f"spec '{path}': cannot be read ({error.strerror}); expected a YAML file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise SpecError(f"spec '{path}': not valid YAML ({first}).") from None
    return parse_spec(content, f"spec '{path}'")


def dump_spec(spec: StudySpec) -> str:
    """The resolved spec as YAML, every default written out."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _complaint(item: Any) -> str:
    place = ".".join(map(str, item["loc"])) or "spec"
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return unknown_name("key", place, _keys_beside(item["loc"]))
    value = item["input"]
    shown = (
        "" if isinstance(value, dict | list) or (isinstance(value, float) and math.isnan(value)) else f", got {value!r}"
    )
    return f"{place}: {item['msg'].removeprefix('Value error, ')}{shown}."


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """Keys that are known where the unknown one stands."""
    tables: dict[str, Any] = {
        "model": ModelSpec.model_fields,
        "train": TrainConfig.__dataclass_fields__,
        "score": ScoreSpec.model_fields,
        "measures": MeasureConfig.__dataclass_fields__,
        "sweep": SweepEntry.model_fields,
    }
    if len(location) == 1:
        return list(StudySpec.model_fields)
    return [".".join([*map(str, location[:-1]), key]) for key in tables[str(location[0])]]
