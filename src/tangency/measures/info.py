"""What is known of a measure before anything is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "neither"]
Aggregate = Literal["mean", "kappa", "ratio", "cka"]


@dataclass(frozen=True)
class MeasureInfo:
    """What a measure is; `aggregate` says how images combine: a mean, pooled numerator over denominator, or CKA."""

    title: str
    unit: str
    low: float
    high: float
    better: Better
    aggregate: Aggregate = "mean"
