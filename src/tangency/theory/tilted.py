"""A classifier for trials that needs no training: the softened Bayes rule plus a part unrelated to the data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.numerics import flat, norms
from tangency.seeding import Draw
from tangency.worlds import BayesClassifier, World

_IMAGES = 256  # from which temperature and tilt are set
_LOG_ODDS = 2.0  # the log-odds are scaled to this median size, so that no softmax saturates


class TiltedBayes(nn.Module):
    """Logits τ log p_σ(c|x) + w_c·(x − ½): gradients partly along the Bayes gradient and partly in fixed directions.

    It works in every world, and none of its measures lies at an end of its range.

    Args:
        world: the world whose Bayes rule it starts from.
        sigma: noise level of that rule.
        tilt: length of w_c relative to the mean length of the gradient of log-odds.
        seed: of the directions.
    """

    def __init__(self, world: World, sigma: float = 0.1, tilt: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        sample = world.sample(_IMAGES, seed)
        direction = world.bayes_direction(sample.x, sample.y, sigma).direction
        joint = world.log_posterior(sample.x, sigma)
        own = torch.nn.functional.one_hot(sample.y, world.classes).bool()
        odds = joint.masked_fill(~own, -torch.inf).amax(1) - joint.masked_fill(own, -torch.inf).logsumexp(1)
        self.temperature = _LOG_ODDS / max(float(odds.abs().median()), 1e-12)
        self.rule = BayesClassifier(world, sigma)
        raw = Draw(seed, torch.arange(world.classes), "tilt").normal((world.dimension,), torch.float64)
        length = tilt * self.temperature * float(norms(direction).mean())
        self.register_buffer("tilt", length * raw / raw.norm(dim=1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        tilt = self.get_buffer("tilt").to(x.dtype)
        logits: Tensor = self.temperature * self.rule(x) + (flat(x) - 0.5) @ tilt.mT
        return logits
