"""What a score network is trained on: the denoising error at random noise, an image at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.errors import SpecError
from tangency.numerics import flat, per_example
from tangency.score.networks.parametrisation import edm_coefficients, edm_weight
from tangency.seeding import Draw


@dataclass(frozen=True)
class EDMLoss:
    """w(σ)‖D(u + σn; σ, y) − u‖²/d with ln σ ~ N(mean, std²), of Karas et al. (2022), for each image.

    Args:
        mean, std: of ln σ, in units of the network's range ([−1, 1]: σ is twice that on [0, 1]).
        sigma_data: standard deviation of its pixels.
        class_dropout: share of images whose label is withheld, so that one network learns D(x; σ) and D(x; σ, y).
        flip: mirror half of the images; the network is conditioned on it (`ScoreUNet.mirrored`), so nothing leaks.
    """

    mean: float = -1.2
    std: float = 1.2
    sigma_data: float = 0.5
    class_dropout: float = 0.2
    flip: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0 <= self.std < math.inf and 0 < self.sigma_data < math.inf):
            raise SpecError(
                f"noise of training: got mean {self.mean}, std {self.std}, sigma_data {self.sigma_data}; expected "
                "finite numbers, std ≥ 0, sigma_data > 0."
            )
        if not 0 <= self.class_dropout <= 1:
            raise SpecError(f"class_dropout: got {self.class_dropout}, expected a share from 0 to 1.")

    def losses(self, module: nn.Module, u: Tensor, y: Tensor, classes: int, draw: Draw) -> Tensor:
        """Loss of each image, (N,).

        Args:
            module: a `ScoreUNet`.
            u: (N, C, H, W), clean, in the range of the network.
            y: (N,) labels.
            classes: how many there are; a network that takes none has 0.
            draw: of the images, for this epoch.
        """
        dropped = draw.of("class dropout").uniform() < self.class_dropout
        given = torch.where(dropped, classes, y) if classes else torch.zeros_like(y)
        mirror = draw.of("flip").uniform() < (0.5 if self.flip else 0.0)
        u = torch.where(per_example(mirror, u), u.flip(3), u)
        sigma = (self.mean + self.std * draw.of("level").normal()).exp()
        noisy = u + per_example(sigma, u) * draw.of("noise").normal(u.shape[1:])
        c = edm_coefficients(sigma, self.sigma_data)
        raw = module(per_example(c.inside, u) * noisy, c.time, given, mirror)
        denoised = per_example(c.skip, u) * noisy + per_example(c.out, u) * raw
        return edm_weight(sigma, self.sigma_data) * flat(denoised - u).square().mean(1)
