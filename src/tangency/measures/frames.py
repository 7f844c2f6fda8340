"""The tangent spaces of a batch with their controls and directions: one frame for each estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.data.partners import Partners
from tangency.measures.registry import tangents_suffix
from tangency.numerics import dct_basis, unit
from tangency.seeding import Draw
from tangency.tangents import TangentEstimator, TangentSpace, pca_basis
from tangency.types import LabelledImages


@dataclass(frozen=True)
class Frame:
    """What one estimator says of a batch.

    Args:
        suffix: of the keys of its measures; empty for the first estimator.
        space: T_x of each image.
        controls: subspaces of equal rank, by name; NaN where the other image's tangent space has a lower rank.
        on, off: (R, N, C, H, W) unit vectors, uniform in the tangent and the normal space.
    """

    suffix: str
    space: TangentSpace
    controls: dict[str, TangentSpace]
    on: Tensor
    off: Tensor


class FrameSource:
    """Makes a `Frame`; holds what does not change over batches.

    Args:
        label: name in the keys of its measures, "" for the first estimator.
        estimator: of tangent spaces.
        partners: whose tangent spaces the shuffled controls take.
        reference: training images of the global principal components.
        directions, seed: random directions an image, and their seed: the same for every estimator.
    """

    def __init__(
        self,
        label: str,
        estimator: TangentEstimator,
        partners: Partners,
        reference: LabelledImages,
        directions: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.suffix, self.estimator, self.partners = tangents_suffix(label), estimator, partners
        self.directions, self.seed, self.device = directions, seed, device
        rank = estimator.max_rank
        self._dct = dct_basis(reference.shape, rank).float().to(device)
        self._pca = pca_basis(reference, rank).float().to(device)

    def at(self, x: Tensor, y: Tensor, ids: Tensor) -> Frame:
        """The frame of images x with labels y at places ids of the pool."""
        space = self.estimator.at(x, ids)
        controls = {
            "shuffled": self._space_of(*self.partners.any(ids), space),
            "shuffled_class": self._space_of(*self.partners.of_class(ids, y), space),
            "dct": _alike(TangentSpace.shared(self._dct, space.rank), space),
            "pca": _alike(TangentSpace.shared(self._pca, space.rank), space),
        }
        draws = [Draw(self.seed, ids, f"direction {r}").normal(x.shape[1:], x.dtype) for r in range(self.directions)]
        on = torch.stack([space.on_direction(noise) for noise in draws])
        off = torch.stack([unit(space.reject(noise)) for noise in draws])
        return Frame(self.suffix, space, controls, on, off)

    def _space_of(self, index: Tensor, usable: Tensor, own: TangentSpace) -> TangentSpace:
        """Tangent spaces of other images, cut to the ranks of `own`; NaN where there is no other, or one of lower."""
        space = self.estimator.at(self.partners.pool.images(index.cpu()).to(self.device), index)
        usable = usable & (space.rank >= own.rank)
        return _alike(TangentSpace(space.basis.masked_fill(~usable[:, None, None], torch.nan), space.rank), own)


def _alike(space: TangentSpace, own: TangentSpace) -> TangentSpace:
    """A control with the ranks and the weights of the space that it is a control of."""
    return space.cut(own.rank, own.weights)


def labels(kinds: Sequence[str]) -> list[str]:
    """Names of estimators in keys: none for the first, then their kinds, numbered where they come again.

    Example:
        >>> labels(["mfa", "denoiser", "pca", "denoiser"])
        ['', 'denoiser', 'pca', 'denoiser-2']
    """
    return [
        f"{kind}-{number}" if (number := 1 + list(kinds[:place]).count(kind)) > 1 else kind if place else ""
        for place, kind in enumerate(kinds)
    ]
