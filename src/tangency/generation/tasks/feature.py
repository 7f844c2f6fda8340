"""Feature visualisation: pictures that raise one channel of a module of a network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tangency.autodiff import undisturbed
from tangency.errors import NumericsError, SpecError, listed, unknown_name
from tangency.generation.engine import Ascent
from tangency.generation.objectives import Objective
from tangency.generation.options import Climb, TaskOptions
from tangency.generation.tasks.climb import climb_within
from tangency.generation.tasks.generate import starts
from tangency.generation.tasks.inputs import OWN, START, Outcome, TaskInputs
from tangency.generation.tasks.task import GenerationTask
from tangency.seeding import Draw


class FeatureTask(GenerationTask):
    """Pictures that a channel of a module responds to."""

    name = "feature"
    title = "Features of a unit"
    options = ("target", "unit", "start")
    unclimbed = ("objective", "confidence")
    references = ()
    from_nothing = True
    judged = False
    qualities = ()

    def check(self, options: TaskOptions) -> None:
        """Raise where no unit is named."""
        if not options.unit:
            raise SpecError("unit: got none, expected the name of a module for task 'feature'.")

    def perform(self, inputs: TaskInputs, ids: Tensor, draw: Draw) -> Outcome:
        """Do the task for these pictures, whose channels take turns where there is no target."""
        options = inputs.options
        channels = _channels(inputs, draw)
        start = starts(inputs, draw.ids % len(inputs.data.test.classes), draw)
        outcome = Outcome(torch.full_like(draw.ids, -1))
        outcome.add(START, start, f"{options.start} that the ascent starts from")
        ascent = visualise(inputs.own, options.unit, channels, start, options.climb, draw=draw)
        outcome.add_ascent(OWN, ascent, f"{options.climb.steps} steps up the mean of a channel of '{options.unit}'")
        outcome.columns[OWN] |= {"channel": channels, "activation": ascent.values}
        return outcome


def visualise(
    model: torch.nn.Module, module: str, channel: Tensor, start: Tensor, climb: Climb, *, draw: Draw
) -> Ascent:
    """Raise the mean activation of a channel of a named module for each image, (N,), within the budget."""
    with unit_objective(model, module, channel) as objective:
        return climb_within(objective, model, start, climb, draw)


def _channels(inputs: TaskInputs, draw: Draw) -> Tensor:
    """The channel of each image: the target, or each in turn."""
    if inputs.options.target is not None:
        return torch.full_like(draw.ids, int(inputs.options.target))
    modules = dict(inputs.own.named_modules())
    widths: list[int] = []
    if inputs.options.unit in modules:
        watch = modules[inputs.options.unit].register_forward_hook(
            lambda _m, _x, output: widths.append(output.shape[1])
        )
        try:
            with undisturbed(inputs.own), torch.no_grad():
                inputs.own(torch.zeros(1, *inputs.data.test.shape, device=inputs.device))
        finally:
            watch.remove()
    return draw.ids % (widths[0] if widths else 1)


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
