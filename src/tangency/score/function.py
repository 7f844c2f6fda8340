"""Any Python function as a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor

from tangency.errors import NumericsError, SpecError
from tangency.numerics import noise_levels, per_example
from tangency.score.derived import ScoreOfDenoiser
from tangency.types import Sigma, check_images


@final
class FunctionScore(ScoreOfDenoiser):
    """Any Python function as a score.

    Args:
        denoiser: (u (N, C, H, W), σ (N,), y (N,) or None) to D(u; σ, y), all in units of `data_range`.
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
        self.card: Mapping[str, Any] = {"kind": kind, "data_range": data_range, "classes": classes}

    def denoise(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """D(x; σ) or D(x; σ, y); x itself where σ = 0."""
        check_images(x, unit_range=False)
        if y is None and not self.unconditional:
            raise NumericsError(f"labels: '{self.kind}' is conditional only, expected a class for each image.")
        levels = noise_levels(sigma, x)
        low, width = self.data_range[0], self.data_range[1] - self.data_range[0]
        safe = torch.where(levels > 0, levels, 1.0)
        found = self.denoiser(low + width * x, (safe * width).to(x.dtype), y)
        if not isinstance(found, Tensor) or found.shape != x.shape:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise NumericsError(f"'{self.kind}': returned {got}, expected images of shape {tuple(x.shape)}.")
        return torch.where(per_example(levels > 0, x), ((found - low) / width).to(x.dtype), x)
