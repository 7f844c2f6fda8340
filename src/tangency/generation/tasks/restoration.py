"""Restoration of test images from a linear measurement: inpainting, super-resolution, and what they share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tangency.autodiff import undisturbed
from tangency.errors import NumericsError, SpecError, unknown_name
from tangency.generation.conditional import Conditional
from tangency.generation.constraints import BallInBox, Both, Box, Consistent, Constraint
from tangency.generation.engine import Ascent, ascend
from tangency.generation.objectives import UNLABELLED, ClassObjective, predicted
from tangency.generation.operators import AveragePool, Operator, make_mask
from tangency.generation.options import LABELS, REFERENCES, Climb, TaskOptions
from tangency.generation.reference import restore_by_score
from tangency.generation.tasks.climb import default_radius, plan, raised
from tangency.generation.tasks.inputs import START, TRUTH, Outcome, TaskInputs, in_words
from tangency.generation.tasks.task import ImageTask
from tangency.seeding import Draw
from tangency.types import check_images

_NEAR = 0.05  # of √d: what a restoration goes by default, whose first guess is near


class Restoration(ImageTask):
    """A task that damages test images and restores them, so that the truth is known."""

    references = REFERENCES
    truth = True

    def moot(self, options: TaskOptions) -> dict[str, str]:
        """As of every task; and what the label leaves no use for."""
        climb, moot = options.climb, super().moot(options)
        if options.label == "energy":
            why = "label 'energy' raises the logsumexp; give label predicted or oracle"
            moot |= {"climb.objective": why, "climb.confidence": why}
        elif climb.objective == "energy":
            moot["label"] = "objective 'energy' is of no class"
        if climb.rule != "normalised" and climb.radius is None:
            moot["climb.norm"] = f"there is no budget of its own, and rule '{climb.rule}' has no norm"
        return moot


class MeasuredRestoration(Restoration):
    """A restoration from a linear measurement without noise: pixels are hidden, or averaged away, then restored."""

    qualities = ("psnr", "psnr_gain", "ssim", "lpips")

    @abstractmethod
    def operator(self, inputs: TaskInputs, draw: Draw) -> Operator:
        """A, the measurement of each image."""

    @abstractmethod
    def guess_words(self, options: TaskOptions) -> str:
        """What the first guess is, in words."""

    def apply(self, inputs: TaskInputs, x: Tensor, y: Tensor, draw: Draw) -> Outcome:
        """Measure the images, and restore them from what was measured."""
        options, climb, inside = inputs.options, inputs.options.climb, Box(inputs.options.climb.bounds)
        operator = self.operator(inputs, draw)
        measured = operator.apply(x)
        measured = measured * operator.seen(measured)
        guess = first_guess(operator, measured, x)
        oracle = true_labels(options, y)
        outcome = Outcome(y)
        outcome.add(TRUTH, x, "test images")
        outcome.add(START, guess, self.guess_words(options))
        for source, (network, words) in inputs.networks.items():
            result = restore(network, operator, measured, guess, climb, draw=draw, label=options.label, y=oracle)
            outcome.add_ascent(source, result.ascent, in_words(climb, words, options.label))
            outcome.columns[source]["raised_class"] = result.labels
        if inputs.mixture is not None:
            exact = Conditional(inputs.mixture, operator, measured, oracle).mean()
            outcome.add("mixture", inside(exact), "conditional mean of the mixture")
        if inputs.score is not None:
            labels = oracle if inputs.score.classes else None
            if labels is None and inputs.score.card.get("unconditional") is False:
                return outcome
            sample = restore_by_score(inputs.score, operator, measured, draw, options.budget, labels)
            outcome.add("score", inside(sample.images), f"a sample, {sample.how}", sample.evaluations)
        return outcome


@dataclass(frozen=True)
class Restored:
    """A restoration by an ascent, with the class that it raised and the noise that it assumed.

    Args:
        ascent: where it came to.
        labels: (N,) the class that was raised; −1 where none was.
        sigma: (N,) the noise level that was assumed, 0 where there is none.
    """

    ascent: Ascent
    labels: Tensor
    sigma: Tensor


def restore(
    model: nn.Module,
    operator: Operator,
    measured: Tensor,
    start: Tensor,
    climb: Climb,
    *,
    draw: Draw,
    label: str = "energy",
    y: Tensor | None = None,
) -> Restored:
    """Inpainting and super-resolution: raise the objective among images that agree with what was measured.

    Args:
        model: maps (N, C, H, W) to logits; left as it was.
        operator: a `Mask` or `AveragePool`.
        measured: A of an image, (N, C, h, w); with a mask, only known pixels matter.
        start: (N, C, H, W), a first guess (`first_guess`); projected on what agrees.
        climb: how; where a radius is given, it is a budget about the start, and there is none otherwise (the default
            length of a move is that of a budget of √d/20).
        draw: of the images.
        label, y: see `denoise`.
    """
    for values, what in ((measured, "measured"), (start, "start")):
        check_images(values, what, unit_range=climb.bounds is not None)
    if operator.apply(start).shape != measured.shape:
        raise NumericsError(
            f"measured: got {tuple(measured.shape)}, expected {tuple(operator.apply(start).shape)} for images "
            f"{tuple(start.shape)}."
        )
    consistent = Consistent(operator, measured, climb.bounds)
    start = consistent(start.detach())
    labels, objective = class_objective(model, start, climb, label, y)
    radius = climb.radius or default_radius(start, _NEAR)
    inside: Constraint = consistent
    if climb.radius is not None:
        inside = Both(BallInBox(start, radius, climb.norm, climb.bounds), consistent)
    ascent = ascend(raised(climb, objective), start, plan(climb, radius, inside), draw=draw, models=(model,))
    return Restored(ascent, labels, torch.zeros(len(start), dtype=start.dtype, device=start.device))


def first_guess(operator: Operator, measured: Tensor, like: Tensor) -> Tensor:
    """What was measured, and the mean of it where nothing was, (N, C, H, W).

    Args:
        operator: A.
        measured: (N, C, h, w).
        like: any tensor of the images' shape, which gives no values.
    """
    known = operator.seen(measured).expand_as(measured)
    mean = (measured * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    return operator.project(mean.expand_as(like).clone(), measured, None)


def true_labels(options: TaskOptions, y: Tensor) -> Tensor | None:
    """The true classes where a restoration may know them."""
    return y if options.label == "oracle" else None


def class_objective(
    model: nn.Module, start: Tensor, climb: Climb, label: str, y: Tensor | None
) -> tuple[Tensor, ClassObjective]:
    """The class that a restoration raises for each image, (N,), −1 where it raises none, and the objective."""
    if label not in LABELS:
        raise SpecError(unknown_name("label", label, LABELS))
    if (y is not None) != (label == "oracle"):
        raise SpecError(
            f"label: got '{label}' {'with' if y is not None else 'without'} true classes; oracle needs them."
        )
    none = torch.full((len(start),), -1, dtype=torch.int64, device=start.device)
    if label == "energy" or climb.objective in UNLABELLED:
        return none, ClassObjective(model, "energy", torch.zeros_like(none))
    if y is None:
        with undisturbed(model):
            y = predicted(model, start)
    return y, ClassObjective(model, climb.objective, y)


class InpaintTask(MeasuredRestoration):
    """Pixels behind a mask are restored."""

    name = "inpaint"
    title = "Inpainting"
    options = ("mask", "share", "label")

    def moot(self, options: TaskOptions) -> dict[str, str]:
        """As of every restoration; a mask of half of the pixels has no share."""
        moot = super().moot(options)
        if options.mask == "half":
            moot["share"] = "mask 'half' hides half of the pixels"
        return moot

    def operator(self, inputs: TaskInputs, draw: Draw) -> Operator:
        """The mask of each image."""
        return make_mask(inputs.options.mask, inputs.data.test.shape, inputs.options.share, draw)

    def guess_words(self, options: TaskOptions) -> str:
        """What the first guess is, in words."""
        return f"the mean of what is known in a {options.mask} mask"

    def described(self, settings: Mapping[str, Any]) -> str:
        """What a mask hides, half of the pixels where the settings hold no share, and the label in words."""
        share = settings.get("share", 0.5)
        return f"{settings['mask']} mask on {share:.0%} of the pixels, raising the {settings['label']}"


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
