"""Sham tangent spaces: controls of equal rank in the place of an image's own space."""

from __future__ import annotations

import math
from typing import Literal, Protocol, final, get_args, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from tangency.data.partners import measured_order
from tangency.errors import NumericsError, SpecError
from tangency.seeding import Draw
from tangency.tangents.agreement import space_agreement
from tangency.tangents.controls import FixedTangents, ShuffledTangents, dct_tangents, pca_tangents, random_tangents
from tangency.tangents.space import TangentEstimator, TangentSpace
from tangency.types import LabelledImages

Sham = Literal["none", "other", "other_class", "pca", "dct", "random", "fresh"]
SHAMS: tuple[str, ...] = get_args(Sham)
MOST_OVERLAP = 0.95  # with the own space, of a sham that is a control
_COMPARED = 100  # images that the overlap is the mean over


@runtime_checkable
class StepwiseTangents(Protocol):
    """A further method of an estimator whose spaces differ from step to step of a training."""

    def of_step(self, draw: Draw) -> TangentEstimator:
        """The estimator of the step that a draw is of."""
        ...


@final
class FixedSham:
    """One subspace for all images, cut to the rank of each image's own space.

    Args:
        estimator: of the own spaces.
        fixed: the subspace, as wide as the widest of them.
    """

    def __init__(self, estimator: TangentEstimator, fixed: FixedTangents) -> None:
        self.estimator, self.fixed = estimator, fixed
        self.kind, self.where, self.max_rank = f"sham_{fixed.kind}", fixed.where, estimator.max_rank
        self.card = {"kind": self.kind, "fixed": dict(fixed.card), "estimator": dict(estimator.card)}
        self._basis = fixed.basis  # as it was last used: sent to a device once

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """The same subspace at every x (N, C, H, W), with the rank and the weights of the own space."""
        if (self._basis.device, self._basis.dtype) != (x.device, x.dtype):
            self._basis = self.fixed.basis.to(x)
        return _like(self._basis.expand(len(x), -1, -1), self.estimator.at(x, ids))


