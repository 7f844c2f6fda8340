"""Measured models of a leaderboard: each once, with unique labels, and ranked as far as their intervals settle it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tangency.errors import RunError
from tangency.evaluate.entries import EstimateEntry, ExcessEntry, MeasureEntry, with_holm
from tangency.evaluate.folders import looks_measured, measured_inside, open_measured
from tangency.evaluate.measured import Measured
from tangency.evaluate.ranking import CHANCE, RankedPart, Ranking, directions, ranking, usable_parts
from tangency.evaluate.significance import SHOWN
from tangency.report.read.summary import from_json

_WAY_OUT = "Measure models first: tangency measure --model REF --data REF --out DIR."


@dataclass(frozen=True)
class ModelNumbers:
    """The numbers of a model, its regime where it was measured against a baseline, and what its folder warns of.

    `ranking` is known once the models of its table are, see `sort_models`.
    """

    measures: dict[str, MeasureEntry]
    excess: dict[str, ExcessEntry]
    regime: str | None
    warnings: list[str]
    ranking: Ranking | None = None


@dataclass(frozen=True)
class LabelledModel:
    """A measured model with its numbers and its label, which is unique on the page."""

    label: str
    measured: Measured
    numbers: ModelNumbers


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
    """Where the page of one folder lies: in it, if folders of models do; in report/ of the folder of one model."""
    only = Path(references[0])
    if len(references) > 1 or references[0].startswith("run:") or not only.is_dir():
        return None
    return only if measured_inside(only) else only / "report"


def label_models(models: Sequence[Measured]) -> list[LabelledModel]:
    """Models with unique labels: the name of the folder or trial, with its path where two have the same name."""
    short = [model.name if (model.folder / "spec.yaml").exists() else model.folder.name for model in models]
    labels: list[str] = []
    for model, label in zip(models, short, strict=True):
        name = label if short.count(label) == 1 else f"{model.folder.parent.name}/{model.folder.name}/{label}"
        labels.append(name if name not in labels else f"{name} ({labels.count(name) + 1})")
    return [LabelledModel(label, model, _numbers(model)) for label, model in zip(labels, models, strict=True)]


def _numbers(model: Measured) -> ModelNumbers:
    regime = model.entry.get("regime")
    about = regime if isinstance(regime, Mapping) else {"regime": regime}
    content = {name: model.entry[name] for name in ("measures", "excess")} | {
        "regime": about.get("regime"),
        "warnings": [*map(str, model.entry.get("warnings", ())), *(about.get("warnings") or ())],
    }
    numbers: ModelNumbers = from_json(ModelNumbers, json.dumps(content), model.folder / "summary.json")
    return numbers


def sort_models(models: Sequence[LabelledModel]) -> list[LabelledModel]:
    """The models of one data set with Holm's p-values and what ranks them, the first one first, those without last.

    Models that tie stay in their order.
    """
    parts = shared_parts(models)
    excesses = with_holm([model.numbers.excess for model in models])
    known = [
        dataclasses.replace(
            model,
            numbers=dataclasses.replace(
                model.numbers,
                excess=excess,
                ranking=ranking(model.measured.columns, model.measured.dimension, parts),
            ),
        )
        for model, excess in zip(models, excesses, strict=True)
    ]

    def order(model: LabelledModel) -> tuple[bool, float]:
        own = ranked_by(model.numbers)
        return (True, 0.0) if own is None else (False, -(own.mean or 0.0))

    return sorted(known, key=order)


def shared_parts(models: Sequence[LabelledModel]) -> list[RankedPart]:
    """Estimators and controls that all models have which have any: ranks compare like with like."""
    held = [set(parts) for model in models if (parts := usable_parts(model.measured.columns))]
    shared = set.intersection(*held) if held else set()
    return sorted(shared) if any(part.control != CHANCE for part in shared) else []


def ranked_by(numbers: ModelNumbers) -> EstimateEntry | None:
    """The smallest log F²/control; None where there is none, or where the accuracy is not shown to be above chance.

    Below chance there is no rank, as the gradient is about no class; nor is there one from a single image.
    """
    accuracy = numbers.measures.get("accuracy")
    if numbers.ranking is None or (accuracy and not above_chance(accuracy)):
        return None
    own = numbers.ranking.worst.estimate
    return own if own.mean is not None and own.n > 1 else None


def above_chance(accuracy: MeasureEntry) -> bool:
    """Whether an accuracy is shown to be above chance."""
    return accuracy.low is not None and accuracy.low > (accuracy.chance or 0)


def rank_ranges(estimates: Sequence[EstimateEntry | None]) -> list[str]:
    """Rank of each, "2" or "1–3": one above every model whose interval lies wholly above, and likewise below."""
    ends = [None if e is None or e.low is None or e.high is None else (e.low, e.high) for e in estimates]
    known = [own for own in ends if own is not None]
    out = []
    for own in ends:
        if own is None:
            out.append("–")
            continue
        best = 1 + sum(low > own[1] for low, _ in known)
        worst = len(known) - sum(high < own[0] for _, high in known)
        out.append(f"{best}" if best == worst else f"{best}–{worst}")
    return out


def is_aligned(numbers: ModelNumbers) -> bool:
    """Whether alignment is shown to be above that of other images under every direction, by Holm's p."""
    excesses = [numbers.excess.get(key) for key in directions(numbers.measures)]
    return bool(excesses) and all(map(_is_shown, excesses))


def is_tangent(numbers: ModelNumbers) -> bool:
    """Whether F² is shown to be above every control under every estimator, by intervals."""
    return numbers.ranking is not None and is_above(numbers.ranking.worst.estimate)


def is_above(estimate: EstimateEntry) -> bool:
    """Whether the whole interval is above 0."""
    return estimate.low is not None and estimate.low > 0


def _is_shown(excess: ExcessEntry | None) -> bool:
    """Whether an excess is shown to be above 0, by its p-value adjusted over the models of its table."""
    return excess is not None and (excess.mean or 0.0) > 0 and excess.p_holm is not None and excess.p_holm <= SHOWN
