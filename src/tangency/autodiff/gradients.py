"""Input gradients of the named scalars."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tangency.autodiff.contexts import undisturbed
from tangency.autodiff.scalars import check_logits, log_factor, scalar
from tangency.errors import NumericsError
from tangency.numerics import norms
from tangency.types import Direction


def input_gradients(
    model: nn.Module, x: Tensor, y: Tensor, scalars: Sequence[str], batch_size: int = 256
) -> dict[str, Direction]:
    """Gradients with respect to the input of several scalars, from one forward pass.

    Each image's scalar depends on that image alone in eval mode, so the gradient of the sum over the batch holds the
    gradient of every image: ∇ₓ log p(y|x) = (1 − p_y) ∇ₓ log[p_y/(1 − p_y)], and likewise of the other scalars.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits; run in eval mode, left as it was found.
        x: (N, C, H, W), in [0, 1].
        y: (N,) int64.
        scalars: names from `SCALARS`.
        batch_size: images at once; it changes memory, not results.

    Returns:
        For each name a `Direction`: (N, C, H, W) direction and (N,) log l2 norm of the gradient per unit of pixel
        range. For `logp_y` and `loss` the direction is the log-odds', which does not underflow where p_y is near 1.

    Raises:
        NumericsError: a scalar not in `SCALARS`, results that are no logits, or that do not depend on the images
            differentiably.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> gradients = input_gradients(model, torch.rand(2, 1, 2, 2), torch.tensor([0, 2]), ["logp_y", "lse"])
        >>> gradients["lse"].direction.shape
        torch.Size([2, 1, 2, 2])
    """
    parts: dict[str, list[Direction]] = {name: [] for name in scalars}
    with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
        for start in range(0, len(x), batch_size):
            # clones: of tensors made in inference mode, and so that a model may overwrite its input in place
            inputs = x[start : start + batch_size].detach().clone().requires_grad_(True)
            labels = y[start : start + batch_size].long().clone()
            logits = _differentiable(check_logits(model(inputs.clone()), len(inputs)))
            for i, name in enumerate(scalars):
                value = scalar(name, logits, labels).sum()
                (gradient,) = torch.autograd.grad(
                    value, inputs, retain_graph=i + 1 < len(scalars), materialize_grads=True
                )
                log_norm = norms(gradient).log() + log_factor(name, logits.detach(), labels)
                parts[name].append(Direction(gradient, log_norm))
    return {name: _joined(directions, x) for name, directions in parts.items()}


def input_gradient(model: nn.Module, x: Tensor, y: Tensor, scalar: str = "margin", batch_size: int = 256) -> Direction:
    """Gradient of one named scalar with respect to the input; arguments and errors are those of `input_gradients`.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> input_gradient(model, torch.rand(2, 1, 2, 2), torch.tensor([0, 2])).log_norm.shape
        torch.Size([2])
    """
    return input_gradients(model, x, y, [scalar], batch_size)[scalar]


def _differentiable(logits: Tensor) -> Tensor:
    if not logits.requires_grad:
        raise NumericsError(
            "classifier: its logits do not depend on the images by differentiable operations, so there is no input "
            "gradient; look for torch.no_grad, detach, argmax or a constant in its forward."
        )
    return logits


def _joined(parts: list[Direction], x: Tensor) -> Direction:
    if not parts:
        return Direction(torch.zeros_like(x), x.new_zeros(0))
    return Direction(torch.cat([p.direction for p in parts]), torch.cat([p.log_norm for p in parts]))
