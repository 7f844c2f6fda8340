"""Blocks of pixels of test images are averaged, then restored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.generation.operators import AveragePool, Operator
from tangency.generation.options import TaskOptions
from tangency.generation.tasks.inputs import TaskInputs
from tangency.generation.tasks.restoration import MeasuredRestoration
from tangency.seeding import Draw


class SuperResolutionTask(MeasuredRestoration):
    """An image is restored from the means of its blocks."""

    name = "superres"
    title = "Super-resolution"
    options = ("factor", "label")

    def operator(self, inputs: TaskInputs, draw: Draw) -> Operator:
        """The mean of each block."""
        return AveragePool(inputs.options.factor)

    def guess_words(self, options: TaskOptions) -> str:
        """What the first guess is, in words."""
        return f"blocks of {options.factor}² pixels"

    def described(self, settings: Mapping[str, Any]) -> str:
        """Factor and label in words."""
        return f"×{settings['factor']}, raising the {settings['label']}"
