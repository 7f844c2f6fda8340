"""What the tasks share that take test images to a class."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

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
        start = self.start(inputs, x)
        given = inputs.options.target
        target = self.default_target(inputs, x, y) if given is None else torch.full_like(y, int(given))
        outcome = Outcome(target)
        outcome.add(START, start, self.start_words)
        for source, (network, words) in inputs.networks.items():
            self.change(inputs, outcome, source, network, words, start, draw)
            outcome.columns[source]["distance"] = norms((outcome.pictures[source] - start).double())
        return outcome

    def start(self, inputs: TaskInputs, x: Tensor) -> Tensor:
        """What is started from, of the images (N, C, H, W)."""
        return x

    def default_target(self, inputs: TaskInputs, x: Tensor, y: Tensor) -> Tensor:
        """The class that each image is taken to where none is asked for, (N,): the classifier's second choice."""
        with undisturbed(inputs.own), torch.no_grad():
            return inputs.own(x).topk(2, dim=1).indices[:, 1]

    def change(
        self,
        inputs: TaskInputs,
        outcome: Outcome,
        source: str,
        network: nn.Module,
        words: str,
        start: Tensor,
        draw: Draw,
    ) -> None:
        """Add what one network makes of the start: an ascent within the budget."""
        climb = inputs.options.climb
        ascent = towards(network, start, outcome.y, climb, draw=draw)
        outcome.add_ascent(source, ascent, in_words(climb, words))
