"""Gradients from a score, each with what is known of its own error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import flat, noise_levels, norms, per_example
from tangency.score.denoiser import Denoiser
from tangency.score.derived import ScoreOfDenoiser
from tangency.seeding import Draw
from tangency.types import Direction, Sigma, check_labels

_ROUNDS = 500
_ROUNDING = 1e-6  # of D in single precision, relative
_VALUES = 20_000_000  # numbers of denoised images held at once


@dataclass(frozen=True)
class BayesGradient:
    """∇ log p_σ(y | x) and estimates of its error.

    Args:
        direction: as `Denoiser.bayes_direction`.
        signal: ‖D(x; σ, y) − D(x; σ)‖, (N,).
        inconsistency: least ‖D(x; σ) − Σ_c p_c D(x; σ, c)‖ over probabilities p, (N,), to 500 iterations. A true
            score has 0, for p_c = p_σ(c | x); what a pair of networks leaves is error, and there may be more inside the
            hull.
        resolved: whether the signal stands above the rounding of D in single precision, (N,) bool: where p_σ(y | x) is
            near 1, it does not, and the ratio means nothing.
    """

    direction: Direction
    signal: Tensor
    inconsistency: Tensor
    resolved: Tensor

    @property
    def signal_to_noise(self) -> Tensor:
        """signal/inconsistency, (N,): an upper bound, cut at 10⁶; NaN where the signal is not resolved."""
        ratio = self.signal / self.inconsistency.clamp(min=1e-300)
        return torch.where(self.resolved, ratio.clamp(max=1e6), torch.nan)


@torch.no_grad()
def bayes_gradient(score: Denoiser, x: Tensor, y: Tensor, sigma: Sigma) -> BayesGradient:
    """∇ log p_σ(y | x) with the inconsistency of the denoisers that it is a difference of.

    It evaluates D without a label and given every class, and one more Bayes direction of a closed form. The difference
    of two networks amplifies their error by 1/σ², and at small σ the two nearly coincide, so that mostly error is
    left.

    Args:
        score: conditional and unconditional.
        x: (N, C, H, W).
        y: (N,) labels.
        sigma: noise level, in [0, 1] pixel units.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("linear?rank=3&classes=2&shape=1x8x8")
        >>> drawn = world.sample(4, seed=0)
        >>> gradient = bayes_gradient(world, drawn.x, drawn.y, 0.1)
        >>> bool((gradient.inconsistency < 1e-6 * gradient.signal).all())
        True
    """
    check_labels(y, len(x), score.classes)
    levels = noise_levels(sigma, x)
    step = max(1, _VALUES // max(1, score.classes * x[:1].numel()))
    chunks = torch.split(torch.arange(len(x), device=x.device), step)
    parts = [_bayes_gradient(score, x[i], y[i], levels[i]) for i in chunks]
    direction, log_norm, signal, inconsistency, resolved = (torch.cat(values) for values in zip(*parts, strict=True))
    return BayesGradient(Direction(direction, log_norm), signal, inconsistency, resolved)


def _bayes_gradient(
    score: Denoiser, x: Tensor, y: Tensor, levels: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Direction, log norm, signal, inconsistency and whether it is resolved, of a few images."""
    inputs = x.double() if getattr(score, "wide", True) else x
    free = flat(score.denoise(inputs, levels)).double()
    every = [score.denoise(inputs, levels, torch.full_like(y, c)) for c in range(score.classes)]
    away = torch.stack([flat(denoised).double() - free for denoised in every], 1)
    chosen = away[torch.arange(len(x), device=x.device), y.long()]
    signal = chosen.norm(dim=1)
    if isinstance(score, ScoreOfDenoiser):
        direction, log_norm = chosen.reshape(x.shape).to(x.dtype), signal.log() - 2 * levels.log()
    else:
        exact = score.bayes_direction(x, y, levels)
        direction, log_norm = exact.direction, exact.log_norm.double()
    return direction, log_norm, signal, _distance_to_hull(away), signal > _ROUNDING * free.norm(dim=1)


def _distance_to_hull(points: Tensor) -> Tensor:
    """Least ‖Σ p_c v_c‖ over probabilities p, (N, K, d) to (N,): accelerated projected gradient on K numbers."""
    gram = points @ points.mT
    step = 1 / torch.linalg.matrix_norm(gram, 2).clamp(min=1e-300)[:, None]
    p = gram.new_full(gram.shape[:2], 1 / gram.shape[1])
    ahead, momentum = p, 1.0
    for _ in range(_ROUNDS):
        moved = _onto_simplex(ahead - step * (gram @ ahead[:, :, None]).squeeze(2))
        faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead, p, momentum = moved + (momentum - 1) / faster * (moved - p), moved, faster
    distance: Tensor = torch.linalg.vector_norm(torch.einsum("nc,ncd->nd", p, points), dim=1)
    return distance


def _onto_simplex(p: Tensor) -> Tensor:
    """Euclidean projection of each row on the probabilities, (N, K) to (N, K)."""
    falling = p.sort(1, descending=True).values
    rank = torch.arange(1, p.shape[1] + 1, device=p.device)
    excess = (falling.cumsum(1) - 1) / rank
    last = (falling > excess).sum(1, keepdim=True) - 1
    return (p - excess.gather(1, last)).clamp(min=0)


@dataclass(frozen=True)
class AveragedScore:
    """E_n s_σ(x + σn), (N, C, H, W), and the l2 norm of its standard error, (N,)."""

    score: Tensor
    standard_error: Tensor


@torch.no_grad()
def noise_averaged_score(
    score: Denoiser, x: Tensor, sigma: Sigma, draw: Draw, samples: int = 16, y: Tensor | None = None
) -> AveragedScore:
    """E_n s_σ(x + σn) by antithetic pairs ±n: the score where it was trained, rather than at the clean image.

    A network is trained at noisy images; at a clean one its score is extrapolated. The average over noise is the
    gradient of E_n log p_σ(x + σn), a smoothed log density.

    Args:
        score: any.
        x: (N, C, H, W), clean.
        sigma: > 0.
        draw: of the images.
        samples: even, at least 4.
        y: labels (N,), or None.
    """
    if samples < 4 or samples % 2:
        raise NumericsError(f"samples: got {samples}, expected an even number of at least 4: pairs of noise.")
    levels = noise_levels(sigma, x)
    mean, square = torch.zeros_like(x, dtype=torch.float64), torch.zeros(len(x), dtype=torch.float64, device=x.device)
    if len(draw.ids) != len(x):
        raise NumericsError(f"draw: got {len(draw.ids)} identities for {len(x)} images, expected one each.")
    pairs = samples // 2
    for number in range(pairs):
        noise = per_example(levels, x).to(x.dtype) * draw.of("pair", number).normal(x.shape[1:]).to(x.dtype)
        pair = (score.score(x + noise, sigma, y).double() + score.score(x - noise, sigma, y).double()) / 2
        mean, square = mean + pair / pairs, square + norms(pair).square() / pairs
    spread = (square - norms(mean).square()).clamp(min=0)
    return AveragedScore(mean.to(x.dtype), (spread / (pairs - 1)).sqrt())
