"""Estimators of the tangent space: log F² over its best control under each, in a table and a figure."""

import pytest

from report.helpers import page_of, section
from report.synthetic_run import build_run
from tangency.measures.keys import FRACTION, Key
from tangency.report.draw.sweep import tangents_figure
from tangency.report.page.sections import tangents_section
from tangency.report.read.run import read_run


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A run with two estimators, of which the second loses to a global PCA subspace."""
    return read_run(build_run(tmp_path_factory.mktemp("tangents") / "run", second=1.6))


def test_one_estimator_needs_no_section(reported):
    assert tangents_section(read_run(reported[0])) is None
    assert tangents_figure(read_run(reported[0])) is None


def test_the_table_has_the_worst_control_under_each_estimator(content):
    found = tangents_section(content)
    assert [entry.name for entry in found.estimators] == ["mfa", "local-pca"]
    row = dict(found.rows)["gradient_norm-0.3"]
    recipe = next(c for c in content.summary.cells if c.id == "gradient_norm-0.3")
    for cell, key in zip(row, ("", "local-pca"), strict=True):
        worst = recipe.verdict.manifold[key].worst
        fraction = recipe.measures[str(Key.parse(FRACTION).at(tangents=key))].mean
        assert cell.least == f"{worst.mean:+.3f}".replace("-", "−")
        assert cell.interval == f"{worst.low:+.3f} … {worst.high:+.3f}".replace("-", "−")
        assert (cell.fraction, cell.control) == (f"{fraction:.3f}", "one global PCA subspace")
    assert found.sentence.startswith("For gradient_norm-0.3: Under local-pca, log F²/control is −")


def test_the_section_says_what_is_shown(content):
    text = section(page_of(content.folder), "tangents")
    assert "log F² over its best control of equal rank" in text
    assert "on-manifold: not." in text
    assert "rank 12" in text


def test_the_figure_has_a_line_for_each_estimator(content):
    figure = tangents_figure(content)
    assert [axes.get_title() for axes in figure.axes] == ["Gradient norm", "PGD ℓ₂", "Noise augmentation"]
    for axes in figure.axes:
        lines = {line.get_label(): line for line in axes.lines}
        assert {"mfa", "local-pca", "best control"} <= set(lines)
        assert min(lines["mfa"].get_ydata()) > max(lines["local-pca"].get_ydata())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mfa", "local-pca", "best control"]
