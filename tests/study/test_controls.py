"""Entries of a sweep that change the recipe of the study: controls."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from study_support import InProcess, tiny_spec, write_data
from tangency.errors import SpecError
from tangency.models import read_classifier
from tangency.report import write_report
from tangency.study import dump_spec, parse_spec, run_study
from tangency.study.layout import Layout
from tangency.study.plan import cell_of, controls_of, curve_of, labels_of, plan_longer, plan_trials, tag_of
from tangency.study.spec import StudySpec
from tangency.study.summary.trials import baselines
from tangency.worlds import load_dataset

TRAIN, MODEL = {"epochs": 3, "optimiser": "sgd"}, {"options": {"norm": "batch"}}
SWEEP = [
    {"objective": "standard", "train": TRAIN},
    {"objective": "standard"},
    {"objective": "gradient_norm", "strengths": [0.1]},
    {"objective": "gradient_norm", "strengths": [0.1], "model": MODEL},
]


def swept(folder: Path, *entries: dict, **changes: object) -> StudySpec:
    return parse_spec(tiny_spec(write_data(folder), sweep=list(entries), **changes), "spec")


def test_controls_are_trials_and_curves_of_their_own(tmp_path: Path) -> None:
    spec = swept(tmp_path, *SWEEP)
    trained, built = tag_of({"train": TRAIN}), tag_of({"model": MODEL})
    trials = {t.id: t for t in plan_trials(spec, load_dataset(spec.data))}
    assert list(trials) == [
        "untrained-s0",
        f"standard-0-{trained}-s0",
        "standard-0-s0",
        "gradient_norm-0.1-s0",
        f"gradient_norm-0.1-{built}-s0",
        "filtered-s0",
    ]
    plain, control = trials["gradient_norm-0.1-s0"], trials[f"gradient_norm-0.1-{built}-s0"]
    assert plain.model is not None
    assert control.model is not None
    assert (plain.model.options, control.model.options) == ({}, {"norm": "batch"})
    longer = trials[f"standard-0-{trained}-s0"]
    assert longer.train is not None
    assert (longer.epochs, longer.train.optimiser, longer.train.batch_size) == (3, "sgd", 40)
    assert longer.cost == 1.5 * trials["standard-0-s0"].cost
    assert len({trial.train_hash for trial in trials.values()}) == len(trials)
    assert {curve_of(t) for t in (plain, control)} == {"gradient_norm", f"gradient_norm-{built}"}
    assert labels_of(trials.values())[cell_of(longer)] == f"standard-{trained}"
    # the study's own recipe is what all are judged against, though it stands behind the control
    assert baselines(list(trials.values()), trials)[0].id == "standard-0-s0"
    assert trials["filtered-s0"].base == trials["standard-0-s0"]
    assert controls_of(spec.sweep) == {trained: "train: epochs 3, optimiser sgd", built: "model: options.norm batch"}


def test_identities_without_changes_are_those_of_before(tmp_path: Path) -> None:
    plain = swept(tmp_path, *SWEEP[1:3])
    own = {t.id: (t.train_hash, t.measure_hash) for t in plan_trials(plain, load_dataset(plain.data))}
    more = swept(tmp_path, *SWEEP)
    assert (
        own.items()
        <= {t.id: (t.train_hash, t.measure_hash) for t in plan_trials(more, load_dataset(more.data))}.items()
    )
    assert "train" not in plain.sweep[0].model_dump(exclude_defaults=True)
    same = swept(tmp_path, {"objective": "standard", "train": {}, "model": {}}, SWEEP[2])
    assert same.digest() == plain.digest() != more.digest()
    assert parse_spec(yaml.safe_load(dump_spec(more)), "spec") == more


def test_numbers_that_yaml_has_as_text_give_the_same_control(tmp_path: Path) -> None:
    as_text, as_number = (
        {"objective": "gradient_norm", "strengths": [1], "train": {"learning_rate": rate}} for rate in ("1e-3", 1e-3)
    )
    first, second = (
        plan_trials(swept(tmp_path, e), load_dataset(f"npz:{tmp_path / 'tiny.npz'}")) for e in (as_text, as_number)
    )
    assert [t.train_hash for t in first] == [t.train_hash for t in second]


def test_the_convergence_gate_doubles_the_epochs_that_a_control_has(tmp_path: Path) -> None:
    spec = swept(tmp_path, *SWEEP)
    epochs = {t.id: t.epochs for t in plan_longer(spec, load_dataset(spec.data))}
    assert epochs[f"standard-0-{tag_of({'train': TRAIN})}-long-s0"] == 6
    assert epochs["standard-0-long-s0"] == 4


def test_another_architecture_has_its_own_options_only(tmp_path: Path) -> None:
    entries = [
        {"objective": "gradient_norm", "strengths": [1], "model": own} for own in ({"architecture": "resnet18"}, MODEL)
    ]
    spec = swept(tmp_path, *entries, model={"options": {"activation": "gelu"}})
    other, same = (t.model for t in plan_trials(spec, load_dataset(spec.data)) if t.objective)
    assert other is not None
    assert same is not None
    assert (other.architecture, other.options) == ("resnet18", {})
    assert same.options == {"activation": "gelu", "norm": "batch"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"train": {"epoch": 3}}, "unknown key 'epoch'. Did you mean 'epochs'"),
        ({"train": {"seed": 1}}, "unknown key 'seed'"),
        ({"train": {"epochs": 0}}, "epochs is 0, expected at least 1"),
        ({"train": {"optimiser": "adam"}}, "unknown optimiser 'adam'"),
        ({"model": {"norm": "batch"}}, "unknown key 'norm'"),
        ({"model": {"options": {"seed": 3}}}, "'seed' is no option"),
        ({"model": {"options": 3}}, "expected {architecture: NAME"),
    ],
)
def test_changes_that_are_none_are_one_sentence(tmp_path: Path, entry: dict, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        swept(tmp_path, {"objective": "gradient_norm", "strengths": [1]} | entry)
    assert "\n" not in str(caught.value)


def test_standard_networks_of_other_recipes_only_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="the networks that all are judged against"):
        swept(tmp_path, SWEEP[0])


@pytest.mark.processes
def test_a_study_with_controls_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network is built and trained as its entry says; the report keeps controls apart and says what they are."""
    monkeypatch.setattr("tangency.study.run.open_engine", InProcess)
    spec = swept(tmp_path, *SWEEP, untrained=False)
    summary = run_study(spec, tmp_path / "run")
    trials = {t["id"]: t for t in summary["trials"]}
    trained, built = tag_of({"train": TRAIN}), tag_of({"model": MODEL})
    assert trials[f"standard-0-{trained}-s0"]["epochs"] == 3
    assert summary["controls"] == controls_of(spec.sweep)
    layout = Layout(tmp_path / "run")
    by_id = {t.id: t for t in plan_trials(spec, load_dataset(spec.data))}
    net = read_classifier(layout.trial(by_id[f"gradient_norm-0.1-{built}-s0"]) / "model.safetensors", "cpu")
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())
    cells = {cell["id"]: cell for cell in summary["cells"]}
    assert f"standard-0-{trained}" in cells
    curves = [curve["objective"] for curve in summary["curves"]]
    assert sorted(curves) == ["gradient_norm", f"gradient_norm-{built}"]
    write_report(tmp_path / "run")
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert f"control {built}" in page
    assert "options.norm batch" in page
