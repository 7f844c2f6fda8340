"""Write pages and figures: of a run, of a leaderboard, of a score's examination, of a generation task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tangency.cause import CauseResult
from tangency.cause.tables import markdown
from tangency.errors import RunError
from tangency.files import atomic, file_digest, journal, write_json
from tangency.measures.tables import join_models
from tangency.report.draw.canvas import STYLE
from tangency.report.draw.cause import cause_figure
from tangency.report.draw.figures import drop_outdated, write_figures
from tangency.report.draw.pixels import photograph
from tangency.report.draw.saving import FigureSource, save_figure
from tangency.report.draw.score import error_figure
from tangency.report.draw.sheets import save_animation, save_sheet, save_tiles
from tangency.report.page.generation import render_generation
from tangency.report.page.html import compact_json
from tangency.report.page.leaderboard import render_leaderboard
from tangency.report.page.score import render_score
from tangency.report.page.study import exported, render_study
from tangency.report.page.unfinished import render_unfinished
from tangency.report.read.models import collect_models, label_models, own_folder
from tangency.report.read.run import read_run
from tangency.report.read.unfinished import read_unfinished
from tangency.report.text.generation import SOURCE_NAMES

DEFAULT = Path("runs") / "leaderboard"
ROWS = "leaderboard-rows.parquet"  # no folder of a measured model has a file of this name
EXPORT = "run.json"  # beside the page of a study
ANIMATIONS = ("gif", "apng")
_SHEET = 256  # pictures of a sheet at most
_SHOWN = 10  # pictures of each source in the grid and on the page of a generation task


def write_report(run: str | Path, against: str | Path | None = None, *, figures: bool = False) -> Path:
    """Write RUN/report/index.html and run.json, and on request figures/, from the files of a run.

    Reads spec.yaml, summary.json, rows.parquet and artefacts/pictures.safetensors; no model, no tensor, no network.
    run.json holds the numbers of the page, which the page of another run can load beside its own. Of a run that is not
    finished a page is written that says so, alone.

    Args:
        run: a run directory.
        against: a finished one, whose numbers the page holds too.
        figures: whether to write figures for a paper too, as PDF, SVG and PNG, with a README.md that says what each
            shows and which the run cannot have; they take several times as long as the page. Without them, figures of
            an earlier report are removed where they are of other rows.

    Returns:
        The path of the page.

    Raises:
        RunError: a file is missing, damaged, or of another schema; or `against` is not finished.

    Example:
        >>> import tempfile, tangency
        >>> spec = {
        ...     "data": "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10", "score": "exact", "measured": 6,
        ...     "sweep": [{"objective": "standard"}], "untrained": False, "train": {"epochs": 1}, "workers": 1,
        ...     "pictures": 2, "replicates": 100, "measures": {"metrics": ["cosine"], "directions": 1},
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     summary = tangency.run_study(spec, folder)
        ...     write_report(folder).name
        'index.html'
    """
    folder = Path(run) / "report"
    page = folder / "index.html"
    if (unfinished := read_unfinished(Path(run))) is not None:
        _write_page(render_unfinished(unfinished), page)
        return page
    content = read_run(Path(run))
    other = None if against is None else read_run(Path(against))
    if figures:
        journal("report.figures")
        write_figures(content, folder / "figures")
    else:
        drop_outdated(content, folder / "figures")
    journal("report.page")
    _write_page(render_study(content, other), page)
    _write_page(compact_json(exported(content)), folder / EXPORT)
    return page


def write_leaderboard(references: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write OUT/index.html and OUT/leaderboard-rows.parquet from measured models.

    Args:
        references: folders of `tangency measure --out`, folders that hold several of them, or run:RUN/trials/ID.
        out: folder; by default the one folder given, where it holds several models, report/ in the folder of one
            model, else runs/leaderboard.

    Returns:
        The path of the page.

    Raises:
        RunError: a folder that was named cannot be read, or none holds a model.

    Example:
        >>> import tempfile, tangency
        >>> from tangency.models import save_classifier
        >>> data = "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10"
        >>> net = tangency.build("convnet", (1, 8, 8), tangency.load_data(data).test.classes)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_classifier(net, f"{folder}/a.safetensors")
        ...     request = tangency.MeasureRequest(f"{folder}/a.safetensors", data, limit=6, out=f"{folder}/measured")
        ...     numbers = tangency.measure_models(request)
        ...     write_leaderboard([request.place], folder).name
        'index.html'
    """
    names = [str(reference) for reference in references]
    models, unread = collect_models(names)
    folder = Path(out) if out else own_folder(names) or DEFAULT
    refuse_file(folder)
    entries = label_models(models)
    tables = [(each.label, each.measured.about["data"], each.measured.ids, each.measured.columns) for each in entries]
    join_models(folder / ROWS, tables)
    page = folder / "index.html"
    _write_page(render_leaderboard(entries, unread), page)
    return page


def write_generation(
    summary: Mapping[str, Any], arrays: Mapping[str, np.ndarray], out: Path, animation: str = "gif"
) -> dict[str, Path]:
    """Write grid.png, one sheet for each source, the trajectory as an animation, and index.html.

    Args:
        summary: of `generate_with`.
        arrays: source to (N, C, H, W) in [0, 1], "frames" (F, N, C, H, W), "labels" (N,).
        out: folder.
        animation: "gif" or "apng".

    Returns:
        What was written: "grid", "page", and "trajectory" where there are frames.
    """
    tiles = {
        source: [photograph(picture) for picture in arrays[source][:_SHOWN]]
        for source in SOURCE_NAMES
        if source in arrays
    }
    paths = {"grid": out / "grid.png", "page": out / "index.html"}
    rows = list(tiles.values())
    save_tiles([tile for row in rows for tile in row], len(rows[0]), paths["grid"])
    for source in tiles:
        save_sheet(arrays[source][:_SHEET], out / "pictures" / f"{source}.png", columns=16)
    if len(arrays["frames"]) > 1:
        paths["trajectory"] = out / f"trajectory.{'gif' if animation == 'gif' else 'png'}"
        save_animation(arrays["frames"], paths["trajectory"])
    name = paths["trajectory"].name if "trajectory" in paths else ""
    _write_page(render_generation(summary, tiles, arrays["labels"], arrays["frames"], name), paths["page"])
    return paths


def write_score(summary: Mapping[str, Any], pictures: Mapping[str, np.ndarray], out: Path) -> Path:
    """Write score.json, index.html and figures of an examination.

    Args:
        summary: of `evaluate_score`.
        pictures: "clean", "noisy.σ", "denoised.σ", and "samples", "labels", "neighbours" where some were drawn.
        out: folder.

    Returns:
        The path of the page.
    """
    numbers = out / "score.json"
    write_json(numbers, summary)
    figure = error_figure(summary)
    made = FigureSource(
        "denoising error of a score", "tangency score eval", {"score.json sha256": file_digest(numbers)}
    )
    save_figure(figure, out / "figures" / "denoising", made)
    page = out / "index.html"
    _write_page(render_score(summary, pictures, figure), page)
    return page


def refuse_file(out: Path) -> None:
    """Raise if a file has the name of the output folder."""
    if out.exists() and not out.is_dir():
        raise RunError(f"output '{out}': got a file, expected a folder or a name that is free; use --out.")


def _write_page(text: str, path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_cause(result: CauseResult, folder: str | Path) -> tuple[Path, Path]:
    """Write cause.md, findings and tables of a causal study, and its figure, cause.pdf, cause.svg and cause.png.

    Args:
        result: of `run_cause`.
        folder: its output folder.

    Returns:
        The paths of page and picture.
    """
    import matplotlib

    page = Path(folder) / "cause.md"
    with atomic(page) as temporary:
        temporary.write_text(markdown(result), encoding="utf-8")
    made = FigureSource(
        f"causal study {result.name}",
        f"tangency cause run, into {Path(folder).resolve().name}",
        {"spec": result.spec_hash},
    )
    with matplotlib.rc_context(STYLE):
        figure = cause_figure(result)
    return page, save_figure(figure, Path(folder) / "cause", made)[-1]
