"""Options of a world: each is declared once, with its type, its default and the range that its value must lie in."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_type_hints

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.seeding import Draw
from tangency.worlds.core import Core
from tangency.worlds.embedding import Embedding, patterns
from tangency.worlds.world import World

_TINY = 1e-30  # float64 can square what is larger, and add up its squares


@dataclass(frozen=True)
class Allowed:
    """The values that an option may take, as a predicate and in words."""

    holds: Callable[[float], bool]
    expected: str


def _positive(value: float) -> bool:
    return _TINY <= value <= 1 / _TINY


_BOUNDS = f"from {_TINY:g} to {1 / _TINY:g}"
_POSITIVE = Allowed(_positive, f"a positive number {_BOUNDS}")
Shape = tuple[int, int, int]
Classes = Annotated[int, Allowed(lambda n: n >= 2, "at least 2")]
Count = Annotated[int, Allowed(lambda n: n >= 1, "at least 1")]
Components = Annotated[int, _POSITIVE]
Positive = Annotated[float, _POSITIVE]
_VARIANCE = Allowed(lambda v: v == 0 or _positive(v), f"0 or a variance {_BOUNDS} in squared pixel units")
Variance = Annotated[float, _VARIANCE]
# Beyond the largest concentration a point of the sphere is known to the last bit.
Concentration = Annotated[float, Allowed(lambda kappa: 0 <= kappa <= 1e12, "a number from 0 to 1e+12")]
Degrees = Annotated[float, Allowed(lambda angle: 0 < angle <= 90, "degrees above 0 and up to 90")]


@dataclass(frozen=True)
class WorldOptions(ABC):
    """Base of the options of a world; its fields may follow the question mark."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            for allowed in getattr(kind, "__metadata__", ()):
                if not allowed.holds(value):
                    raise NumericsError(f"{name}: got {value}, expected {allowed.expected}.")

    def values(self) -> dict[str, Any]:
        """All options with their values, in the order that the identity of the world has them in."""
        return asdict(self)

    @abstractmethod
    def build(self, root: Path | None) -> World:
        """The world with these options; `root` is where data are looked for, see `data.load`."""


@dataclass(frozen=True)
class ClosedFormWorld(WorldOptions):
    """Base of the worlds that need no data.

    Args:
        shape: (C, H, W).
        rank: dimension of the manifold.
        classes: how many.
        noise: ψ, variance of the pixel noise in squared pixel units; 0 puts the images exactly on the manifold.
        contrast: root mean square of a pixel about ½.
        seed: of the world.
    """

    shape: Shape = (1, 16, 16)
    rank: int = 8
    classes: Classes = 4
    noise: Variance = 0.0
    contrast: Positive = 0.1
    seed: int = 0

    def values(self) -> dict[str, Any]:
        """All options with their values, those of the one world in the middle."""
        values = asdict(self)
        last = [name for name in ("noise", "contrast", "embedding", "seed") if name in values]
        return {name: values[name] for name in (*(name for name in values if name not in last), *last)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of a made-up world."""
        return tuple(f"class {c}" for c in range(self.classes))

    def normals(self, purpose: str, *size: int) -> Tensor:
        """Standard normal numbers as a function of (seed, purpose), float64."""
        return Draw(self.seed, torch.arange(size[0]), purpose).normal(size[1:], torch.float64)


@dataclass(frozen=True)
class EmbeddedWorld(ClosedFormWorld):
    """Base of the worlds whose law has a few coordinates, put into images along pixel patterns.

    Args:
        embedding: "smooth" or "orthogonal" pixel patterns.
    """

    embedding: str = "smooth"

    def placed(self, core: Core, energy: float) -> World:
        """The world of `core`, E‖z‖² = `energy`, scaled so that `contrast` is the root mean square of a pixel."""
        basis = patterns(self.embedding, self.shape, core.dimension, self.seed)
        scale = self.contrast * math.sqrt(math.prod(self.shape) / energy)
        placed = Embedding(self.shape, basis, scale=scale, noise=self.noise)
        return World(self.name, core, placed, self.class_names)
