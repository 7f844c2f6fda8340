"""What a measure is: function, unit, range, chance level, controls and words, in one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tangency.errors import NumericsError, SpecError, unknown_name
from tangency.measures.keys import CONTROLS, Key

Better = Literal["higher", "lower", "neither"]
Aggregate = Literal["mean", "median", "kappa", "ratio", "cka"]
Columns = dict[str, Tensor]  # key to (N,)
Values = NDArray[np.float64]
# From a `tangency.measures.Batch` to the measure's values (N,), or to columns where there are several.
Function = Callable[[Any], Tensor | Columns]

INF = float("inf")


@dataclass(frozen=True)
class Scale:
    """Unit and range of a measure.

    Args:
        unit: of its values.
        low, high: range.
        words: both as pages have them; made of the others by default.
    """

    unit: str
    low: float
    high: float
    words: str = ""

    def __str__(self) -> str:
        low, high = (f"{v:g}".replace("-", "−").replace("inf", "∞") for v in (self.low, self.high))
        span = f"{low} to {high}" if self.low != -INF else f"at most {high}" if self.high != INF else ""
        return self.words or ", ".join(part for part in (self.unit, span) if part)


FRACTION, RATIO = Scale("fraction", 0, 1), Scale("ratio", 0, INF)


@dataclass(frozen=True)
class LevelContext:
    """What the chance level of a measure depends on.

    Args:
        key: of the measure.
        columns: of all images, (N,) each, by key.
        dimension, classes: of the images.
    """

    key: Key
    columns: Mapping[str, Values]
    dimension: int
    classes: int

    @property
    def rank(self) -> Values:
        """Dimensions of each image's tangent space, by the estimator of the key."""
        return needed_column(self.columns, rank_key(self.key), self.key)

    def mean(self, family: str) -> float | None:
        """Mean of a column that has no settings; None where it was not measured."""
        return float(np.mean(self.columns[family])) if family in self.columns else None


@dataclass(frozen=True)
class Measure:
    """A measure, and all that is said of it.

    Only the first three have no default. Texts may hold {scalar}, {target} (short) and {target_long}, for which those
    of the key are put.

    Args:
        title: a few words for use inside sentences.
        scale: unit and range.
        better: which direction is better.
        function: from a `Batch` to the values (N,) of the images, or to columns by key. Measures that are computed
            together share a function, which is called once. None: made by others, or pooled from the rows of others.
        level: expected value for a gradient in a random direction (for accuracies: for guessing), or a function of a
            `LevelContext` that gives it; None where there is none.
        controls: name, of `keys.CONTROLS`, to words. Of a key with rows of such controls, the excess over them is
            reported.
        headline: of these controls, those over the best of which the excess is taken; all by default.
        aggregate: how images combine: "mean" or "median", or a pooled "kappa", "ratio" or "cka".
        parts: families of the rows that a pooled number is made of.
        ingredients: families of rows that are no measures themselves, such as the denominator of a ratio.
        fixed: whether it is the same for every classifier.
        heading: on the page; the title by default.
        what: one line that defines it, on the page.
        chance: the chance level in words.
        reading: what a value in the better direction means.
        axis: a shorter heading, for axes.
        shown: the σ or ε that is shown first; the smallest by default.
    """

    title: str
    scale: Scale
    better: Better
    function: Function | None = None
    level: float | Callable[[LevelContext], float | None] | None = None
    controls: Mapping[str, str] = field(default_factory=dict)
    headline: tuple[str, ...] = ()
    aggregate: Aggregate = "mean"
    parts: tuple[str, ...] = ()
    ingredients: tuple[str, ...] = ()
    fixed: bool = False
    heading: str = ""
    what: str = ""
    chance: str = ""
    reading: str = ""
    axis: str = ""
    shown: float = 0.0

    def __post_init__(self) -> None:
        for name in self.controls:
            if name not in CONTROLS:  # keys of it would be parsed as those of a target
                raise SpecError(f"measure '{self.title}': {unknown_name('control', name, CONTROLS)}")

    def chance_level(self, sample: LevelContext) -> float | None:
        """Expected value for a gradient in a random direction, or for guessing; None where there is none."""
        return self.level(sample) if callable(self.level) else self.level


def needed_column(columns: Mapping[str, Values], key: Key, of: Key) -> Values:
    """The column of a key, (N,), which the number of another key rests on.

    Raises:
        NumericsError: it is not there.
    """
    if str(key) not in columns:
        raise NumericsError(f"{key}: is not among the columns, and {of} rests on it; keep it, or leave both out.")
    return columns[str(key)]


def rank_key(key: Key) -> Key:
    """Of the row that holds the ranks of the tangent spaces behind a key."""
    return Key("tangent_rank").at(tangents=key.tangents)


def guessing(sample: LevelContext) -> float:
    """Accuracy of a constant answer, which nothing can attack."""
    return 1 / sample.classes
