"""Jacobian-vector products of many vectors at once, an image at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from tangency.autodiff.contexts import double_backward
from tangency.errors import NumericsError

Function = Callable[[Tensor], Tensor]


def pushforward(function: Function, x: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and J v for q vectors of each example: f once, its linearisation q times, in forward mode.

    Args:
        function: (N, …) to (N, …), each example for itself (eval mode).
        x: (N, …).
        vectors: (N, q, …), v of each example, in the shape of x.

    Returns:
        f(x) (N, …) and J v (N, q, …), detached.

    Raises:
        NumericsError: shapes that do not fit, or a function that torch cannot push tangents through.

    Example:
        >>> x = torch.arange(6.0).reshape(2, 3)
        >>> value, images = pushforward(lambda x: x.square(), x, torch.eye(3).expand(2, 3, 3))
        >>> images[1].diagonal()
        tensor([ 6.,  8., 10.])
    """
    if vectors.dim() != x.dim() + 1 or (len(vectors), *vectors.shape[2:]) != tuple(x.shape):
        raise NumericsError(
            f"vectors: got shape {tuple(vectors.shape)} for points of {tuple(x.shape)}, expected (N, q, …)."
        )

    def product(vector: Tensor) -> tuple[Tensor, Tensor]:
        pair = torch.func.jvp(function, (x,), (vector,))
        return pair[0], pair[1]

    with torch.inference_mode(False), torch.no_grad(), double_backward(), warnings.catch_warnings():
        # torch itself calls it when forward-mode differentiation is first used
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        try:
            both: tuple[Tensor, Tensor] = torch.func.vmap(product, in_dims=1, out_dims=cast(Any, (None, 1)))(vectors)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError) as error:
            raise NumericsError(
                f"forward mode: {' '.join(str(error).split())[:300]} Expected torch operations only, without NumPy, "
                "noise or writes in place."
            ) from error
    return both


def jacobians(function: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) (N, …) and the Jacobian of each example, (N, outputs, inputs), by forward mode; see `pushforward`."""
    inputs = x[0].numel()
    unit = torch.eye(inputs, dtype=x.dtype, device=x.device).reshape(1, inputs, *x.shape[1:])
    value, columns = pushforward(function, x, unit.expand(len(x), *unit.shape[1:]))
    return value, columns.flatten(2).mT
