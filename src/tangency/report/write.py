"""Write the report of a run: figures first, then the page that names them."""

from __future__ import annotations

from pathlib import Path

from tangency.files import atomic, journal
from tangency.report.figures import write_figures
from tangency.report.inputs import read_run
from tangency.report.page import render


def write_report(run: str | Path) -> Path:
    """Write RUN/report/index.html and RUN/report/figures/*.pdf|png from the files of a run.

    Reads spec.yaml, summary.json, rows.parquet and artefacts/pictures.safetensors; no model, no tensor, no network.

    Args:
        run: a finished run directory.

    Returns:
        The path of the page.

    Raises:
        RunError: a file is missing, damaged, or of another schema.
    """
    content = read_run(Path(run))
    folder = content.folder / "report"
    journal("report.figures")
    write_figures(content, folder / "figures")
    journal("report.page")
    page = folder / "index.html"
    with atomic(page) as temporary:
        temporary.write_text(render(content), encoding="utf-8")
    return page
