"""A convolutional autoencoder, plain or variational: the network whose decoder's Jacobian spans the tangent space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import SpecError
from tangency.numerics import flat
from tangency.seeding import Draw

_SMALLEST = 2  # side of the last feature map


@runtime_checkable
class Autoencoder(Protocol):
    """Any module with these two: images in [0, 1] to codes (posterior means) and back, an image at a time."""

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to codes (N, …)."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Codes to images (N, C, H, W)."""
        ...


class ConvAutoencoder(nn.Module):
    """Strided convolutions to a code, transposed ones back, smooth activations: decode has a Jacobian everywhere.

    Args:
        shape: (C, H, W) of an image, of any sides.
        latent: dimension of the code.
        widths: channels of each halving of the image.
        variational: whether the encoder also gives a variance (a VAE); `encode` is the posterior mean.

    Example:
        >>> net = ConvAutoencoder((1, 28, 20), latent=5)
        >>> net.decode(net.encode(torch.rand(3, 1, 28, 20))).shape
        torch.Size([3, 1, 28, 20])
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent: int = 128,
        widths: Sequence[int] = (32, 64, 128),
        variational: bool = False,
    ) -> None:
        super().__init__()
        if latent < 1 or not widths or min(widths) < 1:
            raise SpecError(f"autoencoder: got latent {latent}, widths {list(widths)}; expected positive numbers.")
        channels, height, width = shape
        halvings = max(0, min(len(widths), (min(height, width) // _SMALLEST).bit_length() - 1))
        halved, self.latent, self.variational = 2**halvings, latent, variational
        self.sides = height, width
        self.padding = (0, -width % halved, 0, -height % halved)
        widths = list(widths)[: max(1, halvings)]
        kernel = (4, 2, 1) if halvings else (3, 1, 1)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for before, after in pairwise((channels, *widths)):
            down += [nn.Conv2d(before, after, *kernel), nn.SiLU()]
            up = [nn.SiLU(), nn.ConvTranspose2d(after, before, *kernel), *up]
        cells = widths[-1], -(-height // halved), -(-width // halved)
        size = math.prod(cells)
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(size, latent * (2 if variational else 1)))
        self.decoder = nn.Sequential(nn.Linear(latent, size), nn.Unflatten(1, cells), *up)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code, each (N, latent); the variance of a plain autoencoder is 0."""
        code: Tensor = self.encoder(F.pad(x, self.padding))
        mean = code[:, : self.latent]
        return mean, code[:, self.latent :] if self.variational else torch.full_like(mean, -torch.inf)

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to codes (N, latent): the posterior mean."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Codes (N, latent) to images (N, C, H, W)."""
        images: Tensor = self.decoder(z)
        return images[:, :, : self.sides[0], : self.sides[1]]


def autoencoder_losses(module: ConvAutoencoder, x: Tensor, beta: float, draw: Draw) -> Tensor:
    """‖decode(z) − x‖² + β·2·KL(q(z|x) ‖ N(0, I)) of each image, (N,), z ~ q(z|x) = N(mean, variance).

    With β the variance of a pixel's noise this is −2β times the ELBO; a plain autoencoder has z = mean and no KL.

    Source: Kingma & Welling, arXiv 1312.6114.
    """
    mean, log_variance = module.posterior(x)
    noise = draw.of("code").normal(mean.shape[1:]) if module.variational else torch.zeros_like(mean)
    decoded = module.decode(mean + (log_variance / 2).exp() * noise)
    losses = flat(decoded - x).square().sum(1)
    if not module.variational:
        return losses
    return losses + beta * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
