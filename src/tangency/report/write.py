"""Write pages and figures: of a run, of a leaderboard, of a score's examination, of a generation task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tangency.cause import CauseResult
from tangency.cause.tables import markdown
from tangency.errors import RunError
from tangency.files import atomic, journal, write_json
from tangency.measures.tables import join_models
from tangency.report.draw.canvas import STYLE
from tangency.report.draw.cause import cause_figure
from tangency.report.draw.figures import save_figure, write_figures
from tangency.report.draw.pixels import photograph
from tangency.report.draw.score import error_figure
from tangency.report.draw.sheets import save_animation, save_sheet, save_tiles
from tangency.report.page.generation import render_generation
from tangency.report.page.leaderboard import render_leaderboard
from tangency.report.page.score import render_score
from tangency.report.page.study import render_study
from tangency.report.read.models import collect_models, label_models, own_folder
from tangency.report.read.run import read_run
from tangency.report.text.generation import SOURCE_NAMES

DEFAULT = Path("runs") / "leaderboard"
ROWS = "leaderboard-rows.parquet"  # no folder of a measured model has a file of this name
ANIMATIONS = ("gif", "apng")
_SHEET = 256  # pictures of a sheet at most
_SHOWN = 10  # pictures of each source in the grid and on the page of a generation task


def write_report(run: str | Path) -> Path:
    """Write RUN/report/index.html and RUN/report/figures/*.pdf|png from the files of a run.

    Reads spec.yaml, summary.json, rows.parquet and artefacts/pictures.safetensors; no model, no tensor, no network.

    Args:
        run: a finished run directory.

    Returns:
        The path of the page.

    Raises:
        RunError: a file is missing, damaged, or of another schema.

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
    content = read_run(Path(run))
    folder = content.folder / "report"
    journal("report.figures")
    write_figures(content, folder / "figures")
    journal("report.page")
    page = folder / "index.html"
    _write_page(render_study(content), page)
    return page


def write_leaderboard(references: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write OUT/index.html and OUT/leaderboard-rows.parquet from measured models.

    Args:
        references: folders of `tangency measure --out`, folders that hold several of them, or run:RUN/trials/ID.
        out: folder; by default the one folder given, where it holds several models, else runs/leaderboard.

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
    _write_page(render_generation(summary, tiles, arrays["labels"], paths.get("trajectory")), paths["page"])
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
    write_json(out / "score.json", summary)
    figure = error_figure(summary)
    save_figure(figure, out / "figures" / "denoising")
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
    """Write cause.md, findings and tables of a causal study, and its figure, cause.png and cause.pdf.

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
    with matplotlib.rc_context(STYLE):
        picture = save_figure(cause_figure(result), Path(folder) / "cause")[-1]
    return page, picture
