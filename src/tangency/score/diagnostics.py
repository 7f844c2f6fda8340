"""Whether a score model is a true score: identities that hold for every score, an image at a time.

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

_DIRECTIONS = 12  # lowest frequencies, in which E[s] and E[s xᵀ] are computed
_PROBES_FORWARD = 4  # vectors of the trace for each one of the asymmetry, which costs more
_STEP = 1e-4  # of central differences in float64, relative to σ


@dataclass(frozen=True)
class Diagnosis:
    """Statistics of a score at one σ, for each of N held-out images, float64 on the CPU.

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


@dataclass(frozen=True)
class Draws:
    """Random numbers of a diagnosis.

    Args:
        seed: of the noise, which is that of `denoising_error`, and of the probes.
        probes: random vectors for each trace (Hutchinson), at least 1; a quarter of them, rounded up, for the
            asymmetry.
    """

    seed: int = 0
    probes: int = 4

    def __post_init__(self) -> None:
        if self.probes < 1:
            raise NumericsError(f"probes: got {self.probes}, expected at least 1.")


def diagnose(
    score: Denoiser,
    data: LabelledImages,
    sigma: float,
    *,
    draws: Draws | None = None,
    centre: Tensor | None = None,
    conditional: bool = False,
    batch: int = 64,
    device: str | torch.device = "cpu",
) -> Diagnosis:
    """Evaluate a score at the noisy and at the clean images of `data`.

    Args:
        score: to be diagnosed.
        data: held-out images.
        sigma: > 0.
        draws: seed and number of the random vectors.
        centre: (C, H, W), c of the identities; the mean of other images is best, as that of `data` itself, the default,
            biases them by O(1/N).
        conditional: evaluate it given the labels of `data`; the identities hold for that too.
        batch: images at once; it changes memory, not results.
        device: where the score is evaluated.

    Source: SURE: Stein (1981); FLIPD: Kamkari et al., arXiv 2406.03537.
    """
    check_positive(sigma)
    draws = draws or Draws()
    middle = (mean_image(data, batch) if centre is None else centre.double()).flatten().to(device)
    basis = dct_basis(data.shape, min(_DIRECTIONS, middle.numel() - 1)).to(device)
    parts = []
    with torch.inference_mode(False):
        for ids in torch.split(torch.arange(len(data)), batch):
            clean, y = data.images(ids).double().to(device), data.labels[ids].to(device) if conditional else None
            ids = ids.to(device)
            noisy = noised(clean, ids, sigma, draws.seed)
            purposes = [f"probes at {sigma}/{k}" for k in range(draws.probes)]
            vectors = [_signs(Draw(draws.seed, ids, purpose), clean) for purpose in purposes]
            at_clean, at_noisy = (_Jacobian(score, x, y, sigma, vectors) for x in (clean, noisy))
            parts.append(_statistics(clean, noisy, at_clean, at_noisy, middle, basis))
    return Diagnosis(sigma, **{name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]})


def mean_image(data: LabelledImages, batch: int = 1024) -> Tensor:
    """(C, H, W) float64, the mean of all images."""
    total = torch.zeros(data.shape, dtype=torch.float64)
    for ids in torch.split(torch.arange(len(data)), batch):
        total += data.images(ids).cpu().double().sum(0)
    return total / len(data)


def _statistics(
    clean: Tensor, noisy: Tensor, at_clean: _Jacobian, at_noisy: _Jacobian, centre: Tensor, basis: Tensor
) -> dict[str, Tensor]:
    """The fields of `Diagnosis` of some images."""
    d, sigma = centre.numel(), at_noisy.sigma
    asymmetry, curvature = at_noisy.asymmetry()
    pull, away = flat(at_noisy.value - noisy), flat(noisy) - centre
    return {
        "error": flat(at_noisy.value - clean).square().mean(1),
        "sure": (pull.square().sum(1) + 2 * sigma**2 * at_noisy.trace) / d - sigma**2,
        "stein": -(pull * away).sum(1) / (d * sigma**2),
        "score": pull @ basis / sigma,
        "image": away @ basis / sigma,
        "asymmetry": asymmetry,
        "curvature": curvature,
        "dimension": at_clean.trace + flat(at_clean.value - clean).square().sum(1) / sigma**2,
    }


def _signs(draw: Draw, like: Tensor) -> Tensor:
    """A random vector of ±1 for each image."""
    return torch.where(draw.uniform(like.shape[1:], torch.float64) < 0.5, -1.0, 1.0).to(like.dtype)


class _Jacobian:
    """J, the Jacobian of D at x, in random directions: backwards where the score is a network, else by differences.

    Attributes:
        value: D(x), (N, C, H, W).
        products: Jᵀv (J v by differences) of each vector.
        trace: mean of vᵀJᵀv over the vectors, (N,).
    """

    def __init__(self, score: Denoiser, x: Tensor, y: Tensor | None, sigma: float, vectors: list[Tensor]) -> None:
        self.score, self.x, self.y, self.sigma, self.vectors = score, x, y, sigma, vectors
        self.backwards = isinstance(score, ScoreOfDenoiser) and score.differentiable
        if self.backwards:
            with torch.enable_grad():
                leaf = x.clone().requires_grad_(True)
                value = self.denoised(leaf)
                self.products = [torch.autograd.grad(value, leaf, v, retain_graph=True)[0] for v in vectors]
            self.value = value.detach()
        else:
            with torch.no_grad():
                self.value, self.products = self.denoised(x), [self._difference(v) for v in vectors]
        traces = [flat(v * along).sum(1) for v, along in zip(vectors, self.products, strict=True)]
        self.trace = torch.stack(traces).mean(0)

    def denoised(self, x: Tensor) -> Tensor:
        return self.score.denoise(x, self.sigma, self.y)

    def asymmetry(self) -> tuple[Tensor, Tensor]:
        """Means of ‖Jv − Jᵀv‖² and of ‖Jv‖² over the first quarter of the vectors."""
        vectors = self.vectors[: -(-len(self.vectors) // _PROBES_FORWARD)]
        backward = self.products[: len(vectors)]
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
            product: Tensor = torch.func.jvp(self.denoised, (self.x,), (v,))[1]
        return product.detach()

    def _difference(self, v: Tensor) -> Tensor:
        """J v by central differences in float64."""
        step = _STEP * self.sigma
        return (self.denoised(self.x + step * v) - self.denoised(self.x - step * v)) / (2 * step)
