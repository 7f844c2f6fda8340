"""Paper figures as files: vector PDF and 200 dpi PNG, readable at the width of a text column."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tangency.files import atomic
from tangency.report.draw.canvas import STYLE
from tangency.report.draw.generation import generation_figures
from tangency.report.draw.noise import noise_figure
from tangency.report.draw.pictures import pictures_figure
from tangency.report.draw.score import score_figure
from tangency.report.draw.story import effective_figure, story_figure
from tangency.report.draw.sweep import correlations_figure, curves_figure, tangents_figure
from tangency.report.read.run import RunFiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PATH.pdf, with no date in it, and as PATH.png; returns the files."""
    written = []
    for kind, options in (("pdf", {"metadata": {"CreationDate": None}}), ("png", {"dpi": 200})):
        written.append(path.with_name(f"{path.name}.{kind}"))
        with atomic(written[-1]) as temporary:
            figure.savefig(temporary, format=kind, **options)
    return written


def write_figures(run: RunFiles, folder: Path) -> list[Path]:
    """Write every figure for which the run has the numbers; returns the files."""
    import matplotlib

    own = {
        "story": story_figure,
        "effective": effective_figure,
        "curves": curves_figure,
        "correlations": correlations_figure,
        "pictures": pictures_figure,
        "score": score_figure,
        "noise": noise_figure,
        "tangents": tangents_figure,
    }
    drawings: dict[str, Callable[[], Figure | None]] = {name: partial(draw, run) for name, draw in own.items()}
    drawings |= generation_figures(run)
    written = []
    with matplotlib.rc_context(STYLE):
        for name, draw in drawings.items():
            figure = draw()
            if figure is None:
                continue
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # keep this layout for both formats
            written += save_figure(figure, folder / name)
    for stale in set(folder.glob("generation-*")).difference(written):  # of entries that the spec no longer has
        stale.unlink()
    return written
