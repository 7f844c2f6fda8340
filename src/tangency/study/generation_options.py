"""What each task of generation can be asked for: one declaration, by which command line, specs and Python refuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tangency.errors import SpecError, unknown_name
from tangency.generate import Climb

if TYPE_CHECKING:
    from tangency.study.generation_config import GenerationConfig

REFERENCES = ("bayes", "mixture", "score")
SHARED = ("task", "count", "climb", "references", "components", "rank", "seed", "batch")  # what every task has
_CLIMB = tuple(field.name for field in dataclasses.fields(Climb))
_ALWAYS = ("bounds", "frames")  # of a climb, also where nothing is climbed


@dataclass(frozen=True)
class Task:
    """What one task can be asked for.

    Args:
        options: of `GenerationConfig`, besides those that every task has.
        unclimbed: options of `Climb` that it has no use for.
        references: that there are for it.
        truth: whether a picture can be compared with the truth.
        judged: whether a judge can rate its pictures: they have a truth, or a class that is meant.
    """

    options: tuple[str, ...]
    unclimbed: tuple[str, ...] = ()
    references: tuple[str, ...] = ("bayes",)
    truth: bool = False
    judged: bool = True

    @property
    def climb(self) -> tuple[str, ...]:
        """The options of `Climb` that it has."""
        return tuple(name for name in _CLIMB if name not in self.unclimbed)

    @property
    def own(self) -> tuple[str, ...]:
        """All that not every task has, of its climb as "climb.NAME", with the score and judge that it can be given."""
        given = [name for name, fits in (("score", "score" in self.references), ("judge", self.judged)) if fits]
        return (*self.options, *given, *(f"climb.{name}" for name in self.climb))


TASKS = {
    "generate": Task(("target", "start", "guidance"), references=REFERENCES),
    "denoise": Task(("sigma", "blind", "method", "label"), ("radius", "confidence"), REFERENCES, truth=True),
    "inpaint": Task(("mask", "share", "label"), references=REFERENCES, truth=True),
    "superres": Task(("factor", "label"), references=REFERENCES, truth=True),
    "translate": Task(("target",)),
    "counterfactual": Task(("target", "margin"), tuple(name for name in _CLIMB if name not in _ALWAYS)),
    "feature": Task(("target", "unit", "start"), ("objective", "confidence"), references=(), judged=False),
    "sketch": Task(("target", "drawn")),
}


def refuse_foreign(task: str, named: Iterable[str]) -> None:
    """Raise where one of these options, "climb.steps" for one of the climb's, is none of the task.

    Raises:
        SpecError: names the option, the task, the tasks that have it, and what this one has.
    """
    if task not in TASKS:
        raise SpecError(f"task: {unknown_name('task', task, TASKS)}")
    for option in named:
        others = [name for name in TASKS if option in TASKS[name].own]
        if others and task not in others:
            takes = ", ".join(TASKS[task].options)
            raise SpecError(
                f"{option}: no option of task '{task}', only of {', '.join(others)}. Of its own task '{task}' has "
                f"{takes}."
            )


def changed_options(config: GenerationConfig) -> list[str]:
    """The options that are not as they are by default."""
    blank = {field.name: field.default for field in dataclasses.fields(config)}
    own = [name for name in blank if name not in ("task", "climb") and getattr(config, name) != blank[name]]
    climb = [f"climb.{field.name}" for field in dataclasses.fields(Climb) if _given(config.climb, field)]
    return own + climb


def _given(climb: Climb, field: dataclasses.Field[Any]) -> bool:
    return bool(getattr(climb, field.name) != field.default)


def refuse_moot(config: GenerationConfig, named: Iterable[str]) -> None:
    """Raise where one of these options, which the task has, changes nothing beside the others."""
    moot = _moot(config)
    for option in named:
        if option in moot:
            raise SpecError(f"{option}: changes nothing here, since {moot[option]}.")


def _moot(config: GenerationConfig) -> dict[str, str]:
    """Option to why it changes nothing."""
    climb, found = config.climb, dict[str, str]()
    if config.task == "inpaint" and config.mask == "half":
        found["share"] = "mask 'half' hides half of the pixels"
    if "score" not in config.references:
        found["guidance"] = found["score"] = "there is no score among the references"
    if "label" in TASKS[config.task].options:
        if config.label == "energy":
            why = "label 'energy' raises the logsumexp; give label predicted or oracle"
            found |= {"climb.objective": why, "climb.confidence": why}
        elif climb.objective == "energy":
            found["label"] = "objective 'energy' is of no class"
        if climb.rule != "normalised" and (climb.radius is None or config.task == "denoise"):
            found["climb.norm"] = f"there is no budget of its own, and rule '{climb.rule}' has no norm"
    if not climb.frames:
        found["animation"] = "no frames are kept"
    if config.task == "denoise" and config.method == "tweedie":
        why = "method 'tweedie' is one step"
        found |= {f"climb.{name}": why for name in _CLIMB if name != "bounds"} | {"animation": why}
        found.pop("label", None)
    return found


def refuse_unguided(config: GenerationConfig, score: bool) -> None:
    """Raise where guidance is asked for, and no score that it could guide is there."""
    if "guidance" in changed_options(config) and not score:
        raise SpecError("guidance: changes nothing here, since there is no score that it could guide; give a score.")


def task_settings(config: GenerationConfig, told: dict[str, Any] | None = None) -> dict[str, Any]:
    """The options that the task has and uses; the others say nothing of what was made.

    Args:
        config: the task.
        told: its options as a dictionary; as they are by default.
    """
    told = dataclasses.asdict(config) if told is None else told
    moot, own = _moot(config), (*SHARED, *TASKS[config.task].own)
    kept = {name: value for name, value in told.items() if name in own and name not in moot}
    climb = {name: value for name, value in told["climb"].items() if f"climb.{name}" in own}
    return kept | {"climb": {name: value for name, value in climb.items() if f"climb.{name}" not in moot}}
