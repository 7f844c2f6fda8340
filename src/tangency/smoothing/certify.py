"""A classifier under Gaussian noise, and what can be proved of it, in one call each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.smoothing.certificate import Certificate
from tangency.smoothing.smoothed import Smoothed


def smooth(model: nn.Module, sigma: float, *, seed: int = 0, batch_size: int = 256) -> Smoothed:
    """The smoothed classifier g(x) = argmax_c P(f(x + σn) = c), n ~ N(0, I), of any classifier f.

    Args:
        model: f, maps (N, C, H, W) to (N, classes) logits; run in eval mode, left as it was found.
        sigma: σ > 0, in [0, 1] pixel units.
        seed: of the noise; an image's noise follows from the seed and the image's id alone.
        batch_size: noisy images at once; it changes memory, not results.

    Returns:
        `Smoothed`: `predict`, `certify`, `votes`, and `gradient`, that of the mean over noisy copies.

    Raises:
        NumericsError: a σ that is not above 0 and finite, or no images at once.

    Source: Cohen, Rosenfeld & Kolter, arXiv 1902.02918, equation (1).

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> x, y = torch.rand(2, 1, 2, 2), torch.tensor([0, 2])
        >>> smooth(model, 0.25).gradient(x, y, torch.arange(2), n=16).direction.shape
        torch.Size([2, 1, 2, 2])
    """
    return Smoothed(model, sigma, seed, batch_size)


def certify(
    model: nn.Module,
    images: Tensor,
    sigma: float,
    *,
    n0: int = 100,
    n: int = 1000,
    alpha: float = 0.001,
    ids: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> Certificate:
    """The class of the smoothed classifier and the l2 radius R = σ Φ⁻¹(p) within which it cannot change.

    p is a lower bound of that class's probability under noise, of n noisy copies; where p ≤ ½ it abstains. Each image's
    statement is wrong with probability ≤ alpha.

    Args:
        model: maps (N, C, H, W) to (N, classes) logits; run in eval mode, left as it was found.
        images: (N, C, H, W), in [0, 1]; noisy copies are not clipped, as the proof needs.
        sigma: of the noise, > 0, in [0, 1] pixel units.
        n0: noisy copies that select the class, ≥ 1.
        n: further ones that bound its probability; the largest possible radius is σ Φ⁻¹(alpha^(1/n)).
        alpha: in (0, 1).
        ids: (N,) identity of each image, in 0 … 2³¹ − 1, from which its noise follows; 0 … N − 1 by default.
        seed: of the noise.
        batch_size: noisy images at once; it changes memory, not results.

    Returns:
        `Certificate`: classes (N,), −1 where it abstains; radius (N,) in pixel units, 0 there; lower (N,), p in [0, 1].

    Raises:
        NumericsError: numbers out of their range, or n so small that it would always abstain.

    Source: Cohen, Rosenfeld & Kolter, arXiv 1902.02918, section 3.2 (CERTIFY).

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> proved = certify(model, torch.rand(2, 1, 2, 2), 0.25, n=200)
        >>> proved.classes.shape, bool((proved.radius >= 0).all())
        (torch.Size([2]), True)
    """
    ids = torch.arange(len(images)) if ids is None else ids
    return smooth(model, sigma, seed=seed, batch_size=batch_size).certify(images, ids, n0, n, alpha)
