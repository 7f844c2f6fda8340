"""What the tasks share: an ascent of an objective within a budget, as the options of a `Climb` say."""

from __future__ import annotations

import math

from torch import Tensor, nn

from tangency.generation.constraints import BallInBox, Box, Constraint
from tangency.generation.engine import Ascent, Plan, Stop, ascend
from tangency.generation.objectives import ClassObjective, Objective, WithoutVariation
from tangency.generation.options import Climb
from tangency.generation.steps import AdamStep, GradientStep, Length, NormalisedStep, Rule
from tangency.seeding import Draw
from tangency.types import check_images

_OVERSHOOT = 2.5  # radius is crossed this many times in all steps, as in PGD


def plan(climb: Climb, radius: float | Tensor, constraint: Constraint, stop: Stop | None = None) -> Plan:
    """The engine's plan for a budget, with the default length of a step for it.

    Args:
        climb: how.
        radius: the budget, a number or (N,).
        constraint: that keeps to it.
        stop: which images are done; by default those that reach the confidence of the climb, if it has one.
    """
    length: Length = _OVERSHOOT * radius / max(1, climb.steps) if climb.length is None else climb.length
    rules: dict[str, Rule] = {
        "normalised": NormalisedStep(length, climb.norm),
        "gradient": GradientStep(length),
        "adam": AdamStep(length),
    }
    stop = stop or _confident(climb)
    return Plan(rules[climb.rule], climb.steps, constraint, climb.decay, climb.noise, climb.average, stop, climb.frames)


def _confident(climb: Climb) -> Stop | None:
    if climb.confidence is None:
        return None
    odds = climb.confidence / (1 - climb.confidence)
    enough = math.log(odds if climb.objective == "log_odds" else climb.confidence)
    return lambda x, value: value >= enough


def raised(climb: Climb, objective: Objective) -> Objective:
    """The objective, less total variation where the climb has a weight of it."""
    return WithoutVariation(objective, climb.variation) if climb.variation else objective


def default_radius(x: Tensor, share: float = 0.25) -> float:
    """share · √d: a quarter of the pixel range for each pixel, root mean square."""
    return share * math.sqrt(x[0].numel()) if len(x) else 1.0


def towards(model: nn.Module, start: Tensor, y: Tensor, climb: Climb, *, draw: Draw) -> Ascent:
    """Raise the objective for class y within the budget about the start: generation, image to image, sketch to image.

    Args:
        model: maps (N, C, H, W) to logits; left as it was.
        start: noise, a class's draw, a picture, or a sketch, (N, C, H, W).
        y: (N,) the class of each.
        climb: how; its radius is `default_radius` where None.
        draw: of the images, for Langevin noise.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        >>> start, draw = torch.rand(2, 1, 8, 8), Draw(0, torch.arange(2))
        >>> towards(net, start, torch.tensor([0, 2]), Climb(steps=5), draw=draw).steps.tolist()
        [5, 5]
    """
    return climb_within(ClassObjective(model, climb.objective, y), model, start, climb, draw)


def climb_within(objective: Objective, model: nn.Module, start: Tensor, climb: Climb, draw: Draw) -> Ascent:
    """As `towards`, for any objective of the model."""
    check_images(start, "start", unit_range=False)
    inside = Box(climb.bounds)(start)
    radius = climb.radius or default_radius(start)
    ball = BallInBox(inside, radius, climb.norm, climb.bounds)
    return ascend(raised(climb, objective), inside, plan(climb, radius, ball), draw=draw, models=(model,))
