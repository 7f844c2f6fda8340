"""From what a network predicts to D(u; σ), in the network's own range (THEORY §2.1, 2.3 and 2.4).

D = c_skip u + c_out F(c_in u; t), with scalars that depend on σ only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.score.networks.card import ScoreCard

_VP_MIN, _VP_SPAN = 0.1, 19.9  # β_min and β_d of Song et al. (2021)
TIME_SCALE = 1000.0  # sinusoids of period 2π and longer resolve ¼ ln σ only when it is stretched


@dataclass(frozen=True)
class Coefficients:
    """c_skip, c_out, c_in and the network's time t of each image, all (N,)."""

    skip: Tensor
    out: Tensor
    inside: Tensor
    time: Tensor


def edm_coefficients(sigma: Tensor, sigma_data: float) -> Coefficients:
    """Karras et al. (2022), Table 1: the target of F has unit variance at every σ; time is c_noise = ¼ ln σ.

    Args:
        sigma: (N,), positive, in units of the network's range.
        sigma_data: standard deviation of its pixels.
    """
    total = sigma**2 + sigma_data**2
    return Coefficients(sigma_data**2 / total, sigma * sigma_data / total.sqrt(), total.rsqrt(), sigma.log() / 4)


def edm_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """w(σ) = (σ² + σ_d²)/(σ σ_d)², so that w c_out² = 1."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def coefficients(card: ScoreCard, sigma: Tensor) -> Coefficients:
    """Of the card's prediction at σ (N,) > 0, in units of the network's range."""
    one = torch.ones_like(sigma)
    shrink = (1 + sigma**2).rsqrt()
    if card.prediction == "edm":
        return edm_coefficients(sigma, card.sigma_data)
    if card.prediction == "score":
        return Coefficients(one, sigma**2, one, sigma)
    if card.prediction == "ve":
        return Coefficients(one, sigma, one, (sigma / 2).log())
    if card.prediction == "vp":
        return Coefficients(one, -sigma, shrink, 999 * _vp_time(sigma))
    if card.prediction == "iddpm":
        return Coefficients(one, -sigma, shrink, _nearest_step(card, sigma))
    time = _discrete_time(card, sigma)
    if card.prediction == "epsilon":
        return Coefficients(one, -sigma, shrink, time)
    if card.prediction == "v":
        return Coefficients(shrink**2, -sigma * shrink, shrink, time)
    return Coefficients(torch.zeros_like(one), one, shrink, time)  # x₀ itself


def _vp_time(sigma: Tensor) -> Tensor:
    """t with σ² = exp(½β_d t² + β_min t) − 1."""
    return ((_VP_MIN**2 + 2 * _VP_SPAN * (sigma**2).log1p()).sqrt() - _VP_MIN) / _VP_SPAN


def _discrete_time(card: ScoreCard, sigma: Tensor) -> Tensor:
    """Fractional time step: linear in ln σ between the levels; the last is held outside of them."""
    levels = torch.tensor(card.levels, dtype=sigma.dtype, device=sigma.device).log()
    bounded = sigma.log().clamp(levels[0], levels[-1])
    above = torch.searchsorted(levels, bounded.contiguous()).clamp(1, len(levels) - 1)
    low, high = levels[above - 1], levels[above]
    return (above - 1).to(sigma.dtype) + (bounded - low) / (high - low)


def _nearest_step(card: ScoreCard, sigma: Tensor) -> Tensor:
    """Time step of the level nearest to σ itself, as Karras et al. (2022) feed networks of iDDPM's form."""
    levels = torch.tensor(card.levels, dtype=sigma.dtype, device=sigma.device)
    return torch.searchsorted((levels[1:] + levels[:-1]) / 2, sigma.contiguous()).to(sigma.dtype)


def ddpm_levels(alphas_cumprod: Tensor) -> tuple[float, ...]:
    """σ_t = √((1 − ᾱ_t)/ᾱ_t) of every time step of a diffusion with ᾱ_t (T,), rising."""
    bar = alphas_cumprod.double()
    return tuple(((1 - bar) / bar).sqrt().tolist())


def sigma_steps(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> list[float]:
    """σ_0 = σ_max > … > σ_{N−1} = σ_min > σ_N = 0, evenly spaced in σ^(1/ρ)."""
    if steps == 1:
        return [sigma_max, 0.0]
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return [(high + i / (steps - 1) * (low - high)) ** rho for i in range(steps)] + [0.0]
