"""Whole sweeps on the page: thesis, change points, effective strength, convergence, correlations, in words."""

import dataclasses

import pytest

from report.helpers import page_of, section, typed
from report.synthetic_run import build_run, summary_of
from tangency.cli.show.study import print_study
from tangency.report.draw.story import effective_figure
from tangency.report.read.run import read_run
from tangency.report.text.effective import effective_rows, explained
from tangency.report.text.thesis import (
    convergence_sentence,
    correlation_sentence,
    crossing_words,
    moved_words,
    peak_words,
    thesis_sentence,
    turn_rows,
    turn_sentence,
)
from tangency.study.summary.sweep_entries import (
    CommonCurveEntry,
    CorrelationControlEntry,
    CorrelationEntry,
    CrossingEntry,
    MovedEntry,
    PeakEntry,
    PointEntry,
)

MIXTURE = "the closed form, the Bayes rule of the mixture (accuracy 0.830; 0.780 at σ = 0.5)"
LOST = "Strength 300: its one network diverged; the curve ends before it."
ONE = "One network a strength: this is said of these networks, not of their recipes."


def curve_of(summary, objective="gradient_norm"):
    return next(curve for curve in summary["curves"] if curve["objective"] == objective)


def sentence(content, objective="gradient_norm"):
    summary = typed(content)
    return thesis_sentence(summary, next(c for c in summary.curves if c.objective == objective))


def test_a_thesis_that_holds_says_why():
    assert sentence(summary_of()) == (
        "L and log F²/control are both shown to change, in one direction at 4 of 4 strengths. "
        f"The largest L, under {MIXTURE} and the trained score, is that of gradient norm 3, which is on-manifold. "
        f"{LOST} {ONE}"
    )


@pytest.mark.parametrize(
    ("reasons", "signs"),
    [
        (
            ["opposite signs at a: x", "one sign at b: x", "not both shown at c: x"],
            "L and log F²/control are both shown to change, in one direction at 1 of 3 strengths, in opposite "
            "directions at 1 of 3 strengths; not both changes are shown at 1 of 3 strengths.",
        ),
        (["not both shown at c: x"], "Not both changes are shown at 1 of 1 strength."),
        (
            ["opposite signs at a: x"] * 2,
            "L and log F²/control are both shown to change, in opposite directions at 2 of 2 strengths.",
        ),
    ],
)
def test_signs_are_counted_from_the_reasons(reasons, signs):
    summary = summary_of()
    thesis = curve_of(summary)["thesis"]
    thesis.update(status="fails", reasons=reasons, best={})
    assert sentence(summary) == f"{signs} {LOST} {ONE}"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("not", "which is not on-manifold"),
        ("open", "for which on-manifold is open"),
        ("shown (global)", "which is on-manifold (global)"),
    ],
)
def test_the_best_recipe_is_named_with_its_manifold(status, words):
    summary = summary_of()
    thesis = curve_of(summary)["thesis"]
    thesis["best"] = {"bayes_gradient": "gradient_norm-3", "network_bayes_gradient": "gradient_norm-0.3"}
    next(cell for cell in summary["cells"] if cell["id"] == "gradient_norm-3")["verdict"]["on_manifold"] = status
    text = sentence(summary)
    assert f"The largest L, under {MIXTURE}, is that of gradient norm 3, {words}." in text
    assert "The largest L, under the trained score, is that of gradient norm 0.3, which is on-manifold." in text


def test_collapsed_recipes_are_left_out_and_named():
    assert "Collapsed and left out: PGD ℓ₂ 10." in sentence(summary_of(), "pgd_l2")


def test_estimators_alone_and_networks_as_the_unit():
    text = sentence(summary_of(seeds=(0, 1, 2), second=1.6))
    assert text.startswith("L and log F²/control are both shown to change, in one direction at 4 of 4 strengths. ")
    assert "for which on-manifold is open" in text
    assert text.endswith("Networks are the unit, 3 a strength. Under each estimator alone: mfa holds, local-pca fails.")


