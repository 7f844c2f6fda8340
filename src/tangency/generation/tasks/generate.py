"""Pictures of a class from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tangency.errors import SpecError
from tangency.generation.options import REFERENCES
from tangency.generation.reference import generate_by_score
from tangency.generation.seeds import class_seed, noise_seed
from tangency.generation.tasks.climb import towards
from tangency.generation.tasks.inputs import START, Outcome, TaskInputs, in_words
from tangency.generation.tasks.task import GenerationTask
from tangency.seeding import Draw


class GenerateTask(GenerationTask):
    """Pictures of each class, from noise or from a draw of the class's Gaussian."""

    name = "generate"
    title = "Images from noise"
    options = ("target", "start", "guidance")
    references = REFERENCES
    from_nothing = True

    def described(self, settings: Mapping[str, Any]) -> str:
        """What the pictures start from, in words."""
        return f"from {settings['start']}"

    def perform(self, inputs: TaskInputs, ids: Tensor, draw: Draw) -> Outcome:
        """Do the task for these pictures, whose classes take turns where there is no target."""
        options, classes = inputs.options, len(inputs.data.test.classes)
        y = draw.ids % classes if options.target is None else torch.full_like(draw.ids, int(options.target))
        start = starts(inputs, y, draw)
        outcome = Outcome(y)
        outcome.add(START, start, f"{options.start} that the ascent starts from")
        if int(inputs.data.test.class_counts.min()) > 0:
            outcome.add("real", _real(inputs, y, draw), "test images of the class")
        for source, (network, words) in inputs.networks.items():
            ascent = towards(network, start, y, options.climb, draw=draw)
            outcome.add_ascent(source, ascent, in_words(options.climb, words))
        if inputs.mixture is not None:
            sample = class_seed(inputs.mixture, y, draw.of("mixture"))
            outcome.add("mixture", sample, "draws from the mixture of the class")
        _add_score_samples(inputs, outcome, draw)
        return outcome


def starts(inputs: TaskInputs, y: Tensor, draw: Draw) -> Tensor:
    """What pictures of these classes start from, (N, C, H, W): noise, or draws of the classes' Gaussians."""
    if inputs.options.start == "noise":
        return noise_seed(inputs.data.test.shape, draw)
    if inputs.class_gaussians is None:
        raise SpecError("start: 'class' needs Gaussians of the classes; they were not fitted.")
    return class_seed(inputs.class_gaussians, y, draw.of("start")).float()


def _real(inputs: TaskInputs, y: Tensor, draw: Draw) -> Tensor:
    """A test image of each class, drawn at random."""
    labels, counts = inputs.data.test.labels, inputs.data.test.class_counts
    first = counts.cumsum(0) - counts
    place = first[y.cpu()] + draw.of("real").integers(counts.to(inputs.device)[y]).cpu()
    return inputs.data.test.images(labels.argsort(stable=True)[place]).to(inputs.device)


def _add_score_samples(inputs: TaskInputs, outcome: Outcome, draw: Draw) -> None:
    """Samples of the score alone, where it knows classes, and of the score guided by the classifier."""
    options, score = inputs.options, inputs.score
    if score is None:
        return
    if score.classes:
        alone = generate_by_score(
            score, outcome.y, draw.ids, options.budget, seed=options.seed, guidance=options.guidance
        )
        outcome.add("score", alone.images, alone.how, alone.evaluations)
    if score.card.get("unconditional") is False or inputs.classifier is None:
        return
    guided = generate_by_score(
        score,
        outcome.y,
        draw.ids,
        options.budget,
        seed=options.seed,
        guidance=options.guidance or 1.0,
        classifier=inputs.classifier,
    )
    outcome.add("score_guided", guided.images, guided.how, guided.evaluations)
