"""Paper figures: vector PDF and 200 dpi PNG, readable at the width of a text column."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.files import atomic
from tangency.report import pictures
from tangency.report.canvas import COLOURS, INK, LEVEL, SOFT, STYLE, WIDTH, draw_bayes, new_figure
from tangency.report.generated_figures import generation_figures
from tangency.report.glossary import (
    BAYES,
    REGIMES,
    SCALARS,
    SCORES,
    STANDARD,
    describe,
    objective_name,
    parameter_label,
    parse,
    swept,
    trained,
)
from tangency.report.inputs import RunFiles
from tangency.report.noise_figure import noise
from tangency.report.payload import denoising, panels, story_keys, story_labels
from tangency.report.tangents import tangents_figure
from tangency.report.words import number, regime_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REGIME_COLOURS = {"weak": "#9aa1aa", "bayes_aligned": "#0f8577", "excessive": "#c46a1b"}
ROWS = (("accuracy",), ("on", "off"), ("fraction", "fraction_control"), ("alignment", "alignment_control"))
NAMES = {
    "on": "on-manifold",
    "off": "off-manifold",
    "fraction_control": "best control",
    "alignment_control": "shuffled",
    "accuracy": "accuracy",
    "fraction": "own tangent\nspace",
    "alignment": "own target",
}
DIGIT = 4.5  # points, a digit of a tick label


def write_figures(run: RunFiles, folder: Path) -> list[Path]:
    """Write every figure that the run has the numbers for; returns the files."""
    import matplotlib

    drawings: dict[str, Callable[[RunFiles], Figure | None]] = {
        "story": story,
        "curves": curves,
        "correlations": correlations,
        "pictures": picture_grid,
        "score": score,
        "noise": noise,
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
            figure.set_layout_engine("none")  # laid out once, not once per format
            for suffix, options in ((".pdf", {"metadata": {"CreationDate": None}}), (".png", {"dpi": 200})):
                path = folder / f"{name}{suffix}"
                with atomic(path) as temporary:
                    figure.savefig(temporary, format=suffix[1:], **options)
                written.append(path)
    for left in set(folder.glob("generation-*")).difference(written):  # of entries that the spec no longer has
        left.unlink()
    return written


def positions(trials: Sequence[Mapping[str, Any]]) -> Callable[[float], float]:
    """log₁₀ strength, with strength 0 three quarters of a decade left of the smallest positive one."""
    smallest = min((t["strength"] for t in trials if t["strength"] > 0), default=1.0)
    return lambda strength: math.log10(strength) if strength > 0 else math.log10(smallest) - 0.75


def series(trials: Sequence[Mapping[str, Any]], objective: str, key: str) -> list[tuple[float, float, float, float]]:
    """(strength, mean, low, high), seeds averaged; strengths without the measure are left out."""
    found: dict[float, list[tuple[float, float, float]]] = {}
    for trial in trials:
        entry = trial["measures"].get(key)
        if trial["objective"] in (objective, STANDARD) and entry and entry["mean"] is not None:
            mean = entry["mean"]
            low, high = (mean if entry[end] is None else entry[end] for end in ("low", "high"))
            found.setdefault(trial["strength"], []).append((mean, low, high))
    return [(s, *np.mean(entries, axis=0).tolist()) for s, entries in sorted(found.items())]


def draw_curve(axes: Axes, points: list[tuple[float, float, float, float]], place: Any, **style: Any) -> None:
    """A line with markers and its band."""
    if not points:
        return
    x = [place(point[0]) for point in points]
    _, mean, low, high = np.array(points).T
    axes.fill_between(x, low, high, color=style["color"], alpha=0.16, linewidth=0)
    axes.plot(x, mean, **style)


def label_strengths(axes: Axes, trials: Sequence[Mapping[str, Any]], place: Any) -> None:
    """Ticks at the strengths themselves, "0" for the standard network; only those that would touch are left out."""
    strengths = sorted({t["strength"] for t in trained(trials)})
    grid = axes.get_subplotspec()
    width = 0.68 * 72 * WIDTH / (grid.get_gridspec().ncols if grid else 1)  # points, before the layout is known
    scale = width / (place(strengths[-1]) - place(strengths[0]) + 0.3)
    kept: list[float] = []
    for strength in strengths:
        text = f"{strength:g}{kept[-1]:g}" if kept else ""
        room = DIGIT / 2 * (len(text) - text.count(".") / 2)  # half of each of the two labels
        if not kept or (place(strength) - place(kept[-1])) * scale >= room:
            kept.append(strength)
    axes.set_xticks([place(s) for s in kept], [f"{s:g}" for s in kept])


def story(run: RunFiles) -> Figure | None:
    """Accuracy, on/off change, F² and alignment against strength, one column per objective, regimes shaded."""
    trials, keys = run.summary["trials"], story_keys(run.summary)
    objectives = swept(trials)
    labels = story_labels(keys)
    rows = [(roles, labels[roles[0]].replace(", ", "\n")) for roles in ROWS if roles[0] in keys]
    if not objectives or not rows:
        return None
    figure, axes = new_figure(len(rows), len(objectives), 1.35 * len(rows) + 0.5, sharey="row", sharex="col")
    for column, objective in enumerate(objectives):
        own = [t for t in trials if t["objective"] in (objective, STANDARD)]
        place = positions(own)
        for row, (roles, title) in enumerate(rows):
            at = axes[row, column]
            shade(at, own, place)
            for number_, role in enumerate(r for r in roles if r in keys):
                style = {"color": INK if number_ == 0 else SOFT, "linestyle": "-" if number_ == 0 else "--"}
                draw_curve(at, series(trials, objective, keys[role]), place, marker="o", label=NAMES[role], **style)
                if not role.endswith("_control"):
                    draw_bayes(at, trials, parse(keys[role]), style["color"])
            if column == 0:
                at.set_ylabel(title)
            if column == len(objectives) - 1 and len(roles) > 1:
                legend_beside(at)
        axes[0, column].set_title(objective_name(objective))
        label_strengths(axes[-1, column], own, place)
        axes[-1, column].set_xlabel("strength")
    legend_of_regimes(figure, trials)
    return figure


def legend_beside(axes: Axes) -> None:
    """What the lines of a row are, to the right of it; the Bayes rule is named once under the figure."""
    named = [pair for pair in zip(*axes.get_legend_handles_labels(), strict=True) if pair[1] != objective_name(BAYES)]
    if named:
        lines, labels = zip(*named, strict=True)
        axes.legend(lines, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.4)


def shade(axes: Axes, trials: Sequence[Mapping[str, Any]], place: Any) -> None:
    """Background colour from halfway to the neighbour on each side, by the regime on which all seeds agree."""
    regimes: dict[float, set[str | None]] = {}
    for trial in trials:
        regimes.setdefault(trial["strength"], set()).add(trial["regime"])
    x = [place(s) for s in sorted(regimes)]
    edges = [x[0] - 0.15, *[(a + b) / 2 for a, b in itertools.pairwise(x)], x[-1] + 0.15]
    for (_, found), left, right in zip(sorted(regimes.items()), edges, edges[1:], strict=False):
        colour = REGIME_COLOURS.get(next(iter(found)) or "") if len(found) == 1 else None
        if colour:
            axes.axvspan(left, right, color=colour, alpha=0.13, linewidth=0)
    axes.set_xlim(edges[0], edges[-1])


def legend_of_regimes(figure: Figure, trials: Sequence[Mapping[str, Any]]) -> None:
    """What the background colours mean, once under the figure; white is named after what is left white."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    patches: list[Any] = [Patch(facecolor=colour, alpha=0.3) for colour in REGIME_COLOURS.values()]
    names = [REGIMES[regime][0] for regime in REGIME_COLOURS]
    found: dict[tuple[str, float], set[str]] = {}
    for trial in trained(trials):
        found.setdefault((trial["objective"], trial["strength"]), set()).add(regime_label(trial))
    white = {next(iter(own)) if len(own) == 1 else "seeds differ" for own in found.values()} - set(names)
    if white:
        patches.append(Patch(facecolor="white", edgecolor=SOFT, linewidth=0.6))
        names.append(", ".join(sorted(white, reverse=True)))
    if any(trial["objective"] == BAYES for trial in trials):
        patches.append(Line2D([], [], color=INK, **LEVEL))
        names.append(objective_name(BAYES))
    figure.legend(patches, names, loc="outside lower center", ncols=len(patches))


