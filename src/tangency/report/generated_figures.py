"""Figures of generation in a study: quality against strength, with regimes and references, and against alignment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tangency.generate.tasks.table import TASKS
from tangency.report.canvas import COLOURS, INK, SOFT, new_figure
from tangency.report.glossary import BAYES, STANDARD, UNTRAINED, objective_name, swept
from tangency.report.inputs import RunFiles
from tangency.report.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Levels to compare with, by how good they may be expected to be: name, colour, line.
LEVELS = {
    "real": ("test images", "#3b7d4f", ":"),
    "score": ("score model", "#7a57b5", "-."),
    "mixture": ("mixture, closed form", "#1f6fb2", "--"),
    "bayes": ("Bayes rule of the mixture", "#b3487f", "-"),
    "input": ("input, nothing done", SOFT, ":"),
}
_WORLD, _BLANK = ("Bayes rule", INK, "-"), ("untrained network", SOFT, "--")
_ROWS = 3  # qualities in a figure
_ALIGNED = ("tangent_fraction.logp_y", "alignment")


def generation_figures(run: RunFiles) -> dict[str, Callable[[RunFiles], Figure | None]]:
    """Name of each figure to what draws it; none where the study generated nothing."""
    found: dict[str, Callable[[RunFiles], Figure | None]] = {}
    for entry in (run.summary.get("generation") or {}).get("entries", []):
        if quality_shown(entry):
            found[f"generation-{entry['name']}"] = partial(_quality, entry=entry)
            found[f"generation-{entry['name']}-alignment"] = partial(_alignment, entry=entry)
    return found


def quality_shown(entry: Mapping[str, Any]) -> list[str]:
    """The qualities that are drawn: the first few that were measured, in one unit once only."""
    both = [
        name for name in TASKS[entry["task"]].qualities if name in ("psnr", "psnr_gain") and name in entry["qualities"]
    ]
    return [name for name in entry["qualities"] if name not in both[1:]][:_ROWS]


def quality_label(name: str, about: Mapping[str, Any]) -> str:
    """A measure of quality as an axis is headed."""
    titles = {
        "judge_accuracy": "judge accuracy",
        "judge_confidence": "judge confidence",
        "kid": "KID",
        "psnr_gain": "PSNR gain",
        "psnr": "PSNR",
        "ssim": "SSIM",
        "lpips": "LPIPS",
    }
    unit = f", {about['unit']}" if about.get("unit") else ""
    return f"{titles.get(name, name.replace('_', ' '))}{unit}"


def levels(entry: Mapping[str, Any], quality: str) -> list[tuple[float, tuple[str, str, str]]]:
    """Where references stand: (mean, (name, colour, line)); a restoration has no level for the truth."""
    found = []
    for source, style in LEVELS.items():
        mean = entry["references"].get(source, {}).get("measures", {}).get(quality, {}).get("mean")
        if mean is not None:
            found.append((mean, style))
    for cell in entry["cells"]:
        own = {UNTRAINED: _BLANK, BAYES: _WORLD}.get(cell["objective"])
        mean = cell["measures"].get(quality, {}).get("mean")
        if own and mean is not None:
            found.append((mean, own))
    return found


def _quality(run: RunFiles, entry: Mapping[str, Any]) -> Figure | None:
    """Each quality against strength: a row for a quality, a column for an objective, regimes shaded."""
    from tangency.report.figures import draw_curve, label_strengths, positions, series, shade

    cells, shown, objectives = entry["cells"], quality_shown(entry), swept(entry["cells"])
    if not objectives:
        return None
    about = run.summary["generation"]["about"]
    figure, axes = new_figure(len(shown), len(objectives), 1.7 * len(shown) + 0.9, sharey="row", sharex="col")
    for column, objective in enumerate(objectives):
        own = [cell for cell in cells if cell["objective"] in (objective, STANDARD)]
        place = positions(own)
        for row, quality in enumerate(shown):
            at = axes[row, column]
            shade(at, own, place)
            for mean, (name, colour, line) in levels(entry, quality):
                at.axhline(mean, color=colour, linestyle=line, linewidth=0.9, label=name)
            draw_curve(at, series(own, objective, quality), place, marker="o", color=INK, label="classifiers")
            if column == 0:
                at.set_ylabel(f"{quality_label(quality, about[quality])}\n{_better(about[quality])}")
        axes[0, column].set_title(objective_name(objective))
        label_strengths(axes[-1, column], own, place)
        axes[-1, column].set_xlabel("strength")
    _legend(figure, axes.flat, cells)
    return figure


def _better(about: Mapping[str, Any]) -> str:
    return {"higher": "(higher is better)", "lower": "(lower is better)"}.get(about["better"], "")


def _legend(figure: Figure, axes: Any, cells: Sequence[Mapping[str, Any]]) -> None:
    """Lines and background colours, once under the figure."""
    from matplotlib.patches import Patch

    from tangency.report.figures import REGIME_COLOURS
    from tangency.report.glossary import REGIMES

    lines = {label: line for at in axes for line, label in zip(*at.get_legend_handles_labels(), strict=True)}
    regimes = {cell["regime"] for cell in cells}
    for regime, colour in REGIME_COLOURS.items():
        if regime in regimes:
            lines[REGIMES[regime][0]] = Patch(facecolor=colour, alpha=0.3)
    if "undetermined" in regimes:
        lines["undetermined"] = Patch(facecolor="white", edgecolor=SOFT, linewidth=0.6)
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=4)


def _alignment(run: RunFiles, entry: Mapping[str, Any]) -> Figure | None:
    """The first quality of each cell against F² and alignment, each less its shuffled control."""
    quality = quality_shown(entry)[0]
    keys = [key for key in (_ALIGNED[0], entry["alignment"]) if any(key in cell["excess"] for cell in entry["cells"])]
    if not keys:
        return None
    about = run.summary["generation"]["about"][quality]
    figure, axes = new_figure(1, len(keys), 2.9, sharey=True)
    for at, key in zip(axes[0], keys, strict=True):
        name = "F²" if key == _ALIGNED[0] else _ALIGNED[1]
        _scatter(at, entry, quality, key)
        at.set_xlabel(f"{'F²' if name == 'F²' else 'cosine with the Bayes gradient'} minus shuffled")
        at.set_title(correlation_words(entry, quality, name), fontsize=7)
    axes[0, 0].set_ylabel(quality_label(quality, about))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _scatter(at: Axes, entry: Mapping[str, Any], quality: str, key: str) -> None:
    """A point with intervals for each cell, joined in the order of strength; the standard network in ink."""
    objectives = swept(entry["cells"])
    for colour, objective in zip((INK, *COLOURS * len(objectives)), (STANDARD, *objectives), strict=False):
        own = [cell for cell in entry["cells"] if cell["objective"] == objective and key in cell["excess"]]
        own = sorted(own, key=lambda cell: cell["strength"])
        x = [cell["excess"][key] for cell in own]
        y = [cell["measures"][quality] for cell in own]
        if not own:
            continue
        a, b = ([e["mean"] for e in side] for side in (x, y))
        at.plot(a, b, color=colour, linewidth=0.6, alpha=0.5)
        style: dict[str, Any] = {"fmt": "o", "color": colour, "elinewidth": 0.6, "label": objective_name(objective)}
        at.errorbar(a, b, yerr=_reach(y), xerr=_reach(x), **style)
        offset: dict[str, Any] = {"xytext": (3, 3), "textcoords": "offset points"}
        for cell, *place in zip(own, a, b, strict=True):
            at.annotate(f"{cell['strength']:g}", (place[0], place[1]), fontsize=5.5, color=colour, **offset)


def _reach(estimates: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """How far intervals reach below and above their means; a mean may lie just outside its own."""
    ends = [(e["mean"] - e["low"], e["high"] - e["mean"]) for e in estimates]
    return [[max(0.0, low) for low, _ in ends], [max(0.0, high) for _, high in ends]]


def correlation_words(entry: Mapping[str, Any], quality: str, against: str, scope: str = "all") -> str:
    """Spearman's ρ with its interval, or that it is not defined."""
    for found in entry["correlations"]:
        if (found["quality"], found["against"], found["scope"]) == (quality, against, scope):
            if found["rho"] is None:
                return f"rank correlation not defined ({found['n']} cells)"
            interval = f"[{number(found['low'], 2)}, {number(found['high'], 2)}]"
            return f"rank correlation {number(found['rho'], 2, signed=True)} {interval}, {found['n']} cells"
    return ""
