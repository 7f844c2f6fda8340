"""One set of images and one network, tangent spaces of several dimensions: what depends on the dimension alone."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from tangency.autodiff import input_gradient
from tangency.autodiff.scalars import scalar
from tangency.data import load
from tangency.measures.keys import MARGIN
from tangency.models import build
from tangency.numerics import unit
from tangency.objectives import make
from tangency.seeding import Draw
from tangency.statistics import PairedBootstrap
from tangency.tangents import ShuffledTangents, TangentSpace, WorldTangents, pca_tangents
from tangency.theory.claims import Claim, mean_claim, ratio_claim, zero_claim
from tangency.training import TrainConfig, train
from tangency.types import LabelledImages
from tangency.worlds import World, family, make_world
from tangency.worlds.fitted import resized

TOPIC = "intrinsic dimension"
FAMILY = "fitted?size=14&components=2&images=1000&rank=2|4|8|16"
_SIDE, _TRAIN, _TEST = 14, 1000, 300  # images
_STEP, _DRAWS = 0.5, 8  # length of steps, in pixels in [0, 1]; directions an image
_REPLICATES = 100


@dataclass(frozen=True)
class DimensionRow:
    """One world of a family, with the gradients of one network at the same images.

    Args:
        world: its reference.
        rank, dimension: k and d.
        fraction: (N,), F² of the network's gradient.
        chance: (N,), F² of a random direction.
        controls: name to (N,), F² in another image's tangent space and in the leading k principal directions.
        kappa: pooled, of the network's gradient.
        on, off: (N,), mean squared change of the margin along random steps in the tangent and in the normal space.
    """

    world: str
    rank: int
    dimension: int
    fraction: Tensor
    chance: Tensor
    controls: dict[str, Tensor]
    kappa: float
    on: Tensor
    off: Tensor


def dimension_rows(
    worlds: Sequence[World], net: nn.Module, data: LabelledImages, pool: LabelledImages, seed: int = 0
) -> list[DimensionRow]:
    """A row for each world, at all images of `data`.

    Args:
        worlds: on images of one shape.
        net: logits.
        data: images (N, C, H, W) that gradients are taken at.
        pool: images that principal directions are those of.
        seed: of random directions, the same in every world.
    """
    x, y, ids = data.images().double(), data.labels, torch.arange(len(data))
    net = net.double().eval()
    gradient = input_gradient(net, x, y, MARGIN).direction
    noise = Draw(seed, ids, "dimension").normal(x.shape[1:], torch.float64)
    rows = []
    for world in worlds:
        tangents, k = WorldTangents(world), world.intrinsic_dimension
        space = tangents.at(x)
        controls = {
            "shuffled": ShuffledTangents(tangents, data, seed).at(x, ids).fraction(gradient),
            "pca": pca_tangents(pool, k).at(x).fraction(gradient),
        }
        fraction, boot = space.fraction(gradient), PairedBootstrap(len(x), _REPLICATES)
        pooled = boot.pooled_kappa(fraction.numpy(), space.rank.double().numpy(), world.dimension)
        on, off = _changes(net, x, y, space, seed)
        shares = fraction, space.fraction(noise), controls
        rows.append(DimensionRow(world.name, k, world.dimension, *shares, float(pooled[0]), on, off))
    return rows


def _changes(net: nn.Module, x: Tensor, y: Tensor, space: TangentSpace, seed: int) -> tuple[Tensor, Tensor]:
    """Mean squared change of the margin over steps on and off the manifold, (N,) each."""
    ids, totals = torch.arange(len(x)), [torch.zeros(len(x), dtype=torch.float64) for _ in range(2)]
    with torch.no_grad():
        before = scalar(MARGIN, net(x), y)
        for r in range(_DRAWS):
            noise = Draw(seed, ids, f"dimension, step {r}").normal(x.shape[1:], torch.float64)
            for total, step in zip(totals, (space.on_direction(noise), unit(space.reject(noise))), strict=True):
                total += (scalar(MARGIN, net(x + _STEP * step), y) - before).square() / _DRAWS
    return totals[0], totals[1]


def intrinsic_dimension(seed: int = 0) -> list[Claim]:
    """All claims about one image set at several intrinsic dimensions."""
    rows = standard_rows(seed)
    first, last = rows[0], rows[-1]
    name, claims = f"{FAMILY}, {_TEST} real images", []
    for row in rows:
        chance = row.rank / row.dimension
        rest = (1 - row.chance) * chance / (1 - chance)
        claims += [
            mean_claim(TOPIC, "a random direction has F² = k/d, whatever k", row.world, chance, row.chance),
            ratio_claim(TOPIC, "its κ is 1, whatever k", row.world, 1.0, rest, row.chance),
        ]
    means = [float(row.fraction.mean()) for row in rows]
    falls = sum(later < earlier for earlier, later in pairwise(means))
    over = [mean * row.dimension / row.rank for mean, row in zip(means, rows, strict=True)]
    return [
        *claims,
        zero_claim(
            TOPIC, "F² of one network rises with k at the same images: steps at which it falls", name, float(falls)
        ),
        Claim(
            TOPIC,
            "its F² grows by a factor, from the least k to the largest",
            name,
            2.0,
            means[-1] / means[0],
            0.0,
            "≥",
        ),
        Claim(
            TOPIC, "but by less than k: F² over chance, largest k over least", name, 1.0, over[-1] / over[0], 0.0, "≤"
        ),
        Claim(TOPIC, "its κ changes with k alone: largest k over least", name, 1.0, last.kappa / first.kappa, 0.0, "≥"),
    ]


def standard_rows(seed: int = 0) -> list[DimensionRow]:
    """Rows of the family with a convnet that is trained for two epochs on the images that its worlds are fitted to."""
    data = load("fashion-mnist-5k")
    pool, test = (
        resized(part, _SIDE) for part in (data.train.subset(slice(0, _TRAIN)), data.test.subset(slice(0, _TEST)))
    )
    net = build("convnet", pool.shape, len(pool.classes), seed)
    with tempfile.TemporaryDirectory() as folder:
        train(net, pool, make("standard"), TrainConfig(epochs=2, batch_size=64, seed=seed), folder)
    return dimension_rows([make_world(reference) for reference in family(FAMILY)], net, test, pool, seed)
