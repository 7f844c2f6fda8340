"""A task with the options that it has: command line, specs and Python refuse all others by this one declaration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tangency.errors import SpecError, unknown_name
from tangency.generation.options import REFERENCES, TaskOptions
from tangency.generation.tasks.table import TASKS
from tangency.generation.tasks.task import SHARED


@dataclass(frozen=True)
class GenerationConfig(TaskOptions):
    """One task, how its images are started from, and what it is compared with.

    An option that the task does not have (`TASKS` says which it has) or that changes nothing is refused.

    Args:
        task: one of `TASKS`.
        count: images.
        climb: the ascent.

    All others are those of `TaskOptions`.

    Raises:
        SpecError: names the option, what was got, and what was expected.

    Example:
        >>> GenerationConfig("translate", 4).references
        ('bayes',)
    """

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise SpecError(f"task: {unknown_name('task', self.task, TASKS)}")
        super().__post_init__()
        task = TASKS[self.task]
        if self.references == REFERENCES:
            object.__setattr__(self, "references", task.references)
        for name in self.references:
            if name not in task.references:
                known = ", ".join(task.references) or "none"
                raise SpecError(f"references: there is no '{name}' for task '{self.task}', expected of {known}.")
        changed = changed_options(self)
        refuse_foreign(self.task, changed)
        refuse_moot(self, changed)
        task.check(self)


def refuse_foreign(task: str, named: Iterable[str]) -> None:
    """Raise where one of these options, "climb.steps" for one of the climb's, is none of the task.

    Raises:
        SpecError: names the option, the task, the tasks that have it, and what this one has.
    """
    if task not in TASKS:
        raise SpecError(f"task: {unknown_name('task', task, TASKS)}")
    for option in named:
        others = [name for name in dict.fromkeys((*TASKS.own, task)) if option in TASKS[name].own]
        if others and task not in others:
            takes = ", ".join(TASKS[task].options)
            raise SpecError(
                f"{option}: no option of task '{task}', only of {', '.join(others)}. Of its own task '{task}' has "
                f"{takes}."
            )


def refuse_moot(config: TaskOptions, named: Iterable[str]) -> None:
    """Raise where one of these options, which the task has, changes nothing beside the others."""
    moot = TASKS[config.task].moot(config)
    for option in named:
        if option in moot:
            raise SpecError(f"{option}: changes nothing here, since {moot[option]}.")


def refuse_unguided(config: TaskOptions, score: bool) -> None:
    """Raise where a weight of guidance is given without a score to guide."""
    if "guidance" in changed_options(config) and not score:
        raise SpecError("guidance: changes nothing here, since there is no score that it could guide; give a score.")


def changed_options(config: TaskOptions) -> list[str]:
    """The options that are not as they are by default, those of the climb as "climb.NAME"."""
    default = _flat(TaskOptions())
    return [name for name, value in _flat(config).items() if name != "task" and value != default[name]]


def _flat(config: TaskOptions) -> dict[str, Any]:
    options = dataclasses.asdict(config)
    climb = options.pop("climb")
    return options | {f"climb.{name}": value for name, value in climb.items()}


def task_settings(config: TaskOptions, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """The options that the task has and uses; the others do not bear on what was made.

    Args:
        config: the task.
        options: its options as a dictionary; as they are by default.
    """
    options = dataclasses.asdict(config) if options is None else options
    used = {*SHARED, *TASKS[config.task].own} - set(TASKS[config.task].moot(config))
    climb = {name: value for name, value in options["climb"].items() if f"climb.{name}" in used}
    return {name: climb if name == "climb" else value for name, value in options.items() if name in used}
