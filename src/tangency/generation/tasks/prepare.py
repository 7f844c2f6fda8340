"""From data and options to the inputs of a task: which images, which class, which mixtures."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn

from tangency.data.partners import measured_order
from tangency.errors import SpecError, listed, unknown_name
from tangency.generation.conditional import pixel_mixture
from tangency.generation.energy import JointLogits
from tangency.generation.options import Climb
from tangency.generation.tasks.config import GenerationConfig
from tangency.generation.tasks.inputs import TaskInputs
from tangency.generation.tasks.table import TASKS
from tangency.mixtures import Mixture, fit_mixture
from tangency.score import Denoiser
from tangency.seeding import permutation
from tangency.types import Dataset
from tangency.worlds import GaussianCore, World, world_of

_FITTED = 5000  # training images that a mixture is fitted to at most
_LARGEST = 4096  # pixels of images that one is fitted to


def fitted_to(config: GenerationConfig, data: Dataset) -> GenerationConfig:
    """The task for these images: its class by number, and a world's pixels not confined."""
    config = dataclasses.replace(config, target=_target(config, data))
    if not TASKS[config.task].from_nothing and config.count > len(data.test):
        raise SpecError(f"count: got {config.count}, '{data.name}' has {len(data.test)} test images.")
    if data.test.unit_range:
        return config
    bounds = config.climb.bounds
    if bounds is not None and bounds != Climb().bounds:
        raise SpecError(
            f"climb.bounds: got {list(bounds)}, but pixels of '{data.name}' are not confined; leave bounds out."
        )
    return dataclasses.replace(config, climb=dataclasses.replace(config.climb, bounds=None))


def _target(config: GenerationConfig, data: Dataset) -> int | None:
    """The number of the target class (or channel)."""
    target, names = config.target, data.test.classes
    if target is None or TASKS[config.task].truth:
        return None
    if isinstance(target, str) and target in names:
        return names.index(target)
    if isinstance(target, str) and not target.isdecimal():
        raise SpecError(f"target: {unknown_name('class', target, names)} A number will do too.")
    number = int(target)
    if "unit" not in TASKS[config.task].options and not 0 <= number < len(names):
        raise SpecError(f"target: got class {number}, expected 0 to {len(names) - 1}, or one of {listed(names)}.")
    return number


def picture_ids(config: GenerationConfig, data: Dataset) -> Tensor:
    """Numbers of pictures, or of test images: a fixed random subset, the first of those that a study measures."""
    if TASKS[config.task].from_nothing:
        return torch.arange(config.count)
    return measured_order(len(data.test))[: config.count].sort().values


def starts_from_gaussians(config: GenerationConfig) -> bool:
    """Whether pictures start from draws of the classes' Gaussians."""
    return "start" in TASKS[config.task].options and config.start == "class"


def mixture_for(data: Dataset, components: int, rank: int, seed: int, device: str) -> Mixture | None:
    """The exact mixture of a world of Gaussians, else one fitted to the training images."""
    world = _gaussian_world(data)
    if world is not None:
        return pixel_mixture(world).to(device)
    if why_no_mixture(data, components, rank):
        return None
    images = data.train
    if len(images) > _FITTED:
        images = images.subset(permutation(len(images), seed, "mixture of generation")[:_FITTED])
    return fit_mixture(images, components, rank, seed=seed, device=device)[0]


def _gaussian_world(data: Dataset) -> World | None:
    """The world that the data come from, where its law is a mixture of Gaussians with a density."""
    world = world_of(data.name)
    return world if world is not None and isinstance(world.core, GaussianCore) and world.embedding.noise > 0 else None


def why_no_mixture(data: Dataset, components: int, rank: int) -> str:
    """Why no mixture can be fitted to these data with these options, in a sentence; "" where one can be."""
    if _gaussian_world(data) is not None:
        return ""
    d, fewest = math.prod(data.train.shape), int(data.train.class_counts.min())
    if d > _LARGEST:
        return f"start: Gaussians of classes take images of at most {_LARGEST} values, '{data.name}' has {d}."
    if rank >= d:
        return f"rank: got {rank} for images of {d} values, expected 1 to {d - 1}."
    if fewest < 2 * components:
        return (
            f"components: {components} to a class take at least {2 * components} training images of each class, one "
            f"of '{data.name}' has {fewest}."
        )
    return ""


def class_gaussians(data: Dataset, config: GenerationConfig, device: str) -> Mixture | None:
    """A Gaussian of each class where the task starts from draws of them; None where it does not.

    Raises:
        SpecError: they cannot be fitted to these images.
    """
    if not starts_from_gaussians(config):
        return None
    gaussians = mixture_for(data, 1, config.rank, config.seed, device)
    if gaussians is None:
        raise SpecError(why_no_mixture(data, 1, config.rank))
    return gaussians


def task_inputs(
    classifier: nn.Module | None,
    data: Dataset,
    config: GenerationConfig,
    mixture: Mixture | None,
    gaussians: Mixture | None,
    score: Denoiser | None,
    device: str,
) -> TaskInputs:
    """The inputs of a task, with only those references that its options name.

    Args:
        classifier: maps (N, C, H, W) to logits; None where only references are wanted.
        data: images of its shape.
        config: the task, fitted to the data.
        mixture: of the images; None for none.
        gaussians: of each class (`class_gaussians`).
        score: None for none.
        device: where.
    """
    wanted, bayes = set(config.references), None
    if mixture is not None and "bayes" in wanted:
        bayes = JointLogits(mixture, TASKS[config.task].smoothing(config))
    return TaskInputs(
        classifier,
        data,
        config,
        mixture if "mixture" in wanted else None,
        gaussians,
        bayes,
        score if "score" in wanted else None,
        device,
    )
