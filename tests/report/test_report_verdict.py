"""The head of the page says no more than its numbers: recipe, unit, estimator, label, or why there is none."""

import pytest

from report.helpers import typed
from report.synthetic_run import summary_of
from tangency.evaluate.entries import IntervalEntry
from tangency.report.page.html import soften
from tangency.report.text.numbers import estimate
from tangency.report.text.score import direction_label, direction_name
from tangency.report.text.verdict import against, claim_sentence, verdict
from tangency.statistics import CrossedEstimate


def head_of(summary):
    """The claim, and all sentences behind it as one text."""
    head = verdict(typed(summary))
    return head.claim, " ".join(head.evidence)


def numbers(e, signed=True):
    return estimate(IntervalEntry(mean=e["mean"], low=e["low"], high=e["high"]), signed=signed)


def test_of_one_network_the_claim_names_the_network_the_images_and_the_estimator():
    summary = summary_of()
    claim, evidence = head_of(summary)
    worst = numbers(summary["headline"]["claims"][0]["worst"])
    assert claim == (
        "Gradient norm 0.3, one network on 200 images: Bayes-aligned; on-manifold "
        f"(log F²/control {worst} under mfa, the only estimator)"
    )
    assert "One network: intervals are over its images, and nothing is claimed of the recipe" in evidence
    assert verdict(typed(summary)).aligned


def test_of_several_networks_the_recipe_is_spoken_of():
    claim, evidence = head_of(summary_of(seeds=(0, 1, 2)))
    assert claim.startswith("Gradient norm 0.3, 3 networks on 200 images: Bayes-aligned; ")
    assert "Intervals hold for the recipe: 3 networks crossed with the measured images." in evidence
    assert "One network" not in evidence


def test_the_worst_estimator_is_quoted_and_disagreement_is_open():
    summary = summary_of(second=1.6)
    worst, other = summary["headline"]["claims"]
    assert (worst["name"], worst["status"]) == ("local-pca", "not")
    assert (other["name"], other["status"]) == ("mfa", "shown")
    claim, evidence = head_of(summary)
    assert claim.endswith(
        "Bayes-aligned; on-manifold is open, as the estimators disagree "
        f"(log F²/control {numbers(worst['worst'])} under local-pca, the lowest of 2 estimators)"
    )
    assert numbers(other["worst"]) not in claim
    assert evidence.index("Under local-pca") < evidence.index("Under mfa")
    assert "on-manifold: not." in evidence
    assert "on-manifold: shown." in evidence


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("shown", "; on-manifold (log"),
        ("shown (global)", "; on-manifold (global) (log"),
        ("not", "; not on-manifold (log"),
        ("open", "; on-manifold is open (log"),
    ],
)
def test_each_status_has_its_words(status, words):
    summary = summary_of()
    summary["headline"]["on_manifold"] = status
    summary["headline"]["claims"][0]["status"] = status
    assert words in verdict(typed(summary)).claim


def test_without_an_estimator_on_manifold_was_not_measured():
    summary = summary_of()
    summary["headline"]["claims"] = []
    assert verdict(typed(summary)).claim.endswith("Bayes-aligned; on-manifold was not measured")
    assert claim_sentence(typed(summary)) == "No recipe is accurate enough for the claim to be tested."


def test_a_gradient_that_a_global_subspace_holds_is_not_on_the_manifold():
    claim, _ = head_of(summary_of(positive=False))
    assert "; not on-manifold (log F²/control −" in claim


def test_the_direction_that_says_the_least_is_named_with_both_rises():
    summary = summary_of()
    headline = summary["headline"]
    assert headline["direction"] == "network_bayes_gradient"
    _, evidence = head_of(summary)
    assert (
        "L, the cosine with the Bayes direction minus that with another image's, is "
        f"{numbers(headline['alignment'])} under the trained score, the direction that says the least; it is "
        f"{numbers(headline['over_standard'], False)} above the standard network, and "
        f"{numbers(headline['over_filter'], False)} above it behind the best fixed linear filter, pca-50." in evidence
    )


def test_the_closed_form_is_the_mixtures_with_its_accuracy_not_the_bayes_rule():
    summary = typed(summary_of())
    name = "the closed form, the Bayes rule of the mixture (accuracy 0.830; 0.780 at σ = 0.5)"
    assert direction_name(summary, "bayes_gradient") == name
    assert direction_label("bayes_gradient") == "closed form"
    content = summary_of()
    content["headline"]["direction"] = "bayes_gradient"
    assert name in head_of(content)[1]


def test_exact_and_trained_directions_have_their_names():
    summary = summary_of()
    summary["score"]["network"] = {"score": {"kind": "edm-fashion-mnist"}}
    assert direction_name(typed(summary), "network_bayes_gradient") == "the trained score edm-fashion-mnist"
    assert direction_label("network_bayes_gradient") == "trained score"
    summary["score"] = {"kind": "exact"}
    assert direction_name(typed(summary), "bayes_gradient") == "the closed form, the exact Bayes rule"
    assert direction_label("bayes_gradient") == "closed form"
    summary["score"] = {"kind": "mfa"}  # of a run that did not measure its accuracy
    assert direction_name(typed(summary), "bayes_gradient") == "the closed form, the Bayes rule of the mixture"


