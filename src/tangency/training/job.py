"""What is trained (`TrainingJob`), and on what and how (`Training`): the input of the loop in `engine`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import DataError, ModelError
from tangency.seeding import Draw, permutation
from tangency.training.batches import Minibatch
from tangency.training.checkpoint import Row
from tangency.training.config import TrainConfig
from tangency.training.result import TrainingRecord
from tangency.types import LabelledImages, check_labels

VALIDATION_IMAGES = 1000


@dataclass(frozen=True)
class Step:
    """What `on_step` is called with after each step; epochs, and steps of an epoch, are counted from one."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float

    @property
    def share(self) -> float:
        """Share of the training that is done."""
        return ((self.epoch - 1) * self.steps + self.step) / (self.epochs * self.steps)


@dataclass(frozen=True)
class Training:
    """What every kind of training takes.

    Args:
        data: training images.
        config: how to train.
        folder: gets the weights, the history and the checkpoint.
        device: where to train; under `accelerate launch` each process takes its own.
        validation: images for the history and the best weights; by default config.validation_fraction of `data`.
        on_step: called after each step; an exception from it stops the run.
    """

    data: LabelledImages
    config: TrainConfig
    folder: Path
    device: torch.device | str
    validation: LabelledImages | None
    on_step: Callable[[Step], None] | None

    def check_images(self, taker: str, shape: tuple[int, int, int], classes: int | None = None) -> None:
        """Raise unless there are images, of this shape, with labels of as many classes (0: of any; None: unused)."""
        for images, what in ((self.data, "training images"), (self.validation, "validation images")):
            if images is None:
                continue
            if not len(images):
                raise DataError(f"{what}: '{images.name}' has no images; check the reference, the split or the limit.")
            if images.shape != shape or (classes and len(images.classes) != classes):
                of, into = (f" in {n} classes" if classes else "" for n in (len(images.classes), classes))
                raise ModelError(
                    f"{what}: '{images.name}' has images {images.shape}{of}, {taker} takes {shape}{into}. Build it for "
                    "this data, or resize them."
                )
            if classes is not None:
                check_labels(images.labels, len(images.pixels), len(images.classes), what)


class TrainingJob(ABC):
    """A module, its loss, and what is kept of it: what differs between kinds of training.

    Args:
        module: whose weights change.
        files: names of the file with the last weights, whose presence marks the training as finished, and of the file
            with the best.
        in_place: whether the caller's own module is trained, which then has its final weights when trained again.
    """

    module: nn.Module
    files: tuple[str, str]
    in_place = False

    def to(self, device: torch.device | str) -> None:
        """Move what is trained to a device."""
        self.module.to(device)

    @abstractmethod
    def losses(self, batch: Minibatch, draw: Draw) -> Tensor:
        """Loss of each image of a batch, (n,)."""

    @abstractmethod
    def evaluate(
        self, training: Training, index: Tensor, validation: LabelledImages, held: Tensor, device: torch.device
    ) -> tuple[Row, float]:
        """Columns of the history at the end of an epoch, and the merit of the weights (higher is better, or NaN).

        The training images are `index` of training.data, the validation images `held` of `validation`.
        """

    @abstractmethod
    def save(self, path: Path, record: TrainingRecord) -> None:
        """Write the weights with a record of their training."""

    @abstractmethod
    def provenance(self, header: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
        """Provenance in the header of a file that `save` wrote."""

    @abstractmethod
    def load(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Take over the final weights that `save` wrote."""

    def stepped(self, images: int, batch: int) -> None:
        """Follow a step of `batch` images; `images` were seen before it."""
        return

    def state(self) -> Mapping[str, Tensor]:
        """Tensors, besides module and optimiser, that the next step depends on; restored in place."""
        return {}


def validation_batches(
    validation: LabelledImages, held: Tensor, seed: int, device: torch.device
) -> Iterator[Minibatch]:
    """A fixed random subset of the validation images."""
    chosen = held[permutation(len(held), seed, "validation loss")[:VALIDATION_IMAGES]]
    for ids in torch.split(chosen, 250):
        yield Minibatch(validation.images(ids).to(device), validation.labels[ids].to(device), ids.to(device))
