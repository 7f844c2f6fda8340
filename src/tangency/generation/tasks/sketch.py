"""Sketches, or the edges of test images, are taken to their class."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.generation.tasks.change import ChangeTask
from tangency.generation.tasks.inputs import TaskInputs
from tangency.numerics import per_example
from tangency.types import check_images

_FLAT = 1e-5  # largest |Sobel| of an image that is even up to rounding


class SketchTask(ChangeTask):
    """From the edges of test images, or from data that are sketches, to the class asked for, or to their own."""

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
