"""What stands beside an objective's function: its cost in bare passes, and the options that it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tangency.errors import SpecError

# Shares of a bare pass, which takes three products with each layer's weights: one forward, two backward (to the weights
# and to the layer below).
FORWARD = 1 / 3
INPUT_GRADIENT = 2 / 3  # forward, and backward to the input alone, as in a step of an attack
# Forward, backward to the input, and the backward pass through both, which takes two products for each of theirs.
SECOND_ORDER = 2.0

Options = Mapping[str, Any]
Loss = TypeVar("Loss", bound=Callable[..., Any])
_ATTRIBUTE = "declared"


def _one(options: Options, classes: int) -> float:
    return 1.0


def _nothing(options: Options) -> str:
    return ""


@dataclass(frozen=True)
class LossDeclaration:
    """What is known of an objective beside its function.

    Args:
        passes: options and the number of classes to what a training step takes in bare passes (a forward and a backward
            pass of the network, as of the standard objective) where images do not depend on each other. Under batch
            normalisation a penalty takes one more, since it uses running statistics and the cross-entropy does not.
        refused: options to what is wrong with them, "" for nothing.
    """

    passes: Callable[[Options, int], float] = _one
    refused: Callable[[Options], str] = _nothing

    def check(self, name: str, options: Options) -> None:
        """Raise a `SpecError` where the options of the objective of that name are refused."""
        reason = self.refused(options)
        if reason:
            raise SpecError(f"objective {name}: {reason}")


def declare(
    passes: Callable[[Options, int], float], refused: Callable[[Options], str] = _nothing
) -> Callable[[Loss], Loss]:
    """A decorator that puts a `LossDeclaration` beside an objective's function.

    Example:
        >>> @declare(lambda options, classes: 1 + options["copies"])
        ... def loss(model, x, y, draw, strength, *, copies=1): ...
        >>> declaration(loss).passes({"copies": 3}, 10), declaration(print).passes({}, 10)
        (4, 1.0)
    """

    def beside(loss: Loss) -> Loss:
        setattr(loss, _ATTRIBUTE, LossDeclaration(passes, refused))
        return loss

    return beside


def declaration(loss: Callable[..., Any]) -> LossDeclaration:
    """What was declared beside a function; one bare pass, and nothing refused, where nothing was."""
    declared = getattr(loss, _ATTRIBUTE, None)
    return declared if isinstance(declared, LossDeclaration) else LossDeclaration()


def positive(*names: str) -> Callable[[Options], str]:
    """A refusal of options that are 0."""

    def refused(options: Options) -> str:
        zero = [name for name in names if options[name] <= 0]
        return f"{zero[0]} is {options[zero[0]]:g}, expected a number > 0." if zero else ""

    return refused
