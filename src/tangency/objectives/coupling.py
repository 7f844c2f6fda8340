"""Modules that let images of one batch influence each other, and how to stop that for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm


def batch_coupled(model: nn.Module) -> list[nn.Module]:
    """The modules of `model` that, in the mode they are in, use statistics of the batch.

    Instance normalisation is a subclass of batch normalisation in torch, but works within an image.
    """
    return [
        part
        for part in model.modules()
        if isinstance(part, _BatchNorm)
        and not isinstance(part, _InstanceNorm)
        and (part.training or part.running_mean is None)
    ]


@contextlib.contextmanager
def running_statistics(model: nn.Module) -> Iterator[None]:
    """Let the batch-coupled modules use their running statistics, unchanged; restore their mode afterwards.

    They get copies: torch updates running statistics in place unseen by autograd, so a later pass in train mode would
    silently change the gradients of a graph that was made here.
    """
    coupled = [part for part in batch_coupled(model) if isinstance(part, _BatchNorm) and part.training]
    kept = [(part.running_mean, part.running_var) for part in coupled]
    try:
        for part in coupled:
            part.training = False
            part.running_mean = None if part.running_mean is None else part.running_mean.clone()
            part.running_var = None if part.running_var is None else part.running_var.clone()
        yield
    finally:
        for part, (mean, variance) in zip(coupled, kept, strict=True):
            part.training = True
            part.running_mean, part.running_var = mean, variance


def with_penalty(model: nn.Module, x: Tensor, penalty: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Logits of x in the mode the model is in, and `penalty` of its logits (`wide`) under running statistics.

    Without batch-coupled modules both are of one pass. Passes that `penalty` makes use the running statistics, too, and
    all of them come before the pass that updates these.
    """
    if not batch_coupled(model):
        logits = model(x)
        return logits, penalty(wide(logits))
    with running_statistics(model):
        value = penalty(wide(model(x)))
    return model(x), value


def wide(values: Tensor) -> Tensor:
    """In float32 at least: what autocast made coarser, before differences are taken."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def layer_chance(device: torch.device) -> tuple[Tensor, ...]:
    """States of the generators that layers such as dropout draw from, for `repeat_chance`."""
    own = (torch.cuda.get_rng_state(device),) if device.type == "cuda" else ()
    return (torch.get_rng_state(), *own)


def repeat_chance(states: tuple[Tensor, ...], device: torch.device) -> None:
    """Let layers draw again what they drew after `layer_chance`, so that two passes differ in x alone."""
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)
