"""Test images that are taken to a class: image to image, counterfactuals, sketches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.autodiff import undisturbed
from tangency.generate import counterfactual, sketch, towards
from tangency.numerics import norms
from tangency.seeding import Draw
from tangency.study.generation_shop import OWN, START, Outcome, Workshop, in_words


def changed(shop: Workshop, x: Tensor, y: Tensor, draw: Draw) -> Outcome:
    """The images, or their edges, and what each network makes of them."""
    config, climb = shop.config, shop.config.climb
    start = sketch(x) if config.task == "sketch" and not config.drawn else x
    target = aims(shop, x, y)
    outcome = Outcome(target)
    kinds = {"sketch": "edges of test images, or sketches", "translate": "test images", "counterfactual": "test images"}
    outcome.add(START, start, kinds[config.task])
    for source, (network, words) in shop.networks.items():
        if config.task == "counterfactual":
            _counterfactual(shop, outcome, source, network, start)
        else:
            outcome.add_ascent(source, towards(network, start, target, climb, draw=draw), in_words(climb, words))
        outcome.columns[source]["distance"] = norms((outcome.pictures[source] - start).double())
    return outcome


def aims(shop: Workshop, x: Tensor, y: Tensor) -> Tensor:
    """The class that each image is taken to: the one asked for, the true one of a sketch, or the second choice."""
    if shop.config.target is not None:
        return torch.full_like(y, int(shop.config.target))
    if shop.config.task == "sketch":
        return y
    with undisturbed(shop.own), torch.no_grad():
        return shop.own(x).topk(2, dim=1).indices[:, 1]


def _counterfactual(shop: Workshop, outcome: Outcome, source: str, network: nn.Module, x: Tensor) -> None:
    config = shop.config
    exact = x.double() if source != OWN else x  # densities have thousands of nats, whose differences float32 loses
    found = counterfactual(network, exact, outcome.y, margin=config.margin, bounds=config.climb.bounds)
    how = "nearest image of the class, by projections on linearised boundaries"
    told = {"reached": found.reached, "stalled": found.stalled, "diverged": found.diverged}
    outcome.add(source, found.images, how, found.evaluations, **told)
    if source == OWN:
        shown = max(2, config.climb.frames or 2)
        share = torch.linspace(0, 1, shown, device=x.device).reshape(-1, 1, 1, 1, 1)
        outcome.frames = x + share * (found.images - x)
        outcome.frame_steps = tuple(range(shown))
