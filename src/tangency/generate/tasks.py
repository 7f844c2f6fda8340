"""The tasks: what is started from, what is held fixed, which class is meant, and when to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.attacks.balls import NORMS
from tangency.autodiff import undisturbed
from tangency.errors import NumericsError, SpecError, unknown_name
from tangency.generate.constraints import Ball, Both, Bounds, Box, Consistent, Constraint
from tangency.generate.engine import Ascent, Plan, Stop, ascend
from tangency.generate.noise import estimate_noise
from tangency.generate.objectives import (
    OBJECTIVES,
    UNLABELLED,
    ClassObjective,
    Objective,
    WithLikelihood,
    WithoutVariation,
    predicted,
)
from tangency.generate.operators import Operator
from tangency.generate.steps import AdamStep, GradientStep, Length, NormalisedStep, Rule
from tangency.generate.units import unit_objective
from tangency.numerics import noise_levels, norms, per_example
from tangency.seeding import Draw
from tangency.types import Sigma, check_images

RULES = ("normalised", "gradient", "adam")
LABELS = ("energy", "predicted", "oracle")
_OVERSHOOT = 2.5  # radius is crossed this many times in all steps, as in PGD
_FRAMES = 10_000
_FLAT = 1e-5  # largest |Sobel| of an image that is even up to rounding
_NEAR = 0.05  # of √d: what a restoration goes by default, whose first guess is near


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


@dataclass(frozen=True)
class Restored:
    """An ascent with what it was told.

    Args:
        ascent: where it came to.
        labels: (N,) the class that was raised; −1 where none was.
        sigma: (N,) the noise level that was assumed, 0 where there is none.
    """

    ascent: Ascent
    labels: Tensor
    sigma: Tensor


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
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        >>> start, draw = torch.rand(2, 1, 8, 8), Draw(0, torch.arange(2))
        >>> towards(net, start, torch.tensor([0, 2]), Climb(steps=5), draw=draw).steps.tolist()
        [5, 5]
    """
    check_images(start, "start", unit_range=False)
    inside = Box(climb.bounds)(start)
    radius = climb.radius or default_radius(start)
    objective = climb.raised(ClassObjective(model, climb.objective, y))
    ball = Ball(inside, radius, climb.norm, climb.bounds)
    return ascend(objective, inside, climb.plan(radius, ball), draw=draw, models=(model,))


def denoise(
    model: nn.Module,
    noisy: Tensor,
    climb: Climb,
    *,
    draw: Draw,
    sigma: Sigma | None = None,
    label: str = "energy",
    y: Tensor | None = None,
    likelihood: bool = False,
) -> Restored:
    """Remove Gaussian noise by the classifier's gradients.

    The truth lies σ√d from the noisy image (to a share of 1/√(2d)), so that is the l2 budget, and an image stops once
    it is that far away (Morozov's discrepancy principle). With `likelihood` it climbs objective − ‖x − noisy‖²/(2σ²)
    instead, without a budget: the MAP estimate where the objective is log p.

    Args:
        model: maps (N, C, H, W) to logits; left as it was.
        noisy: (N, C, H, W), not clipped.
        climb: how; its radius is ignored, its default length 2.5 σ√d/steps.
        draw: of the images.
        sigma: noise level, one number or (N,); None estimates it from each image (`estimate_noise`).
        label: "energy" raises the logsumexp, which stands for log p(x), and no class; "predicted" the class that the
            classifier sees in the noisy image, which is no score even of the Bayes rule; "oracle" the true one.
        y: (N,) true classes, for "oracle" only.
        likelihood: see above.
    """
    check_images(noisy, "noisy images", unit_range=False)
    noisy = noisy.detach()
    levels = noise_levels(estimate_noise(noisy) if sigma is None else sigma, noisy).to(noisy.dtype)
    start = Box(climb.bounds)(noisy)
    labels, objective = _labelled(model, start, climb, label, y)
    reach = levels * math.sqrt(noisy[0].numel()) if len(noisy) else levels
    if likelihood:
        return Restored(_most_likely(model, objective, noisy, levels, reach, climb, draw), labels, levels)

    def arrived(x: Tensor, value: Tensor) -> Tensor:
        return norms(x - noisy) >= reach * (1 - 1e-5)

    plan = climb.plan(reach, Ball(noisy, reach, "l2", climb.bounds), arrived)
    return Restored(ascend(climb.raised(objective), start, plan, draw=draw, models=(model,)), labels, levels)


