"""The figures of a run as files, and a page that says what each shows, what made it, and why some are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tangency.files import atomic, file_digest
from tangency.report.draw.canvas import STYLE
from tangency.report.draw.distractor import distractor_figure
from tangency.report.draw.gallery import gallery_figure, strips_figure
from tangency.report.draw.generation import generation_figures
from tangency.report.draw.noise import noise_figure
from tangency.report.draw.regimes import regimes_figure
from tangency.report.draw.saving import KINDS, FigureSource, save_figure
from tangency.report.draw.score import score_figure
from tangency.report.draw.story import effective_figure, objectives_figure, story_figure
from tangency.report.draw.sweep import correlations_figure, curves_figure, tangents_figure
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import swept
from tangency.report.text.glossary import objective_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INDEX = "README.md"
_AGAIN = "Run the study again, it goes on where it stopped"
_SWEEP = "no objective of the study has strengths"
_PICTURES = f"the run kept no gradients. {_AGAIN}"
_INDEX = """# Figures of {title}

`{command}`

{hashes}

Each figure is there as PDF with its fonts, as SVG and as PNG, at the width of a column (3.25 in) or of the text
(6.75 in): include it without scaling. Intervals are 95 %: over networks crossed with images where a recipe has several
networks, else over images. Command and hashes stand in the metadata of each file.

| figure | inches | counterpart in arXiv 2305.19101 | shows |
|---|---|---|---|
{rows}
"""


@dataclass(frozen=True)
class Drawing:
    """A figure that a run may have.

    Args:
        name: of its files.
        paper: its counterpart in the paper; "" for none.
        shows: in a sentence.
        without: what the run lacks where there is no figure, and the way to it.
        draw: makes it; None where the run has not the numbers.
    """

    name: str
    paper: str
    shows: str
    without: str
    draw: Callable[[RunFiles], Figure | None]


PAPER = (
    Drawing(
        "gallery",
        "Figure 1",
        "images, a score, a Bayes gradient, and gradients of the standard network and of the network of the largest L "
        "of each objective; images are chosen by index, each gradient has its own symmetric scale",
        _PICTURES,
        gallery_figure,
    ),
    Drawing(
        "regimes",
        "Figure 2",
        "where the gradients of one recipe of each regime point (thin: images at even shares of F²; bold: the median); "
        "accuracy, alignment and F² against strength, each over its largest value",
        "no recipe of an objective with strengths is weak, Bayes-aligned or excessive",
        regimes_figure,
    ),
    Drawing(
        "objectives",
        "Figures 3 and 4",
        "accuracy, alignment beside its shuffled control, and the change of the softmax on and off the manifold",
        _SWEEP,
        objectives_figure,
    ),
    Drawing(
        "distractor",
        "Figure 5",
        "relative noise robustness of signal and distractor",
        "no change under noise on signal and distractor was measured. `tangency worlds distractor` measures it",
        distractor_figure,
    ),
    Drawing(
        "noise",
        "tangent and normal noise on images",
        "images under noise of one length in their tangent and in their normal space, clipped to [0, 1]; that noise",
        f"the run kept no tangent spaces: they were too large, or it is of an older version. {_AGAIN}",
        noise_figure,
    ),
)
FURTHER = (
    Drawing("story", "", "accuracy, L, and log F² over its best control, which labels rest on", _SWEEP, story_figure),
    Drawing(
        "effective",
        "",
        "accuracy, L and log F²/control of all objectives against the median radius",
        "no radius was measured, or no objective has strengths",
        effective_figure,
    ),
    Drawing("curves", "", "every measure against strength", _SWEEP, curves_figure),
    Drawing(
        "correlations",
        "",
        "ln κ against alignment over networks, raw and minus its control",
        "there are too few networks for correlations",
        correlations_figure,
    ),
    Drawing(
        "tangents",
        "",
        "log F²/control under each estimator of the tangent space",
        "one estimator was measured, or no objective has strengths. `tangents:` of a spec names more",
        tangents_figure,
    ),
    Drawing(
        "score",
        "",
        "denoising error of the score beside doing nothing",
        "the study examined no score",
        score_figure,
    ),
)


def drawings(run: RunFiles) -> list[Drawing]:
    """Every figure that this run may have, the counterparts of the paper's first."""
    strips = [_strips(objective) for objective in swept(run.summary.trials)]
    generated = [_generated(name, draw) for name, draw in generation_figures(run).items()]
    return [*PAPER, *strips, *FURTHER, *generated]


def _strips(objective: str) -> Drawing:
    return Drawing(
        f"strips-{objective}",
        "strips by strength, appendix",
        f"gradients at each strength of {objective_name(objective)}, with bars of the regimes",
        _PICTURES,
        lambda run: strips_figure(run, objective),
    )


def _generated(name: str, draw: Callable[[], Figure | None]) -> Drawing:
    lacking = "this entry of `generate:` has no objective with strengths, or no F² or alignment to compare"
    return Drawing(name, "", "quality of generated pictures", lacking, lambda run: draw())


def drop_outdated(run: RunFiles, folder: Path) -> None:
    """Remove the figures of an earlier report which were drawn from other rows: they would contradict the page."""
    index = folder / INDEX
    if index.exists() and file_digest(run.folder / "rows.parquet") in index.read_text(encoding="utf-8"):
        return
    for old in (*_files(folder), index):
        old.unlink(missing_ok=True)


def _files(folder: Path) -> set[Path]:
    """The figures that stand in a folder."""
    return {path for kind in KINDS for path in folder.glob(f"*.{kind}")}


def write_figures(run: RunFiles, folder: Path) -> list[Path]:
    """Write every figure for which the run has the numbers, as PDF, SVG and PNG, and README.md; returns the files."""
    import matplotlib

    name = run.summary.name
    command = f"tangency report {run.folder.resolve().name} --figures"
    hashes = {"spec": run.summary.spec_hash, "rows.parquet sha256": file_digest(run.folder / "rows.parquet")}
    written: list[Path] = []
    shown: list[str] = []
    left: list[str] = []
    for drawing in drawings(run):
        with matplotlib.rc_context(STYLE):
            figure = drawing.draw(run)
        if figure is None:
            left.append(f"- **{drawing.name}**: {drawing.without}.")
            continue
        written += save_figure(figure, folder / drawing.name, FigureSource(f"{name}: {drawing.name}", command, hashes))
        size = f"{figure.get_figwidth():g} × {figure.get_figheight():.2f}"
        shown.append(f"| {drawing.name} | {size} | {drawing.paper or '–'} | {drawing.shows} |")
    for stale in _files(folder).difference(written):
        stale.unlink()  # of an earlier report, which had it
    parts = {"title": name, "command": command, "rows": "\n".join(shown)}
    parts["hashes"] = "\n".join(f"- {what}: `{value}`" for what, value in hashes.items())
    index = folder / INDEX
    with atomic(index) as temporary:
        missing = "\n## Left out\n\n" + "\n".join(left) + "\n" if left else ""
        temporary.write_text(_INDEX.format(**parts) + missing, encoding="utf-8")
    return [*written, index]
