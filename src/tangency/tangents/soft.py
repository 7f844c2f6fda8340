"""Soft alignment of a direction with a denoiser's Jacobian: how much of it is signal, without a rank."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.autodiff import pushforward
from tangency.errors import NumericsError
from tangency.numerics import flat, unit
from tangency.score import Denoiser
from tangency.seeding import Draw


@dataclass(frozen=True)
class SoftAlignment:
    """Of each image; all (N,) float64.

    Args:
        alignment: gᵀJg/‖g‖², J = ∂D(x; σ)/∂x.
        floor: tr J/d, its mean over random directions g.
        floor_error: standard error of that by its random probes.
        control: the same with J taken at another image, times tr J/tr J′: equal traces. None without partners.
    """

    alignment: Tensor
    floor: Tensor
    floor_error: Tensor
    control: Tensor | None = None


def soft_alignment(
    denoiser: Denoiser,
    x: Tensor,
    directions: Tensor,
    sigma: float,
    *,
    partners: Tensor | None = None,
    probes: int = 16,
    seed: int = 0,
) -> SoftAlignment:
    """gᵀJg/‖g‖² with J = ∂D(x; σ)/∂x, beside its floor tr J/d and a control of equal trace.

    J is Cov[x₀ | x]/σ², so this is the share of variance along g that noise of standard deviation σ leaves: about 1
    along the manifold, 0 off it. F² of `DenoiserTangents` with soft weights is the part of it that lies in the leading
    directions; here it is whole, for the price of one product, with no eigenvector and no rank.

    Args:
        denoiser: differentiable in forward mode.
        x: (N, C, H, W) in [0, 1].
        directions: (N, C, H, W), such as input gradients; NaN for a zero one.
        sigma: noise level in [0, 1] pixel units, > 0.
        partners: (N, C, H, W) other images, for the control.
        probes: random signs that traces are estimated with, at least 2 (Hutchinson).
        seed: of the probes; the same for images and partners.

    Returns:
        `SoftAlignment`.

    Raises:
        NumericsError: shapes that differ, a σ or a number of probes that is too small.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("linear?shape=1x4x4&rank=3&noise=0")
        >>> x, y = world.sample(2, seed=0).x, world.sample(2, seed=0).y
        >>> found = soft_alignment(world, x, world.bayes_direction(x, y, 0.05).direction, 0.02)
        >>> bool((found.alignment > 0.9).all()), bool((found.floor < 0.25).all())
        (True, True)

    Source: Guth et al., arXiv 2506.05310; the trace: Hutchinson (1990).
    """
    if directions.shape != x.shape or (partners is not None and partners.shape != x.shape):
        raise NumericsError(
            f"soft alignment: got directions {tuple(directions.shape)} at {tuple(x.shape)}, expected equal shapes."
        )
    if not sigma > 0 or probes < 2:
        raise NumericsError(f"soft alignment: got σ = {sigma} and {probes} probes, expected σ > 0 and at least 2.")
    ids = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    signs = (Draw(seed, ids, "soft alignment").normal((probes, *x.shape[1:]), torch.float64) > 0).to(x.dtype) * 2 - 1
    along = unit(directions)
    known = torch.isfinite(along)  # J of a NaN would be NaN for its whole image only, but some denoisers refuse it
    vectors = torch.cat([along.where(known, 0.0)[:, None], signs], 1)

    def at(point: Tensor) -> tuple[Tensor, Tensor]:
        _, images = pushforward(lambda z: denoiser.denoise(z, sigma), point, vectors)
        values = (vectors * images).flatten(2).double().sum(2)
        return values[:, 0].where(flat(known).all(1), torch.nan), values[:, 1:]

    alignment, traces = at(x)
    d = flat(x).shape[1]
    error = traces.std(1) / probes**0.5 / d
    if partners is None:
        return SoftAlignment(alignment, traces.mean(1) / d, error)
    other, theirs = at(partners)
    return SoftAlignment(alignment, traces.mean(1) / d, error, other * traces.mean(1) / theirs.mean(1))
