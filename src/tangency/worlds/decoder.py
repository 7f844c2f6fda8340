"""W8: images that a small trained decoder makes of a few latent coordinates, with an exact law."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn import functional

from tangency.tensors import digest, read_tensors
from tangency.worlds.decoded import DecoderCore
from tangency.worlds.embedding import Embedding
from tangency.worlds.latent import LatentMixture
from tangency.worlds.options import Allowed, Variance, WorldOptions
from tangency.worlds.smooth_map import SmoothMap
from tangency.worlds.world import World, replace_named

_FILE, _SIDE = "decoder-fashion-mnist.safetensors", 28
_LATENT = Allowed(
    lambda k: k in (1, 2, 3),
    "1, 2 or 3: the score at noise σ is a sum over a grid of latent coordinates, whose nodes grow with their power",
)
_CLASSES = Allowed(lambda c: 2 <= c <= 10, "2 to 10, those of Fashion-MNIST")
_SIZE = Allowed(lambda s: 2 <= s <= _SIDE, f"a side from 2 to {_SIDE} pixels")


@lru_cache(maxsize=1)
def _shipped() -> tuple[dict[str, Tensor], dict[str, Any]]:
    with resources.as_file(resources.files("tangency.worlds") / "weights" / _FILE) as path:
        return read_tensors(path)


@dataclass(frozen=True)
class DecoderWorld(WorldOptions):
    """W8: realistic images on a curved manifold: a small network's pictures of a few latent coordinates.

    x = g(u) + √noise · n, (u, y) from a mixture of Gaussians for each class, g a decoder trained on Fashion-MNIST that
    ships with the package (SiLU, so it has all derivatives). Its last layer is linear, so sums over u are in its span.

    Args:
        latent: coordinates u, the dimension of the manifold: 1, 2 or 3, each with a decoder of its own.
        classes: the first so many of Fashion-MNIST, equally likely.
        size: side of the images; below 28 pixels are averages.
        noise: ψ, variance of the pixel noise in squared pixel units. At 0 images lie on the manifold, and only σ > 0
            that the quadrature resolves are defined.

    Raises:
        NumericsError: when it is used with noise that the quadrature does not resolve.
    """

    latent: Annotated[int, _LATENT] = 2
    classes: Annotated[int, _CLASSES] = 10
    size: Annotated[int, _SIZE] = 14
    noise: Variance = 0.01

    name = "decoder"

    def build(self, root: Path | None) -> World:
        tensors, header = _shipped()
        own = {
            name.partition(".")[2]: tensor.double() for name, tensor in tensors.items() if name[0] == f"{self.latent}"
        }
        count = sum(name.startswith("weight") for name in own)
        weights = [own[f"weight.{i}"] for i in range(count)]
        biases = [own[f"bias.{i}"] for i in range(count)]
        pixels = torch.cat([weights[-1].mT, biases[-1][None]]).reshape(-1, 1, _SIDE, _SIDE)
        if self.size < _SIDE:
            pixels = functional.interpolate(pixels, size=(self.size, self.size), mode="area")
        rows = pixels.flatten(1)
        basis, small = torch.linalg.qr(rows[:-1].mT)
        decoder = SmoothMap((*weights[:-1], small), (*biases[:-1], small.new_zeros(len(small))))
        means, factors, log_weights = (own[name][: self.classes] for name in ("means", "factors", "log_weights"))
        core = DecoderCore(decoder, LatentMixture(means, factors, log_weights.log_softmax(1)))
        shape = (1, self.size, self.size)
        placed = Embedding(shape, basis, rows[-1], noise=self.noise)
        world = World(self.name, core, placed, tuple(header["classes"][: self.classes]))
        return replace_named(world, self.name, digest(tensors))
