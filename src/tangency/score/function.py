"""Any Python function as a score."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import final

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
        unconditional: whether it works without labels.
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
        self.denoiser, self.shape, self.classes, self.data_range = denoiser, shape, classes, data_range
        self.unconditional, self.kind = unconditional, kind
        self.card = {name: getattr(self, name) for name in ("kind", "data_range", "classes", "unconditional")}

    @cached_property
    def differentiable(self) -> bool:
        """Whether its output follows from its input through differentiable operations, tried on one grey image."""
        u = torch.zeros(1, *self.shape, requires_grad=True)
        y = None if self.unconditional else torch.zeros(1, dtype=torch.int64)
        try:
            with torch.enable_grad():
                denoised = self.denoiser(u, torch.ones(1), y)
        except (RuntimeError, TypeError):  # NumPy refuses tensors with a gradient
            return False
        return isinstance(denoised, Tensor) and denoised.requires_grad

    def _denoise(self, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        low, width = self.data_range[0], self.data_range[1] - self.data_range[0]
        denoised = self.denoiser(low + width * x, (levels * width).to(x.dtype), y)
        if not isinstance(denoised, Tensor) or denoised.shape != x.shape:
            got = tuple(denoised.shape) if isinstance(denoised, Tensor) else type(denoised).__name__
            raise NumericsError(f"'{self.kind}': returned {got}, expected images of shape {tuple(x.shape)}.")
        return (denoised - low) / width
