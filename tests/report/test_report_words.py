"""Numbers, keys, trials and measures in words."""

import pytest

from report.helpers import trial_of, typed
from report.synthetic_run import summary_of
from tangency.evaluate.entries import IntervalEntry, MeasureEntry
from tangency.measures.keys import Key
from tangency.objectives.registry import OBJECTIVES
from tangency.report.text import glossary
from tangency.report.text.measures import describe, parameter_label, short_label
from tangency.report.text.numbers import estimate, number
from tangency.report.text.trials import outside_sentence, regime_label, regime_sentences, seed_warning


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


def test_labels_in_words_name_every_strength_once():
    text = regime_sentences(typed(summary_of(seeds=(0, 1))))
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
    for trial in summary_of()["trials"]:
        for text in trial["measures"]:
            measure = describe(Key.parse(text))
            assert measure.unit
            assert measure.chance
            assert measure.better in ("higher", "lower", "neither")
            assert "{" not in measure.what + measure.title


def test_a_trial_without_baseline_is_not_called_a_control():
    assert regime_label(trial_of(objective="pgd_l2")) == "no baseline"
    assert regime_label(trial_of(objective="untrained")) == "control"
    assert regime_label(trial_of(objective="pgd_l2", withheld="not converged")) == "withheld"


def test_how_far_steps_leave_the_range_of_images_is_said_once():
    measures = {
        f"outside_{side}.eps={e}": MeasureEntry(mean=share, low=None, high=None)
        for side, e, share in (("on", "2", 0.21), ("off", "2", 0.27), ("on", "0.5", 0.18), ("off", "0.5", None))
    }
    sentence = outside_sentence([trial_of(), trial_of(measures=measures)])
    assert "21% and 27% at ε = 2 of the pixels" in sentence
    assert "0.5" not in sentence
    assert outside_sentence([trial_of()]) == ""


def test_objectives_with_words_of_their_own_exist():
    assert set(glossary.OBJECTIVES) <= set(OBJECTIVES)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("alignment_cosine.margin.bayes_gradient.sigma=0.5", "cos closed form's Bayes direction, σ = 0.5"),
        ("change_on.eps=2", "On-manifold change, ε = 2"),
        ("accuracy", "Accuracy"),
        ("novel.margin.sigma=1", "novel.margin, σ = 1"),
    ],
)
def test_short_labels(text, label):
    assert short_label(Key.parse(text)) == label
