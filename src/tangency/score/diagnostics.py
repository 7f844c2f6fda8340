"""Whether what claims to be a score is one: identities that hold for every true score, an image at a time.

With x = x₀ + σn and s = ∇ log p_σ: E[s] = 0, E[s xᵀ] = −I, and J_D = I + σ²∇s is symmetric. SURE gives the denoising
error without the clean images, FLIPD the dimension of the manifold.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.autodiff import double_backward
from tangency.numerics import dct_basis, flat
from tangency.score.denoiser import Denoiser
from tangency.score.derived import ScoreOfDenoiser
from tangency.score.quality import check_positive, noised
from tangency.seeding import Draw
from tangency.types import LabelledImages

_DIRECTIONS = 12  # lowest frequencies, in which E[s] and E[s xᵀ] are looked at
_STEP = 1e-4  # of central differences in float64, relative to σ


@dataclass(frozen=True)
class Diagnosis:
    """What each of N held-out images says about a score at one σ, float64 on the CPU.

    Args:
        sigma: in [0, 1] pixel units.
        error: ‖D(x₀ + σn) − x₀‖²/d, (N,).
        sure: (‖x − D‖² + 2σ² tr J_D)/d − σ², whose expectation is that of `error`, (N,).
        stein: −sᵀ(x − c)/d, whose expectation is 1 for any constant c, (N,).
        score, image: σs and (x − c)/σ in the lowest frequencies of a cosine transform, (N, k): E[score] = 0 and
            E[score imageᵀ] = −I.
        asymmetry: ‖Jv − Jᵀv‖² for a random v, (N,); NaN where the score cannot be differentiated backwards.
        curvature: ‖Jv‖², (N,).
        dimension: tr J_D + ‖D − x₀‖²/σ² at the clean image (FLIPD), (N,).
    """

    sigma: float
    error: Tensor
    sure: Tensor
    stein: Tensor
    score: Tensor
    image: Tensor
    asymmetry: Tensor
    curvature: Tensor
    dimension: Tensor


def diagnose(
    score: Denoiser,
    data: LabelledImages,
    sigma: float,
    *,
    seed: int = 0,
    probes: int = 4,
    batch: int = 64,
    device: str | torch.device = "cpu",
) -> Diagnosis:
    """Ask a score without labels at the noisy and at the clean images of `data`.

    Args:
        score: to be diagnosed.
        data: held-out images.
        sigma: > 0.
        seed: of the noise, which is that of `denoising_error`, and of the probes.
        probes: random vectors for each trace and asymmetry (Hutchinson).
        batch: images at once; it changes memory, not results.
        device: where the score is asked.

    Source: SURE: Stein (1981); FLIPD: Kamkari et al., arXiv 2406.03537.
    """
    check_positive(sigma)
    centre = _mean(data, batch).to(device)
    basis = dct_basis(data.shape, min(_DIRECTIONS, centre.numel() - 1)).to(device)
    parts = [
        _diagnosed(score, data.images(ids).double().to(device), ids.to(device), sigma, seed, probes, centre, basis)
        for ids in torch.arange(len(data)).split(batch)
    ]
    joined = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    return Diagnosis(sigma, **joined)


def _mean(data: LabelledImages, batch: int) -> Tensor:
    total = torch.zeros(data.shape, dtype=torch.float64)
    for ids in torch.arange(len(data)).split(batch):
        total += data.images(ids).double().sum(0)
    return total.flatten() / len(data)


def _diagnosed(
    score: Denoiser, clean: Tensor, ids: Tensor, sigma: float, seed: int, probes: int, centre: Tensor, basis: Tensor
) -> dict[str, Tensor]:
    d, noisy = centre.numel(), noised(clean, ids, sigma, seed)
    draw = Draw(seed, ids, f"probes at {sigma}")
    found, trace, asymmetry, curvature = _jacobian(score, noisy, sigma, draw, probes)
    restored, own_trace, _, _ = _jacobian(score, clean, sigma, draw, probes)
    pull, away = flat(found - noisy), flat(noisy) - centre
    residual = pull.square().sum(1)
    return {
        "error": flat(found - clean).square().mean(1),
        "sure": (residual + 2 * sigma**2 * trace) / d - sigma**2,
        "stein": -(pull * away).sum(1) / (d * sigma**2),
        "score": pull @ basis / sigma,
        "image": away @ basis / sigma,
        "asymmetry": asymmetry,
        "curvature": curvature,
        "dimension": own_trace + flat(restored - clean).square().sum(1) / sigma**2,
    }


def _jacobian(
    score: Denoiser, x: Tensor, sigma: float, draw: Draw, probes: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """D(x), and over random v the means of vᵀJv, ‖Jv − Jᵀv‖² and ‖Jv‖², J the Jacobian of D at x."""
    trace, asymmetry, curvature = (torch.zeros(len(x), dtype=torch.float64, device=x.device) for _ in range(3))
    value = x
    for number in range(probes):
        sign = draw.of(number).uniform(x.shape[1:], torch.float64) < 0.5
        v = torch.where(sign, -1.0, 1.0).to(x.dtype)
        value, forward, backward = _products(score, x, sigma, v)
        trace += flat(v * forward).sum(1) / probes
        asymmetry += flat(forward - backward).square().sum(1) / probes
        curvature += flat(forward).square().sum(1) / probes
    return value, trace, asymmetry, curvature


def _products(score: Denoiser, x: Tensor, sigma: float, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """D(x), J v and Jᵀ v; where D is a closed form, J v by central differences in float64, and no Jᵀ v."""
    if not isinstance(score, ScoreOfDenoiser):
        step = _STEP * sigma * v
        forward = (score.denoise(x + step, sigma) - score.denoise(x - step, sigma)) / (2 * _STEP * sigma)
        return score.denoise(x, sigma), forward, torch.full_like(x, torch.nan)
    with double_backward():
        value, forward = torch.func.jvp(lambda x: score.denoise(x, sigma), (x,), (v,))[:2]
        with torch.enable_grad():
            leaf = x.clone().requires_grad_(True)
            (backward,) = torch.autograd.grad(score.denoise(leaf, sigma), leaf, v)
    return value, forward, backward
