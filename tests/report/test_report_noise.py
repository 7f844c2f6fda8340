"""Signal and distractor: curves with bands that hold at all σ at once, on the page and as a figure."""

import json

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from report.helpers import embedded, rewrite, section, typed
from report.synthetic_run import NOISE_SIGMAS, build_run
from tangency.report import write_report
from tangency.report.draw.distractor import distractor_figure
from tangency.report.page.sections import noise_section
from tangency.report.read.noise import noise_curves
from tangency.report.read.run import RunFiles, read_run

ROBUST = "gradient_norm-0.3-s0"


@pytest.fixture(scope="module")
def content(world_run):
    return read_run(world_run)


@pytest.fixture
def summary(world_run):
    """What the file holds."""
    return json.loads((world_run / "summary.json").read_text())


def with_summary(content, summary):
    return RunFiles(content.folder, content.spec, typed(summary), content.rows, content.pictures)


def test_section_says_what_unit_chance_and_band(world_page, page):
    text = section(world_page, "noise")
    for words in (
        "noise of size σ on the signal's pixels, over that under the same noise on the distractor's",
        "It has no unit; σ is in [0, 1] pixel units",
        "Chance is 1",
        "holds at all σ of its curve at once, with 95 %",
        "paired over images and noise; 0 is no difference",
    ):
        assert words in text
    assert 'id="noise"' in world_page
    assert section(page, "noise") == ""
    assert 'id="noise"' not in page


def test_the_script_gets_every_curve_with_its_band(summary, world_page):
    found = embedded(world_page)["noise"]
    held, trials = summary["noise_curves"]["trials"], summary["trials"]
    assert found["sigmas"] == NOISE_SIGMAS
    assert {trials[c["trial"]]["id"] for c in found["curves"]} == set(held)
    for curve in found["curves"]:
        own = held[trials[curve["trial"]]["id"]]
        for name, source in (("mean", "ratio"), ("low", "low"), ("high", "high")):
            assert curve["ratio"][name] == pytest.approx(own[source], rel=1e-4)
        assert (curve["difference"] is None) is ("minus_standard" not in own)
    shades = [c["shade"] for c in found["curves"] if trials[c["trial"]]["objective"] == "pgd_l2"]
    assert shades == sorted(set(shades))
    assert shades[-1] == 1


def test_the_plot_is_drawn_by_the_script_and_told_to_who_does_not_see(world_page, page):
    assert 'class="plot noise compared" role="img"' in world_page
    assert "gradient norm 0.3: " in world_page.partition('class="plot noise compared"')[2][:3000]
    assert 'class="plot noise' not in page


def test_table_holds_share_on_the_signal_and_where_bands_are_above(summary):
    found = summary["noise_curves"]["trials"][ROBUST]
    found["low"] = [1.1, 0.9, 1.2]
    found["minus_standard"]["low"] = [-0.1, -0.2, 0.0]
    section_ = noise_section(typed(summary))
    row = next(row for row in section_.rows if row.trial.id == ROBUST)
    assert (row.above, row.better) == ("0.01, 1", "none")
    assert row.signals[0].startswith("0.65")
    assert section_.signals == ["Gradient on the signal (chance 0.500)"]
    assert row.ratios[0][1].startswith("[1.10, ")
    standard = next(row for row in section_.rows if row.trial.objective == "standard")
    assert standard.better == "–"


def test_signal_fraction_is_among_the_measures(world_page, page):
    assert "signal_fraction.margin" in section(world_page, "table")
    assert "Gradient on the signal" in section(world_page, "curves")
    assert "Gradient on the signal" in section(world_page, "reading")
    assert "Gradient on the signal" not in section(page, "reading")
    assert "Gradient on the signal" not in section(page, "table")


def test_data_with_a_signal_but_no_noise_has_a_table_and_no_plot(tmp_path):
    run = build_run(tmp_path / "run", world=True)
    rewrite(run, lambda summary: summary.update(noise_curves={}))
    text = write_report(run).read_text(encoding="utf-8")
    assert "Gradient on the signal (chance 0.500)" in section(text, "noise")
    assert "simultaneous" not in section(text, "noise")
    assert 'class="plot noise' not in text
    assert 'id="noise-legend"' not in text
    assert distractor_figure(read_run(run)) is None


def test_undefined_ratios_are_gaps(content, summary):
    found = summary["noise_curves"]["trials"][ROBUST]
    for values in (found["ratio"], found["high"], *found["minus_standard"].values()):
        values[0] = None
    found["low"][0] = 0.0
    section_ = noise_section(typed(summary))
    row = next(row for row in section_.rows if row.trial.id == ROBUST)
    assert row.ratios[0] == ("undefined", "")
    assert section_.undefined
    assert f"at σ = {NOISE_SIGMAS[1]:g}" in section_.text.partition("gradient norm 0.3")[2][:30]
    axes = distractor_figure(with_summary(content, summary)).axes[0]
    line = next(line for line in axes.lines if line.get_label() == "gradient norm 0.3")
    assert np.isnan(np.asarray(line.get_ydata(), float)[0])


def test_figure_has_bands_chance_and_the_zero_line(content, summary):
    left, right = distractor_figure(content).axes
    held = summary["noise_curves"]["trials"]
    assert sum(isinstance(c, PolyCollection) for c in left.collections) == len(held)
    assert sum(isinstance(c, PolyCollection) for c in right.collections) == sum(
        "minus_standard" in v for v in held.values()
    )
    for axes, level in ((left, 1), (right, 0)):
        assert any(line.get_linestyle() == "--" and set(line.get_ydata()) == {level} for line in axes.lines)
    assert (left.get_xscale(), left.get_yscale()) == ("log", "log")
    assert (right.get_xscale(), right.get_yscale()) == ("log", "linear")
    band = next(c for c in right.collections if isinstance(c, PolyCollection)).get_paths()[0].vertices[:, 1]
    first = next(v["minus_standard"] for v in held.values() if "minus_standard" in v)
    assert (band.min(), band.max()) == pytest.approx((min(first["low"]), max(first["high"])))


def test_seeds_share_one_entry_of_the_legend(tmp_path):
    figure = distractor_figure(read_run(build_run(tmp_path / "run", seeds=(0, 1), world=True)))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == len(set(names))
    assert {"Bayes rule", "untrained", "standard", "gradient norm 0.3", "chance, no difference"} <= set(names)


def test_without_a_standard_network_there_is_no_difference(content, summary):
    for found in summary["noise_curves"]["trials"].values():
        found.pop("minus_standard", None)
    assert len(distractor_figure(with_summary(content, summary)).axes) == 1
    assert not noise_section(typed(summary)).compared


def test_one_sigma_is_drawn_with_bars(content, summary):
    curves = summary["noise_curves"]
    curves["sigmas"] = curves["sigmas"][:1]
    for found in curves["trials"].values():
        for values in (found["ratio"], found["low"], found["high"], *found.get("minus_standard", {}).values()):
            del values[1:]
    axes = distractor_figure(with_summary(content, summary)).axes[0]
    bars = [c for c in axes.collections if not isinstance(c, PolyCollection)]
    assert len(bars) == len(curves["trials"])


def test_curves_of_trials_that_the_summary_lacks_are_ignored(summary):
    before = noise_curves(typed(summary))
    summary["noise_curves"]["trials"]["nobody"] = {"ratio": [1], "low": [1], "high": [1]}
    assert noise_curves(typed(summary)) == before
    assert len(before) == 15
