"""Test images are taken to another class: what such tasks share, and the plain one, within a budget."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tangency.autodiff import undisturbed
from tangency.generation.tasks.climb import towards
from tangency.generation.tasks.inputs import START, Outcome, TaskInputs, in_words
from tangency.generation.tasks.task import ImageTask
from tangency.numerics import norms
from tangency.seeding import Draw


class ChangeTask(ImageTask):
    """A task that takes test images to a class."""

    second_choice = True
    start_words: ClassVar[str] = "test images"

    def apply(self, inputs: TaskInputs, x: Tensor, y: Tensor, draw: Draw) -> Outcome:
        """Take the images to their targets by each network."""
        start, target = self.start(inputs, x), inputs.options.target
        outcome = Outcome(self.default_target(inputs, x, y) if target is None else torch.full_like(y, int(target)))
        outcome.add(START, start, self.start_words)
        for source in inputs.networks:
            self.change(inputs, outcome, source, start, draw)
            outcome.columns[source]["distance"] = norms((outcome.pictures[source] - start).double())
        return outcome

    def start(self, inputs: TaskInputs, x: Tensor) -> Tensor:
        """What is started from, of the images (N, C, H, W)."""
        return x

    def default_target(self, inputs: TaskInputs, x: Tensor, y: Tensor) -> Tensor:
        """The class that each image is taken to by default, (N,): the classifier's second choice."""
        with undisturbed(inputs.own), torch.no_grad():
            logits: Tensor = inputs.own(x)
        return logits.topk(2, dim=1).indices[:, 1]

    def change(self, inputs: TaskInputs, outcome: Outcome, source: str, start: Tensor, draw: Draw) -> None:
        """Add what the network of one source makes of the start: an ascent within the budget."""
        network, words = inputs.networks[source]
        climb = inputs.options.climb
        outcome.add_ascent(source, towards(network, start, outcome.y, climb, draw=draw), in_words(climb, words))


class TranslateTask(ChangeTask):
    """From test images to the target class, or to the classifier's second choice, within a budget."""

    name = "translate"
    title = "Image to image"
    options = ("target",)
