"""One unit inside a network as an objective: feature visualisation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import NumericsError, listed, unknown_name
from tangency.generation.objectives import Objective


@contextlib.contextmanager
def unit_objective(model: nn.Module, module: str, channel: int | Tensor) -> Iterator[Objective]:
    """The mean activation of a channel of a named module, (N,), as long as the context is open.

    A forward hook reads the module's output; it is removed when the context ends, also after an exception.

    Args:
        model: run on (N, C, H, W).
        module: its dotted name ("module.features.6"), as in `model.named_modules()`.
        channel: which one, or one for each image (N,); the second axis of the output.

    Raises:
        NumericsError: no such module or channel, or a module that does not run or whose output is no tensor.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        >>> with unit_objective(net, "0", 3) as objective:
        ...     objective(torch.rand(2, 1, 4, 4)).shape
        torch.Size([2])
    """
    named = dict(model.named_modules())
    if module not in named or not module:
        raise NumericsError(unknown_name("module", module, [name for name in named if name]))
    caught: list[Any] = []
    handle = named[module].register_forward_hook(lambda _module, _given, output: caught.append(output))

    def objective(x: Tensor) -> Tensor:
        caught.clear()
        model(x)
        if len(caught) != 1:
            ran = len(caught)
            raise NumericsError(
                f"module '{module}': ran {ran} times in a forward pass, expected once. Modules that do: "
                f"{listed(_running_once(model, x))}."
            )
        return _mean_activation(caught.pop(), channel, module, len(x))

    try:
        yield objective
    finally:
        handle.remove()


@torch.no_grad()
def _running_once(model: nn.Module, x: Tensor) -> list[str]:
    """Names of the modules that run once in a forward pass, and give a tensor with channels."""
    outputs: dict[str, list[Any]] = {}
    with contextlib.ExitStack() as hooks:
        for name, part in model.named_modules():
            kept = outputs.setdefault(name, [])
            handle = part.register_forward_hook(lambda _module, _given, output, kept=kept: kept.append(output))
            hooks.callback(handle.remove)
        model(x.clone())
    return [
        name
        for name, output in outputs.items()
        if name and len(output) == 1 and isinstance(output[0], Tensor) and output[0].dim() >= 2
    ]


def _mean_activation(output: Any, channel: int | Tensor, module: str, n: int) -> Tensor:
    if not isinstance(output, Tensor) or output.dim() < 2 or len(output) != n:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise NumericsError(f"module '{module}': gives {got} for {n} images, expected a tensor (N, channels, …).")
    chosen = torch.as_tensor(channel, device=output.device).expand(n).long()
    if n and not 0 <= int(chosen.min()) <= int(chosen.max()) < output.shape[1]:
        raise NumericsError(f"module '{module}': got channel {int(chosen.max())}, expected 0 to {output.shape[1] - 1}.")
    return output[torch.arange(n, device=output.device), chosen].reshape(n, -1).mean(1)