def test_a_withheld_thesis_is_not_claimed():
    content = summary_of(seeds=(0, 1, 2), longer=1.3)
    assert curve_of(content)["thesis"]["status"] == "holds"
    text = sentence(content)
    assert text.startswith("Not converged, so nothing is claimed: gradient_norm-0.3, trained 2 ")
    assert "holds" not in text
    assert turn_rows(typed(content))[0] == ("Gradient norm", "withheld", "–", "–", "–")
    assert sentence(content, "pgd_l2").startswith("L and log F²/control are both shown to change")


def test_without_a_standard_network_nothing_is_tested():
    summary = summary_of()
    curve_of(summary)["thesis"] = None
    assert sentence(summary) == (f"No change from a standard network is measured. {LOST}")


def test_one_network_has_no_peaks_and_change_points():
    assert turn_sentence(typed(summary_of())) == (
        "Peaks and change points take at least 3 networks a strength; there is 1."
    )
    assert turn_sentence(typed(summary_of(seeds=(0, 1, 2), longer=1.3))) == ""


@pytest.mark.slow
def test_peaks_and_change_points_of_three_networks(tmp_path):
    content = summary_of(seeds=(0, 1, 2), longer=1.0)
    own = curve_of(content)["directions"]["bayes_gradient"]
    rows = turn_rows(typed(content))
    assert [row[:2] for row in rows[:3]] == [
        ("Gradient norm", f"{curve}; strength 300: all 3 networks diverged; the curve ends before it")
        for curve in (f"L, {MIXTURE}", "L, the trained score", "accuracy")
    ]
    assert rows[0][2].startswith("shown at 3, p = ")
    assert rows[0][3].startswith(f"{own['t1']['estimate']:.4f} [")
    assert rows[2][2:4] == ("–", "–")
    text = section(page_of(build_run(tmp_path / "run", seeds=(0, 1, 2), longer=1.0)), "thesis")
    assert rows[0][3] in text
    assert "t₂: where accuracy has fallen by δ = 0.05, and where L has fallen by 0.02 past its largest" in text


def crossing(**changes):
    known = {"target": "half", "estimate": 0.2, "low": 0.1, "high": 0.3, "below": 0.0, "not_reached": 0.0}
    return CrossingEntry(**known | {"networks": 5, "reason": None} | changes)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (crossing(), "0.200 [0.100, 0.300]"),
        (crossing(estimate="< 0.03", low="< 0.03"), "< 0.03 [< 0.03, 0.300]"),
        (crossing(high="not reached"), "0.200 [0.100, not reached]"),
        (crossing(estimate="not reached", low="not reached", high="not reached"), "not reached"),
        (crossing(estimate="not reached", low="0.3", high="not reached"), "not reached [0.3, not reached]"),
        (crossing(low=None, high=None, networks=1), "0.200, no interval from 1 network"),
        (crossing(estimate=None, low=None, high=None, reason="L does not rise"), "not defined: L does not rise"),
        (None, "not defined"),
    ],
)
def test_change_points_in_words(entry, words):
    assert crossing_words(entry) == words


def peak(**changes):
    point = PointEntry(strength=3.0, mean=0.3, low=0.2, high=0.4, each=[0.3])
    known = {"shown": True, "t": 3.0, "critical": 2.0, "p": 0.01, "networks": 5, "peak": point, "ends": [point, point]}
    return PeakEntry(**known | {"reason": None} | changes)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (peak(), "shown at 3, p = 0.0100"),
        (peak(shown=False, p=0.4), "not shown (largest between the ends at 3, p = 0.400)"),
        (peak(shown=False, t=None, p=None, reason="1 network a strength"), "not tested: 1 network a strength"),
        (None, "not tested: fewer than three strengths"),
    ],
)
def test_peaks_in_words(entry, words):
    assert peak_words(entry) == words


