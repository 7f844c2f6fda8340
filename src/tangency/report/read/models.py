"""Measured models of a leaderboard, each once, with unique labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.errors import RunError
from tangency.evaluate.folders import looks_measured, measured_inside, open_measured
from tangency.evaluate.measured import Measured

_WAY_OUT = "Measure models first: tangency measure --model REF --data REF --out DIR."


@dataclass(frozen=True)
class LabelledModel:
    """A measured model with its label, which is unique on the page, and a copy of its numbers for adjusted p-values."""

    label: str
    measured: Measured
    numbers: dict[str, Any]


def collect_models(references: Sequence[str]) -> tuple[list[Measured], list[str]]:
    """The models, each once, and the errors of unreadable folders that were not named but lie in a named one."""
    models: dict[str, Measured] = {}
    unread: list[str] = []
    for reference in references:
        folder = Path(reference)
        alone = reference.startswith("run:") or not folder.is_dir()
        is_model = alone or looks_measured(folder)
        if is_model:
            models.setdefault(_identity(reference), open_measured(reference))
        inside = [] if alone else measured_inside(folder)
        if not is_model and not inside:
            raise RunError(f"report: '{reference}' holds no measured model, nor a folder of one. {_WAY_OUT}")
        for child in inside:
            try:
                models.setdefault(_identity(str(child)), open_measured(str(child)))
            except RunError as error:
                unread.append(str(error))
    if not models:
        raise RunError(f"report: no model can be read. {' '.join(unread)}")
    return list(models.values()), unread


def _identity(reference: str) -> str:
    """The same for every way to name a folder."""
    return reference if reference.startswith("run:") else str(Path(reference).resolve())


def own_folder(references: Sequence[str]) -> Path | None:
    """The one folder that was given, if folders of models lie in it."""
    only = Path(references[0])
    return only if len(references) == 1 and only.is_dir() and measured_inside(only) else None


def label_models(models: Sequence[Measured]) -> list[LabelledModel]:
    """Models with unique labels: the name of the folder or trial, with its path where two have the same name."""
    short = [model.name if (model.folder / "spec.yaml").exists() else model.folder.name for model in models]
    labels: list[str] = []
    for model, label in zip(models, short, strict=True):
        name = label if short.count(label) == 1 else f"{model.folder.parent.name}/{model.folder.name}/{label}"
        labels.append(name if name not in labels else f"{name} ({labels.count(name) + 1})")
    return [LabelledModel(label, m, copy.deepcopy(m.entry)) for label, m in zip(labels, models, strict=True)]
