"""A trained network as a `Denoiser`: the conversion of range, σ, time and labels lives here, once."""

from __future__ import annotations

import dataclasses
from typing import final

import torch
from torch import Tensor, nn

from tangency.numerics import per_example
from tangency.score.derived import ScoreOfDenoiser
from tangency.score.networks.card import ScoreCard
from tangency.score.networks.parametrisation import coefficients

_VALUES = 1_000_000  # pixels of a batch at once: bounds the memory of the activations


@final
class NetworkScore(ScoreOfDenoiser):
    """D(x; σ) = (c_skip u + c_out F(c_in u; t) − low)/w, with u = low + w x noisy at w σ, w = high − low.

    Frozen: its weights take no gradient; D is differentiable in x. The network runs in float32 (or in the precision of
    its weights where that is higher), and D has the dtype of x.

    Args:
        module: (c_in u, t (N,), y (N,) or None) to F, (N, C', H, W); of C' channels the first C count (networks that
            learn a variance give more).
        card: how to feed it and read its output.
        kind: short name for specs and reports.

    Raises:
        NumericsError: σ < 0 or above what it was trained for, a score at σ = 0, images that are not finite or of
            another shape, labels out of range or missing.

    Example:
        >>> from tangency.score import ScoreCard, build_network
        >>> options = {"channels": 1, "classes": 2, "size": "tiny"}
        >>> score = build_network(ScoreCard("unet", "edm", (1, 8, 8), options, classes=("cat", "dog")))
        >>> x = torch.rand(5, 1, 8, 8)
        >>> torch.equal(score.denoise(x, 0.0), x), score.score(x, 0.25, torch.zeros(5, dtype=torch.int64)).shape
        (True, torch.Size([5, 1, 8, 8]))
    """

    def __init__(self, module: nn.Module, card: ScoreCard, kind: str = "network") -> None:
        self.module, self.settings, self.kind = module.eval().requires_grad_(False), card, kind
        self.shape, self.classes, self.data_range = card.shape, len(card.classes), card.data_range
        self.card = {"kind": kind, **dataclasses.asdict(card)}

    def to(self, device: str | torch.device) -> NetworkScore:
        """The same network, moved to another device."""
        self.module.to(device)
        return self

    def _denoise(self, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        parts = torch.split(torch.arange(len(x), device=x.device), max(1, _VALUES // x[0].numel()))
        return torch.cat([self._denoised(x[i], levels[i], None if y is None else y[i]) for i in parts])

    def _denoised(self, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        own = next(self.module.parameters(), torch.zeros(0)).dtype
        precision = own if own == torch.float64 else torch.float32
        low, width = self.data_range[0], self.settings.width
        c = coefficients(self.settings, levels * width)
        u = low + width * x.double()
        raw: Tensor = self.module((per_example(c.inside, x) * u).to(precision), c.time.to(precision), y)
        denoised = per_example(c.skip, x) * u + per_example(c.out, x) * raw[:, : x.shape[1]].double()
        return (denoised - low) / width
