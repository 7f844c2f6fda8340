"""Entries of results, as dataclasses: estimates as they stand in JSON, which `to_json` writes.

Fields stand in the order of the file. A field marked `ABSENT` is left out of the file where it is None; any other None,
and every number that is not finite, is written as null.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

from tangency.statistics import Estimate, holm
from tangency.statistics.intervals import WithInterval

Numbers = list[float | None]
ABSENT = {"absent": True}  # of a field


@runtime_checkable
class _Written(Protocol):
    def to_json(self) -> dict[str, Any]: ...


def plain_number(value: float) -> float | None:
    """A float for strict JSON: None where it is not finite."""
    return float(value) if math.isfinite(value) else None


def to_json(value: Any) -> Any:
    """A result as strict JSON has it: of a dataclass its fields, or what its own `to_json` makes of them."""
    if isinstance(value, float):
        return plain_number(value)
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, _Written):
        return value.to_json()
    return fields_json(value) if dataclasses.is_dataclass(value) else value


def fields_json(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as strict JSON has them."""
    pairs = [(each, getattr(value, each.name)) for each in dataclasses.fields(value)]
    return {each.name: to_json(item) for each, item in pairs if item is not None or "absent" not in each.metadata}


@dataclass(frozen=True, kw_only=True)
class IntervalEntry(WithInterval):
    """A mean with the ends of its 95 % interval, and the number of images it is taken over."""

    mean: float | None
    low: float | None
    high: float | None
    n: int = 0


@dataclass(frozen=True, kw_only=True)
class EstimateEntry(IntervalEntry):
    """The same, with the number of images that have no value."""

    degenerate: int = 0

    @classmethod
    def of(cls, estimate: Estimate, **more: Any) -> Self:
        """An estimate, with the fields that this class has beyond it; None where it has no number."""
        mean, low, high = map(plain_number, (estimate.mean, estimate.low, estimate.high))
        return cls(mean=mean, low=low, high=high, n=estimate.n, degenerate=estimate.degenerate, **more)


@dataclass(frozen=True, kw_only=True)
class MeasureEntry(EstimateEntry):
    """A measure, with its chance level; `null` is the central 95 % of it for a random gradient."""

    chance: float | None = None
    null: Numbers | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class ControlEntry(EstimateEntry):
    """A measure minus one of its controls; p and effect size as `evaluate.significance` defines them."""

    p: float | None = field(default=None, metadata=ABSENT)
    dz: float | None = field(default=None, metadata=ABSENT)
    p_holm: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, kw_only=True)
class ExcessEntry(EstimateEntry):
    """A measure minus the best of its controls; `positive` says whether the whole interval is above 0."""

    best_control: str | None = field(default=None, metadata=ABSENT)
    controls: dict[str, ControlEntry] | None = field(default=None, metadata=ABSENT)
    positive: bool | None = field(default=None, metadata=ABSENT)
    p: float | None = field(default=None, metadata=ABSENT)
    dz: float | None = field(default=None, metadata=ABSENT)
    null_sd: float | None = field(default=None, metadata=ABSENT)
    p_holm: float | None = field(default=None, metadata=ABSENT)


def with_holm(excesses: Sequence[Mapping[str, ExcessEntry]]) -> list[dict[str, ExcessEntry]]:
    """Excesses of several trials or models with `p_holm`: each p adjusted over those that have the same measure."""
    places: dict[tuple[str, str], dict[int, float]] = {}
    for number, own in enumerate(excesses):
        for key, excess in own.items():
            tested: dict[str, ExcessEntry | ControlEntry] = {"": excess, **(excess.controls or {})}
            for name, entry in tested.items():
                places.setdefault((key, name), {})[number] = math.nan if entry.p is None else entry.p
    adjusted = {
        (number, *place): float(p)
        for place, raw in places.items()
        for number, p in zip(raw, holm(list(raw.values())), strict=True)
    }
    return [
        {
            key: dataclasses.replace(
                excess,
                p_holm=adjusted[number, key, ""],
                controls=excess.controls
                and {
                    name: dataclasses.replace(control, p_holm=adjusted[number, key, name])
                    for name, control in excess.controls.items()
                },
            )
            for key, excess in own.items()
        }
        for number, own in enumerate(excesses)
    ]
