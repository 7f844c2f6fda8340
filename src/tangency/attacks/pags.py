"""The attack of the paper's published code (utils/regularized_loss.py), defects included, for comparison only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import NumericsError
from tangency.seeding import Draw


def pags_pgd(
    model: nn.Module, x: Tensor, y: Tensor, epsilon: float, steps: int = 10, *, draw: Draw, relative_step: float = 2.0
) -> tuple[Tensor, list[Tensor]]:
    """l2 PGD with one budget for the whole batch, as published.

    What differs from `pgd`: the norms run over all pixels of all images of the batch, so an image gets about
    epsilon/√N and images of large loss take it from the others; the start is a brightening (all δ ≥ 0) of length
    epsilon/2; the step is relative_step·epsilon/steps; nothing is clipped to [0, 1]; the model runs in the mode it is
    in, so in train mode batch normalisation couples the images and updates its running statistics once a step; a zero
    gradient gives NaN.

    Args:
        model: maps (N, C, H, W) to (N, classes); run as it is.
        x: (N, C, H, W). y: (N,) int64.
        epsilon: l2 budget of the batch, ≥ 0.
        steps: gradient steps, ≥ 1.
        draw: random numbers of the start.
        relative_step: length of all steps together, over the budget: 2, or 2.5 in the notebook on MNIST.

    Returns:
        The attacked images (N, C, H, W), and for each step the losses (N,) it ascended, whose graph still reaches the
        parameters: the published training loop adds their gradients to that of the final loss.
    """
    if steps < 1 or not epsilon >= 0:
        raise NumericsError(f"pags_pgd: got epsilon {epsilon} and {steps} steps, expected >= 0 and >= 1.")
    clean = x.detach()
    delta = draw.of("start").uniform(clean.shape[1:], clean.dtype)
    delta = delta * (epsilon / 2 / torch.linalg.vector_norm(delta))
    ascended = []
    for _ in range(steps):
        with torch.enable_grad():
            delta.requires_grad_(True)
            losses = F.cross_entropy(model(clean + delta), y, reduction="none")
            (gradient,) = torch.autograd.grad(losses.mean(), delta, retain_graph=True)
        ascended.append(losses)
        delta = delta.detach() + (relative_step * epsilon / steps) * gradient / torch.linalg.vector_norm(gradient)
        length = torch.linalg.vector_norm(delta)
        if length > epsilon:
            delta = delta * (epsilon / length)
    return clean + delta, ascended
