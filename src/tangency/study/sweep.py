"""What a study trains: objectives, each at one or more strengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tangency.errors import SpecError, unknown_name
from tangency.objectives import Objective, make

# What a study decides elsewhere, so that it cannot stand among the options of an objective.
_RESERVED = ("name", "strength", "legacy")
STANDARD = "standard"  # the objective that every other one is compared with
_GRID = "logspace"
_MOST = 10_000  # strengths of a grid
_DIGITS = 12  # of a strength of a grid: the last ones of a power differ between machines, and a trial's identity has it


class SweepEntry(BaseModel):
    """One objective at one or more strengths.

    Args:
        objective: its name.
        strengths: a list, or {logspace: [first, last, count]}, from first to last at equal ratios.
        options: of the objective.
        legacy: "pags" for the objective and the learning rates of the paper's published code, which fall where the
            strength is large; by default one learning rate for all strengths.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: str
    strengths: tuple[float, ...] = Field((0.0,), min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)
    legacy: Literal["pags"] | None = None

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

    @model_validator(mode="after")
    def _known(self) -> SweepEntry:
        for strength in self.strengths:
            built = self.build(strength)
        known = built.options | built.guides  # words as such, which YAML may have made switches of
        object.__setattr__(self, "options", {option: known[option] for option in self.options})
        return self

    def build(self, strength: float) -> Objective:
        """The objective at one strength; a `SpecError` where there is none such."""
        options = self.options | ({"legacy": self.legacy} if self.legacy else {})
        return make(self.objective, strength, **options)


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


def _number(part: Any) -> float:
    """A number as YAML has it, where 1e-5 is text; NaN for anything else."""
    try:
        return math.nan if isinstance(part, bool) else float(part)
    except (TypeError, ValueError, OverflowError):
        return math.nan
