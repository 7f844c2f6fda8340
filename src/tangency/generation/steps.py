"""Step rules: how far each image moves along its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tangency.attacks.balls import ball
from tangency.numerics import per_example

State = tuple[Tensor, ...]
Length = float | Tensor  # one number, or one for each image (N,)


class Rule(Protocol):
    """From gradients to moves, with a state that is passed from step to step."""

    def begin(self, x: Tensor) -> State:
        """What is remembered before the first step, tensors in the shape of x."""
        ...

    def move(self, gradient: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """The move (N, C, H, W) at step 0, 1, …, and what is remembered next."""
        ...


def _scaled(length: Length, direction: Tensor) -> Tensor:
    return per_example(length, direction) * direction if isinstance(length, Tensor) else length * direction


@dataclass(frozen=True)
class NormalisedStep:
    """length · g/‖g‖₂, or length · sign g: as far for a weak gradient as for a strong one.

    Args:
        length: l2 (or linf) length of a move, pixels in [0, 1]; a number or (N,).
        norm: "l2" or "linf".
    """

    length: Length
    norm: str = "l2"

    def begin(self, x: Tensor) -> State:
        """Nothing is remembered."""
        return ()

    def move(self, gradient: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """Of length `length`; NaN for a zero gradient."""
        return _scaled(self.length, ball(self.norm).ascent(gradient)), state


@dataclass(frozen=True)
class GradientStep:
    """size · g: gradient ascent proper; with noise of √(2 size) the unadjusted Langevin algorithm for exp(objective).

    Args:
        size: squared pixel units per unit of the objective; a number or (N,).
    """

    size: Length

    def begin(self, x: Tensor) -> State:
        """Nothing is remembered."""
        return ()

    def move(self, gradient: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """As long as the gradient is."""
        return _scaled(self.size, gradient), state


@dataclass(frozen=True)
class AdamStep:
    """size · m̂/(√v̂ + epsilon), moments of each pixel (Kingma and Ba, arXiv 1412.6980).

    Args:
        size: pixel units of a move, about; a number or (N,).
        betas: decay of the first and the second moment.
        epsilon: floor of √v̂, in units of the gradient.
    """

    size: Length
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-12

    def begin(self, x: Tensor) -> State:
        """Both moments, zero."""
        return torch.zeros_like(x), torch.zeros_like(x)

    def move(self, gradient: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """With the correction for moments that start at zero."""
        first, second = self.betas
        mean = first * state[0] + (1 - first) * gradient
        square = second * state[1] + (1 - second) * gradient.square()
        ahead = mean / (1 - first ** (step + 1))
        spread = (square / (1 - second ** (step + 1))).sqrt()
        return _scaled(self.size, ahead / (spread + self.epsilon)), (mean, square)
