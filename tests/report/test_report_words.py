"""The verdict says no more than its numbers."""

import numpy as np
import pytest

from report.helpers import trial_of, typed
from report.synthetic_run import summary_of
from tangency.evaluate.entries import IntervalEntry, MeasureEntry
from tangency.measures.keys import Key
from tangency.objectives.registry import OBJECTIVES
from tangency.report.text import glossary
from tangency.report.text.measures import describe, parameter_label, short_label
from tangency.report.text.numbers import UNDEFINED, estimate, number
from tangency.report.text.trials import outside_sentence, regime_label, regime_sentences, seed_warning
from tangency.report.text.verdict import change_text, verdict


def make_summary(**options):
    chosen = {"seeds": (0,), "positive": True, "headline": True, "channels": 1} | options
    return summary_of(**chosen, rng=np.random.default_rng(5))


def spoken(summary):
    head = verdict(typed(summary))
    return " ".join((head.claim, *head.evidence))


def test_positive_excess_and_rise_earn_more_tangent():
    summary = make_summary()
    assert verdict(typed(summary)).more_tangent
    assert "more tangent" in spoken(summary)


@pytest.mark.parametrize("control", ["shuffled", "shuffled_class", "dct", "pca"])
def test_without_positive_excess_the_control_is_named_instead(control):
    summary = make_summary(positive=False)
    summary["headline"]["tangent_excess"]["best_control"] = control
    head = verdict(typed(summary))
    assert not head.more_tangent
    assert "more tangent" not in spoken(summary)
    assert glossary.controls_of("tangent_fraction")[control] in head.claim
    assert "explains the rise" in head.claim


@pytest.mark.parametrize(
    ("excess", "rise", "positive", "earned"),
    [
        ((0.1, 0.3), (0.1, 0.3), True, True),
        ((0.1, 0.3), (0.1, 0.3), False, False),  # the study's own flag is binding
        ((-0.1, 0.3), (0.1, 0.3), True, False),  # an interval over zero is not positive
        ((0.1, 0.3), (-0.1, 0.3), True, False),  # beats the control, as the standard network does
        ((None, None), (0.1, 0.3), True, False),
    ],
)
def test_more_tangent_needs_flag_excess_and_rise(excess, rise, positive, earned):
    summary = make_summary()
    headline = summary["headline"]
    headline["tangent_excess"] |= {"low": excess[0], "high": excess[1], "positive": positive}
    headline["tangent_excess_rise"] |= {"low": rise[0], "high": rise[1]}
    assert verdict(typed(summary)).more_tangent is earned
    assert ("more tangent" in spoken(summary)) is earned


def test_no_raw_rise_is_not_called_a_rise():
    summary = make_summary(positive=False)
    summary["headline"]["raw_rise"]["tangent_fraction"] = {"mean": 0.0, "low": -0.01, "high": 0.01}
    assert "no rise" in verdict(typed(summary)).claim
    assert "PCA" in verdict(typed(summary)).claim


def test_no_headline_claims_nothing():
    head = verdict(typed(make_summary(headline=False)))
    assert "no rise can be claimed" in head.claim
    assert not head.more_tangent


def test_undefined_headline_numbers_are_said_to_be_undefined():
    summary = make_summary()
    nothing = {"mean": None, "low": None, "high": None}
    for name in ("tangent_excess", "tangent_excess_rise", "alignment_excess", "alignment_excess_rise"):
        summary["headline"][name] |= nothing
    assert UNDEFINED in spoken(summary)


def test_falling_difference_is_told_with_its_size():
    assert change_text(IntervalEntry(mean=-0.2, low=-0.3, high=-0.1)) == "falls by 0.20 [0.10, 0.30]"
    assert change_text(IntervalEntry(mean=0.2, low=0.1, high=0.3)) == "rises by 0.20 [0.10, 0.30]"
    assert "not distinguishable" in change_text(IntervalEntry(mean=0.1, low=-0.1, high=0.3))


def test_alignment_that_shuffling_explains_is_said_so():
    summary = make_summary()
    summary["headline"]["alignment_excess"] |= {"low": -0.01, "high": 0.02}
    assert "no better than another image's" in spoken(summary)


@pytest.mark.parametrize(("seeds", "warned"), [((0,), True), ((7, 7), True), ((0, 1), False)])
def test_one_seed_is_warned_about(seeds, warned):
    assert ("training noise" in seed_warning(seeds)) is warned


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8591, "0.859"),
        (-0.25, "−0.250"),
        (0.0, "0"),
        (1254.2, "1254"),
        (4e-5, "4.0·10⁻⁵"),
        (None, "undefined"),
        (float("nan"), "undefined"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_a_rounded_zero_has_no_sign():
    assert number(-0.0004, 2) == "0.00"


def test_interval_sets_the_digits():
    assert estimate(IntervalEntry(mean=0.31416, low=0.25, high=0.37)) == "0.31 [0.25, 0.37]"
    assert estimate(IntervalEntry(mean=0.31416, low=0.3129, high=0.3155), True) == "+0.3142 [0.3129, 0.3155]"
    assert estimate(IntervalEntry(mean=3.0, low=None, high=None)) == "3.00"


def test_regimes_in_words_name_every_strength_once():
    text = regime_sentences(typed(make_summary(seeds=(0, 1))).trials)
    assert text[0] == (
        "Gradient norm: weak at 0.03; Bayes-aligned at 0.3; undetermined at 3; excessive at 30; diverged at 300."
    )
    assert len(text) == 3


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("accuracy", ("accuracy", "", "", "", None, "")),
        ("tangent_fraction.margin.shuffled_class", ("tangent_fraction", "margin", "", "", None, "shuffled_class")),
        ("rho.logits.sigma=0.05", ("rho", "logits", "", "sigma", 0.05, "")),
        ("change_on.eps=2", ("change_on", "", "", "eps", 2.0, "")),
        (
            "alignment_lpips.sum_logits.score.sigma=0.125.image",
            ("alignment_lpips", "sum_logits", "score", "sigma", 0.125, "image"),
        ),
    ],
)
def test_keys_are_taken_apart(text, parts):
    key = Key.parse(text)
    assert (key.family, key.quantity, key.target, key.parameter, key.value, key.control) == parts
    assert str(key.base) == text.removesuffix(f".{parts[-1]}")


