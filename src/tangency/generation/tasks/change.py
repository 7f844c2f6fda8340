"""Test images are taken to another class: within a budget, from their edges, or by the shortest way."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tangency.autodiff import undisturbed
from tangency.generation.counterfactuals import counterfactual
from tangency.generation.tasks.climb import towards
from tangency.generation.tasks.inputs import OWN, START, Outcome, TaskInputs, in_words
from tangency.generation.tasks.task import CLIMB, ImageTask
from tangency.numerics import norms, per_example
from tangency.seeding import Draw
from tangency.types import check_images

_FLAT = 1e-5  # largest |Sobel| of an image that is even up to rounding


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


class SketchTask(ChangeTask):
    """From the edges of test images, or from data that are sketches, to the target class, or to their own."""

    name = "sketch"
    title = "Sketch to image"
    options = ("target", "drawn")
    second_choice = False
    start_words = "edges of test images, or sketches"

    def start(self, inputs: TaskInputs, x: Tensor) -> Tensor:
        """The edges; the images where they are sketches already."""
        return x if inputs.options.drawn else sketch(x)

    def default_target(self, inputs: TaskInputs, x: Tensor, y: Tensor) -> Tensor:
        """The true class."""
        return y


def sketch(x: Tensor) -> Tensor:
    """Dark lines on white where brightness changes: 1 − |Sobel|, scaled to its largest value, in [0, 1]."""
    check_images(x)
    grey = torch.nn.functional.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], dtype=x.dtype, device=x.device)
    both = torch.nn.functional.conv2d(grey, torch.stack([kernel, kernel.T])[:, None])
    size = both.square().sum(1, keepdim=True).sqrt()
    largest = size.flatten(1).amax(1)
    scale = torch.where(largest > _FLAT, largest, torch.inf)  # an even image has no lines
    return (1 - size / per_example(scale, size)).expand_as(x).contiguous()


class CounterfactualTask(ChangeTask):
    """The nearest image of the target class, or of the classifier's second choice."""

    name = "counterfactual"
    title = "Counterfactuals"
    options = ("target", "margin")
    unclimbed = tuple(name for name in CLIMB if name not in ("bounds", "frames"))

    def change(self, inputs: TaskInputs, outcome: Outcome, source: str, start: Tensor, draw: Draw) -> None:
        """Add the nearest images; of the classifier, with frames on the straight way to them."""
        options, network = inputs.options, inputs.networks[source][0]
        # densities have thousands of nats, whose differences float32 loses
        x = start if source == OWN else start.double()
        nearest = counterfactual(network, x, outcome.y, margin=options.margin, bounds=options.climb.bounds)
        how = "nearest image of the class, by projections on linearised boundaries"
        ended = {"reached": nearest.reached, "stalled": nearest.stalled, "diverged": nearest.diverged}
        outcome.add(source, nearest.images, how, nearest.evaluations, **ended)
        if source == OWN:
            shown = max(2, options.climb.frames)
            share = torch.linspace(0, 1, shown, device=start.device).reshape(-1, 1, 1, 1, 1)
            outcome.frames = start + share * (nearest.images - start)
            outcome.frame_steps = tuple(range(shown))
