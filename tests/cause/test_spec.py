"""Specs of causal studies: what they stand for, and what they refuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from typer.testing import CliRunner

from cause_support import cause_content, real_content, real_spec
from tangency.cause import SHIPPED, CauseSpec, dump_cause, load_cause, parse_cause
from tangency.cause.arms import Sham
from tangency.cli.app import app
from tangency.errors import SpecError


def test_arms_penalise_a_part_in_own_and_sham_spaces() -> None:
    study = real_spec().matched({arm: 0.5 + i for i, arm in enumerate(("whole", "off-own", "on-own", "off-other"))}
                                | {"off-random": 9.0})  # fmt: skip
    found = [(e.objective, e.strengths, e.options.get("part"), e.options.get("sham")) for e in study.sweep]
    name = "projected_gradient_norm"
    assert found == [
        ("standard", (0.0,), None, None),
        (name, (0.5,), "whole", "none"),
        (name, (1.5,), "off", "none"),
        (name, (2.5,), "on", "none"),
        (name, (3.5,), "off", "other"),
        (name, (9.0,), "off", "random"),
    ]
    assert {e.options["tangents"] for e in study.sweep[1:]} == {"mfa?components=4&rank=12"}
    assert study.seeds == (0, 1, 2, 3, 4)


def test_the_calibration_has_other_seeds_all_strengths_and_no_costly_criteria() -> None:
    spec = real_spec(arm_strengths={"on-own": [1, 10]})
    study = spec.calibration({arm.name: spec.strengths_of(arm) for arm in spec.arms})
    assert study.seeds == (100, 101)
    assert [e.strengths for e in study.sweep] == [(0,), (1,), (0.3, 1, 3), (1, 10), (0.3, 1, 3), (0.3, 1, 3)]
    assert study.network_score == ""
    assert study.tangents == ()
    assert study.measures.alignments == (("margin", "bayes_gradient"),)  # for the common curve
    assert len(study.measures.epsilons) == 1
    again = spec.calibration({"off-own": (0.7,)}, "refined-1")
    assert [e.strengths for e in again.sweep] == [(0.7,)]
    assert again.name == "cause-refined-1"


def test_criteria_of_the_guides_kind_decide_nothing_but_the_truth_does() -> None:
    spec = real_spec()
    held_out = spec.held_out(spec.matched(dict.fromkeys((arm.name for arm in spec.arms), 1.0)))
    assert held_out == {
        "bayes_gradient": False,
        "network_bayes_gradient": True,
        "local-pca?rank=12": True,
        "mfa": False,
    }
    world = parse_cause(cause_content(), "world")
    assert world.held_out(world.matched(dict.fromkeys((arm.name for arm in world.arms), 1.0))) == {
        "bayes_gradient": True,
        "exact": True,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sham": ["dct"]}, "sham"),
        ({"shams": ["dct", "dct"]}, "expected distinct"),
        ({"shams": ["mirror"]}, "mirror"),
        ({"base": "none"}, "arm with a penalty"),
        ({"base_strength": 0}, "base_strength"),
        ({"strengths": [1.0]}, "strengths"),
        ({"arm_strengths": {"whole": [1, 2]}}, "arm that is matched"),
        ({"arm_strengths": {"on-own": [1]}}, "at least two"),
        ({"calibration_seeds": [3]}, "stand among seeds too"),
        ({"calibration_seeds": [7, 7]}, "calibration_seeds: got [7, 7], expected distinct"),
        ({"seeds": [0]}, "seeds"),
        ({"match": {"radius": None}}, "match.radius: got null with by: radius"),
        ({"match": {"by": "accuracy", "accuracy": None}}, "match.accuracy: got null"),
        ({"match": {"energy": 0.1}}, "match.energy"),
        ({"guide": "nothing"}, "nothing"),
        ({"study": real_content()["study"] | {"seeds": [1]}}, "study.seeds: is decided by the causal study"),
        ({"study": real_content()["study"] | {"tangents": ["mfa"]}}, "no tangents is held out"),
        ({"study": real_content()["study"] | {"epochs": 3}}, "epochs"),
    ],
)
def test_bad_keys_are_named(changes: dict, words: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse_cause(real_content(**changes), "spec")
    assert words in str(raised.value)
    assert str(raised.value).startswith("spec: ")


def test_a_spec_is_the_same_when_read_back(tmp_path: Path) -> None:
    spec = real_spec(match={"by": "accuracy", "radius": None})
    path = tmp_path / "cause.yaml"
    path.write_text(dump_cause(spec))
    assert load_cause(path) == spec
    assert load_cause(path).digest() == spec.digest()
    assert real_spec().digest() != spec.digest()
    assert real_spec(study=real_content()["study"] | {"workers": 7}).digest() == real_spec().digest()
    path.write_text(yaml.safe_dump(real_content()) + "guide: pca\n")
    with pytest.raises(SpecError, match="'guide' stands twice"):
        load_cause(path)
    with pytest.raises(SpecError, match="cannot be read"):
        load_cause(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_specs_are_sound(name: str) -> None:
    spec = load_cause(name)
    assert len(spec.seeds) == (15 if name == "offset" else 5)
    assert spec.shams


PAGE = (Path(__file__).parents[2] / "docs" / "cause.md").read_text()


def test_the_page_has_a_sound_spec_and_commands_that_exist() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    assert parse_cause(yaml.safe_load(text), "page").name == "mine"
    for command in re.findall(r"\$ tangency (\w+ ?(?:plan|run)?) ", PAGE):
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0
    for name in SHIPPED:
        assert f"| `{name}` |" in PAGE
    for sham in get_args(Sham):
        assert f"`off-{sham}`" in PAGE
    for key in CauseSpec.model_fields:
        assert re.search(rf"^{key}:", text, re.M)


@pytest.mark.parametrize("name", ["linear", "offset"])
def test_a_shipped_study_of_a_world_asks_only_for_what_is_defined_there(name: str, tmp_path: Path) -> None:
    # offset has no Bayes direction at σ = 0
    found = CliRunner().invoke(app, ["cause", "plan", name, "--no-calibrate", "--out", str(tmp_path / "run")])
    assert found.exit_code == 0, found.output
    assert "calibration: 19 trials" in found.output
    assert f"matched: {8 * len(load_cause(name).seeds)} trials" in found.output


def test_a_path_of_another_kind_is_one_sentence() -> None:
    with pytest.raises(SpecError, match="spec: got int, expected the path of a YAML file, or one of linear"):
        load_cause(5)  # type: ignore[arg-type]


def test_a_direction_that_no_margin_is_compared_with_is_no_criterion() -> None:
    other = {"alignments": [["logit_y", "bayes_gradient"], ["logit_y", "network_bayes_gradient"]]}
    content = real_content()
    study = content["study"] | {"measures": content["study"]["measures"] | other}
    with pytest.raises(SpecError, match="no direction is held out"):
        parse_cause(content | {"study": study}, "real")