@final
class OtherSham:
    """The space of another image of a pool, cut to the rank of the image's own space; of a lower rank where its is.

    Args:
        estimator: of the spaces.
        pool: images; `ids` of `at` are places in it. Another image is taken as it is there, not augmented.
        seed: of the draw of the others.
        within_class: whether the other image has the label of the image.
        device: that of the estimator.
    """

    def __init__(
        self,
        estimator: TangentEstimator,
        pool: LabelledImages,
        seed: int,
        within_class: bool,
        device: str | torch.device,
    ) -> None:
        self.estimator, self.others = estimator, ShuffledTangents(estimator, pool, seed, within_class, device)
        self.kind, self.where, self.max_rank = f"sham_{self.others.kind}", self.others.where, estimator.max_rank
        self.card = {**self.others.card, "kind": self.kind}

    def lonely(self) -> int:
        """How many images of the pool have no other one of another space."""
        ids, pool = torch.arange(len(self.others.pool)), self.others.pool
        partners = self.others.partners
        usable = (partners.of_class(ids, pool.labels.cpu()) if self.others.within_class else partners.any(ids))[1]
        return int((~usable).sum())

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Spaces of the partners of the images `ids` (N,), with the rank and the weights of the own space."""
        theirs, own = self.others.at(x, ids), self.estimator.at(x, ids)
        return _like(theirs.basis, own, theirs.rank)


@final
class FreshSham:
    """A uniformly random subspace for each image and step, of the rank of the image's own space.

    Args:
        estimator: of the own spaces.
        seed: of the draws.
        purpose: of the draws; `of_step` gives each step its own.
    """

    kind, where = "sham_fresh", "anew at every image and step"

    def __init__(self, estimator: TangentEstimator, seed: int, purpose: str = "") -> None:
        self.estimator, self.seed, self.purpose, self.max_rank = estimator, seed, purpose, estimator.max_rank
        self.card = {"kind": self.kind, "seed": seed, "estimator": dict(estimator.card)}

    def of_step(self, draw: Draw) -> FreshSham:
        """The spaces of one step."""
        return FreshSham(self.estimator, self.seed, f"{draw.seed} {draw.purpose}")

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """A random subspace for each of the images `ids` (N,), with the rank and the weights of the own space."""
        if ids is None:
            raise NumericsError("tangents 'sham_fresh': got no ids, expected the places of the images in their data.")
        own = self.estimator.at(x, ids)
        shape = (math.prod(x.shape[1:]), own.basis.shape[2])
        normal = Draw(self.seed, ids, f"fresh sham/{self.purpose}").normal(shape, x.dtype)
        return _like(torch.linalg.qr(normal).Q, own)


def _like(basis: Tensor, own: TangentSpace, rank: Tensor | None = None) -> TangentSpace:
    """Other bases (N, d, m) of ranks (N,), m by default, with the rank, the width and the weights of the own spaces."""
    width = own.basis.shape[2]
    basis = functional.pad(basis[:, :, :width], (0, max(0, width - basis.shape[2])))
    return TangentSpace(basis, own.rank if rank is None else rank).cut(own.rank, own.weights)


def sham_tangents(
    estimator: TangentEstimator,
    sham: str,
    images: LabelledImages | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> TangentEstimator:
    """A control in the place of an image's own tangent space, of equal rank; any measure or objective can use it.

    Args:
        estimator: of the own spaces; their rank and weights are those of the sham.
        sham: "none", the own space; "other" and "other_class", that of another image, and of one with the same label;
            "pca", leading principal directions of `images`; "dct", lowest frequencies; "random", one random subspace;
            "fresh", a random one for each image and each step of a training.
        images: "other" draws from them, and `ids` of `at` are places in them; "pca" is fitted to them; "dct" and
            "random" have their shape. Only "none" and "fresh" need none.
        seed: of the draws.
        device: that of the estimator.

    Returns:
        A `TangentEstimator`: basis (N, d, k) at images (N, C, H, W).

    Raises:
        SpecError: an unknown sham, images that are lacking, or images of which none has another's space.

    Example:
        >>> import tangency
        >>> data = tangency.load_data("world:fitted?train=200&test=10")
        >>> exact = tangency.load_tangents("exact", data)
        >>> sham_tangents(exact, "dct", data.train).at(data.test.images()).fraction(data.test.images()).shape
        torch.Size([10])
    """
    if sham not in SHAMS:
        raise SpecError(f"sham: got '{sham}', expected one of {', '.join(SHAMS)}.")
    if sham == "none":
        return estimator
    if sham == "fresh":
        return FreshSham(estimator, seed)
    if images is None:
        raise SpecError(f"sham {sham}: got no images, expected the training images, which it is made of.")
    if sham in ("other", "other_class"):
        other = OtherSham(estimator, images, seed, sham == "other_class", device)
        if lonely := other.lonely():
            raise SpecError(
                f"sham {sham}: {lonely} of {len(images)} images have no other image with another space under "
                f"'{estimator.kind}', so that this sham would be the own space; choose random, fresh or dct."
            )
        return other
    rank = estimator.max_rank
    fixed = {
        "pca": lambda: pca_tangents(images, rank),
        "dct": lambda: dct_tangents(images.shape, rank),
        "random": lambda: random_tangents(images.shape, rank, seed),
    }
    return FixedSham(estimator, fixed[sham]())


def refuse_own_space(
    own: TangentEstimator, sham: TangentEstimator, images: LabelledImages, device: str | torch.device = "cpu"
) -> float:
    """Raise where a sham is the own space: mean over images of tr(P_own P_sham)/k ≥ 0.95; the mean where it is not.

    Args:
        own: of the own spaces, of rank k.
        sham: of `sham_tangents`.
        images: `ids` are places in them; the first 100 in their fixed random order are compared.
        device: where they are computed.

    Raises:
        SpecError: says how much they overlap.
    """
    ids = measured_order(len(images))[:_COMPARED].sort().values
    x, here = images.images(ids).to(device), ids.to(device)
    overlap = float(space_agreement(own.at(x, here), sham.at(x, here)).overlap.nanmean())
    if math.isnan(overlap):
        raise SpecError(
            f"sham '{sham.kind}': the own spaces of '{own.kind}' have no dimension at any of {len(ids)} images, "
            "expected at least 1: nothing would be projected on them. Choose another rank or estimator."
        )
    if not overlap < MOST_OVERLAP:
        raise SpecError(
            f"sham '{sham.kind}': its spaces overlap the own ones of '{own.kind}' by {overlap:.3f} of their "
            f"dimensions, mean over {len(ids)} images, expected less than {MOST_OVERLAP}: it is the own space and no "
            "control of it. Choose random, fresh or dct."
        )
    return overlap
