"""What a unit of a network answers to: pictures that raise one channel of a module."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.autodiff import undisturbed
from tangency.errors import SpecError
from tangency.generation.engine import Ascent
from tangency.generation.options import Climb, TaskOptions
from tangency.generation.tasks.climb import climb_within
from tangency.generation.tasks.generate import starts
from tangency.generation.tasks.inputs import OWN, START, Outcome, TaskInputs
from tangency.generation.tasks.task import GenerationTask
from tangency.generation.units import unit_objective
from tangency.seeding import Draw


class FeatureTask(GenerationTask):
    """Pictures that a channel of a module answers to."""

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
        """Do the task for these pictures, whose channels take turns where none is asked for."""
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
    """The channel of each image: the one that was asked for, or each in turn."""
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
