"""Penalties on a part of the gradient, against the whole gradient's penalty and the tangent spaces of the batch."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.case import Case, interleaved
from tangency.data import load
from tangency.mixtures import fit_mixture
from tangency.models import build
from tangency.objectives import Objective, make
from tangency.seeding import Draw
from tangency.tangents import MixtureTangents, TangentEstimator, WorldTangents
from tangency.types import LabelledImages
from tangency.worlds import load_dataset, world_of

IMAGES = 128  # of a step
ALLOWED = 1.1  # times what it cannot do without


def _case(what: str, data: LabelledImages, own: TangentEstimator) -> Case:
    """A step of the penalty off the tangent spaces, against a step of the whole penalty and the estimator's answer."""
    model = build("convnet", data.shape, data.classes, seed=0).train()
    x, y, ids = data.images(slice(0, IMAGES)), data.labels[:IMAGES], torch.arange(IMAGES)
    draw = Draw(0, ids, "objective/epoch 0")
    off = make("projected_gradient_norm", 0.1, tangents="own", part="off").guided(tangents=own)

    def step(objective: Objective) -> Tensor:
        model.zero_grad()
        objective.losses(model, x, y, draw).mean().backward()
        return _first(model)

    def apart() -> Tensor:
        own.at(x, ids)
        return step(make("gradient_norm", 0.1))

    def more(_: float) -> dict[str, float]:
        works = {
            "bare": partial(step, make("standard")),
            "gradient_norm": partial(step, make("gradient_norm", 0.1)),
            "off": partial(step, off),
            "estimator": partial(own.at, x, ids),
        }
        seconds = interleaved(works)
        return {f"{name} in bare passes": seconds[name] / seconds["bare"] for name in list(works)[1:]}

    return Case(what, partial(step, off), apart, float("inf"), more, 1 / ALLOWED)


def _first(model: nn.Module) -> Tensor:
    """The gradient of the first parameter."""
    gradient = next(model.parameters()).grad
    assert gradient is not None  # after a backward pass
    return gradient.clone()


def penalty_mixture() -> Case:
    """Tangent spaces of a mixture of factor analysers."""
    data = load("fashion-mnist-5k").train
    own = MixtureTangents(fit_mixture(data)[0])
    return _case("a step of 128 images of 28×28, convnet: penalty off the mfa spaces / whole + spaces", data, own)


def penalty_exact() -> Case:
    """Exact tangent spaces of a world."""
    data = load_dataset("world:linear?train=128&test=1")
    world = world_of(data.name)
    assert world is not None
    own = WorldTangents(world)
    return _case(
        "a step of 128 images of 28×28, convnet: penalty off the exact spaces / whole + spaces", data.train, own
    )


CASES = {"penalty_mixture": penalty_mixture, "penalty_exact": penalty_exact}
