"""The figures of a finished study in axes of your own: `tangency.plot.curves(run, "accuracy", ax=ax)`.

`tangency report RUN --figures` writes the same as files. Each function takes the folder of a finished study, or what
`tangency.load_run` gives of it, draws into `ax` (matplotlib's current axes by default) and returns these axes, so that
titles, limits and legends are yours to set.

Example:
    >>> import matplotlib, tangency
    >>> matplotlib.use("Agg")
    >>> with tangency.plot.style(width=3.25):
    ...     matplotlib.rcParams["figure.figsize"][0], matplotlib.rcParams["pdf.fonttype"]
    (3.25, 42)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tangency.errors import RunError, unknown_name
from tangency.measures.keys import Key
from tangency.report.draw.canvas import COLUMN, STYLE
from tangency.report.draw.curves import label_strengths, positions
from tangency.report.draw.distractor import draw_ratios
from tangency.report.draw.gallery import IMAGES, gallery_columns, row_labels, strip_columns
from tangency.report.draw.mosaic import draw_mosaic
from tangency.report.draw.noise import noise_columns
from tangency.report.draw.regimes import draw_fan, draw_shares, regime_fans, regimes_objective
from tangency.report.draw.story import draw_row
from tangency.report.draw.sweep import draw_measure
from tangency.report.read.keys import all_keys
from tangency.report.read.noise import noise_curves
from tangency.report.read.run import RunFiles, read_run
from tangency.report.read.trials import swept
from tangency.report.text.measures import short_label
from tangency.report.text.story import paper_stories, stories
from tangency.study.trials import StudyRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["curves", "distractor", "fan", "gallery", "noise", "regimes", "story", "strips", "style"]

Run = str | Path | StudyRun


@contextlib.contextmanager
def style(width: float = COLUMN) -> Iterator[None]:
    """matplotlib's settings for the figures of this library, for the block that it opens.

    Letters of 7 and 8 points at the final size, fonts embedded as TrueType, no frames.

    Args:
        width: of new figures in inches: 3.25 is a column, 6.75 the text of a two-column paper.

    Example:
        >>> import matplotlib
        >>> with style():
        ...     matplotlib.rcParams["font.size"]
        8.0
    """
    import matplotlib

    with matplotlib.rc_context(
        {**STYLE, "figure.figsize": (width, 0.7 * width), "figure.constrained_layout.use": True}
    ):
        yield


def curves(run: Run, measure: str, ax: Axes | None = None, *, objectives: Sequence[str] | None = None) -> Axes:
    """A measure against strength: for each objective the mean over networks with its 95 % interval.

    Strength 0 is the standard network, which objectives share. The Bayes rule, where there is one, is a thin line.

    Args:
        run: folder of a finished study, or `tangency.load_run` of it.
        measure: a key of the summary, such as "accuracy" or "tangent_fraction.margin.pca".
        ax: axes to draw into; the current ones by default.
        objectives: those to draw, by their names in the spec; all that have strengths by default.

    Returns:
        The axes.

    Raises:
        RunError: the run cannot be read, has no such measure or objective, or no objective with strengths.
    """
    files, at = _files(run), _axes(ax)
    known = swept(files.summary.trials)
    if not known:
        raise RunError(f"'{files.folder}': no objective has strengths, expected one to draw curves of.")
    for objective in objectives or ():
        _check("objective", objective, known)
    _check("measure", measure, [str(key) for key in all_keys(files.summary.trials)])
    draw_measure(at, files, Key.parse(measure), list(objectives or known))
    at.set(xlabel="strength", ylabel=short_label(Key.parse(measure)))
    return at


def story(run: Run, objective: str, row: str = "Accuracy", ax: Axes | None = None) -> Axes:
    """One row of the sweep of an objective, with its control, the points of each network, and regimes as background.

    Args:
        run: folder of a finished study, or `tangency.load_run` of it.
        objective: its name in the spec.
        row: title of the row, as in the figures `story` and `objectives`; an unknown one is answered with all titles.
        ax: axes to draw into; the current ones by default.

    Returns:
        The axes.

    Raises:
        RunError: the run cannot be read, or has no such objective or row.
    """
    files, at = _files(run), _axes(ax)
    _check("objective", objective, swept(files.summary.trials))
    known = (each for each in (*stories(files.summary), *paper_stories(files.summary)) if each.id == objective)
    rows = {each.title: own for own in known for each in own.rows}
    _check("row", row, list(rows))
    draw_row(at, rows[row], row)
    label_strengths(at, rows[row].steps, positions(rows[row].steps))
    at.set(xlabel="strength", ylabel=row)
    return at


def regimes(run: Run, ax: Axes | None = None, *, objective: str | None = None) -> Axes:
    """Accuracy, alignment and F² of one objective against strength, each over its largest value, regimes shaded.

    On a world, whose manifold and Bayes rule are known, it is the picture of the three regimes.

    Args:
        run: folder of a finished study, or `tangency.load_run` of it.
        ax: axes to draw into; the current ones by default.
        objective: its name in the spec; that of most regimes by default.

    Returns:
        The axes.

    Raises:
        RunError: the run cannot be read, has no such objective, or labels no recipe.
    """
    files, at = _files(run), _axes(ax)
    draw_shares(at, files, _labelled(files, objective))
    at.legend()
    return at


def fan(run: Run, regime: str, ax: Axes | None = None, *, objective: str | None = None) -> Axes:
    """Where the gradients of one recipe of a regime point: along the tangent space to the right, normal to it upwards.

    The angle of an image's line is arccos F; bold is the median, dotted a random direction.

    Args:
        run: folder of a finished study, or `tangency.load_run` of it.
        regime: "weak", "bayes_aligned" or "excessive".
        ax: axes to draw into; the current ones by default.
        objective: its name in the spec; that of most regimes by default.

    Returns:
        The axes.

    Raises:
        RunError: the run cannot be read, or has no recipe of this regime.
    """
    files, at = _files(run), _axes(ax)
    fans = {each.cell.regime or "": each for each in regime_fans(files, _labelled(files, objective))}
    _check("regime", regime, list(fans))
    draw_fan(at, fans[regime])
    at.set_ylabel("normal space")
    return at


def gallery(run: Run, ax: Axes | None = None, *, images: int = IMAGES) -> Axes:
    """Images, a score, a Bayes gradient, and gradients: standard, the best of each objective, the Bayes rule.

    Red is above zero and blue below, each picture on its own symmetric scale; bars are regimes. The images are the
    first that the study pictures, which it chooses by index.

    Args:
        run: folder of a finished study, or `tangency.load_run` of it.
        ax: axes to draw into; the current ones by default.
        images: how many rows.

    Returns:
        The axes.

    Raises:
        RunError: the run cannot be read, or kept no gradients.
    """
    files, at = _files(run), _axes(ax)
    columns = gallery_columns(files, images)
    if not columns:
        raise RunError(
            f"'{files.folder}': kept no gradients to show. Run the study again, it goes on where it stopped."
        )
    draw_mosaic(at, columns, row_labels(files, images))
    return at


def strips(run: Run, objective: str, ax: Axes | None = None, *, images: int = IMAGES) -> Axes:
    """Images, a Bayes gradient, and the gradients at each strength of an objective, with bars of its regimes.

    Args:
        run: folder of a finished study, or `tangency.load_run` of it.
        objective: its name in the spec.
        ax: axes to draw into; the current ones by default.
        images: how many rows.

    Returns:
        The axes.

    Raises:
        RunError: the run cannot be read, has no such objective, or kept no gradients of it.
    """
    files, at = _files(run), _axes(ax)
    _check("objective", objective, swept(files.summary.trials))
    columns = strip_columns(files, objective, images)
    if not columns:
        raise RunError(f"'{files.folder}': kept no gradients of {objective} to show. Run the study again.")
    draw_mosaic(at, columns, row_labels(files, images))
    return at


def noise(
    run: Run, ax: Axes | None = None, *, images: int = 4, epsilon: float | None = None, estimator: str = ""
) -> Axes:
    """Images under normal noise of length ε in their tangent space, and in their normal space.

    Args:
        run: folder of a finished study, or `tangency.load_run` of it.
        ax: axes to draw into; the current ones by default.
        images: how many rows.
        epsilon: ℓ₂ length of the noise in [0, 1] pixel units; that of the measured steps by default.
        estimator: of the tangent spaces; the first of the study by default.

    Returns:
        The axes.

    Raises:
        RunError: the run cannot be read, or kept no tangent spaces of this estimator.
    """
    files, at = _files(run), _axes(ax)
    draw_mosaic(at, noise_columns(files, images, epsilon, estimator), row_labels(files, images))
    return at


def distractor(run: Run, ax: Axes | None = None) -> Axes:
    """Relative noise robustness of signal and distractor against σ, with bands that hold at all σ at once.

    Args:
        run: folder of a finished study with signal and distractor, or `tangency.load_run` of it.
        ax: axes to draw into; the current ones by default.

    Returns:
        The axes.

    Raises:
        RunError: the run cannot be read, or measured no such curves.
    """
    files, at = _files(run), _axes(ax)
    if not noise_curves(files.summary):
        raise RunError(
            f"'{files.folder}': measured no change under noise on signal and distractor; `tangency worlds distractor` "
            "does."
        )
    draw_ratios(at, files)
    return at


def _files(run: Run) -> RunFiles:
    return read_run(run.folder if isinstance(run, StudyRun) else Path(run))


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot

    current: Axes = pyplot.gca()
    return current


def _labelled(files: RunFiles, objective: str | None) -> str:
    """The objective that was named, or that of most regimes."""
    if objective is not None:
        _check("objective", objective, swept(files.summary.trials))
        return objective
    spread = regimes_objective(files)
    if not spread:
        raise RunError(
            f"'{files.folder}': no recipe of an objective with strengths has a regime, expected one to draw."
        )
    return spread


def _check(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise RunError(unknown_name(kind, name, known))
