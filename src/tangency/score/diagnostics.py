"""Whether what claims to be a score is one: identities that hold for every true score, an image at a time.

With x = x₀ + σn and s = ∇ log p_σ: E[s] = 0, E[s xᵀ] = −I, and J_D = I + σ²∇s is symmetric. SURE gives the denoising
error without the clean images, FLIPD the dimension of the manifold.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.autodiff import double_backward
from tangency.errors import NumericsError
from tangency.numerics import dct_basis, flat
from tangency.score.denoiser import Denoiser
from tangency.score.derived import ScoreOfDenoiser
from tangency.score.quality import check_positive, noised
from tangency.seeding import Draw
from tangency.types import LabelledImages

_DIRECTIONS = 12  # lowest frequencies, in which E[s] and E[s xᵀ] are looked at
_PROBES_FORWARD = 4  # vectors of the trace for each one of the asymmetry, which costs more
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
        asymmetry: ‖Jv − Jᵀv‖² for random v, (N,); NaN where the score cannot be differentiated backwards.
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
    centre: Tensor | None = None,
    conditional: bool = False,
    batch: int = 64,
    device: str | torch.device = "cpu",
) -> Diagnosis:
    """Ask a score at the noisy and at the clean images of `data`.

    Args:
        score: to be diagnosed.
        data: held-out images.
        sigma: > 0.
        seed: of the noise, which is that of `denoising_error`, and of the probes.
        probes: random vectors for each trace (Hutchinson), at least 1; a quarter of them, rounded up, for the
            asymmetry.
        centre: (C, H, W), c of the identities; the mean of other images is best, as that of `data` itself, the default,
            biases them by O(1/N).
        conditional: ask it given the labels of `data`; the identities hold for that too.
        batch: images at once; it changes memory, not results.
        device: where the score is asked.

    Source: SURE: Stein (1981); FLIPD: Kamkari et al., arXiv 2406.03537.
    """
    check_positive(sigma)
    if probes < 1:
        raise NumericsError(f"probes: got {probes}, expected at least 1.")
    middle = (mean_image(data, batch) if centre is None else centre.double()).flatten().to(device)
    basis = dct_basis(data.shape, min(_DIRECTIONS, middle.numel() - 1)).to(device)
    parts = []
    with torch.inference_mode(False):
        for ids in torch.arange(len(data)).split(batch):
            clean, y = data.images(ids).double().to(device), data.labels[ids].to(device)
            given = y if conditional else None
            parts.append(_diagnosed(score, clean, given, ids.to(device), sigma, Draws(seed, probes), middle, basis))
    joined = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    return Diagnosis(sigma, **joined)


def mean_image(data: LabelledImages, batch: int = 1024) -> Tensor:
    """(C, H, W) float64, the mean of all images."""
    total = torch.zeros(data.shape, dtype=torch.float64)
    for ids in torch.arange(len(data)).split(batch):
        total += data.images(ids).cpu().double().sum(0)
    return total / len(data)


@dataclass(frozen=True)
class Draws:
    """Seed and number of random vectors."""

    seed: int
    probes: int


def _diagnosed(
    score: Denoiser,
    clean: Tensor,
    y: Tensor | None,
    ids: Tensor,
    sigma: float,
    draws: Draws,
    centre: Tensor,
    basis: Tensor,
) -> dict[str, Tensor]:
    d, noisy = centre.numel(), noised(clean, ids, sigma, draws.seed)
    vectors = [_signs(Draw(draws.seed, ids, f"probes at {sigma}/{k}"), clean) for k in range(draws.probes)]
    noise = _Jacobian(score, noisy, y, sigma)
    restored, own_trace = _Jacobian(score, clean, y, sigma).value_and_trace(vectors)
    found, trace = noise.value_and_trace(vectors)
    asymmetry, curvature = noise.asymmetry(vectors[: -(-draws.probes // _PROBES_FORWARD)])
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


def _signs(draw: Draw, like: Tensor) -> Tensor:
    """A random vector of ±1 for each image."""
    return torch.where(draw.uniform(like.shape[1:], torch.float64) < 0.5, -1.0, 1.0).to(like.dtype)


class _Jacobian:
    """J, the Jacobian of D at x, in random directions: backwards where the score is a network, else by differences."""

    def __init__(self, score: Denoiser, x: Tensor, y: Tensor | None, sigma: float) -> None:
        self.score, self.x, self.y, self.sigma = score, x, y, sigma
        self.backwards = isinstance(score, ScoreOfDenoiser) and score.differentiable
        self._products: list[Tensor] = []  # Jᵀv (J v by differences) of the vectors of the trace

    def denoised(self, x: Tensor) -> Tensor:
        return self.score.denoise(x, self.sigma, self.y)

    def value_and_trace(self, vectors: list[Tensor]) -> tuple[Tensor, Tensor]:
        """D(x), and the mean of vᵀJᵀv over the vectors: one pass forwards, one backwards for each of them."""
        if self.backwards:
            with torch.enable_grad():
                leaf = self.x.clone().requires_grad_(True)
                value = self.denoised(leaf)
                found = [torch.autograd.grad(value, leaf, v, retain_graph=True)[0] for v in vectors]
            value = value.detach()
        else:
            with torch.no_grad():
                value, found = self.denoised(self.x), [self._difference(v) for v in vectors]
        self._products = found
        return value, torch.stack([flat(v * along).sum(1) for v, along in zip(vectors, found, strict=True)]).mean(0)

    def asymmetry(self, vectors: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Means of ‖Jv − Jᵀv‖² and of ‖Jv‖² over the first of the vectors of the trace."""
        backward = self._products[: len(vectors)]
        if self.backwards:
            forward = [self._forward(v) for v in vectors]
        else:  # differences are J v
            forward, backward = backward, [torch.full_like(self.x, torch.nan)] * len(vectors)
        apart = [flat(a - b).square().sum(1) for a, b in zip(forward, backward, strict=True)]
        return torch.stack(apart).mean(0), torch.stack([flat(a).square().sum(1) for a in forward]).mean(0)

    def _forward(self, v: Tensor) -> Tensor:
        """J v by forward-mode differentiation."""
        with double_backward(), warnings.catch_warnings():
            # torch itself calls it when forward-mode differentiation is first used
            warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
            found: Tensor = torch.func.jvp(self.denoised, (self.x,), (v,))[1]
        return found.detach()

    def _difference(self, v: Tensor) -> Tensor:
        """J v by central differences in float64."""
        step = _STEP * self.sigma * v
        return (self.denoised(self.x + step) - self.denoised(self.x - step)) / (2 * _STEP * self.sigma)
