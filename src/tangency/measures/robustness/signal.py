"""What a classifier answers to: the part of an image that holds the class, or the distractor beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.errors import NumericsError
from tangency.measures.config import MeasureConfig
from tangency.measures.registry import number
from tangency.numerics import flat, unit
from tangency.seeding import Draw
from tangency.types import LabelledImages

Columns = dict[str, Tensor]


def check_signal(config: MeasureConfig, pool: LabelledImages) -> None:
    """Raise where noise on signal and distractor is asked for, of images whose signal's place is not known."""
    if config.noise_sigmas and pool.signal is None:
        raise NumericsError(
            f"noise_sigmas: got {list(config.noise_sigmas)} for '{pool.name}', whose signal's place is not known; "
            "expected data such as distractor:fashion-mnist-5k, or no noise_sigmas."
        )


def signal_fraction(name: str, gradient: Tensor, signal: Tensor) -> Columns:
    """‖m ⊙ ∇f‖²/‖∇f‖², gradient energy on the signal; NaN for a zero gradient. Chance: the signal's share of pixels.

    Args:
        name: of the scalar.
        gradient: (N, C, H, W).
        signal: m, (N, 1, H, W) bool.
    """
    return {f"signal_fraction.{name}": flat(unit(gradient) * signal).double().square().sum(1)}


def noise_changes(
    model: nn.Module, logits: Tensor, x: Tensor, ids: Tensor, signal: Tensor, config: MeasureConfig
) -> Columns:
    """E‖p(x + σ m ⊙ n) − p(x)‖₁ on the signal, E‖p(x + σ (1 − m) ⊙ n) − p(x)‖₁ on the distractor, n ~ N(0, I).

    Their pooled ratio is the paper's relative noise robustness (arXiv 2305.19101, Figure 5). The same n for both parts
    and for every classifier; x + σn is not clipped.
    """
    base, columns = logits.softmax(1), {}
    noises = [Draw(config.seed, ids, f"noise {r}").normal(x.shape[1:], x.dtype) for r in range(config.directions)]
    for part, mask in (("signal", signal), ("distractor", ~signal)):
        for sigma in config.noise_sigmas:
            changes = [(model(x + sigma * mask * n).softmax(1) - base).abs().sum(1).double() for n in noises]
            columns[f"noise_{part}.sigma={number(sigma)}"] = torch.stack(changes).mean(0)
    return columns