def test_sigma_is_printed_in_both_units():
    assert parameter_label(Key.parse("rho.logits.sigma=0.5")) == "σ = 0.5 (1 in [−1, 1] units)"


def test_every_measure_of_a_run_is_explained():
    for trial in make_summary()["trials"]:
        for text in trial["measures"]:
            measure = describe(Key.parse(text))
            assert measure.unit
            assert measure.chance
            assert measure.better in ("higher", "lower", "neither")
            assert "{" not in measure.what + measure.title


@pytest.mark.parametrize(
    ("kept", "changes", "claim"),
    [
        ({"gradient_norm"}, {}, "No standard-trained network"),
        ({"standard"}, {}, "Only the standard network was trained"),
        ({"standard", "gradient_norm"}, {"standard": {"outcome": "diverged"}}, "The standard network diverged"),
        ({"standard", "pgd_l2"}, {"pgd_l2": {"regime": "excessive"}}, "No robust network stayed"),
        ({"standard", "gradient_norm"}, {}, "The headline's alignment was not measured"),
    ],
)
def test_without_a_headline_the_true_reason_is_given(kept, changes, claim):
    summary = make_summary()
    summary["trials"] = [t | changes.get(t["objective"], {}) for t in summary["trials"] if t["objective"] in kept]
    summary["headline"] = None
    assert verdict(typed(summary)).claim.startswith(claim)
    assert not verdict(typed(summary)).more_tangent


def test_a_trial_without_baseline_is_not_called_a_control():
    assert regime_label(trial_of(objective="pgd_l2")) == "no baseline"
    assert regime_label(trial_of(objective="untrained")) == "control"


def test_how_far_steps_leave_the_range_of_images_is_said_once():
    measures = {
        f"outside_{side}.eps={e}": MeasureEntry(mean=share, low=None, high=None)
        for side, e, share in (("on", "2", 0.21), ("off", "2", 0.27), ("on", "0.5", 0.18), ("off", "0.5", None))
    }
    sentence = outside_sentence([trial_of(), trial_of(measures=measures)])
    assert "21% and 27% at ε = 2 of the pixels" in sentence
    assert "0.5" not in sentence
    assert outside_sentence([trial_of()]) == ""


BANDS = {"kappa_ratio": [0.413, 0.562], "accuracy_difference": [-0.081, -0.032], "change_on_ratio": [0.61, 0.83]}


@pytest.mark.parametrize(
    ("bands", "said", "unsaid"),
    [
        (
            BANDS,
            ["settled: κ/κ₀ against 0.5", "[0.413, 0.562]", "the margin −0.05", "[−0.0810, −0.0320]"],
            ["on-manifold"],
        ),
        (BANDS | {"kappa_ratio": [0.51, 0.7], "change_on_ratio": [0.4, 0.6]}, ["on-manifold ratio against"], ["κ/κ₀"]),
        ({name: [None, None] for name in BANDS}, [], ["Not settled:"]),
        (None, [], ["Not settled:"]),
    ],
)
def test_where_the_intervals_settle_nothing_more_images_are_advised(bands, said, unsaid):
    summary = make_summary()
    unsettled = {"regime": "undetermined", "regime_bands": bands}
    kept = [t for t in summary["trials"] if t["objective"] in ("standard", "pgd_l2") and t["outcome"] == "ok"]
    summary["trials"] = [t | (unsettled if t["strength"] else {}) for t in kept]
    summary["headline"] = None
    text = spoken(summary)
    assert "do not settle" in text
    assert "Raise “measured” in the spec, or add seeds." in text
    assert "maller strengths" not in text
    assert all(word in text for word in said)
    assert not any(word in text for word in unsaid)


def test_objectives_with_words_of_their_own_exist():
    assert set(glossary.OBJECTIVES) <= set(OBJECTIVES)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("alignment_cosine.margin.bayes_gradient.sigma=0.5", "cos Bayes gradient, σ = 0.5"),
        ("change_on.eps=2", "On-manifold change, ε = 2"),
        ("accuracy", "Accuracy"),
        ("novel.margin.sigma=1", "novel.margin, σ = 1"),
    ],
)
def test_short_labels(text, label):
    assert short_label(Key.parse(text)) == label
