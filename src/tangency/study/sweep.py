"""What a study trains, objectives at one or more strengths, and the networks of others that stand beside them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from tangency.errors import SpecError, unknown_name
from tangency.objectives import Objective, make
from tangency.training import TrainConfig

# What a study decides elsewhere, so that it cannot stand among the options of an objective.
_RESERVED = ("name", "strength", "legacy")
NO_MODEL_OPTIONS = ("architecture", "shape", "classes", "seed")  # nor among those of a model
_NO_TRAINING = ("seed", "checkpoint_seconds")  # nor among the changes of a training
_MODEL = ("architecture", "options")
STANDARD = "standard"  # the objective that every other one is compared with
_GRID = "logspace"
_MOST = 10_000  # strengths of a grid
_DIGITS = 12  # of a strength of a grid: the last ones of a power differ between machines, and a trial's identity has it


class SweepEntry(BaseModel):
    """One objective at one or more strengths, or given networks, which are measured only.

    Args:
        objective: its name.
        strengths: a list, or {logspace: [first, last, count]}, from first to last at equal ratios.
        options: of the objective.
        legacy: "pags" for the objective and the learning rates of the paper's published code, which fall where the
            strength is large; by default one learning rate for all strengths.
        train: keys of `train` that differ for these networks, which are controls: epochs, optimiser, ….
        model: keys of `model` that differ for them; options beside those of the study, or, with another architecture,
            in their place.
        networks: references of given classifiers, in place of all other keys.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: str = ""
    strengths: tuple[float, ...] = Field((0.0,), min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)
    legacy: Literal["pags"] | None = None
    train: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    networks: tuple[str, ...] = ()

    @field_validator("strengths", mode="before")
    @classmethod
    def _written_out(cls, strengths: Any) -> Any:
        if not isinstance(strengths, Mapping):
            return strengths
        unknown = [key for key in strengths if key != _GRID]
        if unknown:
            raise SpecError(f"sweep.strengths: {unknown_name('key', str(unknown[0]), (_GRID,))}")
        return logspace(strengths.get(_GRID))

    @field_validator("options")
    @classmethod
    def _own(cls, options: dict[str, Any]) -> dict[str, Any]:
        return refuse_options(options, _RESERVED, "sweep")

    @field_validator("train")
    @classmethod
    def _trainable(cls, train: dict[str, Any]) -> dict[str, Any]:
        known = [field.name for field in dataclasses.fields(TrainConfig) if field.name not in _NO_TRAINING]
        for key in train:
            if key not in known:
                raise SpecError(f"sweep.train: {unknown_name('key', key, known)}")
        config = _TRAINING.validate_python(train)  # numbers that YAML has as text
        return {key: getattr(config, key) for key in train}

    @field_validator("model")
    @classmethod
    def _buildable(cls, model: dict[str, Any]) -> dict[str, Any]:
        for key in model:
            if key not in _MODEL:
                raise SpecError(f"sweep.model: {unknown_name('key', key, _MODEL)}")
        if not (isinstance(model.get("architecture", ""), str) and isinstance(model.get("options", {}), dict)):
            raise SpecError(f"sweep.model: got {model!r:.100}, expected {{architecture: NAME, options: {{…}}}}.")
        refuse_options(model.get("options", {}), NO_MODEL_OPTIONS, "sweep.model")
        return model

    @model_validator(mode="after")
    def _known(self) -> SweepEntry:
        if self.networks:
            if more := sorted(self.model_dump(exclude_defaults=True).keys() - {"networks"}):
                raise SpecError(
                    f"sweep: got networks beside {', '.join(more)}, expected them in an entry of their own."
                )
            return self
        if not self.objective:
            raise SpecError("sweep: got an entry without objective, expected an objective or networks.")
        for strength in self.strengths:
            built = self.build(strength)
        known = built.options | built.guides  # words as such, which YAML may have made switches of
        object.__setattr__(self, "options", {option: known[option] for option in self.options})
        return self

    @field_validator("networks")
    @classmethod
    def _different(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(networks)) != len(networks):
            raise SpecError(f"sweep.networks: got {list(networks)}, expected distinct references.")
        return networks

    @property
    def changes(self) -> dict[str, Any]:
        """What differs from the recipe of the study, as {train: …, model: …}; empty for an entry that is no control."""
        return {name: own for name, own in (("train", self.train), ("model", self.model)) if own}

    def training(self, base: TrainConfig) -> TrainConfig:
        """The options of its trainings, from those of the study."""
        return dataclasses.replace(base, **self.train)

    def network(self, architecture: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Architecture and options of its networks, from those of the study."""
        own = self.model.get("architecture", architecture)
        return own, (options if own == architecture else {}) | self.model.get("options", {})

    def build(self, strength: float) -> Objective:
        """The objective at one strength; a `SpecError` where there is none such."""
        options = self.options | ({"legacy": self.legacy} if self.legacy else {})
        return make(self.objective, strength, **options)


def trained_entries(sweep: Iterable[SweepEntry]) -> list[SweepEntry]:
    """The entries of a sweep that are trained."""
    return [entry for entry in sweep if not entry.networks]


def given_references(sweep: Iterable[SweepEntry]) -> list[str]:
    """The references of the networks that a sweep is given, each once."""
    return list(dict.fromkeys(reference for entry in sweep for reference in entry.networks))


def refuse_options(options: dict[str, Any], reserved: tuple[str, ...], where: str) -> dict[str, Any]:
    """These options, or a `SpecError` where one of them is decided elsewhere."""
    for option in options:
        if option in reserved:
            raise SpecError(f"{where}.options: '{option}' is no option, expected it outside of `options`.")
    return options


def logspace(grid: Any) -> tuple[float, ...]:
    """Strengths aᵢ = first · (last / first)^(i / (count − 1)), i = 0 … count − 1, to 12 digits.

    Args:
        grid: [first, last, count], 0 < first < last and 2 to 10,000 of them.

    Raises:
        SpecError: anything else.

    Source: the strengths of the paper, numpy.logspace with its exponents in the place of first and last.

    Example:
        >>> logspace([1e-2, 1, 3])
        (0.01, 0.1, 1.0)
    """
    first, last, count = (_number(part) for part in grid) if isinstance(grid, list | tuple) and len(grid) == 3 else _BAD
    if not (0 < first < last < math.inf and 2 <= count <= _MOST and count == int(count)):
        raise SpecError(
            f"sweep.strengths.logspace: got {grid!r:.100}, expected [first, last, count], such as [1e-5, 1e2, 30]: two "
            f"numbers above 0 in rising order, and how many strengths, 2 to {_MOST}."
        )
    steps = int(count) - 1
    low, high = math.log(first), math.log(last)
    between = (math.exp(low + (high - low) * step / steps) for step in range(1, steps))
    return first, *(float(f"{strength:.{_DIGITS}g}") for strength in between), last


_BAD = (math.nan,) * 3
_TRAINING = TypeAdapter(TrainConfig)


def changes_in_words(changes: Mapping[str, Any]) -> str:
    """The changes of a control as they stand in a spec.

    Example:
        >>> changes_in_words({"train": {"epochs": 24, "optimiser": "adamw"}, "model": {"options": {"norm": "batch"}}})
        'train: epochs 24, optimiser adamw; model: options.norm batch'
    """
    return "; ".join(f"{key}: {', '.join(_words(own))}" for key, own in changes.items())


def _words(changes: Mapping[str, Any], above: str = "") -> list[str]:
    words = []
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and value
        words += _words(value, f"{above}{key}.") if nested else [f"{above}{key} {value}"]
    return words


def _number(part: Any) -> float:
    """A number as YAML has it, where 1e-5 is text; NaN for anything else."""
    try:
        return math.nan if isinstance(part, bool) else float(part)
    except (TypeError, ValueError, OverflowError):
        return math.nan
