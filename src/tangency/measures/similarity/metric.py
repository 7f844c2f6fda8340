"""A way in which a gradient and a target can be alike: what it compares, with unit, range, chance level and words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Negated = Literal["opposite", "same", "no more"]
Shape = tuple[int, int, int]
Device = str | torch.device


class PairMetric(ABC):
    """A metric of pairs; `parts` stand behind the family in the keys of its numbers, "" for a single one."""

    parts: tuple[str, ...] = ("",)

    def prepare(self, signal: Tensor) -> Tensor:
        """(N, C, H, W), normalised for metrics of pictures, to whatever is kept of it, (N, …)."""
        return signal

    @abstractmethod
    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        """Prepared signals, (N, …) × (N, …), to (N, parts) float64."""


Maker = Callable[[Shape, Device], PairMetric]


@dataclass(frozen=True)
class Metric:
    """One way in which a gradient and a target can be alike; higher is always more alike.

    Args:
        title: a few words.
        unit: of its values.
        low, high: range.
        identical: the value of two equal signals.
        negated: what becomes of it when one signal changes sign: the opposite number, the same number, or a value
            that is no more than that of the identical pair.
        chance: value of a random direction; None where only the shuffled control tells it.
        reference: where it is defined.
        pictures: compares normalised pictures in [−1, 1]; the others compare the signals themselves.
        network: needs a pass of a network for each picture, so that its costlier controls are named in a configuration.
        weights: file that must be found, "" where none is needed or it is shipped.
        of_set: compares an image with a fixed gallery, not a pair alone.
        normalisation: the only one of pictures that it is defined with; "" for those of the configuration.
        smallest: pixels a side that images must have at least.
        make: (shape, device) to its `PairMetric`; None where it compares with a set.
        heading, what, reading, axis: words of its measure, see `Measure`; made of title and reference by default.
        guess: the chance level in words, where it is no fixed number.
    """

    title: str
    unit: str
    low: float
    high: float
    identical: float
    negated: Negated
    chance: float | None
    reference: str
    pictures: bool = False
    network: bool = False
    weights: str = ""
    of_set: bool = False
    normalisation: str = ""
    smallest: int = 0
    make: Maker | None = None
    heading: str = ""
    what: str = ""
    reading: str = "the gradient looks like the target"
    axis: str = ""
    guess: str = "no fixed level"