def test_a_withheld_label_is_not_given_and_its_reason_is():
    summary = summary_of(seeds=(0, 1, 2), longer=1.3)
    summary["headline"] |= {"recipe": "gradient_norm-0.3", "regime": None, "withheld": "Not converged: ln κ moved."}
    claim, evidence = head_of(summary)
    assert claim == "Gradient norm 0.3, 3 networks on 200 images: the label is withheld. Not converged: ln κ moved"
    assert "Bayes-aligned;" not in claim + evidence
    assert "no label, thesis or change point is claimed" in evidence
    assert not verdict(typed(summary)).aligned


def test_the_reason_of_the_label_and_the_rule_of_choice_are_printed():
    summary = summary_of()
    cell = next(cell for cell in summary["cells"] if cell["id"] == "gradient_norm-0.3")
    _, evidence = head_of(summary)
    assert f"Its label: {cell['verdict']['reason']}." in evidence
    assert f"It was chosen by a rule: {summary['headline']['rule']}." in evidence


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((0.1, 0.05, 0.15), "0.10 [0.05, 0.15] above the standard network"),
        ((-0.1, -0.15, -0.05), "0.10 [0.05, 0.15] below the standard network"),
        ((0.1, -0.1, 0.3), "not distinguishable from the standard network (+0.10 [−0.10, 0.30])"),
    ],
)
def test_differences_are_spoken_by_their_sign(ends, words):
    assert against(CrossedEstimate(*ends, 1, "images", (ends[0],)), "the standard network") == words


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        (lambda s: s.update(trials=[t for t in s["trials"] if t["objective"] != "standard"]), "No standard-trained"),
        (lambda s: s.update(trials=[t for t in s["trials"] if t["objective"] == "standard"]), "Only the standard"),
        (lambda s: standard_of(s).update(outcome="diverged"), "The standard network diverged"),
        (lambda s: s["regimes"].update(rule="kappa"), "Labels are those of the former rule, on κ"),
        (lambda s: [cell["verdict"].update(aligned={}) for cell in s["cells"]], "No cosine with a Bayes direction"),
        (lambda s: None, "No robust recipe is shown to keep the accuracy"),
    ],
)
def test_without_a_headline_the_true_reason_is_given(change, claim):
    summary = summary_of()
    summary["headline"] = None
    change(summary)
    head = verdict(typed(summary))
    assert head.claim.startswith(claim)
    assert "The page shows levels only." in head.evidence[0]
    assert not head.aligned


def standard_of(summary):
    return next(trial for trial in summary["trials"] if trial["objective"] == "standard")


def test_reasons_get_true_minus_signs_and_intervals_of_their_own_class():
    html = str(soften("gradient_norm-0.3: -0.05 [-0.1, 0.2] <b>"))
    assert html == 'gradient_norm-0.3: −0.05 <span class="interval">[−0.1, 0.2]</span> &lt;b&gt;'


def beside(change=lambda summary: None):
    summary = summary_of()
    change(summary)
    return verdict(typed(summary)).beside


def cell_of(summary, name):
    return next(cell for cell in summary["cells"] if cell["id"] == name)["verdict"]


def test_a_larger_l_at_lost_accuracy_is_said_beside_the_claim():
    summary = summary_of()
    assert summary["headline"]["recipe"] == "gradient_norm-0.3"
    other = cell_of(summary, "gradient_norm-3")
    level = other["aligned"][summary["headline"]["direction"]]["alignment"]["mean"]
    assert (
        beside()[0] == "L: cosine of the gradient with the image's own Bayes direction minus that with another image's."
    )
    assert beside()[1] == (
        "Largest L of the Bayes-aligned recipes; the largest of all is that of gradient norm 3 "
        f"({level:.3f}, accuracy −{-other['accuracy_difference']['mean']:.3f}, undetermined)."
    )


def test_the_claim_is_the_largest_only_among_those_that_it_was_chosen_from():
    def none_aligned(summary):
        summary["headline"]["regime"] = "weak"

    def withheld(summary):
        summary["headline"] |= {"regime": None, "withheld": "not converged."}
        next(cell for cell in summary["cells"] if cell["id"] == "gradient_norm-0.3")["withheld"] = "not converged."

    assert beside(none_aligned)[1].startswith(
        "Largest L with accuracy kept; the largest of all is that of gradient norm 3 "
    )
    assert not any("largest of all" in sentence for sentence in beside(withheld))


def test_a_larger_l_that_is_not_clear_or_there_is_none_is_not_said():
    def unclear(summary):
        target = summary["headline"]["direction"]
        cell_of(summary, "gradient_norm-3")["aligned"][target]["alignment"]["low"] = 0.0

    def largest(summary):
        for under in cell_of(summary, "gradient_norm-0.3")["aligned"].values():
            under["alignment"]["mean"] = 0.9

    for change in (unclear, largest):
        assert not any("largest of all" in sentence for sentence in beside(change))


def test_other_margins_are_named_only_where_the_label_is_another_there():
    def other(summary):
        cell_of(summary, "gradient_norm-0.3")["sensitivity"] = {"0.02": "undetermined", "0.05": "bayes_aligned"}

    def same(summary):
        cell_of(summary, "gradient_norm-0.3")["sensitivity"] = {"0.02": "bayes_aligned", "0.05": "bayes_aligned"}

    words = "Its label depends on δ, the accuracy that may be lost (here 0.05): undetermined at δ = 0.02."
    assert words in beside(other)
    assert not any("δ" in sentence for sentence in beside(same))
