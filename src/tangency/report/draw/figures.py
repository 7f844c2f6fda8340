"""The figures of a run as files, with a page that says what each shows, what made it, and which are left out and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tangency.files import atomic, file_digest
from tangency.report.draw.canvas import STYLE
from tangency.report.draw.distractor import distractor_figure
from tangency.report.draw.gallery import gallery_figure, strips_figure
from tangency.report.draw.generation import generation_figures
from tangency.report.draw.noise import noise_figure
from tangency.report.draw.regimes import regimes_figure
from tangency.report.draw.saving import KINDS, Made, save_figure
from tangency.report.draw.score import score_figure
from tangency.report.draw.story import effective_figure, objectives_figure, story_figure
from tangency.report.draw.sweep import correlations_figure, curves_figure, tangents_figure
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import swept
from tangency.report.text.glossary import objective_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INDEX = "README.md"
_AGAIN = "run the study again, which goes on where it stopped"
_SWEEP = "the study has no objective with strengths"
_PICTURES = f"the run kept no gradients; {_AGAIN}"


@dataclass(frozen=True)
class Drawing:
    """A figure that a run may have.

    Args:
        name: of its files.
        shows: a sentence.
        draw: makes it; None where the run has not the numbers.
        without: why it is left out then, and the way to it.
        paper: its counterpart in arXiv 2305.19101.
    """

    name: str
    shows: str
    draw: Callable[[], Figure | None]
    without: str = ""
    paper: str = "–"


def drawings(run: RunFiles) -> list[Drawing]:
    """Every figure that this run may have, the counterparts of the paper's first."""
    own = [*_paper(run), *_further(run)]
    made = generation_figures(run)
    lacking = "two of strength, quality and alignment to compare are missing in this entry of `generate:`"
    return own + [
        Drawing(name, "Quality of generated pictures, see docs/generate.md.", draw, lacking) for name, draw in made.items()
    ]


def _paper(run: RunFiles) -> list[Drawing]:
    """Counterparts of the paper's figures."""
    signal = "no change under noise on signal and distractor was measured; `tangency worlds distractor` measures it"
    spaces = f"the run kept no tangent spaces of its pictures (none were small enough, or it is of an older version); {_AGAIN}"
    labels = "no recipe of a swept objective is weak, Bayes-aligned or excessive, so there are no regimes to show"
    strips = [
        Drawing(
            f"strips-{objective}",
            f"Gradients at each strength of {objective_name(objective)}; bars: regimes.",
            partial(strips_figure, run, objective),
            _PICTURES,
            "6 and appendix",
        )
        for objective in swept(run.summary.trials)
    ]
    return [
        Drawing(
            "gallery",
            "Images, a score, a Bayes gradient, and gradients of the standard network and of the network of the largest "
            "L of each objective; images are chosen by index. Each picture has its own symmetric scale.",
            partial(gallery_figure, run),
            _PICTURES,
            "1",
        ),
        Drawing(
            "regimes",
            "Where the gradients of one recipe of each regime point (arrows: images at even shares of F²; bold: their "
            "median), and accuracy, alignment and F² against strength, each over its largest value.",
            partial(regimes_figure, run),
            labels,
            "2",
        ),
        Drawing(
            "objectives",
            "Accuracy, alignment beside its shuffled control, and the change of the softmax on and off the manifold.",
            partial(objectives_figure, run),
            _SWEEP,
            "3 and 4",
        ),
        Drawing("distractor", "Relative noise robustness of signal and distractor.", partial(distractor_figure, run), signal, "5"),
        *strips,
        Drawing("noise", "Tangent and normal noise of one length on images.", partial(noise_figure, run), spaces, "7"),
    ]


def _further(run: RunFiles) -> list[Drawing]:
    """What the paper has no figure of."""
    several = "one estimator of tangent spaces was measured, or none with an objective that has strengths"
    return [
        Drawing(
            "story",
            "Accuracy, L, and log F² over its worst control, which the labels rest on.",
            partial(story_figure, run),
            _SWEEP,
        ),
        Drawing(
            "effective",
            "Accuracy, L and log F²/control of all objectives against the median radius.",
            partial(effective_figure, run),
            "no radius was measured, or no objective has strengths",
        ),
        Drawing("curves", "Every measure against strength.", partial(curves_figure, run), _SWEEP),
        Drawing(
            "correlations",
            "ln κ against alignment over networks, raw and minus its control.",
            partial(correlations_figure, run),
            "too few networks for correlations",
        ),
        Drawing("tangents", "log F²/control under each estimator.", partial(tangents_figure, run), several),
        Drawing(
            "score",
            "Denoising error of the score beside doing nothing.",
            partial(score_figure, run),
            "the study has no score whose denoising was examined",
        ),
    ]


def write_figures(run: RunFiles, folder: Path) -> list[Path]:
    """Write every figure for which the run has the numbers, as PDF, SVG and PNG, and README.md; returns the files."""
    import matplotlib

    command = f"tangency report {run.folder.resolve().name} --figures"
    hashes = {"spec": run.summary.spec_hash, "rows sha256": file_digest(run.folder / "rows.parquet")}
    written: list[Path] = []
    lines: list[tuple[Drawing, Figure | None]] = []
    for drawing in drawings(run):
        with matplotlib.rc_context(STYLE):
            figure = drawing.draw()
        lines.append((drawing, figure))
        if figure is not None:
            title = f"{run.summary.name}: {drawing.name}"
            written += save_figure(figure, folder / drawing.name, Made(title, command, hashes))
    _remove_stale(folder, written)
    index = folder / INDEX
    with atomic(index) as temporary:
        temporary.write_text(_index(Made(run.summary.name, command, hashes), lines), encoding="utf-8")
    return [*written, index]


def _remove_stale(folder: Path, written: list[Path]) -> None:
    """Remove figures of earlier reports which this run no longer has."""
    for stale in {path for kind in KINDS for path in folder.glob(f"*.{kind}")}.difference(written):
        stale.unlink()


def _index(made: Made, lines: list[tuple[Drawing, Figure | None]]) -> str:
    """What the folder holds, in words."""
    rows = [
        f"| {drawing.name} | {figure.get_figwidth():g} × {figure.get_figheight():.2f} | {drawing.paper} | {drawing.shows} |"
        for drawing, figure in lines
        if figure is not None
    ]
    left = [f"- **{drawing.name}**: {drawing.without}." for drawing, figure in lines if figure is None]
    head = f"# Figures of {made.title}\n\n`{made.command}`\n\n" + "".join(
        f"- {name}: `{value}`\n" for name, value in made.hashes.items()
    )
    table = "\n".join(["| figure | inches | after the paper's | shows |", "|---|---|---|---|", *rows])
    text = (
        f"{head}\nEach figure is there as PDF (fonts embedded), SVG and PNG, at the width of a column (3.25 in) or of the "
        "text (6.75 in), so include it without scaling. Intervals are 95 %, over networks crossed with images where a "
        "recipe has several networks, else over images; points are networks. The command and both hashes are in the "
        f"metadata of each file.\n\n{table}\n"
    )
    return text + ("\n## Left out\n\n" + "\n".join(left) + "\n" if left else "")
