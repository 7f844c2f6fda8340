"""The page of a leaderboard: a table for each data set, with intervals, controls and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tangency.evaluate.compare_words import SHOWN
from tangency.evaluate.pictures import FILE
from tangency.evaluate.significance import add_holm
from tangency.measures.keys import Key
from tangency.report.draw.leaderboard import PictureGrid, model_pictures
from tangency.report.page.html import embedded_json, environment, resource
from tangency.report.page.leaderboard_table import (
    CSV_COLUMNS,
    FAMILIES,
    chance_levels,
    column_heads,
    control_tables,
    csv_cells,
    table_rows,
)
from tangency.report.read.models import LabelledModel
from tangency.report.read.ranks import rank_order
from tangency.report.read.run import tensors_of
from tangency.report.text import glossary
from tangency.report.text.leaderboard import group_warnings, leaderboard_sentence
from tangency.report.text.measures import describe


def render_leaderboard(entries: Sequence[LabelledModel], unread: Sequence[str] = ()) -> str:
    """The page as HTML text."""
    groups: dict[str, list[LabelledModel]] = {}
    for entry in entries:
        groups.setdefault(entry.measured.about["digest"], []).append(entry)
    ordered = sorted(groups.values(), key=len, reverse=True)
    boards = [board(f"data-{i}", group) for i, group in enumerate(ordered, 1)]
    return (
        environment()
        .get_template("leaderboard.html.j2")
        .render(
            boards=boards,
            models=len(entries),
            unread=list(unread),
            definitions=[(f, describe(Key.parse(f))) for f in FAMILIES],
            glossary=glossary,
            shown=f"{SHOWN:g}",
            data_json=embedded_json({"columns": CSV_COLUMNS, "rows": _numbers(entries)}),
            style=resource("templates/page.css"),
            script=resource("templates/sorting.js", "templates/leaderboard.js"),
        )
    )


def board(identity: str, group: list[LabelledModel]) -> dict[str, Any]:
    """One data set: its models, sorted by F² minus shuffled, with warnings, controls and pictures."""
    add_holm(entry.numbers for entry in group)
    heads = column_heads([entry.numbers for entry in group])
    group = sorted(group, key=lambda entry: rank_order(entry.numbers))
    numbers = {entry.label: entry.numbers for entry in group}
    about = group[0].measured.about
    measured = {entry.label: entry.measured for entry in group}
    rows = table_rows(numbers, measured, heads)
    return {
        "id": identity,
        "about": about,
        "names": list(dict.fromkeys(entry.measured.about["data"] for entry in group)),
        "heads": heads,
        "chances": chance_levels(heads, numbers),
        "rows": rows,
        "has_regime": any(row["regime"] for row in rows),
        "flagged": [row for row in rows if row["warnings"]],
        "controls": control_tables(numbers),
        "warnings": group_warnings(measured),
        "sentence": leaderboard_sentence(numbers),
        "pictures": _pictures(group, about["classes"]),
    }


def _pictures(group: Sequence[LabelledModel], classes: Sequence[str]) -> PictureGrid | None:
    """The pictures of the models that kept any."""
    pictures = {
        entry.label: tensors_of(entry.measured.folder / FILE)
        for entry in group
        if (entry.measured.folder / FILE).is_file()
    }
    return model_pictures(pictures, classes) if pictures else None


def _numbers(entries: Sequence[LabelledModel]) -> list[list[Any]]:
    """All numbers of all models, for the download."""
    return [
        [entry.label, entry.measured.about["data"], str(Key.parse(key).minus()) if over else key, *csv_cells(estimate)]
        for entry in entries
        for kind, over in (("measures", False), ("excess", True))
        for key, estimate in entry.numbers[kind].items()
    ]
