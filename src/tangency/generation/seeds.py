"""Where generation starts: grey noise, or a draw from the mixture of the class."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.mixtures import Mixture
from tangency.seeding import Draw
from tangency.types import check_labels

GREY, SPREAD = 0.5, 0.25  # of a pixel of the noise


def noise_seed(shape: tuple[int, int, int], draw: Draw, dtype: torch.dtype = torch.float32) -> Tensor:
    """½ + ¼ n, (N, C, H, W), not clipped: an image that has no class."""
    return GREY + SPREAD * draw.of("seed noise").normal(shape, dtype)


def class_seed(mixture: Mixture, y: Tensor, draw: Draw) -> Tensor:
    """A draw from p(x | y) of a mixture for each image: with one component a class, from the class's Gaussian.

    Args:
        mixture: fitted to the images of each class, or exact.
        y: (N,) int64.
        draw: of the images.

    Returns:
        (N, C, H, W) float64, not clipped.

    Source: Santurkar et al., "Image synthesis with a single (robust) classifier", arXiv 1906.09453, who start from a
        Gaussian of each class.
    """
    check_labels(y, len(draw.ids), mixture.classes)
    own = mixture.component_class == y.to(mixture.component_class.device)[:, None]
    weights = mixture.log_weights.masked_fill(~own, -torch.inf).softmax(1)
    component = choose(weights, draw.of("component"))
    z = draw.of("latent").normal((mixture.loadings.shape[2],), torch.float64)
    x = mixture.means[component]
    for each in torch.unique(component):  # a loading matrix for each image would not fit
        chosen = component == each
        x[chosen] += z[chosen] @ mixture.loadings[each].mT
    noise = draw.of("noise").normal((mixture.dimension,), torch.float64)
    return (x + mixture.noise[component].sqrt() * noise).reshape(-1, *mixture.shape)


def choose(weights: Tensor, draw: Draw) -> Tensor:
    """One column for each row of probabilities (N, K), (N,) int64."""
    cumulative = weights.cumsum(1)
    chance = draw.uniform((), torch.float64)[:, None] * cumulative[:, -1:]
    return (cumulative < chance).sum(1).clamp(max=weights.shape[1] - 1)
