"""Pictures from nothing: class-conditional generation, and the features of a unit."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.autodiff import undisturbed
from tangency.errors import SpecError
from tangency.generate import class_seed, generate_by_score, noise_seed, towards, visualise
from tangency.seeding import Draw
from tangency.study.generation_shop import OWN, START, Outcome, Workshop, in_words


def _start(shop: Workshop, y: Tensor, draw: Draw) -> Tensor:
    if shop.config.start == "noise":
        return noise_seed(shop.data.test.shape, draw)
    if shop.class_gaussians is None:
        raise SpecError("start: 'class' needs Gaussians of the classes; they were not fitted.")
    return class_seed(shop.class_gaussians, y, draw.of("start")).float()


def generate(shop: Workshop, draw: Draw) -> Outcome:
    """Pictures of each class, from noise or from a draw of the class's Gaussian."""
    config, classes = shop.config, len(shop.data.test.classes)
    y = draw.ids % classes if config.target is None else torch.full_like(draw.ids, int(config.target))
    start = _start(shop, y, draw)
    outcome = Outcome(y)
    outcome.add(START, start, f"{config.start} that the ascent starts from")
    if int(shop.data.test.class_counts.min()) > 0:
        outcome.add("real", _real(shop, y, draw), "test images of the class")
    for source, (network, words) in shop.networks.items():
        outcome.add_ascent(source, towards(network, start, y, config.climb, draw=draw), in_words(config.climb, words))
    if shop.mixture is not None:
        drawn = class_seed(shop.mixture, y, draw.of("mixture"))
        outcome.add("mixture", drawn, "draws from the mixture of the class")
    if shop.score is not None:
        _by_score(shop, outcome, draw)
    return outcome


def _real(shop: Workshop, y: Tensor, draw: Draw) -> Tensor:
    """A test image of each class, drawn at random."""
    labels, counts = shop.data.test.labels, shop.data.test.class_counts
    first = counts.cumsum(0) - counts
    place = first[y.cpu()] + draw.of("real").integers(counts.to(shop.device)[y]).cpu()
    return shop.data.test.images(labels.argsort(stable=True)[place]).to(shop.device)


def feature(shop: Workshop, draw: Draw) -> Outcome:
    """What a channel of a module answers to."""
    config = shop.config
    channels = _channels(shop, draw)
    y = torch.full_like(draw.ids, -1)
    start = _start(shop, draw.ids % len(shop.data.test.classes), draw)
    outcome = Outcome(y)
    outcome.add(START, start, f"{config.start} that the ascent starts from")
    found = visualise(shop.own, config.unit, channels, start, config.climb, draw=draw)
    outcome.add_ascent(OWN, found, f"{config.climb.steps} steps up the mean of a channel of '{config.unit}'")
    outcome.columns[OWN] |= {"channel": channels, "activation": found.values}
    return outcome


def _channels(shop: Workshop, draw: Draw) -> Tensor:
    """The channel of each image: the one that was asked for, or each in turn."""
    if shop.config.target is not None:
        return torch.full_like(draw.ids, int(shop.config.target))
    named = dict(shop.own.named_modules())
    widths: list[int] = []
    if shop.config.unit in named:
        watch = named[shop.config.unit].register_forward_hook(lambda _m, _given, output: widths.append(output.shape[1]))
        try:
            with undisturbed(shop.own), torch.no_grad():
                shop.own(torch.zeros(1, *shop.data.test.shape, device=shop.device))
        finally:
            watch.remove()
    return draw.ids % (widths[0] if widths else 1)


def _by_score(shop: Workshop, outcome: Outcome, draw: Draw) -> None:
    """By the score alone, where it knows classes, and guided by the classifier."""
    config, score = shop.config, shop.score
    if score is None:
        return
    if score.classes:
        found = generate_by_score(score, outcome.y, draw.ids, config.budget, seed=config.seed, guidance=config.guidance)
        outcome.add("score", found.images, found.how, found.evaluations)
    if score.card.get("unconditional") is False or shop.classifier is None:
        return
    guided = generate_by_score(
        score,
        outcome.y,
        draw.ids,
        config.budget,
        seed=config.seed,
        guidance=config.guidance or 1.0,
        classifier=shop.classifier,
    )
    outcome.add("score_guided", guided.images, guided.how, guided.evaluations)
