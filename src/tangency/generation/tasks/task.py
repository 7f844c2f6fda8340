"""What defines a task of generation: its options, how it is performed, and what it is compared with."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from tangency.generation.options import Climb, TaskOptions
from tangency.generation.tasks.inputs import Outcome, TaskInputs
from tangency.seeding import Draw

SHARED = ("task", "count", "climb", "references", "components", "rank", "seed", "batch")  # what every task has
CLIMB = tuple(field.name for field in dataclasses.fields(Climb))


class GenerationTask(ABC):
    """One task; a new one is a subclass that `TASKS` (or an entry point) lists.

    Its options are fields of `TaskOptions`, whose defaults are theirs.

    Attributes:
        name: as users call it.
        title: heads its pictures in a report.
        options: of `TaskOptions`, besides those that every task has.
        unclimbed: options of `Climb` that it does not use.
        references: what its pictures can be compared with, of `REFERENCES`.
        from_nothing: whether pictures are made from nothing, so that there may be more than test images.
        truth: whether a picture can be compared with the truth.
        judged: whether a judge can rate its pictures: they have a truth, or a class that is meant.
        second_choice: whether its default class is each network's own second choice, so that networks differ in it.
        qualities: measures of how good its pictures are, the one that a report draws first at the front.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    options: ClassVar[tuple[str, ...]]
    unclimbed: ClassVar[tuple[str, ...]] = ()
    references: ClassVar[tuple[str, ...]] = ("bayes",)
    from_nothing: ClassVar[bool] = False
    truth: ClassVar[bool] = False
    judged: ClassVar[bool] = True
    second_choice: ClassVar[bool] = False
    qualities: ClassVar[tuple[str, ...]] = ("judge_accuracy", "judge_confidence", "kid")

    @property
    def climb(self) -> tuple[str, ...]:
        """The options of `Climb` that it has."""
        return tuple(name for name in CLIMB if name not in self.unclimbed)

    @property
    def own(self) -> tuple[str, ...]:
        """All that not every task has, of its climb as "climb.NAME", with the score and judge that it can be given."""
        given = [name for name, fits in (("score", "score" in self.references), ("judge", self.judged)) if fits]
        return (*self.options, *given, *(f"climb.{name}" for name in self.climb))

    @abstractmethod
    def perform(self, inputs: TaskInputs, ids: Tensor, draw: Draw) -> Outcome:
        """Do the task for one batch.

        Args:
            inputs: options, data, networks and references.
            ids: (N,) numbers of test images, or of pictures that are made from nothing.
            draw: of the pictures.
        """

    def check(self, options: TaskOptions) -> None:  # noqa: B027  most tasks have nothing to add
        """Raise where options of this task do not go together."""

    def moot(self, options: TaskOptions) -> dict[str, str]:
        """Options that change nothing given the others, each with the reason."""
        moot = {}
        if "score" not in options.references:
            moot["guidance"] = moot["score"] = "there is no score among the references"
        if not options.climb.frames:
            moot["animation"] = "no frames are kept"
        return moot

    def described(self, settings: Mapping[str, Any]) -> str:
        """How an entry with these `task_settings` differs from others of its task, in words; "" for not at all."""
        return ""

    def smoothing(self, options: TaskOptions) -> float:
        """σ of the noise in the images whose class the Bayes rule gives, pixels in [0, 1]."""
        return 0.0


class ImageTask(GenerationTask):
    """A task that starts from test images."""

    def perform(self, inputs: TaskInputs, ids: Tensor, draw: Draw) -> Outcome:
        """Do the task for these test images."""
        x = inputs.data.test.images(ids).to(inputs.device)
        y = inputs.data.test.labels[ids].to(inputs.device)
        return self.apply(inputs, x, y, draw)

    @abstractmethod
    def apply(self, inputs: TaskInputs, x: Tensor, y: Tensor, draw: Draw) -> Outcome:
        """Do the task for images (N, C, H, W) of the classes (N,)."""
