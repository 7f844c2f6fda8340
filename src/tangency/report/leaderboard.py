"""Measured models beside each other on one page: a table for each data set, with intervals, controls and pictures."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.errors import RunError
from tangency.evaluate.compare_words import SHOWN
from tangency.evaluate.folders import looks_measured, measured_inside, open_measured
from tangency.evaluate.measured import Measured
from tangency.evaluate.pictures import FILE
from tangency.evaluate.significance import add_holm
from tangency.files import atomic
from tangency.report import glossary, leaderboard_table, leaderboard_warnings
from tangency.report.inputs import tensors_of
from tangency.report.leaderboard_pictures import PictureGrid, picture_grid
from tangency.report.page import embedded_json, environment, resource

DEFAULT = Path("runs") / "leaderboard"
ROWS = "leaderboard-rows.parquet"  # no name that a folder of a measured model has
_WAY_OUT = "Measure models first: tangency measure --model REF --data REF --out DIR."


@dataclass(frozen=True)
class Entry:
    """A measured model as the page shows it; its label is unique on the page."""

    label: str
    measured: Measured
    numbers: dict[str, Any]


def write_leaderboard(references: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write OUT/index.html and OUT/leaderboard-rows.parquet from measured models.

    Args:
        references: folders of `tangency measure --out`, folders that hold several of them, or run:RUN/trials/ID.
        out: folder; by default the one folder given, where it holds several models, else runs/leaderboard.

    Returns:
        The path of the page.

    Raises:
        RunError: a folder that was named cannot be read, or none holds a model.
    """
    named = [str(reference) for reference in references]
    models, unread = collect(named)
    folder = Path(out) if out else _own_folder(named) or DEFAULT
    if folder.exists() and not folder.is_dir():
        raise RunError(f"output '{folder}': got a file, expected a folder or a name that is free; use --out.")
    entries = labelled(models)
    _write_rows(entries, folder / ROWS)
    page = folder / "index.html"
    with atomic(page) as temporary:
        temporary.write_text(render(entries, unread), encoding="utf-8")
    return page


def collect(references: Sequence[str]) -> tuple[list[Measured], list[str]]:
    """The models, each once, and what is wrong with folders that only lie beside them."""
    found: dict[str, Measured] = {}
    unread: list[str] = []
    for reference in references:
        folder = Path(reference)
        alone = reference.startswith("run:") or not folder.is_dir()
        named = alone or looks_measured(folder)
        if named:
            found.setdefault(_identity(reference), open_measured(reference))
        inside = [] if alone else measured_inside(folder)
        if not named and not inside:
            raise RunError(f"report: '{reference}' holds no measured model, nor a folder of one. {_WAY_OUT}")
        for child in inside:
            try:
                found.setdefault(_identity(str(child)), open_measured(str(child)))
            except RunError as error:
                unread.append(str(error))
    if not found:
        raise RunError(f"report: no model can be read. {' '.join(unread)}")
    return list(found.values()), unread


def _identity(reference: str) -> str:
    return reference if reference.startswith("run:") else str(Path(reference).resolve())


def _own_folder(references: Sequence[str]) -> Path | None:
    """The one folder that was given, if folders of models lie in it."""
    only = Path(references[0])
    return only if len(references) == 1 and only.is_dir() and measured_inside(only) else None


def labelled(models: Sequence[Measured]) -> list[Entry]:
    """Models with labels that tell them apart: the folder's name or the trial's, then with what stands before it."""
    short = [model.name if (model.folder / "spec.yaml").exists() else model.folder.name for model in models]
    labels: list[str] = []
    for model, label in zip(models, short, strict=True):
        name = label if short.count(label) == 1 else f"{model.folder.parent.name}/{model.folder.name}/{label}"
        labels.append(name if name not in labels else f"{name} ({labels.count(name) + 1})")
    return [Entry(label, m, copy.deepcopy(m.entry)) for label, m in zip(labels, models, strict=True)]


def render(entries: Sequence[Entry], unread: Sequence[str] = ()) -> str:
    """The page as HTML text."""
    groups: dict[str, list[Entry]] = {}
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
            definitions=[(f, glossary.describe(glossary.parse(f))) for f in leaderboard_table.FAMILIES],
            glossary=glossary,
            shown=f"{SHOWN:g}",
            data_json=embedded_json({"columns": leaderboard_table.CSV_COLUMNS, "rows": _numbers(entries)}),
            style=resource("templates/page.css"),
            script=resource("templates/sorting.js", "templates/leaderboard.js"),
        )
    )


def board(identity: str, group: list[Entry]) -> dict[str, Any]:
    """One data set: its models in the order of F² minus shuffled, with warnings, controls and pictures."""
    add_holm(entry.numbers for entry in group)
    heads = leaderboard_table.heads([entry.numbers for entry in group])
    group = sorted(group, key=lambda entry: leaderboard_table.order(entry.numbers))
    numbers = {entry.label: entry.numbers for entry in group}
    about = group[0].measured.about
    measured = {entry.label: entry.measured for entry in group}
    rows = leaderboard_table.rows(numbers, measured, heads)
    return {
        "id": identity,
        "about": about,
        "names": list(dict.fromkeys(entry.measured.about["data"] for entry in group)),
        "heads": heads,
        "chances": leaderboard_table.chances(heads, numbers),
        "rows": rows,
        "has_regime": any(row["regime"] for row in rows),
        "flagged": [row for row in rows if row["warnings"]],
        "controls": leaderboard_table.controls(numbers),
        "warnings": leaderboard_warnings.of_group(measured),
        "sentence": leaderboard_table.sentence(numbers),
        "pictures": _pictures(group, about["classes"]),
    }


def _pictures(group: Sequence[Entry], classes: Sequence[str]) -> PictureGrid | None:
    held = {
        entry.label: tensors_of(entry.measured.folder / FILE)
        for entry in group
        if (entry.measured.folder / FILE).is_file()
    }
    return picture_grid(held, classes) if held else None


def _numbers(entries: Sequence[Entry]) -> list[list[Any]]:
    """Every number of every model, for the download."""
    return [
        [entry.label, entry.measured.about["data"], key, *leaderboard_table.cells_of(found)]
        for entry in entries
        for kind in ("measures", "excess")
        for key, found in ((k if kind == "measures" else f"excess.{k}", e) for k, e in entry.numbers[kind].items())
    ]


def _write_rows(entries: Sequence[Entry], path: Path) -> None:
    """Every value of every image of every model, in one table."""
    import polars as pl

    parts = [
        pl.DataFrame({"image": entry.measured.ids, "value": values}).select(
            pl.lit(entry.label).alias("model"),
            pl.lit(entry.measured.about["data"]).alias("data"),
            pl.col("image").cast(pl.Int64),
            pl.lit(key).alias("measure"),
            "value",
        )
        for entry in entries
        for key, values in entry.measured.columns.items()
    ]
    with atomic(path) as temporary:
        pl.concat(parts).write_parquet(temporary, compression="zstd")
