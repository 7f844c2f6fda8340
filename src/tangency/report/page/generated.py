"""The section of a study's page on generation: answers, figures, pictures, and the numbers of every network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tangency.evaluate.entries import MeasureEntry
from tangency.evaluate.generation.qualities import Quality
from tangency.measures.keys import FRACTION
from tangency.report.draw.canvas import STYLE, StillFigure, still_figure
from tangency.report.draw.generation import generation_figures
from tangency.report.draw.pixels import data_uri, photograph
from tangency.report.read.generated import Table, alignment_table, quality_table
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import BAYES
from tangency.report.text.generation import (
    AGAINST,
    REFERENCE_NAMES,
    correlation_words,
    judge_words,
    over_words,
    peak_sentences,
    quality_label,
    quality_shown,
    task_lead,
    task_title,
)
from tangency.report.text.glossary import REGIMES, objective_name
from tangency.report.text.trials import trial_name
from tangency.study.generation.entries import TaskEntry

_SIDE = 96  # pixels of a side of a picture at most
_FIRST = ("truth", "real", "input", "score", "mixture", "bayes")  # order of the references above the pictures


@dataclass(frozen=True)
class QualityRow:
    """A reference or a cell: its qualities, and F² and alignment minus shuffled, with what intervals are over."""

    name: str
    regime: str
    unit: str
    cells: Sequence[MeasureEntry | None]
    excess: Sequence[MeasureEntry | None]


@dataclass(frozen=True)
class CorrelationRow:
    """Correlations of each quality with F², alignment or log strength, over a scope."""

    scope: str
    against: str
    cells: list[str]


@dataclass(frozen=True)
class PictureTable:
    """Rows of pictures, (name, PNG data URIs): references, then the networks of one seed."""

    rows: list[tuple[str, list[str]]]
    labels: list[str]
    seed: int


@dataclass(frozen=True)
class TaskSection:
    """All that the page shows of one task.

    `networks` are those of a recipe, `unit` is what its intervals are over; `quality` and `alignment` are figures, None
    where they cannot be drawn; `heads` are (title, text) of each quality.
    """

    id: str
    title: str
    lead: str
    networks: int
    unit: str
    peaks: list[str]
    quality: StillFigure | None
    alignment: StillFigure | None
    main: str
    heads: list[tuple[str, Quality]]
    rows: list[QualityRow]
    correlations: list[CorrelationRow]
    pictures: PictureTable
    how: dict[str, str]
    unavailable: dict[str, str]


@dataclass(frozen=True)
class GenerationSection:
    """The judge in words, and a section for each task."""

    judge: str
    warning: str
    method: str
    entries: list[TaskSection]


def generated_section(run: RunFiles) -> GenerationSection | None:
    """The section on generation; None where the study generated nothing."""
    import matplotlib as mpl

    generation = run.summary.generation
    if not generation:
        return None
    figures: dict[str, StillFigure] = {}
    tables = _tables(generation.entries)
    with mpl.rc_context(STYLE):
        for name, draw in generation_figures(run).items():
            if (figure := draw()) is not None:
                figures[name] = still_figure(figure, *tables[name])
    entries = [_entry(run, entry, generation.about, figures) for entry in generation.entries]
    judge = generation.judge
    return GenerationSection(judge_words(judge), judge.warning, generation.method, entries)


def _tables(entries: Sequence[TaskEntry]) -> dict[str, Table]:
    """Name of each figure to its numbers."""
    tables = {}
    for entry in entries:
        if shown := quality_shown(entry):
            tables[f"generation-{entry.name}"] = quality_table(entry, shown)
            tables[f"generation-{entry.name}-alignment"] = alignment_table(entry, shown[0])
    return tables


def _entry(
    run: RunFiles, entry: TaskEntry, about: Mapping[str, Quality], figures: Mapping[str, StillFigure]
) -> TaskSection:
    """The section of one task."""
    shown = list(entry.qualities)
    return TaskSection(
        id=entry.name,
        title=task_title(entry),
        lead=task_lead(entry),
        networks=entry.networks,
        unit=over_words(entry.networks),
        peaks=peak_sentences(entry),
        quality=figures.get(f"generation-{entry.name}"),
        alignment=figures.get(f"generation-{entry.name}-alignment"),
        main=quality_label(shown[0]) if shown else "",
        heads=[(quality_label(name, about[name]), about[name]) for name in shown],
        rows=_rows(entry, shown),
        correlations=_correlations(entry, shown),
        pictures=pictures_of(run, entry),
        how={REFERENCE_NAMES.get(source, source): made.how for source, made in entry.references.items()},
        unavailable={name: why for name, why in entry.unavailable.items() if not name.startswith("frechet_")},
    )


def _rows(entry: TaskEntry, shown: Sequence[str]) -> list[QualityRow]:
    """A row for each reference that has a quality, then for each objective and strength."""
    rows = []
    for source in _FIRST:
        if source in entry.references:
            cells = [entry.references[source].measures.get(name) for name in shown]
            row = QualityRow(REFERENCE_NAMES[source], "reference", "images", cells, [None, None])
            rows += [row] if any(cells) else []
    for cell in entry.cells:
        regime = REGIMES[cell.regime][0] if cell.regime in REGIMES else ""
        excess = [cell.excess.get(key) for key in (FRACTION, entry.alignment)]
        unit = over_words(len(cell.trials))
        rows.append(QualityRow(trial_name(cell), regime, unit, [cell.measures.get(name) for name in shown], excess))
    return rows


def _correlations(entry: TaskEntry, shown: Sequence[str]) -> list[CorrelationRow]:
    """A row for each scope and quantity correlated with, with a cell for each quality."""
    pairs = dict.fromkeys((each.scope, each.against) for each in entry.correlations)
    return [
        CorrelationRow(
            "all" if scope == "all" else objective_name(scope),
            AGAINST[against],
            [correlation_words(entry, name, against, scope).removeprefix("rank correlation ") for name in shown],
        )
        for scope, against in pairs
    ]


def pictures_of(run: RunFiles, entry: TaskEntry) -> PictureTable:
    """Rows of pictures: references, then the networks of the first seed by objective and strength."""
    classes = run.summary.data.classes
    rows = [
        (REFERENCE_NAMES[source], _uris(pictures))
        for source in _FIRST
        if (pictures := run.generated.get(f"{entry.name}.reference.{source}")) is not None
    ]
    seed = min(trial.seed for trial in entry.trials)
    rows += [
        (trial_name(trial), _uris(run.generated[f"{entry.name}.trial.{trial.id}"]))
        for trial in entry.trials
        if trial.seed == seed or trial.objective == BAYES
    ]
    labels = [str(classes[int(y)]) if y >= 0 else "" for y in run.generated[f"{entry.name}.labels"]]
    return PictureTable(rows, labels, seed)


def _uris(pictures: np.ndarray) -> list[str]:
    return [data_uri(photograph(picture), _SIDE) for picture in pictures]
