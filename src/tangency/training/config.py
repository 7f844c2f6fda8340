"""Options of a training, and the learning rate that follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from tangency.devices import PRECISIONS
from tangency.errors import SpecError, unknown_name

OPTIMISERS = ("adamw", "sgd")
SCHEDULES = ("constant", "cosine", "step", "thirds")

# Raise it when a change in this room changes the final weights of a training: older trainings are then repeated.
TRAINING_SCHEMA = 1


@dataclass(frozen=True)
class TrainConfig:
    """How to train; the defaults are those of the embedded study (5,000 images of 28×28 pixels in seconds).

    Args:
        epochs: passes over the training images, ≥ 1.
        batch_size: images of one step, ≥ 1.
        learning_rate: peak of the schedule, > 0. The same for every strength, so that strengths can be compared.
        weight_decay: decoupled for adamw, l2 for sgd; ≥ 0.
        optimiser: "adamw" or "sgd" (Nesterov-free momentum, as in the paper).
        momentum: of sgd, in [0, 1).
        schedule: "cosine" to zero; "step", a tenth after 3/4 and again after 7/8 of the steps (the paper's on
            CIFAR-10); "thirds", the same after 1/3 and 2/3 (the paper's on ImageNet-64); "constant".
        warmup: share of the steps over which the rate rises linearly from zero, in [0, 1).
        seed: of order, noise, attacks and augmentation.
        checkpoint_seconds: time between checkpoints inside an epoch; the end of an epoch always writes one.
        validation_fraction: share of each class held out where no validation images are given, in [0, 1).
        flip: mirror each image left to right with probability ½.
        crop: pad by this many pixels and cut out the original size at random, for each image; 0 for off.
        clip_norm: largest l2 norm of the gradient of a step; None for no clipping.
        precision: of products and convolutions: "float32"; "tf32", on CUDA, faster and to 10 bits after the point;
            "bfloat16", losses under autocast with weights in float32. Evaluations are in float32 or TF32.

    Raises:
        SpecError: an unknown optimiser, schedule or precision, or a number out of its range.

    Example:
        >>> TrainConfig(epochs=3, schedule="step").learning_rate
        0.005
    """

    epochs: int = 12
    batch_size: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    optimiser: str = "adamw"
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup: float = 0.1
    seed: int = 0
    checkpoint_seconds: float = 60.0
    validation_fraction: float = 0.05
    flip: bool = False
    crop: int = 0
    clip_norm: float | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise SpecError(unknown_name("optimiser", self.optimiser, OPTIMISERS))
        if self.schedule not in SCHEDULES:
            raise SpecError(unknown_name("schedule", self.schedule, SCHEDULES))
        if self.precision not in PRECISIONS:
            raise SpecError(unknown_name("precision", self.precision, PRECISIONS))
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "learning_rate": (0 < self.learning_rate < math.inf, "a positive number"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "a number >= 0"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "warmup": (0 <= self.warmup < 1, "in [0, 1)"),
            "checkpoint_seconds": (self.checkpoint_seconds >= 0, "a number >= 0"),
            "validation_fraction": (0 <= self.validation_fraction < 1, "in [0, 1)"),
            "crop": (self.crop >= 0, "a whole number >= 0"),
            "clip_norm": (self.clip_norm is None or self.clip_norm > 0, "a positive number, or nothing"),
        }
        for name, (good, expected) in rules.items():
            if not good:
                raise SpecError(f"training: {name} is {getattr(self, name)}, expected {expected}.")

    def plain(self) -> dict[str, object]:
        """The options that every kind of training has, as JSON, without the precision where it is float32."""
        options = {field.name: getattr(self, field.name) for field in fields(TrainConfig)}
        if self.precision == "float32":
            del options["precision"]
        return options


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The rate of step 0 … total − 1."""
    done = step / total
    rise = min(1.0, (step + 1) / (config.warmup * total)) if config.warmup else 1.0
    if config.schedule == "cosine":
        fall = 0.5 * (1 + math.cos(math.pi * done))
    elif config.schedule == "step":
        fall = 0.1 ** ((done >= 0.75) + (done >= 0.875))
    elif config.schedule == "thirds":
        fall = 0.1 ** ((done >= 1 / 3) + (done >= 2 / 3))
    else:
        fall = 1.0
    return config.learning_rate * rise * fall