def _most_likely(
    model: nn.Module, prior: Objective, noisy: Tensor, levels: Tensor, reach: Tensor, climb: Climb, draw: Draw
) -> Ascent:
    """The MAP estimate; an image without noise is it already."""
    objective = climb.raised(WithLikelihood(prior, noisy, levels.clamp(min=1e-12)))
    return ascend(objective, noisy, climb.plan(reach, Box(climb.bounds)), draw=draw, models=(model,))


def restore(
    model: nn.Module,
    operator: Operator,
    measured: Tensor,
    start: Tensor,
    climb: Climb,
    *,
    draw: Draw,
    label: str = "energy",
    y: Tensor | None = None,
) -> Restored:
    """Inpainting and super-resolution: raise the objective among images that agree with what was measured.

    Args:
        model: maps (N, C, H, W) to logits; left as it was.
        operator: a `Mask` or `AveragePool`.
        measured: A of an image, (N, C, h, w); with a mask, only known pixels matter.
        start: (N, C, H, W), a first guess (`first_guess`); projected on what agrees.
        climb: how; where a radius is given, it is a budget about the start, and there is none otherwise (the default
            length of a move is that of a budget of √d/20).
        draw: of the images.
        label, y: see `denoise`.
    """
    for values, what in ((measured, "measured"), (start, "start")):
        check_images(values, what, unit_range=climb.bounds is not None)
    if operator.apply(start).shape != measured.shape:
        raise NumericsError(
            f"measured: got {tuple(measured.shape)}, expected {tuple(operator.apply(start).shape)} for images "
            f"{tuple(start.shape)}."
        )
    consistent = Consistent(operator, measured, climb.bounds)
    start = consistent(start.detach())
    labels, objective = _labelled(model, start, climb, label, y)
    radius = climb.radius or default_radius(start, _NEAR)
    inside: Constraint = consistent
    if climb.radius is not None:
        inside = Both(Ball(start, radius, climb.norm, climb.bounds), consistent)
    ascent = ascend(climb.raised(objective), start, climb.plan(radius, inside), draw=draw, models=(model,))
    return Restored(ascent, labels, torch.zeros(len(start), dtype=start.dtype, device=start.device))


def first_guess(operator: Operator, measured: Tensor, like: Tensor) -> Tensor:
    """What was measured, and the mean of it where nothing was, (N, C, H, W).

    Args:
        operator: A.
        measured: (N, C, h, w).
        like: any tensor of the images' shape, which gives no values.
    """
    known = operator.seen(measured).expand_as(measured)
    mean = (measured * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    return operator.project(mean.expand_as(like).clone(), measured, None)


def visualise(model: nn.Module, module: str, channel: Tensor, start: Tensor, climb: Climb, *, draw: Draw) -> Ascent:
    """Raise the mean activation of a channel of a named module for each image, (N,), within the budget."""
    check_images(start, "start", unit_range=False)
    inside = Box(climb.bounds)(start)
    radius = climb.radius or default_radius(start)
    plan = climb.plan(radius, Ball(inside, radius, climb.norm, climb.bounds))
    with unit_objective(model, module, channel) as objective:
        return ascend(climb.raised(objective), inside, plan, draw=draw, models=(model,))


def sketch(x: Tensor) -> Tensor:
    """Dark lines on white where brightness changes: 1 − |Sobel|, scaled to its largest value, in [0, 1]."""
    check_images(x)
    grey = torch.nn.functional.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], dtype=x.dtype, device=x.device)
    both = torch.nn.functional.conv2d(grey, torch.stack([kernel, kernel.T])[:, None])
    size = both.square().sum(1, keepdim=True).sqrt()
    largest = size.flatten(1).amax(1)
    scale = torch.where(largest > _FLAT, largest, torch.inf)  # an even image has no lines
    return (1 - size / per_example(scale, size)).expand_as(x).contiguous()


def _labelled(
    model: nn.Module, start: Tensor, climb: Climb, label: str, y: Tensor | None
) -> tuple[Tensor, ClassObjective]:
    """The class that each image is raised to, and the objective."""
    if label not in LABELS:
        raise SpecError(unknown_name("label", label, LABELS))
    if (y is not None) != (label == "oracle"):
        raise SpecError(
            f"label: got '{label}' {'with' if y is not None else 'without'} true classes; oracle needs them."
        )
    none = torch.full((len(start),), -1, dtype=torch.int64, device=start.device)
    if label == "energy" or climb.objective in UNLABELLED:
        return none, ClassObjective(model, "energy", torch.zeros_like(none))
    if y is None:
        with undisturbed(model):
            y = predicted(model, start)
    return y, ClassObjective(model, climb.objective, y)
