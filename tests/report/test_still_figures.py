"""Figures that a page holds as they were drawn: shapes without fonts, and the numbers that they show."""

from __future__ import annotations

import base64
import json

import pytest

from tangency.report.draw.canvas import legend_below, lines_by_label, new_figure, still_figure
from tangency.report.draw.score import error_table


def test_a_figure_in_a_page_is_an_svg_of_shapes_with_its_numbers() -> None:
    figure, axes = new_figure(1, 1, 2.0)
    axes[0, 0].plot([0, 1], [1, 2])
    axes[0, 0].set_title("σ < 1")
    made = still_figure(figure, ["x", "y"], [[0.0, 1.0], [1.0, None]])
    again = still_figure(figure, ["x", "y"], [[0.0, 1.0], [1.0, None]])
    kind, _, content = made.source.partition(",")
    text = base64.b64decode(content).decode()
    assert kind == "data:image/svg+xml;base64"
    assert "<svg" in text
    assert "<text" not in text
    assert "<dc:date>" not in text
    assert made == again
    assert json.loads(made.numbers) == {"header": ["x", "y"], "rows": [[0.0, 1.0], [1.0, None]]}


def test_numbers_that_are_none_are_refused() -> None:
    figure, _ = new_figure(1, 1, 2.0)
    with pytest.raises(ValueError, match="JSON"):
        still_figure(figure, ["x"], [[float("nan")]])


def test_errors_are_relative_to_the_noise() -> None:
    level = {"mean": 0.02, "low": 0.01, "high": 0.03}
    summary = {"noise_levels": [{"sigma": 0.5, "mse": level, "baselines": {"gaussian": {"mean": 0.05, "low": None}}}]}
    header, rows = error_table(summary)
    assert header == ["sigma", "score", "mse_over_sigma2", "low", "high"]
    assert rows == [[0.5, "this score", 0.08, 0.04, 0.12], [0.5, "gaussian", 0.2, None, None]]


@pytest.mark.parametrize(("words", "columns"), [(1, 4), (4, 2), (40, 1)])
def test_a_legend_is_no_wider_than_its_figure_where_that_can_be(words: int, columns: int) -> None:
    figure, axes = new_figure(1, 1, 2.0)
    for number in range(6):
        axes[0, 0].plot([0, 1], [number, 1], label=f"{number} " + "words " * words)
    legend_below(figure, lines_by_label(axes.flat))
    (legend,) = figure.legends
    assert legend._ncols == columns
    assert columns == 1 or legend.get_window_extent().width <= figure.bbox.width
