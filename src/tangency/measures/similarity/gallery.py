"""Comparing an image with a fixed few others: does its gradient pick its own target, and CKA over the set.

The gallery is drawn once from the pool by the seed, so that a row depends neither on the batch nor on its size, and
memory does not grow with the number of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.measures.keys import Key
from tangency.measures.similarity.cka import kernel_rows
from tangency.measures.similarity.metrics import CANDIDATES, CKA_PARTS, metric_family
from tangency.numerics import flat, unit
from tangency.seeding import permutation

Columns = dict[str, Tensor]
TargetKey = tuple[str, float]  # (target, sigma)
Places = tuple[Tensor, Tensor]  # in the pool, (N,): of images, and of those whose targets stand for theirs


class Gallery:
    """Images of the pool that every other image is compared with.

    Args:
        pool: number of images that they are drawn from.
        candidates: n, among which an image's own target is picked: itself and n − 1 others (fewer in a small pool).
        seed: of the draw.
    """

    def __init__(self, pool: int, candidates: int, seed: int) -> None:
        self.index = permutation(pool, seed, "gallery")[: candidates + 1]
        # An image and its shuffled partner may both be in the gallery, and neither is a distractor.
        self.distractors = max(min(candidates - 1, pool - 2), 0)

    def retrieval(
        self, gradient: Tensor, own: Tensor, targets: Tensor, ids: Tensor, owners: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Whether cos(g_i, s_i) is above the cosines with the others' targets, and its rank among them.

        Args:
            gradient, own: g and s, (N, …).
            targets: of the gallery, (M, …).
            ids, owners: place in the pool of each image, and of the image whose target `own` is, (N,).

        Returns:
            Hit (N,): 1, 0, or 1/(1 + ties); chance 1/n. Rank (N,): share of the others that are less near, ties half;
            chance 0.5. NaN for a zero gradient, or where there are no others.

        Example:
            >>> signals = torch.eye(5)
            >>> hit, rank = Gallery(5, 4, 0).retrieval(
            ...     signals, signals, signals[Gallery(5, 4, 0).index], torch.arange(5), torch.arange(5))
            >>> hit.tolist(), rank.tolist()
            ([1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0])
        """
        g, index = flat(unit(gradient.double())), self.index.to(ids.device)
        mine = (g * flat(unit(own.double()))).sum(1)
        others = g @ flat(unit(targets.double())).nan_to_num().mT
        others = others.where(flat(targets).abs().amax(1) > 0, -torch.inf)  # a zero target is never chosen
        allowed = (index != ids[:, None]) & (index != owners[:, None])
        chosen = allowed & (allowed.cumsum(1) <= self.distractors)
        above = (chosen & (others > mine[:, None])).sum(1).double()
        ties = (chosen & (others == mine[:, None])).sum(1).double()
        usable = mine.isfinite() & (self.distractors > 0)
        hit = (above == 0).double() / (1 + ties)
        rank = 1 - (above + ties / 2) / max(self.distractors, 1)
        return hit.where(usable, torch.nan), rank.where(usable, torch.nan)

    def kernels(
        self, gradients: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor], ids: Tensor, owners: Tensor, shift: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Each image's part of HSIC(G, S), HSIC(G, G) and HSIC(S, S), from which CKA is pooled, (N,) float64 each.

        Args:
            gradients, targets: of the images (N, …) and of the gallery (M, …); unit vectors are taken of them.
            ids, owners: place in the pool of each image, and of the image whose target stands for its own, (N,).
            shift: places by which the gallery's targets are moved, so that those too are other images'.
        """
        index, held = self.index.to(ids.device), targets[1].roll(shift, 0)
        known = (flat(gradients[1]).abs().amax(1) > 0) & (flat(held).abs().amax(1) > 0)  # not of NaN either
        other = ((index != ids[:, None]) & (index.roll(shift) != owners[:, None]) & known).double()
        g, s = kernel_rows(*gradients, other), kernel_rows(targets[0], held, other)
        usable = g.isfinite().all(1) & s.isfinite().all(1)
        first, second, third = (
            ((a * b * other).sum(1) / other.sum(1)).where(usable, torch.nan) for a, b in ((g, s), (g, g), (s, s))
        )
        return first, second, third


@dataclass(frozen=True)
class HeldGallery:
    """A gallery with its images (M, C, H, W), labels and places (M,) on the device, and their scores by (target, σ).

    `metrics` are the names of those that are wanted.
    """

    gallery: Gallery
    x: Tensor
    y: Tensor
    ids: Tensor
    targets: dict[TargetKey, Tensor]
    metrics: frozenset[str]

    def candidates(self, n: int) -> Columns:
        """Number of targets among which an own one is picked, (n,): chance is one over it."""
        if "retrieval" not in self.metrics:
            return {}
        count = float(self.gallery.distractors + 1)
        return {CANDIDATES: torch.full((n,), count, dtype=torch.float64, device=self.x.device)}

    def retrieved(self, gradient: Tensor, own: Tensor, target: TargetKey, places: Places, pair: Key) -> Columns:
        """Rows of retrieval, where it is wanted."""
        if "retrieval" not in self.metrics:
            return {}
        ranks = self.gallery.retrieval(gradient, own, self.targets[target], *places)
        names = ("retrieval", "retrieval_rank")
        return {str(pair.of(metric_family(name))): row for name, row in zip(names, ranks, strict=True)}

    def kernels(
        self, gradients: tuple[Tensor, Tensor], own: Tensor, target: TargetKey, places: Places, pair: Key
    ) -> Columns:
        """Rows from which CKA is pooled, of gradients of the images and of the gallery."""
        shift = 1 if pair.control else 0
        parts = self.gallery.kernels(gradients, (own, self.targets[target]), *places, shift)
        return {str(pair.of(family)): row for family, row in zip(CKA_PARTS, parts, strict=True)}
