"""Sums of gradients over noisy copies, with logarithms of the weights since these may underflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.autodiff import log_odds, scalar
from tangency.errors import NumericsError, unknown_name
from tangency.numerics import norms, per_example
from tangency.types import Direction

Scalar = Literal["logp_y", "logit_y"]


def weighted(of: Scalar, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The scalar of each copy that is differentiated (M,), the log of its weight (M,), and the log of its share.

    "logp_y": log-odds, log p_y (1 − p_y), log p_y, since ∇ log Σ p_y = Σ p_y (1 − p_y) ∇log-odds / Σ p_y.
    "logit_y": f_y with weight 1 and nothing to divide by.
    """
    if of not in get_args(Scalar):
        raise NumericsError(unknown_name("scalar of the smoothed classifier", of, get_args(Scalar)))
    if of == "logit_y":
        value = scalar("logit_y", logits, y)
        nothing = torch.zeros_like(value.detach(), dtype=torch.float64)
        return value, nothing, nothing
    odds = log_odds(logits, y)
    known = odds.detach().double()
    return odds, F.logsigmoid(known) + F.logsigmoid(-known), F.logsigmoid(known)


@dataclass
class WeightedSum:
    """Σ_r w_r ∇v_r and Σ_r s_r of each image, both relative to the largest log weight so far.

    Args:
        total: (N, …) float64, the sum of gradients divided by exp(`scale`).
        scale: (N,) float64, the largest log weight so far.
        share: (N,) float64, log Σ s_r.
    """

    total: Tensor
    scale: Tensor
    share: Tensor

    @staticmethod
    def empty(x: Tensor) -> WeightedSum:
        """Of no copies yet, for images x (N, …)."""
        nothing = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
        return WeightedSum(torch.zeros_like(x, dtype=torch.float64), nothing, nothing.clone())

    def add(self, image: Tensor, value: Tensor, inputs: Tensor, log_weight: Tensor, log_share: Tensor) -> None:
        """Add copies `inputs` (M, …) of the images numbered `image` (M,), whose `value` (M,) is differentiated."""
        scale = self.scale.scatter_reduce(0, image, log_weight, "amax")
        weight = (log_weight - scale[image]).exp()
        (gradient,) = torch.autograd.grad((weight.to(value.dtype) * value).sum(), inputs, materialize_grads=True)
        kept = (self.scale - scale).exp().nan_to_num(0.0)  # −∞ − (−∞): nothing was there
        self.total = (self.total * per_example(kept, self.total)).index_add(0, image, gradient.double())
        self.scale = scale
        largest = self.share.scatter_reduce(0, image, log_share, "amax")
        added = (self.share - largest).exp().nan_to_num(0.0)
        self.share = largest + added.index_add(0, image, (log_share - largest[image]).exp()).log()

    def direction(self, copies: int, of: Scalar, dtype: torch.dtype) -> Direction:
        """The gradient up to a positive factor, and the log of its l2 norm."""
        factor = self.scale - (self.share if of == "logp_y" else torch.tensor(copies).double().log())
        return Direction(self.total.to(dtype), norms(self.total).log() + factor)
