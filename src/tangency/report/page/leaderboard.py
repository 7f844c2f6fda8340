"""The page of a leaderboard: a table for each data set, with intervals, controls and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tangency.evaluate.pictures import FILE
from tangency.evaluate.significance import SHOWN
from tangency.measures.keys import Key
from tangency.report.draw.pictures import PictureGrid, model_pictures
from tangency.report.page.html import embedded_json, environment, resource
from tangency.report.page.leaderboard_table import (
    CSV_COLUMNS,
    FAMILIES,
    ControlTable,
    TableRow,
    chance_levels,
    column_heads,
    control_tables,
    csv_rows,
    table_rows,
)
from tangency.report.page.tables import ColumnHead
from tangency.report.read.models import LabelledModel, sort_models
from tangency.report.read.pictures import tensors_of
from tangency.report.text import glossary
from tangency.report.text.leaderboard import group_warnings, leaderboard_sentence, rank_warnings
from tangency.report.text.measures import describe


@dataclass(frozen=True)
class Board:
    """One data set: its models, in the order of the worst log F²/control, with warnings, controls and pictures.

    Args:
        id: of the section.
        about: the data, as `Measured.about` has them.
        names: of the data set.
        heads, chances: columns, and the chance level of each.
        rows: a model each.
        controls: measures beside their controls.
        warnings: about the comparison.
        sentence: which model is first.
        pictures: with the labels of models that kept other images, or none; None where no model kept any.
    """

    id: str
    about: Mapping[str, Any]
    names: list[str]
    heads: list[ColumnHead]
    chances: list[str]
    rows: list[TableRow]
    controls: list[ControlTable]
    warnings: list[str]
    sentence: str
    pictures: tuple[PictureGrid, list[str]] | None


def render_leaderboard(entries: Sequence[LabelledModel], unread: Sequence[str] = ()) -> str:
    """The page as HTML text."""
    groups: dict[str, list[LabelledModel]] = {}
    for entry in entries:
        groups.setdefault(entry.measured.about["digest"], []).append(entry)
    ordered = [sort_models(group) for group in sorted(groups.values(), key=len, reverse=True)]
    adjusted = {model.label: model for group in ordered for model in group}
    template = environment().get_template("leaderboard.html.j2")
    return template.render(
        boards=[board(f"data-{i}", group) for i, group in enumerate(ordered, 1)],
        models=len(entries),
        title=_title(ordered),
        unread=list(unread),
        definitions=[(f, describe(Key.parse(f))) for f in FAMILIES],
        glossary=glossary,
        shown=f"{SHOWN:g}",
        data_json=embedded_json(
            {"columns": CSV_COLUMNS, "rows": csv_rows([adjusted[entry.label] for entry in entries])}
        ),
        style=resource("templates/page.css"),
        script=resource("templates/sorting.js", "templates/leaderboard.js"),
    )


def _title(groups: Sequence[Sequence[LabelledModel]]) -> str:
    """The model and its data, or how many there are."""
    models = [model for group in groups for model in group]
    if len(models) == 1:
        return f"{models[0].label} on {models[0].measured.about['data']}"
    sets = "1 data set" if len(groups) == 1 else f"{len(groups)} data sets"
    return f"{len(models)} measured models on {sets}"


def board(identity: str, group: Sequence[LabelledModel]) -> Board:
    """The board of the sorted models of one data set."""
    about, heads = group[0].measured.about, column_heads(group)
    return Board(
        id=identity,
        about=about,
        names=list(dict.fromkeys(model.measured.about["data"] for model in group)),
        heads=heads,
        chances=chance_levels(heads, group),
        rows=table_rows(group, heads),
        controls=control_tables(group),
        warnings=[*rank_warnings(group), *group_warnings({model.label: model.measured for model in group})],
        sentence=leaderboard_sentence(group),
        pictures=_pictures(group, about["classes"]),
    )


def _pictures(group: Sequence[LabelledModel], classes: Sequence[str]) -> tuple[PictureGrid, list[str]] | None:
    """The pictures of the models that kept any."""
    files = {model.label: model.measured.folder / FILE for model in group}
    return model_pictures({label: tensors_of(file) for label, file in files.items() if file.is_file()}, classes)
