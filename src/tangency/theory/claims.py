"""A claim of the theory: an expected and a measured number, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

Relation = Literal["=", "≤", "≥"]
SIGMAS_OF_A_TEST = 4.5  # standard errors that a Monte Carlo mean may be off; chance exceeds them once in 150,000 claims


@dataclass(frozen=True)
class Claim:
    """One executable statement.

    Args:
        topic: section of docs/theory.md.
        claim: the statement in words.
        world: where it was checked.
        expected, measured: the two numbers.
        tolerance: largest allowed difference, or excess over a bound.
        relation: "=", or "≤" and "≥" for bounds on the measured number.
    """

    topic: str
    claim: str
    world: str
    expected: float
    measured: float
    tolerance: float
    relation: Relation = "="

    @property
    def passed(self) -> bool:
        """Whether it holds; a number that is not finite never does."""
        if not (math.isfinite(self.measured) and math.isfinite(self.expected)):
            return False
        difference = self.measured - self.expected
        if self.relation == "≤":
            return difference <= self.tolerance
        if self.relation == "≥":
            return difference >= -self.tolerance
        return abs(difference) <= self.tolerance

    def to_json(self) -> dict[str, str | float | None]:
        """As in the output of `tangency worlds check --json`."""
        content: dict[str, str | float | None] = asdict(self) | {"pass": self.passed}
        infinite = [key for key, value in content.items() if isinstance(value, float) and not math.isfinite(value)]
        return content | dict.fromkeys(infinite)


def zero_claim(topic: str, claim: str, world: str, measured: float, tolerance: float = 1e-10) -> Claim:
    """An error is 0, to within the tolerance."""
    return Claim(topic, claim, world, 0.0, measured, tolerance)


def mean_claim(topic: str, claim: str, world: str, expected: float, values: Tensor) -> Claim:
    """The mean of independent values (N,) is `expected`: within 4.5 standard errors."""
    values = values.double()
    error = float(values.std(correction=1)) / math.sqrt(len(values))
    return Claim(topic, claim, world, expected, float(values.mean()), SIGMAS_OF_A_TEST * error)


def ratio_claim(topic: str, claim: str, world: str, expected: float, above: Tensor, below: Tensor) -> Claim:
    """Σ above / Σ below is `expected`, by the delta method: within 4.5 standard errors, arrays (N,)."""
    above, below = above.double(), below.double()
    ratio = float(above.sum() / below.sum())
    rest = (above - ratio * below) / below.mean()
    error = float(rest.std(correction=1)) / math.sqrt(len(rest))
    return Claim(topic, claim, world, expected, ratio, SIGMAS_OF_A_TEST * error)


def relative_error(measured: Tensor, expected: Tensor) -> float:
    """Largest l2 distance over largest l2 norm, images along the first axis."""
    distance = (measured - expected).flatten(1).norm(dim=1).max()
    return float(distance / expected.flatten(1).norm(dim=1).max())


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least-squares slope of ln y against ln x."""
    a = torch.tensor(x, dtype=torch.float64).log()
    b = torch.tensor(y, dtype=torch.float64).log()
    a = a - a.mean()
    return float((a * b).sum() / a.square().sum())