def test_effective_strength_has_every_objective_in_every_panel():
    summary = typed(summary_of())
    rows = effective_rows(summary)
    assert [row.title for row in rows] == [
        "Accuracy",
        "L, closed form",
        "L, trained score",
        "log F²/best control, mfa",
    ]
    radii = {(c.objective, c.strength): c.verdict.radius.mean for c in summary.cells if c.verdict}
    for row in rows:
        assert set(row.points) == {"standard", "gradient_norm", "pgd_l2", "noise_augmentation"}
        assert len(row.points["standard"]) == 1  # once, though every objective has it
        places = [point.strength for point in row.points["gradient_norm"]]
        assert places == [radii["gradient_norm", strength] for strength in (0.03, 0.3, 3.0, 30.0)]
    assert [row.zero for row in rows] == [False, False, False, True]


def test_one_common_curve_is_a_number_for_each_direction():
    summary = typed(summary_of())
    curve = CommonCurveEntry(
        direction="bayes_gradient", objectives=["pgd_l2", "standard"], cells=11, r2=0.826, r2_out=-0.54
    )
    few = CommonCurveEntry(direction="network_bayes_gradient", objectives=["standard"], cells=4, r2=None, r2_out=None)
    summary = dataclasses.replace(summary, common_curves=[curve, few])
    assert explained(summary) == [
        f"Under {MIXTURE}, one curve of the effective strength explains R² = 0.83 of the differences in L over 11 "
        "recipes (the standard one, PGD ℓ₂); with each recipe predicted from the others, R² = −0.54.",
        "Under the trained score: too few recipes for a common curve (4 recipes of 1 objectives).",
    ]
    assert effective_rows(summary)[1].note == "one curve: R² = 0.83; of recipes left out −0.54"
    assert effective_rows(summary)[2].note == ""


def test_the_figure_of_effective_strength_has_colours_bars_and_notes(reported):
    content = read_run(reported[0])
    figure = effective_figure(content)
    figure.draw_without_rendering()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["standard", "gradient norm", "PGD ℓ₂", "noise augmentation"]
    shown = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert any("one curve: R² = " in text.get_text() for text in shown["L, trained score"].texts)
    assert all(axes.get_xscale() == "log" for axes in shown.values())
    assert len(shown["Accuracy"].collections) == 4  # error bars of each objective
    legend = figure.legends[0].get_window_extent()
    assert all(not legend.overlaps(axes.get_window_extent()) for axes in shown.values())
    assert not legend.overlaps(figure._supxlabel.get_window_extent())


def test_without_a_radius_there_is_no_figure(tmp_path):
    run = build_run(tmp_path / "run")
    content = read_run(run)
    cells = [
        dataclasses.replace(cell, verdict=cell.verdict and dataclasses.replace(cell.verdict, radius=None))
        for cell in content.summary.cells
    ]
    summary = dataclasses.replace(content.summary, cells=cells)
    assert effective_rows(summary) == []
    assert effective_figure(dataclasses.replace(content, summary=summary)) is None


def test_convergence_that_was_not_tested_is_said_so(page):
    assert "it is not known whether the verdicts are those of converged networks" in section(page, "convergence")
    assert "“convergence: true” in the spec" in convergence_sentence([])


@pytest.mark.slow
def test_convergence_that_held_and_that_did_not(tmp_path):
    held = typed(summary_of(seeds=(0, 1, 2), longer=1.0)).convergence
    assert convergence_sentence(held) == (
        "1 recipe was trained for 24 epochs, too, in place of 12: neither ln κ nor log F²/control moved by more than "
        "is allowed."
    )
    moved = typed(summary_of(seeds=(0, 1, 2), longer=1.3)).convergence
    text = convergence_sentence(moved)
    assert "1 of them moved too far, and verdicts that rest on them are withheld." in text
    assert moved[0].reason in text
    words = section(page_of(build_run(tmp_path / "run", seeds=(0, 1, 2), longer=1.3)), "convergence")
    assert "gradient_norm-0.3 12 → 24 −0." in words
    assert "(allowed ±0.0800)" in words
    assert words.endswith("yes")


