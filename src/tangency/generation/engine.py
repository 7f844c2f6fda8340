"""Projected gradient ascent in image space, every image on its own: one engine for all tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tangency.autodiff import undisturbed
from tangency.errors import NumericsError
from tangency.generation.constraints import Constraint, free
from tangency.generation.objectives import Objective
from tangency.generation.steps import Rule, State
from tangency.numerics import per_example
from tangency.seeding import Draw
from tangency.types import check_images

Stop = Callable[[Tensor, Tensor], Tensor]  # images (N, C, H, W) and their objective (N,) to which are done, (N,) bool


@dataclass(frozen=True)
class Plan:
    """How to climb.

    Args:
        rule: from a gradient to a move.
        steps: at most, ≥ 0; a step is one forward and one backward pass.
        constraint: projection after each step.
        decay: moves shrink linearly to nothing over the steps, so that a normalised step can settle.
        noise: standard deviation of Gaussian noise added at each step, pixel units; it shrinks with `decay` too.
        average: β of the moving average ē ← β ē + (1 − β) x of iterates that is returned; 0 returns the last one.
        stop: which images are done, checked before each step.
        frames: iterates kept, spread evenly from the start to the last step; 0 keeps none.
    """

    rule: Rule
    steps: int = 60
    constraint: Constraint = free
    decay: bool = False
    noise: float = 0.0
    average: float = 0.0
    stop: Stop | None = None
    frames: int = 0

    def __post_init__(self) -> None:
        if self.steps < 0 or self.frames < 0 or not self.noise >= 0 or not 0 <= self.average < 1:
            raise NumericsError(
                f"ascent: got steps {self.steps}, frames {self.frames}, noise {self.noise}, average {self.average}; "
                "expected at least 0, and an average in [0, 1)."
            )

    @property
    def recorded(self) -> list[int]:
        """Steps done at each frame."""
        if not self.frames:
            return []
        return sorted(set(torch.linspace(0, self.steps, self.frames).round().int().tolist()))


@dataclass(frozen=True)
class Ascent:
    """Where each image ended, and how.

    Args:
        images: (N, C, H, W), detached, in the constraint's set.
        values: (N,) the objective at the last iterate; NaN where it has none.
        steps: (N,) int64, moves made.
        evaluations: (N,) int64, forward passes spent on the image; all but one had a backward pass.
        stalled: (N,) bool: its gradient was exactly zero, and it stayed where it was.
        diverged: (N,) bool: its objective, gradient or next iterate was not finite; it stayed at the last finite one.
        stopped: (N,) bool: the rule for stopping held at the end.
        frames: (F, N, C, H, W) iterates on the way.
        frame_steps: (F,) steps done at each.
    """

    images: Tensor
    values: Tensor
    steps: Tensor
    evaluations: Tensor
    stalled: Tensor
    diverged: Tensor
    stopped: Tensor
    frames: Tensor
    frame_steps: tuple[int, ...]


@dataclass
class _State:
    """What changes from step to step."""

    x: Tensor
    average: Tensor
    memory: State
    moving: Tensor
    stalled: Tensor
    diverged: Tensor
    stopped: Tensor
    steps: Tensor
    evaluations: Tensor
    frames: list[Tensor] = field(default_factory=list)

    @staticmethod
    def of(x: Tensor, rule: Rule) -> _State:
        off, none = (torch.zeros(len(x), dtype=kind, device=x.device) for kind in (torch.bool, torch.int64))
        return _State(x, x, rule.begin(x), ~off, off, off, off, none, none)


def ascend(objective: Objective, start: Tensor, plan: Plan, *, draw: Draw, models: Sequence[nn.Module] = ()) -> Ascent:
    """x ← Π(x + move(∇ objective(x)) + noise) until an image is done, each image for itself.

    Image i is the same alone or in any batch (up to floating-point rounding of the model): nothing is shared between
    images, and noise is drawn from the identity of each.

    Args:
        objective: images to one number for each, to be raised; each number depends on its own image alone.
        start: (N, C, H, W), finite.
        plan: how to climb.
        draw: random numbers, by image id.
        models: run in eval mode with frozen parameters meanwhile, and left as they were.

    Returns:
        Ascent. An image whose first gradient is zero (or not finite) is returned unchanged, bit for bit.

    Raises:
        NumericsError: a start that is not finite, an objective of the wrong shape or without a gradient.

    Example:
        >>> from tangency.generation.steps import GradientStep
        >>> near_grey = lambda x: -(x - 0.5).flatten(1).square().sum(1)
        >>> ascent = ascend(near_grey, torch.zeros(2, 1, 2, 2), Plan(GradientStep(0.5)), draw=Draw(0, torch.arange(2)))
        >>> bool((ascent.images == 0.5).all()), ascent.stalled.tolist()
        (True, [True, True])
    """
    check_images(start, "start", unit_range=False)
    if len(draw.ids) != len(start):
        raise NumericsError(f"draw: got {len(draw.ids)} identities for {len(start)} images, expected one each.")
    start = start.detach()
    state = _State.of(plan.constraint(start), plan.rule)
    recorded = plan.recorded
    with contextlib.ExitStack() as frozen:
        for model in models:
            frozen.enter_context(undisturbed(model))
        for number in range(plan.steps):
            if number in recorded:
                state.frames.append(state.x)
            if not bool(state.moving.any()):
                continue
            _step(objective, plan, state, number, draw.of("noise", number))
        value = _value(objective, state.x)
    if plan.stop is not None:
        state.stopped = state.stopped | (plan.stop(state.x, value) & ~state.diverged)
    unmoved = per_example((state.steps == 0) & (state.stalled | state.diverged), start)
    images = torch.where(unmoved, start, state.average if plan.average else state.x)
    frames = [*state.frames, images] if recorded else []
    return Ascent(
        images,
        torch.where(value.isfinite(), value, torch.nan),
        state.steps,
        state.evaluations + 1,
        state.stalled,
        state.diverged,
        state.stopped,
        torch.stack(frames) if frames else start.new_zeros(0, *start.shape),
        tuple(recorded),
    )


def _step(objective: Objective, plan: Plan, state: _State, number: int, draw: Draw) -> None:
    """One step of all images that are still moving."""
    value, gradient = value_and_gradient(objective, state.x)
    state.evaluations = state.evaluations + state.moving
    finite = value.isfinite() & gradient.isfinite().flatten(1).all(1)
    done = plan.stop(state.x, value) if plan.stop is not None else torch.zeros_like(finite)
    still = (gradient == 0).flatten(1).all(1)
    move, memory = plan.rule.move(
        torch.where(per_example(finite & ~still, gradient), gradient, 1.0), state.memory, number
    )
    share = 1 - number / plan.steps if plan.decay else 1.0
    move = share * move
    if plan.noise:
        move = move + share * plan.noise * draw.normal(move.shape[1:], move.dtype)
    ahead = state.x + move
    finite = finite & ahead.isfinite().flatten(1).all(1)
    state.diverged = state.diverged | (state.moving & ~finite)
    state.stopped = state.stopped | (state.moving & finite & done)
    state.stalled = state.stalled | (state.moving & finite & ~done & still)
    state.moving = state.moving & finite & ~done & ~still
    going = per_example(state.moving, ahead)
    # Images that stand still must not meet a projection that cannot take what is not finite.
    state.x = torch.where(going, plan.constraint(torch.where(going, ahead, state.x)), state.x)
    state.average = torch.where(going, plan.average * state.average + (1 - plan.average) * state.x, state.average)
    state.memory = tuple(torch.where(going, new, old) for new, old in zip(memory, state.memory, strict=True))
    state.steps = state.steps + state.moving


def value_and_gradient(objective: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
    """The objective (N,) and its gradient (N, C, H, W), both detached."""
    with torch.inference_mode(False), torch.enable_grad():
        inputs = x.detach().clone().requires_grad_(True)
        value = _checked(objective(inputs.clone()), x)  # a clone, so that a model may overwrite its input
        if not value.requires_grad:
            raise NumericsError(
                "objective: its values do not depend on the images by differentiable operations, so there is no "
                "gradient; look for torch.no_grad, detach, argmax or a constant."
            )
        (gradient,) = torch.autograd.grad(value.sum(), inputs, materialize_grads=True)
    return value.detach(), gradient


@torch.no_grad()
def _value(objective: Objective, x: Tensor) -> Tensor:
    return _checked(objective(x.clone()), x)


def _checked(value: Tensor, x: Tensor) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != (len(x),):
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise NumericsError(f"objective: got {got} for {len(x)} images, expected one number for each, ({len(x)},).")
    return value
