"""What a training step of each objective takes in bare passes; docs/objectives.md has it beside what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.case import Case, Work, interleaved
from tangency.models import build
from tangency.objectives import OBJECTIVES, Objective, make
from tangency.seeding import Draw
from tangency.tangents import dct_tangents
from tangency.worlds import make_world

CLASSES, STRENGTH = 10, 0.3
GUIDES = {"tangents": "dct?rank=12", "score": "mfa"}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in OBJECTIVES.own if name != "standard"},
    "jacobian, exact": ("jacobian", {"exact": True}),
}


def _made(variant: str, shape: tuple[int, int, int]) -> Objective:
    name, options = VARIANTS[variant]
    guides = {"score_alignment": "score", "tangent_attack": "tangents", "projected_gradient_norm": "tangents"}
    guide = guides.get(name)
    if guide is None:
        return make(name, STRENGTH, **options)
    objective = make(name, STRENGTH, **options, **{guide: GUIDES[guide]})
    if guide == "tangents":
        return objective.guided(tangents=dct_tangents(shape, 12))
    world = make_world(f"linear?rank=3&classes=10&shape={'x'.join(map(str, shape))}")
    return objective.guided(score=world)


def _passes(
    architecture: str,
    shape: tuple[int, int, int],
    images: int,
    variants: Sequence[str] = tuple(VARIANTS),
    repeats: int = 5,
    **options: Any,
) -> Case:
    """Some objectives on a network, and its bare pass."""
    model = build(architecture, shape, CLASSES, seed=0, **options).train()
    ids = torch.arange(images)
    x, y, draw = Draw(0, ids, "images").uniform(shape), ids % CLASSES, Draw(0, ids, "train")

    def stepped(losses: Tensor) -> Tensor:
        losses.mean().backward()
        model.zero_grad()
        return losses.detach()

    def bare() -> Tensor:
        return stepped(F.cross_entropy(model(x), y, reduction="none"))

    def step(objective: Objective) -> Tensor:
        return stepped(objective.losses(model, x, y, draw))

    def more(_: float) -> dict[str, float]:
        works: dict[str, Work] = {"bare": bare}
        works |= {variant: partial(step, _made(variant, shape)) for variant in variants}
        seconds = interleaved(works, repeats)
        return {variant: seconds[variant] / seconds["bare"] for variant in variants}

    size = "×".join(map(str, shape))
    what = f"a step of the standard objective on {images} images of {size}, {architecture}: a bare pass / ours"
    return Case(what, lambda: step(make("standard")), bare, 1e-6, more, at_least=1 / 1.1)


def objectives_resnet() -> Case:
    """The CIFAR ResNet-18 of the paper with batch normalisation, half as wide."""
    return _passes("resnet18", (3, 32, 32), 8, width=32)


def objectives_exact() -> Case:
    """The same in its full width, on enough images that the sums of ten gradients of each weight do not weigh."""
    return _passes("resnet18", (3, 32, 32), 32, ("gradient_norm", "jacobian", "jacobian, exact"), repeats=3, width=64)


def objectives_convnet() -> Case:
    """The network of the quickstart, whose activations and first layer weigh much."""
    return _passes("convnet", (1, 28, 28), 128)


CASES = {
    "objectives_resnet": objectives_resnet,
    "objectives_exact": objectives_exact,
    "objectives_convnet": objectives_convnet,
}