def curves(run: RunFiles) -> Figure | None:
    """Every measure against strength, one panel each, objectives in colour."""
    trials = run.summary["trials"]
    objectives, shown = swept(trials), panels(trials)
    if not objectives or not shown:
        return None
    columns = 3
    rows = math.ceil(len(shown) / columns)
    figure, axes = new_figure(rows, columns, 1.75 * rows)
    place = positions(trials)
    for panel, at in zip(shown, axes.flat, strict=False):
        key = panel["keys"][panel["chosen"]]
        for colour, objective in zip(COLOURS * len(objectives), objectives, strict=False):
            draw_curve(
                at,
                series(trials, objective, key.text),
                place,
                color=colour,
                marker="o",
                label=objective_name(objective),
            )
        draw_bayes(at, trials, key)
        draw_image_control(at, trials, key.text)
        detail = [parameter_label(key).partition(" (")[0], SCALARS.get(key.scalar, "") if key.target else ""]
        at.set_title("\n".join([panel["text"].title, ", ".join(filter(None, detail))]).strip(), fontsize=7)
        at.set_yscale("log" if key.family == "kappa" else "linear")
        label_strengths(at, trials, place)
    for at in axes.flat[len(shown) :]:
        at.set_axis_off()
    entries = {label: line for at in axes.flat for line, label in zip(*at.get_legend_handles_labels(), strict=True)}
    figure.legend(list(entries.values()), list(entries), loc="outside upper center", ncols=5)
    figure.supxlabel("strength (log scale; 0 is the standard network)", fontsize=8)
    return figure


