"""What a training step of each objective takes in bare passes, beside what the objective declares."""

from __future__ import annotations

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

SHAPE, CLASSES, IMAGES, STRENGTH = (3, 32, 32), 10, 8, 0.3
GUIDES = {"tangents": "dct?rank=12", "score": "mfa"}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in OBJECTIVES.own if name != "standard"},
    "jacobian, exact": ("jacobian", {"exact": True}),
}
# Their cross-entropy is at other images; the others add a penalty, which under batch normalisation has its own pass.
WHOLE = ("noise_augmentation", "pgd_l2", "pgd_linf", "tangent_attack")


def declared(variant: str) -> float:
    """Passes that an objective declares, with the pass that its penalty has under batch normalisation."""
    return _made(variant).passes(CLASSES) + (variant not in WHOLE)


def _made(variant: str) -> Objective:
    name, options = VARIANTS[variant]
    guides = {"score_alignment": "score", "tangent_attack": "tangents", "projected_gradient_norm": "tangents"}
    guide = guides.get(name)
    if guide is None:
        return make(name, STRENGTH, **options)
    objective = make(name, STRENGTH, **options, **{guide: GUIDES[guide]})
    if guide == "tangents":
        return objective.guided(tangents=dct_tangents(SHAPE, 12))
    world = make_world("linear?rank=3&classes=10&shape=3x32x32")
    return objective.guided(score=world)


def objectives() -> Case:
    """The CIFAR ResNet-18 of the paper with batch normalisation, half as wide: each objective, and a bare pass."""
    model = build("resnet18", SHAPE, CLASSES, seed=0, width=32).train()
    ids = torch.arange(IMAGES)
    x, y, draw = Draw(0, ids, "images").uniform(SHAPE), ids % CLASSES, Draw(0, ids, "train")

    def step(objective: Objective) -> Tensor:
        losses = objective.losses(model, x, y, draw)
        losses.mean().backward()
        model.zero_grad()
        return losses.detach()

    def bare() -> Tensor:
        losses = F.cross_entropy(model(x), y, reduction="none")
        losses.mean().backward()
        model.zero_grad()
        return losses.detach()

    def more(_: float) -> dict[str, float]:
        works: dict[str, Work] = {"bare": bare}
        works |= {variant: partial(step, _made(variant)) for variant in VARIANTS}
        seconds = interleaved(works, 3)
        numbers = {}
        for variant in VARIANTS:
            numbers[f"{variant}: passes"] = seconds[variant] / seconds["bare"]
            numbers[f"{variant}: declared"] = declared(variant)
        return numbers

    what = f"a step of the standard objective on {IMAGES} images of 3×32×32, ResNet-18 (width 32): a bare pass / ours"
    return Case(what, lambda: step(make("standard")), bare, 1e-6, more, at_least=1 / 1.1)


CASES = {"objectives": objectives}
