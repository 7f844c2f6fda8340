"""The story: rows of accuracy, L and log F²/control, with levels, marks and networks, in words, figure and script."""

import itertools
import json

import numpy as np
import pytest

from report.helpers import embedded, page_of, rewrite, typed
from report.synthetic_run import build_run, summary_of
from tangency.report.draw.story import MARKS, story_figure
from tangency.report.read.run import read_run
from tangency.report.text.story import StoryMark, stories, story_lead

ROWS = ["Accuracy", "L, closed form", "L, trained score", "log F²/best control, mfa"]


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Three networks a recipe, two estimators."""
    return build_run(tmp_path_factory.mktemp("several") / "run", seeds=(0, 1, 2), second=1.6)


def rows_by_title(story):
    return {row.title: row for row in story.rows}


def test_rows_are_accuracy_each_direction_and_each_estimator(several):
    one = stories(typed(summary_of()))
    assert [story.name for story in one] == ["Gradient norm", "PGD ℓ₂", "Noise augmentation"]
    assert [row.title for row in one[0].rows] == ROWS
    assert [row.title for row in stories(read_run(several).summary)[0].rows] == [
        *ROWS,
        "log F²/best control, local-pca",
    ]


def test_points_are_those_of_the_verdicts():
    summary = summary_of()
    cells = {cell["strength"]: cell["verdict"] for cell in summary["cells"] if cell["objective"] == "gradient_norm"}
    cells[0.0] = next(cell["verdict"] for cell in summary["cells"] if cell["objective"] == "standard")
    rows = rows_by_title(stories(typed(summary))[0])
    for strength, verdict in cells.items():
        expected = {
            ROWS[0]: verdict["accuracy"],
            ROWS[1]: verdict["aligned"]["bayes_gradient"]["alignment"],
            ROWS[2]: verdict["aligned"]["network_bayes_gradient"]["alignment"],
            ROWS[3]: verdict["manifold"][""]["worst"],
        }
        for title, e in expected.items():
            point = next(p for p in rows[title].curves[0].points if p.strength == strength)
            assert (point.mean, point.low, point.high) == (e["mean"], e["low"], e["high"])


def test_levels_are_the_filtered_standard_and_zero():
    summary = summary_of()
    filtered = next(cell["verdict"] for cell in summary["cells"] if cell["id"] == "filtered")
    rows = rows_by_title(stories(typed(summary))[0])
    own = filtered["aligned"]["bayes_gradient"]["alignment"]["mean"]
    assert [(level.value, level.name) for level in rows[ROWS[1]].levels] == [(own, "pca-50")]
    assert [(level.value, level.name) for level in rows[ROWS[3]].levels] == [(0.0, "best control")]


def test_networks_are_points_and_the_worst_control_is_of_each(several):
    content = read_run(several).summary
    rows = rows_by_title(stories(content)[0])
    for row in rows.values():
        assert all(len(point.each) == 3 for point in row.curves[0].points)
    cell = next(cell for cell in content.cells if cell.id == "gradient_norm-0.3")
    controls = cell.verdict.manifold["local-pca"].controls
    point = next(p for p in rows["log F²/best control, local-pca"].curves[0].points if p.strength == 0.3)
    assert point.each == pytest.approx(np.min([e.each for e in controls.values()], axis=0).tolist())


def test_marks_need_an_interval(several):
    assert all(not row.marks for story in stories(typed(summary_of())) for row in story.rows)  # one network
    rows = rows_by_title(stories(read_run(several).summary)[0])
    assert not rows[ROWS[0]].marks  # accuracies of the seeds are equal: copies say nothing of further networks
    assert [mark.name for mark in rows[ROWS[1]].marks] == ["peak", "t₁", "t₂"]
    peak, t1, _ = rows[ROWS[1]].marks
    assert peak.at == 3.0
    assert t1.low < t1.at < t1.high


def test_ends_beyond_the_grid(several):
    summary = json.loads((several / "summary.json").read_text())
    curve = next(c for c in summary["curves"] if c["objective"] == "gradient_norm")
    own = curve["directions"]["bayes_gradient"]
    own["peak"]["shown"] = False
    own["t1"].update(estimate="< 0.03", low="< 0.03", high=0.5)
    own["t2"].update(estimate=20.0, low=3.0, high="not reached")
    curve["t2_accuracy"].update(estimate="not reached", low="not reached", high="not reached")
    rows = rows_by_title(stories(typed(summary))[0])
    assert rows[ROWS[1]].marks == [StoryMark("t₁", 0.0, 0.0, 0.5), StoryMark("t₂", 20.0, 3.0, None)]
    assert rows[ROWS[0]].marks == []
    text = stories(typed(summary))[0].text
    assert "T₁ at strength below the smallest, interval below the smallest to 0.500." in text
    assert "T₂ at strength 20.0, interval 3.00 to beyond the largest." in text


def test_what_is_withheld_has_no_marks():
    withheld = stories(typed(summary_of(seeds=(0, 1, 2), longer=1.3)))
    assert not any(row.marks for row in withheld[0].rows)
    assert {step.label for step in withheld[0].steps} == {"weak", "withheld", "diverged"}
    assert any(row.marks for row in withheld[1].rows)


def test_lost_strengths_are_named():
    story = stories(typed(summary_of()))[0]
    assert story.fallen == ["diverged at 300"]
    assert [(step.strength, step.label) for step in story.steps] == [
        (0.0, "weak"),
        (0.03, "weak"),
        (0.3, "Bayes-aligned"),
        (3.0, "undetermined"),
        (30.0, "excessive"),
        (300.0, "diverged"),
    ]


def test_the_text_for_screen_readers_has_every_row_level_and_end(page):
    story = stories(typed(summary_of()))[0]
    for title in ROWS:
        assert f"{title}: " in story.text
    assert "Level of pca-50: " in story.text
    assert "at strength 0, " in story.text
    assert "highest" in story.text
    assert story.text.replace("'", "&#39;") in page


def test_a_missing_direction_has_no_row():
    summary = summary_of()
    for cell in summary["cells"]:
        cell["verdict"]["aligned"].pop("network_bayes_gradient", None)
    for curve in summary["curves"]:
        curve["directions"].pop("network_bayes_gradient", None)
    assert [row.title for row in stories(typed(summary))[0].rows] == [ROWS[0], ROWS[1], ROWS[3]]


def test_by_the_former_rule_each_measure_stands_beside_its_control():
    summary = typed(summary_of(rule="kappa"))
    story = stories(summary)[0]
    assert [row.title for row in story.rows] == [
        "Accuracy",
        "Softmax change, ε = 2",
        "Tangent fraction F²",
        "cos closed form's Bayes direction, σ = 0.5",
    ]
    assert [tuple(curve.name for curve in row.curves) for row in story.rows] == [
        ("",),
        ("on", "off"),
        ("own", "control"),
        ("own", "shuffled"),
    ]
    assert {step.label for step in story.steps if step.regime} == {
        f"{name} (rule kappa)" for name in ("weak", "Bayes-aligned", "undetermined", "excessive")
    }
    assert "label by rule kappa" in story_lead(summary)


def test_the_script_draws_the_same_numbers(several):
    summary = read_run(several).summary
    data = embedded(page_of(several))
    for story in stories(summary):
        drawn = data["stories"][story.id]
        assert [step[0] for step in drawn["steps"]] == [step.strength for step in story.steps]
        for row, own in zip(drawn["rows"], story.rows, strict=True):
            assert row["title"] == own.title
            means = [point[1] for point in row["curves"][0]["points"]]
            assert means == pytest.approx([point.mean for point in own.curves[0].points], rel=1e-4)
            assert [mark[0] for mark in row["marks"]] == [mark.name for mark in own.marks]
            assert len(row["levels"]) == len(own.levels)
    fraction = data["cells"]["tangent_fraction.margin"]
    cell = next(cell for cell in summary.cells if cell.id == "pgd_l2-1")
    assert ["pgd_l2", 1.0, *(pytest.approx(v, rel=1e-4) for v in interval_of(cell))] in fraction
    assert embedded(page_of(build_one(several)))["cells"] == {}


def interval_of(cell):
    e = cell.measures["tangent_fraction.margin"]
    return e.mean, e.low, e.high


def build_one(several):
    """A run of one seed beside that of several."""
    folder = several.parent / "one"
    return folder if folder.exists() else build_run(folder)


def test_story_figure_labels_every_row_strength_and_what_is_white(reported):
    figure = story_figure(read_run(reported[0]))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [
        "weak",
        "Bayes-aligned",
        "excessive",
        "collapsed, diverged, undetermined",
        "standard behind the named filter",
        "best control",
    ]
    figure.draw_without_rendering()
    labels = [" ".join(axes.get_ylabel().split()) for axes in figure.axes]
    assert [label for label in labels if label] == ROWS
    for axes in figure.axes[-3:]:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert [label.get_text() for label in figure.axes[-3].get_xticklabels()] == ["0", "0.03", "0.3", "3", "30", "300"]
    drawn = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert drawn == ["pca-50"] * 6  # of two directions, in three columns


def test_story_figure_draws_networks_and_marks(several):
    figure = story_figure(read_run(several))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"peak", "t₁", "t₂", "each network"} <= set(names)
    first = figure.axes[3]  # L of gradient norm
    clouds = [line for line in first.lines if line.get_marker() == "."]
    assert [len(line.get_xdata()) for line in clouds] == [3 * 5]
    assert sum(line.get_color() == MARKS["t₁"] for line in first.lines) == 2  # its interval and its estimate


def test_strength_labels_that_would_touch_are_left_out(run):
    def crowd(summary):
        for entry in [*summary["trials"], *summary["cells"]]:
            if entry["objective"] == "noise_augmentation":
                entry["strength"] = 1 + entry["strength"] / 100

    rewrite(run, crowd)
    figure = story_figure(read_run(run))
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["0", "1.001"]
