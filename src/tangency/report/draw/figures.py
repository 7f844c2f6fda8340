"""Paper figures as files: vector PDF and 200 dpi PNG, readable at the width of a text column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tangency.files import atomic
from tangency.report.draw.canvas import STYLE
from tangency.report.draw.correlations import correlations_figure
from tangency.report.draw.generation import generation_figures
from tangency.report.draw.measures import curves_figure
from tangency.report.draw.noise import noise_figure
from tangency.report.draw.picture_grid import pictures_figure
from tangency.report.draw.score import score_figure
from tangency.report.draw.story import story_figure
from tangency.report.draw.tangents import tangents_figure
from tangency.report.read.run import RunFiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figures(run: RunFiles, folder: Path) -> list[Path]:
    """Write every figure for which the run has the numbers; returns the files."""
    import matplotlib

    drawings: dict[str, Callable[[RunFiles], Figure | None]] = {
        "story": story_figure,
        "curves": curves_figure,
        "correlations": correlations_figure,
        "pictures": pictures_figure,
        "score": score_figure,
        "noise": noise_figure,
        "tangents": tangents_figure,
        **generation_figures(run),
    }
    written = []
    with matplotlib.rc_context(STYLE):
        for name, draw in drawings.items():
            figure = draw(run)
            if figure is None:
                continue
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # keep this layout for both formats
            for suffix, options in ((".pdf", {"metadata": {"CreationDate": None}}), (".png", {"dpi": 200})):
                path = folder / f"{name}{suffix}"
                with atomic(path) as temporary:
                    figure.savefig(temporary, format=suffix[1:], **options)
                written.append(path)
    for stale in set(folder.glob("generation-*")).difference(written):  # of entries that the spec no longer has
        stale.unlink()
    return written
