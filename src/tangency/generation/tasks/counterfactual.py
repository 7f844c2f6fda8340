"""Counterfactuals: test images are taken to another class by the shortest way."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.generation.counterfactuals import counterfactual
from tangency.generation.tasks.change import ChangeTask
from tangency.generation.tasks.inputs import OWN, Outcome, TaskInputs
from tangency.generation.tasks.task import CLIMB
from tangency.seeding import Draw


class CounterfactualTask(ChangeTask):
    """The nearest image of the target class, or of the classifier's second choice."""

    name = "counterfactual"
    title = "Counterfactuals"
    options = ("target", "margin")
    unclimbed = tuple(name for name in CLIMB if name not in ("bounds", "frames"))

    def change(self, inputs: TaskInputs, outcome: Outcome, source: str, start: Tensor, draw: Draw) -> None:
        """Add the nearest images; of the classifier, with frames on the straight way to them."""
        options, network = inputs.options, inputs.networks[source][0]
        # densities have thousands of nats, whose differences float32 loses
        x = start if source == OWN else start.double()
        nearest = counterfactual(network, x, outcome.y, margin=options.margin, bounds=options.climb.bounds)
        how = "nearest image of the class, by projections on linearised boundaries"
        ended = {"reached": nearest.reached, "stalled": nearest.stalled, "diverged": nearest.diverged}
        outcome.add(source, nearest.images, how, nearest.evaluations, **ended)
        if source == OWN:
            shown = max(2, options.climb.frames)
            share = torch.linspace(0, 1, shown, device=start.device).reshape(-1, 1, 1, 1, 1)
            outcome.frames = start + share * (nearest.images - start)
            outcome.frame_steps = tuple(range(shown))
