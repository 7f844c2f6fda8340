"""Generation in the spec of a study: the entries of `generate:`, each checked for its task, and their judge."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tangency.errors import SpecError, quoted, unknown_name
from tangency.generation.options import Climb
from tangency.generation.tasks.config import GenerationConfig
from tangency.generation.tasks.table import TASKS


class JudgeSpec(BaseModel):
    """The held-out classifier that rates generated pictures.

    Args:
        reference: of a saved one; by default the study trains one, on the same images, by the standard objective.
        architecture: of the one that is trained; by default resnet18, a narrow one, where the study's own is another,
            else convnet.
        options: of that architecture.
        seed: of that one; no trial may have it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: str = ""
    architecture: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    seed: int = 1000

    def network(self, beside: str) -> tuple[str, dict[str, Any]]:
        """Architecture and options of the judge of a study of the architecture `beside`."""
        chosen = self.architecture or ("convnet" if beside == "resnet18" else "resnet18")
        return chosen, self.options or ({"width": 16} if chosen == "resnet18" else {})


def check_entries(entries: tuple[GenerationConfig, ...]) -> None:
    """Raise where an entry has nothing that all networks share."""
    judged = [name for name in TASKS.own if TASKS[name].judged]
    for number, entry in enumerate(entries):
        where = f"generate.{number}"
        if not TASKS[entry.task].judged:
            raise SpecError(f"{where}.task: {unknown_name('task of a study', entry.task, judged)}")
        if entry.climb.frames:
            raise SpecError(f"{where}.climb.frames: a study keeps no frames; `tangency generate` does.")
        if TASKS[entry.task].second_choice and entry.target is None:
            raise SpecError(
                f"{where}.target: got none, expected a class: each network would choose another, so that they could "
                "not be compared."
            )
        if entry in entries[:number]:
            raise SpecError(f"{where}: given more than once, expected entries that differ.")


def check_raw_entries(entries: Any) -> Any:
    """Raise where an entry as written is refused by what is built of it, naming the entry and its key."""
    for number, raw in enumerate(entries if isinstance(entries, list | tuple) else ()):
        if isinstance(raw, dict):
            where, climb = f"generate.{number}", raw.get("climb")
            if isinstance(climb, dict):
                _try_building(Climb, climb, f"{where}.climb")
            _try_building(GenerationConfig, raw, where)
    return entries


def _try_building(kind: type, raw: dict[str, Any], where: str) -> None:
    """Build from plain values; what is of no fitting type is left to the spec, which names it itself."""
    for field in dataclasses.fields(kind):
        value = raw.get(field.name)
        if isinstance(value, bool) and not isinstance(field.default, bool):
            raise SpecError(f"{where}.{field.name}: got {str(value).lower()}, expected no truth value.")
    with contextlib.suppress(ValidationError):
        try:
            TypeAdapter(kind).validate_python(raw)
        except SpecError as error:
            raise SpecError(f"{where}.{quoted(error)}") from None


def check_judge(judge: JudgeSpec, architecture: str, options: dict[str, Any], seeds: tuple[int, ...]) -> None:
    """Raise where the judge would be one of the networks that it judges, or too near to them."""
    if judge.reference:
        if judge.architecture or judge.options:
            raise SpecError("judge.reference: a saved judge has an architecture of its own; leave the other keys out.")
        return
    if judge.network(architecture) == (architecture, options):
        raise SpecError(f"judge.architecture: got '{architecture}' as the trials have, expected another architecture.")
    if judge.seed in seeds:
        raise SpecError(f"judge.seed: got {judge.seed}, which a trial has; expected another than {list(seeds)}.")


def entry_names(entries: tuple[GenerationConfig, ...]) -> list[str]:
    """Name of each entry: its task, with a number from the second of a kind on."""
    tasks = [entry.task for entry in entries]
    counts = [tasks[: number + 1].count(task) for number, task in enumerate(tasks)]
    return [task if count == 1 else f"{task}-{count}" for task, count in zip(tasks, counts, strict=True)]
