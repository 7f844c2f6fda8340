"""Any Python function as a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from tangency.errors import NumericsError, SpecError
from tangency.score.derived import ScoreOfDenoiser


@final
class FunctionScore(ScoreOfDenoiser):
    """Any Python function as a score.

    Args:
        denoiser: (u (N, C, H, W), σ (N,), y (N,) or None) to D(u; σ, y), all in units of `data_range` and in the dtype
            of the images.
        shape: (C, H, W).
        classes: how many it can be given; 0 for none.
        data_range: what black and white are to the function; σ scales with its width.
        unconditional: whether it can be asked without labels.
        kind: short name for reports.

    Example:
        >>> def shrink(u, sigma, y):
        ...     return u / (1 + sigma[:, None, None, None] ** 2)
        >>> score = FunctionScore(shrink, (1, 4, 4), kind="standard normal")
        >>> x = torch.rand(2, 1, 4, 4)  # N(0, I) on [−1, 1] is N(½, ¼I) on [0, 1]
        >>> bool(((score.score(x, 0.25) + (x - 0.5) / (0.25 + 0.25**2)).abs() < 1e-5).all())
        True
    """

    wide = False

    def __init__(
        self,
        denoiser: Callable[[Tensor, Tensor, Tensor | None], Tensor],
        shape: tuple[int, int, int],
        classes: int = 0,
        data_range: tuple[float, float] = (-1.0, 1.0),
        unconditional: bool = True,
        kind: str = "function",
    ) -> None:
        if not data_range[0] < data_range[1]:
            raise SpecError(f"data range: got {data_range}, expected low < high, such as (-1, 1).")
        self.denoiser, self.data_range, self.kind = denoiser, data_range, kind
        self._shape, self._classes, self._unconditional = shape, classes, unconditional

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self._shape

    @property
    def classes(self) -> int:
        """How many classes it can be given; 0 for none."""
        return self._classes

    @property
    def card(self) -> Mapping[str, Any]:
        """What it was made with."""
        return {
            "kind": self.kind,
            "data_range": self.data_range,
            "classes": self._classes,
            "unconditional": self._unconditional,
        }

    @cached_property
    def differentiable(self) -> bool:
        """Whether its output follows from its input through differentiable operations, tried on one grey image."""
        u = torch.zeros(1, *self._shape, requires_grad=True)
        y = None if self._unconditional else torch.zeros(1, dtype=torch.int64)
        try:
            with torch.enable_grad():
                found = self.denoiser(u, torch.ones(1), y)
        except (RuntimeError, TypeError):  # NumPy refuses tensors with a gradient
            return False
        return isinstance(found, Tensor) and found.requires_grad

    def _answer(self, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        low, width = self.data_range[0], self.data_range[1] - self.data_range[0]
        found = self.denoiser(low + width * x, (levels * width).to(x.dtype), y)
        if not isinstance(found, Tensor) or found.shape != x.shape:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise NumericsError(f"'{self.kind}': returned {got}, expected images of shape {tuple(x.shape)}.")
        return (found - low) / width
