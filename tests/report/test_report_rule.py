"""Labels by other thresholds: what a page holds of a recipe gives the labels of `regime_of`, case by case."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from report.helpers import typed
from report.synthetic_run import summary_of
from tangency.report.page.rule import THRESHOLDS, rule_payload
from tangency.statistics.crossed import CrossedEstimate
from tangency.statistics.regimes import MARGINS, DirectionEvidence, RegimeEvidence, Thresholds, regime_of

CASES = Path(__file__).parent / "rule_cases.json"  # the page's script is held to the same cases
SHARES = (0.0, 0.5, 0.9, 1.0)


def estimate(ends):
    if ends is None:
        return None
    mean, low, high = (math.nan if end is None else end for end in ends)
    return CrossedEstimate(mean, low, high, 1, "images", (mean,))


def label(case, margin, images=0.5):
    """The label of a case, by the rule itself."""
    directions = {
        own["name"]: DirectionEvidence(
            estimate(own["over_standard"]),
            estimate(own["beyond_filter"]),
            {own["past"]["over"]: estimate(own["past"]["interval"])} if own["past"] else {},
            own["share"],
        )
        for own in case["directions"]
    }
    evidence = RegimeEvidence(
        estimate(case["above_constant"]),
        estimate(case["accuracy"]),
        directions,
        case["exact"],
        case["standard"],
        case["baseless"],
    )
    return regime_of(evidence, dataclasses.replace(Thresholds(), accuracy_margin=margin, images=images)).regime


@pytest.mark.parametrize("options", [{}, {"seeds": (0, 1, 2)}, {"headline": False}, {"world": True}])
def test_recipes_and_networks_have_the_labels_of_the_study_at_every_margin(options):
    summary = typed(summary_of(**options))
    payload = json.loads(json.dumps(rule_payload(summary), allow_nan=False))
    judged = {cell.id: cell for cell in summary.cells} | {trial.id: trial for trial in summary.trials}
    cases = payload["recipes"] + payload["networks"]
    assert {case["id"] for case in cases} == {name for name, own in judged.items() if own.verdict}
    for case in cases:
        verdict = judged[case["id"]].verdict
        assert label(case, Thresholds().accuracy_margin) == verdict.regime, case["id"]
        assert {f"{margin:g}": label(case, margin) for margin in MARGINS} == verdict.sensitivity, case["id"]


def test_a_recipe_knows_its_networks():
    summary = typed(summary_of(seeds=(0, 1, 2)))
    for case in rule_payload(summary)["recipes"]:
        networks = [summary.trials[number] for number in case["trials"]]
        assert {trial.id.rpartition("-s")[0] for trial in networks} == {case["id"]}
        assert len(networks) in (1, 3)


def test_sliders_start_at_the_thresholds_of_the_study():
    summary = typed(summary_of())
    for threshold in rule_payload(summary)["thresholds"]:
        assert threshold["default"] == getattr(summary.regimes.thresholds, threshold["id"])
        assert threshold["min"] <= threshold["default"] <= threshold["max"]
    assert set(THRESHOLDS) < {each.name for each in dataclasses.fields(Thresholds)}


def test_the_former_rule_has_no_sliders():
    assert rule_payload(typed(summary_of(rule="kappa"))) is None


def made_cases():
    """Cases near every border of the rule, with the labels that it gives them at several thresholds."""
    payload = rule_payload(typed(summary_of(seeds=(0, 1, 2))))
    base = next(case for case in payload["recipes"] if case["regime"] == "bayes_aligned")
    base = {name: base[name] for name in ("above_constant", "accuracy", "standard", "baseless", "exact", "directions")}
    first, second = base["directions"]
    changes = [
        {},
        {"above_constant": None},
        {"above_constant": [0.1, 0.0, 0.2]},
        {"above_constant": [None, None, None]},
        {"standard": True},
        {"baseless": True},
        {"accuracy": None},
        {"accuracy": [-0.07, -0.08, -0.06]},
        {"accuracy": [-0.07, -0.1, -0.05]},
        {"accuracy": [0.0, None, None]},
        {"directions": []},
        {"directions": [first]},
        {"directions": [first], "exact": True},
        {"directions": [first, second | {"share": 0.4}]},
        {"directions": [first, second | {"over_standard": None}]},
        {"directions": [first, second | {"over_standard": [0.1, 0.0, 0.2]}]},
        {"directions": [first, second | {"over_standard": [-0.1, -0.2, 0.0]}]},
        {"directions": [first, second | {"beyond_filter": [0.0, -0.1, 0.1]}]},
        {"directions": [first, second | {"beyond_filter": [0.01, -0.1, 0.1]}]},
        {"directions": [first, second | {"beyond_filter": None}]},
        {"directions": [own | {"past": {"over": "weaker", "interval": [-0.2, -0.3, -0.1]}} for own in (first, second)]},
        {"directions": [first | {"past": {"over": "weaker", "interval": [-0.2, -0.3, -0.1]}}, second]},
        {"directions": [own | {"past": {"over": "weaker", "interval": [-0.2, -0.3, 0.0]}} for own in (first, second)]},
    ]
    cases = [base | change for change in changes] + payload["recipes"]
    return [
        {
            "case": case,
            "labels": [
                {"accuracy_margin": margin, "images": images, "regime": label(case, margin, images)}
                for margin in MARGINS
                for images in SHARES
            ],
        }
        for case in cases
    ]


def test_the_cases_of_the_script_are_those_of_the_rule():
    """After a change of the rule: write json.dumps(made_cases(), indent=1) and a line's end to the file."""
    assert json.loads(CASES.read_text(encoding="utf-8")) == json.loads(json.dumps(made_cases()))
