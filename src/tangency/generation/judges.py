"""How good pictures are: by a held-out classifier, against real images, and against the truth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.autodiff import check_logits, undisturbed
from tangency.data.search import Neighbours
from tangency.errors import NumericsError
from tangency.models import with_features
from tangency.numerics import flat, norms
from tangency.types import LabelledImages

PER_DIMENSION = 10  # images for each feature dimension, below which a covariance matrix is mostly noise
_AT_ONCE = 512


@torch.no_grad()
def judged(judge: nn.Module, x: Tensor, y: Tensor, batch: int = 256) -> dict[str, Tensor]:
    """Whether a held-out classifier sees the intended class, and how confident it is.

    Args:
        judge: maps (N, C, H, W) to logits; left as it was.
        x: pictures.
        y: (N,) the classes they are meant to show.

    Returns:
        "accuracy" (N,) 0 or 1, and "confidence" (N,) p(y|x), both float64; guessing has 1/classes.
    """
    with undisturbed(judge):
        parts = [check_logits(judge(part), len(part)).double() for part in torch.split(x, batch)]
    logits = torch.cat(parts)
    right = (logits.argmax(1) == y).double()
    return {"accuracy": right, "confidence": logits.softmax(1).gather(1, y[:, None]).squeeze(1)}


@torch.no_grad()
def last_features(judge: nn.Module, x: Tensor, batch: int = 256) -> Tensor:
    """What goes into the last linear layer of a classifier, (N, C, H, W) to (N, D) float64.

    Raises:
        ModelError: its last layer is no linear one, see `with_features`.
    """
    with undisturbed(judge):
        return torch.cat([with_features(judge, part)[1].double() for part in torch.split(x, batch)])


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2(Σ_a Σ_b)^½) of features (N, D) and (M, D).

    Of Inception's features it is known as FID; of others its numbers are of another scale, and so is its name here.
    It is biased upwards, the more the fewer images, so fewer than ten for each dimension are refused.

    Source: Heusel et al., arXiv 1706.08500; on the bias: Chong and Forsyth, arXiv 1911.07023.
    """
    fewest = PER_DIMENSION * a.shape[1]
    if min(len(a), len(b)) < fewest or a.shape[1] != b.shape[1]:
        raise NumericsError(
            f"Fréchet distance: got {len(a)} and {len(b)} pictures in features of {a.shape[1]} and {b.shape[1]} "
            f"dimensions, expected at least {fewest} a side and equal dimensions. Use the KID, which is unbiased."
        )
    a, b = a.double(), b.double()
    first, second = a.T.cov(), b.T.cov()
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + first.trace() + second.trace() - 2 * cross)


def precision_recall(
    made: Tensor, real: Tensor, neighbours: int = 3, reach: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Which generated pictures lie among the real ones, and which real ones among the generated.

    A picture lies among others if it is within the distance from one of them to its k-th neighbour of its own kind.

    Args:
        made, real: features (N, D) and (M, D), more than k of each.
        neighbours: k.
        reach: `neighbour_distance(real, k)` (M,), where it is known already.

    Returns:
        (N,) and (M,) float64, 0 or 1; their means are precision and recall, both in [0, 1], higher is better.

    Source: Kynkäänniemi et al., arXiv 1904.06991.
    """
    if min(len(made), len(real)) <= neighbours:
        raise NumericsError(
            f"precision and recall: got {len(made)} and {len(real)} pictures, expected more than {neighbours}."
        )
    reach = neighbour_distance(real, neighbours) if reach is None else reach
    return _among(made, real, reach), _among(real, made, neighbour_distance(made, neighbours))


def neighbour_distance(points: Tensor, neighbours: int) -> Tensor:
    """Distance of each point to its k-th neighbour among the others, (N, D) to (N,)."""
    parts = torch.split(points, _AT_ONCE)
    return torch.cat([torch.cdist(part, points).kthvalue(neighbours + 1, dim=1).values for part in parts])


def _among(points: Tensor, others: Tensor, reach: Tensor) -> Tensor:
    return torch.cat([(torch.cdist(part, others) <= reach).any(1) for part in torch.split(points, _AT_ONCE)]).double()


def nearest_distance(x: Tensor, data: LabelledImages) -> Tensor:
    """l2 distance to the nearest of some images, pixels in [0, 1], (N, C, H, W) to (N,) float64; 0 is a copy."""
    nearest = data.images(Neighbours(data, x.device).of(x, 1).squeeze(1).cpu()).to(x.device)
    return norms((x - nearest).double())


def diversity(x: Tensor, y: Tensor) -> Tensor:
    """Mean l2 distance to the other pictures of the same class, (N, C, H, W) to (N,) float64; NaN for a lone one."""
    rows = flat(x).double()
    means = torch.full((len(x),), torch.nan, dtype=torch.float64, device=x.device)
    for c in torch.unique(y):
        own = (y == c).nonzero().flatten()
        if len(own) > 1:
            total = torch.cat([torch.cdist(part, rows[own]).sum(1) for part in torch.split(rows[own], _AT_ONCE)])
            means[own] = total / (len(own) - 1)
    return means


def psnr(x: Tensor, truth: Tensor) -> Tensor:
    """10 log₁₀(1 / mean squared error) of each image, pixels in [0, 1], (N, C, H, W) twice to (N,), decibels.

    Higher is better; +∞ for equal images. White noise of σ has −20 log₁₀ σ (12.04 dB at 0.25).

    Example:
        >>> import torch
        >>> psnr(torch.full((1, 1, 4, 4), 0.6), torch.full((1, 1, 4, 4), 0.5))
        tensor([20.0000])
    """
    _check(x, truth)
    return -10 * flat(x - truth).double().square().mean(1).log10().to(x.dtype)


def noise_cosine(pictures: Tensor, start: Tensor, truth: Tensor) -> Tensor:
    """Cosine of what a restoration changed with what it should have, (N,) float64; NaN where nothing changed."""
    moved, wanted = flat(pictures - start).double(), flat(truth - start).double()
    return torch.nn.functional.cosine_similarity(moved, wanted, dim=1).where(moved.norm(dim=1) > 0, torch.nan)


def _check(x: Tensor, truth: Tensor) -> None:
    if x.dim() != 4 or x.shape != truth.shape:
        raise NumericsError(f"images: got {tuple(x.shape)} and {tuple(truth.shape)}, expected equal (N, C, H, W).")