def draw_image_control(axes: Axes, trials: Sequence[Mapping[str, Any]], key: str) -> None:
    """A dotted level where the image itself in the gradient's place would lie; the same for every trial."""
    found = (trial["measures"].get(f"{key}.image", {}).get("mean") for trial in trials)
    level = next((mean for mean in found if mean is not None), None)
    if level is not None:
        axes.axhline(level, color=INK, linestyle=":", linewidth=0.8, label="image itself")


def correlations(run: RunFiles) -> Figure | None:
    """log κ against each alignment at the headline σ over trials, raw above and minus control below."""
    from tangency.report.page import correlations as entries_of

    trials, entries = run.summary["trials"], entries_of(run.summary)[:3]
    if not entries:
        return None
    figure, axes = new_figure(2, len(entries), 4.2, sharex=True)
    for column, entry in enumerate(entries):
        item = entry["items"][entry["chosen"]]
        for row, kind in enumerate(("raw", "minus_control")):
            scatter(axes[row, column], trials, item, kind)
            rho = item[kind]
            interval = f"[{number(rho['low'], 2)}, {number(rho['high'], 2)}]"
            axes[row, column].set_title(
                f"Spearman's $r_s$ = {number(rho['rho'], 2)} {interval}", fontsize=6.5, loc="right"
            )
        key = parse(item["y"])
        axes[0, column].set_ylabel(f"{textwrap.fill(describe(key).title, 24)}\nσ = {key.value:g}")
        axes[1, column].set_ylabel("minus shuffled")
        axes[1, column].set_xlabel("log κ")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def scatter(axes: Axes, trials: Sequence[Mapping[str, Any]], item: Mapping[str, Any], kind: str) -> None:
    """One point per trial, coloured by objective; the references are left out."""
    names = [STANDARD, *swept(trials)]
    for colour, objective in zip((INK, *COLOURS * len(names)), names, strict=False):
        points = []
        for trial in trials:
            x = trial["measures"].get(item["x"], {}).get("mean")
            y = (trial["measures"] if kind == "raw" else trial["excess"]).get(item["y"], {}).get("mean")
            if trial["objective"] == objective and x is not None and y is not None:
                points.append((x, y))
        if points:
            x_values, y_values = zip(*points, strict=True)
            axes.scatter(x_values, y_values, s=14, color=colour, label=objective_name(objective))


def picture_grid(run: RunFiles) -> Figure | None:
    """Images, targets and the gradients of each trial; each picture on its own symmetric scale."""
    shown = pictures.columns(run.summary["trials"], run.pictures)
    m = len(run.pictures["image"])
    headings = 1.3  # inches above the pictures
    height = WIDTH / len(shown) * m + headings
    figure, axes = new_figure(m, len(shown), height, layout=None)  # constrained, tall headings part the columns
    figure.subplots_adjust(0.005, 0.005, 0.995, 1 - headings / height, wspace=0.06, hspace=0.06)
    for column, entry in enumerate(shown):
        heading = entry.label if entry.group in pictures.UNNAMED else f"{entry.group} {entry.label}"
        axes[0, column].set_title(heading, rotation=90, fontsize=6)
        for row in range(m):
            picture, at = run.pictures[entry.name][row], axes[row, column]
            at.set_axis_off()
            if entry.name == "image":
                at.imshow(pictures.photograph(picture))
            elif np.isfinite(picture).all() and picture.any():
                values = picture.mean(0)
                scale = pictures.scale_of(values) or 1.0
                at.imshow(values / scale, cmap="RdBu_r", vmin=-1, vmax=1)
    return figure


def score(run: RunFiles) -> Figure | None:
    """Denoising error of the score against doing nothing."""
    found = denoising(run.summary)
    if not found:
        return None
    sigma, mse, identity = (np.array([entry[name] for entry in found], float) for name in ("sigma", "mse", "identity"))
    figure, axes = new_figure(1, 1, 2.4)
    at = axes[0, 0]
    at.loglog(sigma, identity, "--", color=SOFT, label="doing nothing, σ²")
    at.loglog(
        sigma, mse, "o-", color=COLOURS[0], label=SCORES.get(run.summary["score"]["kind"], run.summary["score"]["kind"])
    )
    at.set_xlabel("σ in [0, 1] pixel units")
    at.set_ylabel("mean squared error per pixel")
    at.legend()
    return figure
