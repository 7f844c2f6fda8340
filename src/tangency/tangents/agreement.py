"""How far two tangent spaces agree: principal angles and overlap, an image at a time, beside what chance gives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.tangents.space import TangentEstimator, TangentSpace


@dataclass(frozen=True)
class Agreement:
    """Of two tangent spaces of N images, float64; NaN where one of them has rank 0.

    Args:
        angles: principal angles in degrees, ascending, (N, k); NaN beyond the smaller rank.
        overlap: ‖U₁ᵀU₂‖²_F / min(k₁, k₂), the share of the smaller space that lies in the larger, (N,).
        chance: max(k₁, k₂)/d, the overlap of random spaces, (N,).
    """

    angles: Tensor
    overlap: Tensor
    chance: Tensor

    @property
    def largest(self) -> Tensor:
        """The largest principal angle in degrees, (N,)."""
        return self.angles.nan_to_num(-1.0).amax(1).where(self.overlap.isfinite(), torch.nan)

    @property
    def mean(self) -> Tensor:
        """The mean principal angle in degrees, (N,)."""
        return self.angles.nanmean(1)


def agreement(
    first: TangentEstimator, second: TangentEstimator, images: Tensor, ids: Tensor | None = None
) -> Agreement:
    """How far two estimators of tangent spaces agree at these images, beside what chance gives.

    With orthonormal bases U₁, U₂ of ranks k₁, k₂ in d dimensions: cos θ_i = σ_i(U₁ᵀU₂), the singular values, for
    i ≤ min(k₁, k₂); overlap = ‖U₁ᵀU₂‖²_F / min(k₁, k₂), the mean of cos² θ_i, whose expectation for random spaces is
    max(k₁, k₂)/d.

    Args:
        first, second: estimators, of `load_tangents` or `tangency.tangents`.
        images: (N, C, H, W), in [0, 1] unless they are drawn from a world.
        ids: (N,) places of the images in their data set; needed by estimators that look images up ("stored:DIR") or
            draw at random.

    Returns:
        `Agreement`: angles (N, k) in degrees, ascending; overlap and chance (N,) in [0, 1]; NaN where a rank is 0.

    Raises:
        NumericsError: images of another shape than the estimators', or ids that are lacking.

    Source: Björck & Golub, Math. Comp. 27 (1973); by sine and cosine together, as in Knyazev & Argentati,
        SIAM J. Sci. Comput. 23 (2002), so that small angles are right, too.

    Example:
        >>> import tangency
        >>> data = tangency.load_data("world:torus?train=50&test=5")
        >>> exact = tangency.load_tangents("exact", data)
        >>> angles = agreement(exact, exact, data.test.images())
        >>> bool((angles.largest < 1e-4).all()), bool((angles.overlap > 0.999).all())
        (True, True)
    """
    return space_agreement(first.at(images, ids), second.at(images, ids))


def space_agreement(first: TangentSpace, second: TangentSpace) -> Agreement:
    """As `agreement`, of the tangent spaces themselves: 0° is 0 to 1e-6 and 90° is 90.

    Example:
        >>> a = torch.eye(4, dtype=torch.float64)[None]
        >>> one, two = (TangentSpace(a[:, :, c], torch.tensor([2])) for c in ([0, 1], [1, 2]))
        >>> space_agreement(one, two).angles
        tensor([[ 0., 90.]], dtype=torch.float64)
    """
    if first.dimension != second.dimension or len(first.rank) != len(second.rank):
        raise NumericsError(
            f"agreement: got {len(first.rank)} spaces in {first.dimension} dimensions and {len(second.rank)} in "
            f"{second.dimension}, expected as many in the same."
        )
    a, b = _padded(first, second), _padded(second, first)
    swap = (first.rank > second.rank)[:, None, None]
    small, large = torch.where(swap, b, a), torch.where(swap, a, b)
    least = torch.minimum(first.rank, second.rank)
    inside = large.mT @ small
    outside = small - large @ inside
    cosines = torch.linalg.eigvalsh(inside.mT @ inside).flip(1).clamp(0, 1).sqrt()
    sines = torch.linalg.eigvalsh(outside.mT @ outside).clamp(0, 1).sqrt()
    width = small.shape[2]
    # columns of zeros beyond the rank give sines of 0 first and cosines of 0 last: step over the former
    place = torch.arange(width, device=least.device) + (width - least)[:, None]
    sines = sines.gather(1, place.clamp(max=width - 1))
    kept = torch.arange(width, device=least.device) < least[:, None]
    angles = torch.rad2deg(torch.atan2(sines, cosines)).where(kept, torch.nan)
    overlap = (inside.square().sum((1, 2)) / least.where(least > 0, torch.nan)).clamp(max=1)
    chance = torch.maximum(first.rank, second.rank).double() / first.dimension
    return Agreement(angles[:, : max(1, int(least.max()))], overlap, chance)


def _padded(space: TangentSpace, other: TangentSpace) -> Tensor:
    basis = space.basis.double()
    return torch.nn.functional.pad(basis, (0, max(0, other.basis.shape[2] - basis.shape[2])))


def reach(space: TangentSpace, x: Tensor, neighbours: Tensor) -> Tensor:
    """min over y of ‖y − x‖²/(2‖(I − P)(y − x)‖), an upper bound of the reach of the manifold, (N,), in pixel units.

    Args:
        space: tangent spaces at x.
        x: (N, C, H, W), on the manifold; the distance of x from it, and noise, make the estimate smaller.
        neighbours: (N, K, C, H, W) other images of the data.

    Source: Aamari et al., arXiv 1705.04565, equation (1.1).
    """
    away = (neighbours - x[:, None]).flatten(2).double()
    basis = space.basis.double()
    square = away.square().sum(2)
    normal = (square - (away @ basis).square().sum(2)).clamp(min=0).sqrt()
    return (square / (2 * normal)).where(square > 0, torch.inf).amin(1)
