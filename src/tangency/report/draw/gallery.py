"""Galleries of gradients: the best network of each objective beside the targets, and every strength of an objective."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tangency.report.draw.curves import REGIME_COLOURS
from tangency.report.draw.mosaic import MosaicColumn, mosaic_figure, photo_tiles, signed_tiles
from tangency.report.read.run import RunFiles
from tangency.report.read.sweep import by_objective
from tangency.report.read.trials import BAYES, STANDARD, column, swept
from tangency.report.text.glossary import TARGETS, objective_name
from tangency.report.text.panels import default_alignment
from tangency.report.text.trials import strength_label
from tangency.study.summary.entries import TrialEntry
from tangency.study.summary.sweep_entries import CellEntry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = 6  # rows of a figure
_CHARS = 13  # of a line of a heading
_SHOWN = ("network_score_y", "score_y", "network_bayes_gradient", "bayes_gradient")  # the trained score before others
_LABEL = 12  # letters of a class name


def gallery_figure(run: RunFiles) -> Figure | None:
    """Images, a score, a Bayes gradient, and gradients: standard, the best of each objective, the Bayes rule."""
    columns = gallery_columns(run, IMAGES)
    return mosaic_figure(columns, row_labels(run, IMAGES), 0.5) if columns else None


def strips_figure(run: RunFiles, objective: str) -> Figure | None:
    """Images, a Bayes gradient, and the gradients at each strength of an objective, with bars of its regimes."""
    columns = strip_columns(run, objective, IMAGES)
    return mosaic_figure(columns, row_labels(run, IMAGES)) if columns else None


def gallery_columns(run: RunFiles, images: int) -> list[MosaicColumn]:
    """The columns of the gallery; none where no network kept gradients.

    The best recipe of an objective is that of the largest L, mean over Bayes directions; where L was not measured, that
    of the largest alignment. Its first network that kept gradients is shown.
    """
    cells = by_objective(run.summary.cells)
    objectives = [name for name in swept(run.summary.trials) if name in cells]
    best = [cell for name in objectives if (cell := best_cell(run, cells[name]))]
    names = [(STANDARD, 0.0), *((cell.objective, cell.strength) for cell in best), (BAYES, 0.0)]
    shown = [trial for name in names if (trial := _shown(run, *name))]
    if not shown:
        return []
    return _data_columns(run, _SHOWN, images) + [_gradient(run, trial, _heading(trial), images) for trial in shown]


def strip_columns(run: RunFiles, objective: str, images: int) -> list[MosaicColumn]:
    """The columns of the strips of an objective; none where no network kept gradients."""
    steps = sorted({(t.strength, t.objective) for t in column(run.summary.trials, objective)})
    shown = [trial for strength, name in steps if (trial := _shown(run, name, strength))]
    if not any(trial.objective == objective for trial in shown):
        return []
    made = _data_columns(run, _SHOWN[2:], images)
    return made + [_gradient(run, trial, strength_label(trial.strength), images) for trial in shown]


def row_labels(run: RunFiles, images: int) -> list[str]:
    """The class of each image."""
    classes = run.summary.data.classes
    labels = [str(classes[int(label)]) for label in run.pictures["labels"][:images]]
    return ["\n".join(textwrap.wrap(label, _LABEL)[:2]) for label in labels]


def best_cell(run: RunFiles, cells: Iterable[CellEntry]) -> CellEntry | None:
    """The recipe with the largest L, or the largest alignment where there is no L; collapsed ones are left out."""
    key = default_alignment(run.summary.trials)

    def alignment(cell: CellEntry) -> float | None:
        if cell.verdict and cell.verdict.aligned:
            levels = [under.alignment.mean for under in cell.verdict.aligned.values()]
            return sum(levels) / len(levels)
        entry = cell.measures.get(key)
        return entry.mean if entry else None

    standing = [cell for cell in cells if cell.regime != "collapsed"]
    known = [(level, cell) for cell in standing if (level := alignment(cell)) is not None]
    return max(known, key=lambda pair: pair[0])[1] if known else None


def _shown(run: RunFiles, objective: str, strength: float) -> TrialEntry | None:
    """The first network of a recipe that kept gradients."""
    own = (trial for trial in run.summary.trials if (trial.objective, trial.strength) == (objective, strength))
    return next((trial for trial in own if f"gradient.{trial.id}" in run.pictures), None)


def _data_columns(run: RunFiles, targets: Sequence[str], images: int) -> list[MosaicColumn]:
    """Images, and the first target of each kind that was kept."""
    columns = [MosaicColumn("image", photo_tiles(run.pictures["image"][:images]))]
    kinds: dict[str, str] = {}
    for name in targets:
        if name in run.pictures:
            kinds.setdefault(name.removeprefix("network_"), name)
    for name in kinds.values():
        columns.append(MosaicColumn(_wrapped(TARGETS[name][0]), signed_tiles(run.pictures[name][:images])))
    return columns


def _gradient(run: RunFiles, trial: TrialEntry, heading: str, images: int) -> MosaicColumn:
    cells = {(cell.objective, cell.strength): cell for cell in run.summary.cells}
    cell = cells.get((trial.objective, trial.strength))
    colour = REGIME_COLOURS.get(cell.regime or "", "") if cell and trial.objective != BAYES else ""
    return MosaicColumn(heading, signed_tiles(run.pictures[f"gradient.{trial.id}"][:images]), colour)


def _heading(trial: TrialEntry) -> str:
    name = _wrapped(objective_name(trial.objective))
    return f"{name}\n{strength_label(trial.strength)}" if trial.strength else name


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _CHARS, break_long_words=False, break_on_hyphens=False))
