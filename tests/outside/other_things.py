"""A package of somebody else's: data, a score, an architecture, a task, and tangent spaces from a file."""

import numpy as np
import torch

from tangency.data import Kind, Source, labelled
from tangency.generation.tasks.denoise import DenoiseTask
from tangency.score import GaussianScore
from tangency.tangents import dct_tangents


def _stripes(count):
    labels = torch.arange(count) % 3
    noise = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(count)) / 2
    pixels = noise + (torch.arange(8) % 3 == labels[:, None])[:, None, None, :] / 2
    return labelled(pixels, labels, ("a", "b", "c"), "stripes")


def _open(reference, root):
    count = reference.integer("images") or 90
    return Source(reference.text, {"train": lambda: _stripes(count), "test": lambda: _stripes(count // 3)})


STRIPES = Kind(_open, "", ("images",))


def gaussian(reference, device):
    """`other/gaussian:FILE.npz`, one Gaussian that is fitted to the "pixels" of a file."""
    pixels = torch.from_numpy(np.load(reference.path(None))["pixels"])
    return GaussianScore(labelled(pixels, torch.arange(len(pixels)) % 2, ("a", "b"), "file"), device)


class Flat(torch.nn.Sequential):
    """One layer."""

    def __init__(self, shape, classes, width=8):
        size = shape[0] * shape[1] * shape[2]
        super().__init__(
            torch.nn.Flatten(), torch.nn.Linear(size, width), torch.nn.SiLU(), torch.nn.Linear(width, classes)
        )


class Brighten(DenoiseTask):
    """Denoising by another name."""

    name, title = "other/brighten", "Brightening"


BRIGHTEN = Brighten()


def stored(ground, location, *, rank=2):
    """`other/stored:FILE`, whatever the file holds."""
    open(location).close()
    return dct_tangents(ground.data.train.shape, rank)
