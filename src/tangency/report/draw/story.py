"""The first figure: accuracy, on/off change, F² and alignment against strength, regimes shaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tangency.measures.keys import Key
from tangency.report.draw.canvas import INK, LEVEL, SOFT, legend_below, lines_by_label, new_figure
from tangency.report.draw.curves import (
    REGIME_COLOURS,
    draw_bayes,
    draw_curve,
    label_strengths,
    positions,
    regime_patches,
    series,
    shade,
    white_patch,
)
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import BAYES, STANDARD, swept, trained
from tangency.report.text.glossary import objective_name
from tangency.report.text.panels import story_keys, story_labels
from tangency.report.text.trials import regime_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = ({"color": INK, "linestyle": "-"}, {"color": SOFT, "linestyle": "--"})  # of a row's first curve and second
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


def story_figure(run: RunFiles) -> Figure | None:
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
            for place_of_role, role in enumerate(r for r in roles if r in keys):
                style = STYLES[min(place_of_role, 1)]
                draw_curve(at, series(trials, objective, keys[role]), place, marker="o", label=NAMES[role], **style)
                if not role.endswith("_control"):
                    draw_bayes(at, trials, Key.parse(keys[role]), style["color"])
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
    """A legend of a row, to its right; the Bayes rule is left to the legend under the figure."""
    lines = {label: line for label, line in lines_by_label([axes]).items() if label != objective_name(BAYES)}
    if lines:
        axes.legend(list(lines.values()), list(lines), loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.4)


def legend_of_regimes(figure: Figure, trials: Sequence[Mapping[str, Any]]) -> None:
    """What the background colours mean, and what is left white, once under the figure."""
    from matplotlib.lines import Line2D

    patches = regime_patches(REGIME_COLOURS)
    labels: dict[tuple[str, float], set[str]] = {}
    for trial in trained(trials):
        labels.setdefault((trial["objective"], trial["strength"]), set()).add(regime_label(trial))
    white = {next(iter(own)) if len(own) == 1 else "seeds differ" for own in labels.values()} - set(patches)
    if white:
        patches[", ".join(sorted(white, reverse=True))] = white_patch()
    if any(trial["objective"] == BAYES for trial in trials):
        patches[objective_name(BAYES)] = Line2D([], [], color=INK, **LEVEL)
    legend_below(figure, patches, len(patches))
