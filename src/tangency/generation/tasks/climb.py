"""The ascent that the tasks share: its options, its budget, and the climb of a class's objective."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from tangency.attacks.balls import NORMS
from tangency.errors import SpecError, unknown_name
from tangency.generation.constraints import BallInBox, Bounds, Box, Constraint
from tangency.generation.engine import Ascent, Plan, Stop, ascend
from tangency.generation.objectives import OBJECTIVES, ClassObjective, Objective, WithoutVariation
from tangency.generation.steps import AdamStep, GradientStep, Length, NormalisedStep, Rule
from tangency.seeding import Draw
from tangency.types import check_images

RULES = ("normalised", "gradient", "adam")
_OVERSHOOT = 2.5  # radius is crossed this many times in all steps, as in PGD
_FRAMES = 10_000


@dataclass(frozen=True)
class Climb:
    """What all tasks share.

    Args:
        objective: one of `OBJECTIVES`.
        steps: at most; each is one forward and one backward pass.
        rule: "normalised" (l2 length of a move), "gradient" (its multiple), or "adam".
        length: of a move, see the rule; None is 2.5 · radius/steps for "normalised", and must be given for others.
        radius: l2 budget about the start, pixels in [0, 1]; None leaves it to the task.
        norm: of the budget and of a normalised move, "l2" or "linf".
        noise: standard deviation of Langevin noise at each step, pixel units.
        average: β of the moving average of iterates, 0 for the last one.
        variation: weight of total variation; 0, since a picture should show the classifier and no other prior.
        decay: whether moves shrink linearly to nothing.
        confidence: stop an image once p(y|x) reaches this, in (0, 1); None for never.
        bounds: of pixels; None for none.
        frames: iterates kept.
    """

    objective: str = "log_odds"
    steps: int = 60
    rule: str = "normalised"
    length: float | None = None
    radius: float | None = None
    norm: str = "l2"
    noise: float = 0.0
    average: float = 0.0
    variation: float = 0.0
    decay: bool = False
    confidence: float | None = None
    bounds: Bounds = (0.0, 1.0)
    frames: int = 0

    def __post_init__(self) -> None:
        for kind, got, known in (
            ("objective", self.objective, OBJECTIVES),
            ("rule", self.rule, RULES),
            ("norm", self.norm, NORMS),
        ):
            if got not in known:
                raise SpecError(f"{kind}: {unknown_name(kind, got, known)}")
        self._check_numbers()
        if self.rule != "normalised" and self.length is None:
            raise SpecError(f"length: got none for rule '{self.rule}', whose moves have no length of their own.")
        for name, value in (("length", self.length), ("radius", self.radius)):
            if value is not None and not 0 < value < math.inf:
                raise SpecError(f"{name}: got {value}, expected a positive number, in [0, 1] pixel units.")
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise SpecError(f"confidence: got {self.confidence}, expected a probability above 0 and below 1.")
        if self.confidence is not None and self.objective not in ("log_odds", "cross_entropy"):
            raise SpecError(f"confidence: '{self.objective}' is no probability; use log_odds or cross_entropy.")
        if self.confidence is not None and self.variation:
            raise SpecError("confidence: less total variation, the objective is no probability; leave variation out.")

    def _check_numbers(self) -> None:
        """Raise where a number is out of its range or not finite."""
        limits = (
            ("steps", self.steps, self.steps >= 0, "at least 0 steps"),
            ("frames", self.frames, 0 <= self.frames <= _FRAMES, f"0 to {_FRAMES} frames"),
            ("noise", self.noise, 0 <= self.noise < math.inf, "a finite standard deviation of at least 0"),
            ("average", self.average, 0 <= self.average < 1, "a weight of at least 0 and below 1"),
            ("variation", self.variation, 0 <= self.variation < math.inf, "a finite weight of at least 0"),
        )
        for name, value, fits, expected in limits:
            if not fits:
                raise SpecError(f"{name}: got {value}, expected {expected}.")
        if self.bounds is not None and not -math.inf < self.bounds[0] < self.bounds[1] < math.inf:
            raise SpecError(f"bounds: got {list(self.bounds)}, expected two finite numbers, the lower one first.")

    def step_rule(self, radius: float | Tensor) -> Rule:
        """The rule, of a default length for this budget."""
        length: Length = _OVERSHOOT * radius / max(1, self.steps) if self.length is None else self.length
        if self.rule == "normalised":
            return NormalisedStep(length, self.norm)
        return GradientStep(length) if self.rule == "gradient" else AdamStep(length)

    def plan(self, radius: float | Tensor, constraint: Constraint, stop: Stop | None = None) -> Plan:
        """The engine's plan for this budget."""
        return Plan(
            self.step_rule(radius),
            self.steps,
            constraint,
            self.decay,
            self.noise,
            self.average,
            stop or self._confident(),
            self.frames,
        )

    def raised(self, objective: Objective) -> Objective:
        """The objective, less total variation where that was asked for."""
        return WithoutVariation(objective, self.variation) if self.variation else objective

    def _confident(self) -> Stop | None:
        if self.confidence is None:
            return None
        odds = self.confidence / (1 - self.confidence)
        enough = math.log(odds if self.objective == "log_odds" else self.confidence)
        return lambda x, value: value >= enough


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
    check_images(start, "start", unit_range=False)
    inside = Box(climb.bounds)(start)
    radius = climb.radius or default_radius(start)
    objective = climb.raised(ClassObjective(model, climb.objective, y))
    ball = BallInBox(inside, radius, climb.norm, climb.bounds)
    return ascend(objective, inside, climb.plan(radius, ball), draw=draw, models=(model,))
