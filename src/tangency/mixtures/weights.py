"""Weights of the classes' scores: every score and every Bayes direction is a sum Σ_c w_c ∇ log p(x | c)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# (log p(x, c) (n, classes), slice of the images that these are) to weights (n, classes)
Weigh = Callable[[Tensor, slice], Tensor]


def marginal(log_joint: Tensor, _: slice) -> Tensor:
    """p(c | x): ∇ log p(x) = Σ_c p(c | x) ∇ log p(x | c)."""
    return log_joint.softmax(1)


def given(y: Tensor) -> Weigh:
    """One for the class y of each image, (N,): ∇ log p(x | y)."""
    return lambda log_joint, chunk: _own(log_joint, y[chunk]).to(log_joint.dtype)


def odds(y: Tensor) -> Weigh:
    """1 for y and −p_c/(1 − p_y) for the others: the gradient of the log-odds, parallel to ∇ log p(y | x).

    The others' weights are a softmax over their densities, so nothing cancels where p_y is near 1.
    """

    def weights(log_joint: Tensor, chunk: slice) -> Tensor:
        own = _own(log_joint, y[chunk])
        return own.to(log_joint.dtype) - log_joint.masked_fill(own, -torch.inf).softmax(1)

    return weights


def log_rest(log_joint: Tensor, y: Tensor) -> Tensor:
    """log(1 − p(y | x)) without the subtraction, (N, classes) and (N,) to (N,)."""
    return log_joint.masked_fill(_own(log_joint, y), -torch.inf).logsumexp(1) - log_joint.logsumexp(1)


def _own(log_joint: Tensor, y: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(y.long(), log_joint.shape[1]).bool()
