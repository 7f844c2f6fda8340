"""What travels with the weights of a score network: how to feed it and read its output."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tangency.errors import ModelError, quoted, unknown_name

# How the output F of a network becomes D; `parametrisation.py` holds the formulas.
PREDICTIONS = ("edm", "epsilon", "v", "sample", "score", "vp", "ve", "iddpm")


@dataclass(frozen=True)
class ScoreCard:
    """How to feed a score network and read its output.

    Args:
        network: registered name of the network that the tensors fill ("unet"), or "callable".
        options: keyword arguments that rebuild it.
        prediction: in `PREDICTIONS`, what the network predicts.
        shape: (C, H, W) of an image.
        classes: names, index = label; empty where it takes no labels.
        unconditional: whether it works without a label.
        data_range: what black and white are inside of the network; σ scales with its width.
        sigma_range: least and largest σ it was trained for, in [0, 1] pixel units.
        levels: σ of every discrete time step, in units of `data_range`; empty for continuous time.
        sigma_data: standard deviation of pixels that "edm" assumes, in units of `data_range`.
        licence: of the weights.
        provenance: data digest, training, versions, evaluation; JSON values.
    """

    network: str
    prediction: str
    shape: tuple[int, int, int]
    options: dict[str, object] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    unconditional: bool = True
    data_range: tuple[float, float] = (-1.0, 1.0)
    sigma_range: tuple[float, float] = (0.001, 40.0)
    levels: tuple[float, ...] = ()
    sigma_data: float = 0.5
    licence: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise ModelError(f"score card: {unknown_name('prediction', self.prediction, PREDICTIONS)}")
        if len(self.shape) != 3 or not all(isinstance(n, int) and n > 0 for n in self.shape):
            raise ModelError(f"score card: got shape {self.shape}, expected (channels, height, width), all positive.")
        if len(self.data_range) != 2 or len(self.sigma_range) != 2:
            raise ModelError("score card: data range and σ range are pairs, least and largest.")
        low, high = self.data_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ModelError(f"score card: got data range {self.data_range}, expected low < high, such as (-1, 1).")
        if not 0 <= self.sigma_range[0] < self.sigma_range[1]:
            raise ModelError(f"score card: got σ range {self.sigma_range}, expected 0 ≤ least < largest.")
        if not self.unconditional and not self.classes:
            raise ModelError("score card: a network without labels must be unconditional.")
        if self.prediction == "edm" and not 0 < self.sigma_data < math.inf:
            raise ModelError(f"score card: got sigma_data {self.sigma_data}, expected a positive number.")
        if self.prediction in ("epsilon", "v", "sample", "iddpm") and len(self.levels) < 2:
            raise ModelError(
                f"score card: prediction '{self.prediction}' needs the σ of every time step, got {len(self.levels)}."
            )
        rising = all(a < b for a, b in zip(self.levels, self.levels[1:], strict=False))
        if self.levels and not (rising and self.levels[0] > 0):
            raise ModelError("score card: the levels of discrete times must be positive and rise.")

    @property
    def width(self) -> float:
        """Units of `data_range` that make one unit of [0, 1]."""
        return self.data_range[1] - self.data_range[0]


def read_score_card(header: Mapping[str, Any], path: Path | str) -> ScoreCard:
    """The card in the header of a file; its lists become tuples again."""
    names = {f.name for f in dataclasses.fields(ScoreCard)}
    content = header.get("score") if isinstance(header, Mapping) else None
    if not isinstance(content, Mapping) or not content.keys() <= names:
        got = sorted(content if isinstance(content, Mapping) else header)
        raise ModelError(
            f"{path}: the header is not the card of a score network of this version: got {got}. It may hold a "
            "classifier, or come from a newer tangency."
        )
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    try:
        return ScoreCard(**plain)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: the card of the score network cannot be read ({quoted(error)}).") from error