def test_changes_with_what_is_allowed():
    moved = MovedEntry(change=-0.1, each=[-0.1], allowed=0.08, unit="networks")
    assert moved_words(moved) == "−0.100 (allowed ±0.0800)"
    assert moved_words(dataclasses.replace(moved, change=None)) == "unknown"


def correlation(sigma, **controls):
    key = f"alignment_cosine.margin.bayes_gradient.sigma={sigma}"
    known = {"x": "log_kappa.margin", "y": key, "rho": -0.9, "plain": -0.98, "seeds": 5, "cells": 11, "each": []}
    return CorrelationEntry(**known, controls=controls)


def control(difference, p):
    return CorrelationControlEntry(rho=-0.8, difference=difference, low=-0.3, high=0.1, p=p, p_holm=p)


def test_only_differences_to_a_control_are_claims():
    entries = [
        correlation(0.25, shuffled=control(-0.1, 0.4), dct=control(-0.2, 0.01)),
        correlation(0.5, shuffled=control(-0.3, 0.05)),
    ]
    assert correlation_sentence(entries) == (
        "After Holm's correction for 3 differences, 2 are shown: cos closed form's Bayes direction, σ = 0.25 minus a "
        "cosine-frequency subspace −0.20; cos closed form's Bayes direction, σ = 0.5 minus another image's target "
        "−0.30."
    )
    assert correlation_sentence(entries[:1]).startswith("After Holm's correction for 2 differences, 1 is shown: ")
    none = [correlation(0.25, shuffled=control(-0.1, 0.4))]
    assert correlation_sentence(none) == "After Holm's correction for 1 difference, none is shown."


def test_a_difference_to_a_flat_control_is_withheld_in_a_sentence():
    flat = dataclasses.replace(control(-0.3, None), low=None, high=None, withheld="the control is flat")
    words = "Withheld: cos closed form's Bayes direction, σ = 0.5 minus another image's target: the control is flat."
    assert correlation_sentence([correlation(0.5, shuffled=flat)]) == f"No difference to a control is claimed. {words}"
    both = correlation(0.5, shuffled=flat, dct=control(-0.2, 0.01))
    assert correlation_sentence([both]) == (
        "After Holm's correction for 1 difference, 1 is shown: cos closed form's Bayes direction, σ = 0.5 minus a "
        f"cosine-frequency subspace −0.20. {words}"
    )


def test_what_a_curve_lacks_is_said_beside_thesis_peak_and_change_points(page, capsys):
    lacks = "strength 300: its one network diverged; the curve ends before it"
    assert f"gradient_norm, {lacks}." in section(page, "thesis")
    summary = summary_of(seeds=(0, 1, 2))
    own = typed(summary)
    lacks = lacks.replace("its one network", "all 3 networks")
    assert f"{lacks[0].upper()}{lacks[1:]}." in thesis_sentence(own, own.curves[0])
    curves = [row[1] for row in turn_rows(own) if row[0] == "Gradient norm"]
    assert len(curves) == 3
    assert all(words.endswith(f"; {lacks}") for words in curves)
    assert not any("diverged" in row[1] for row in turn_rows(own) if row[0] != "Gradient norm")
    print_study(summary)
    assert f"gradient_norm, {lacks}." in capsys.readouterr().out
    without = dataclasses.replace(own.curves[0], withheld="Nothing is claimed.")
    assert thesis_sentence(own, without).endswith(f"{lacks[1:]}.")


def test_one_seed_tests_no_difference(page):
    untested = dataclasses.replace(control(None, None), low=None, high=None)
    one = dataclasses.replace(correlation(0.5, shuffled=untested), seeds=1)
    assert correlation_sentence([one]) == (
        "No difference to a control can be tested (intervals are over seeds, of which there is 1), so nothing is "
        "claimed."
    )
    assert correlation_sentence([]) == "No difference to a control can be tested, so nothing is claimed."
    text = section(page, "correlations")
    assert "only the difference to the correlation with a control is a claim" in text
    assert "not tested" in text
    assert "(Holm)" not in text
