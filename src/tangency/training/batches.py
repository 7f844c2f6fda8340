"""The images of a step, augmented: a pure function of the seed, the epoch and the step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.devices import moved
from tangency.errors import SpecError
from tangency.objectives.coupling import batch_coupled
from tangency.seeding import Draw, permutation
from tangency.training.config import TrainConfig
from tangency.types import LabelledImages


def split(data: LabelledImages, fraction: float, seed: int, purpose: str = "validation") -> tuple[Tensor, Tensor]:
    """Indices to train on and to hold out, both sorted int64; `fraction` of each class, rounded, is held out.

    The only image of a class is never held out. Another purpose holds out other images.
    """
    held = torch.zeros(len(data), dtype=torch.bool)
    for label in range(len(data.classes)):
        members = (data.labels == label).nonzero().flatten()
        count = min(round(fraction * len(members)), max(len(members) - 1, 0))
        held[members[permutation(len(members), seed, purpose, label)[:count]]] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()


def batch_bounds(n: int, batch_size: int) -> list[tuple[int, int]]:
    """Slices of an epoch. A last batch of one image joins the one before, since batch normalisation needs two."""
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] == 1 and batch_size > 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))


def refuse_lone_images(module: nn.Module) -> None:
    """Raise if the module has batch normalisation, whose variance needs two images in each step."""
    if batch_coupled(module):
        raise SpecError(
            "training: a step has one image, expected at least 2 with batch normalisation. Raise batch_size, or use "
            "norm: group."
        )


@dataclass(frozen=True)
class Minibatch:
    """One step's images (n, C, H, W) in [0, 1], labels (n,) and identities (n,) on the device of training."""

    x: Tensor
    y: Tensor
    ids: Tensor


def load_batch(data: LabelledImages, ids: Tensor, config: TrainConfig, epoch: int, device: torch.device) -> Minibatch:
    """The images `ids` of the data, moved to the device as bytes, converted and augmented there."""
    chosen = ids.to(data.pixels.device)
    part = LabelledImages(moved(data.pixels[chosen], device), moved(data.labels[chosen], device), data.classes)
    here = moved(ids, device)
    x = augment(part.images(), Draw(config.seed, here, f"augmentation/epoch {epoch}"), config.flip, config.crop)
    return Minibatch(x, part.labels, here)


def augment(x: Tensor, draw: Draw, flip: bool, crop: int) -> Tensor:
    """Mirror and shift each image by its own random draws, (N, C, H, W) to (N, C, H, W).

    (The published ImageNet-64 script shifts all images of a batch alike.)
    """
    if flip:
        mirrored = draw.of("flip").uniform() < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    if crop:
        height, width = x.shape[2:]
        down, right = (draw.of("crop", axis).integers(2 * crop + 1) for axis in "hw")
        rows = down[:, None] + torch.arange(height, device=x.device)
        columns = right[:, None] + torch.arange(width, device=x.device)
        padded = F.pad(x, (crop,) * 4)
        image = torch.arange(len(x), device=x.device)[:, None, None]
        x = padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return x.contiguous()
