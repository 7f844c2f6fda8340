"""Networks that a study is given: measured and shown, never trained."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from study_support import tiny_spec, write_data
from tangency.errors import ModelError, SpecError
from tangency.models import build, save_classifier
from tangency.report import write_report
from tangency.study import parse_spec, run_study, study_status
from tangency.study.forecast.foresee import foresee
from tangency.study.given import load_given
from tangency.study.plan import is_reference, plan_trials
from tangency.study.preflight import checked_plan
from tangency.study.trials import load_run
from tangency.worlds import load_dataset

CLASSES = ("0", "1", "2")


def saved(folder: Path, name: str, seed: int = 0, shape: tuple[int, int, int] = (1, 8, 8), classes: int = 3) -> str:
    path = folder / f"{name}.safetensors"
    network = build("convnet", shape, classes, seed=seed)
    save_classifier(network, path)
    return str(path)


def content(folder: Path, *networks: str, swept: tuple[dict, ...] = ()) -> dict:
    return tiny_spec(write_data(folder), sweep=[*swept, {"networks": list(networks)}], untrained=False)


def test_a_given_network_is_who_its_weights_are(tmp_path: Path) -> None:
    first, second = saved(tmp_path, "net", 0), saved(tmp_path, "other", 1)
    spec = parse_spec(content(tmp_path, first, second), "spec")
    data = load_dataset(spec.data)
    one, two = plan_trials(spec, data)
    assert [one.id, two.id] == ["given-net-s0", "given-other-s0"]
    assert (one.name, one.objective, one.train, one.model, one.strength) == ("given:net", None, None, None, 0.0)
    assert is_reference(one.name)
    assert one.given is not None
    assert one.given.weight == sum(v.nbytes for v in load_given(first, data, "cpu").classifier.state_dict().values())
    assert one.train_hash != two.train_hash
    save_classifier(build("convnet", (1, 8, 8), 3, seed=1), tmp_path / "net.safetensors")
    spec = parse_spec(content(tmp_path, first), "spec")
    assert plan_trials(spec, data)[0].train_hash == two.train_hash  # the file holds other weights now
    (tmp_path / "net.safetensors").unlink()
    assert plan_trials(spec, data)[0].train_hash not in (one.train_hash, two.train_hash)


def test_one_network_under_two_names_is_refused(tmp_path: Path) -> None:
    one, copy = saved(tmp_path, "net", 0), saved(tmp_path, "copy", 0)
    spec = parse_spec(content(tmp_path, one, copy), "spec")
    with pytest.raises(SpecError, match="'given-copy-s0' is the very network 'given-net-s0'"):
        plan_trials(spec, load_dataset(spec.data))
    same = {"objective": "standard", "train": {"epochs": 2}}  # as all of the study
    spec = parse_spec(tiny_spec(write_data(tmp_path), sweep=[{"objective": "standard"}, same]), "spec")
    with pytest.raises(SpecError, match="is the very network 'standard-0-s0'"):
        plan_trials(spec, load_dataset(spec.data))


def test_one_that_does_not_fit_or_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name, shape, classes, words in (("large", (1, 9, 9), 3, "takes images"), ("more", (1, 8, 8), 5, "classes")):
        spec = parse_spec(content(tmp_path, saved(tmp_path, name, 0, shape, classes)), "spec")
        with pytest.raises(ModelError, match=words):
            checked_plan(spec, load_dataset(spec.data))
    spec = parse_spec(content(tmp_path, str(tmp_path / "none.safetensors")), "spec")
    with pytest.raises(ModelError, match=r"none\.safetensors"):
        checked_plan(spec, load_dataset(spec.data))
    foreseen = foresee(spec, tmp_path / "run", calibrated=False)
    (missing,) = foreseen.forecast.missing
    assert (missing.key, [t.id for t in foreseen.trials]) == ("sweep.networks", ["given-none-s0"])
    assert f"Put it at {tmp_path / 'none.safetensors'}" in missing.advice


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"networks": ["a.pt"], "objective": "standard"}, "networks beside objective"),
        ({"networks": ["a.pt", "a.pt"]}, "distinct references"),
        ({}, "expected an objective or networks"),
    ],
)
def test_entries_that_are_none_are_one_sentence(tmp_path: Path, entry: dict, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        parse_spec(tiny_spec(tmp_path / "tiny.npz", sweep=[entry]), "spec")
    assert "\n" not in str(caught.value)


@pytest.mark.processes
@pytest.mark.parametrize("alone", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_study_with_given_networks_from_end_to_end(tmp_path: Path, alone: bool) -> None:
    swept: tuple[dict, ...] = () if alone else ({"objective": "standard"},)
    spec = parse_spec(content(tmp_path, saved(tmp_path, "net", 0), saved(tmp_path, "other", 1), swept=swept), "spec")
    summary = run_study(spec, tmp_path / "run")
    given = {trial["id"]: trial for trial in summary["trials"] if trial["objective"].startswith("given:")}
    assert list(given) == ["given-net-s0", "given-other-s0"]
    assert {(t["outcome"], t["epochs"], t["strength"]) for t in given.values()} == {("ok", 0, 0.0)}
    assert given["given-net-s0"]["network"]["reference"] == str(tmp_path / "net.safetensors")
    assert given["given-net-s0"]["network"]["architecture"] == "convnet"
    rows = load_run(tmp_path / "run").rows
    assert rows.filter(pl.col("trial") == "given-net-s0").height == 12
    accuracy = rows.filter(pl.col("trial") == "given-other-s0")["accuracy"].to_numpy()
    data = load_dataset(spec.data)
    net = load_given(str(tmp_path / "other.safetensors"), data, "cpu").classifier
    ids = rows.filter(pl.col("trial") == "given-other-s0")["image"].to_list()
    right = (net(data.test.images(ids)).argmax(1) == data.test.labels[ids]).numpy()
    assert (accuracy == right).all()
    assert set(study_status(spec, tmp_path / "run").trials.values()) == {"measured"}
    with pytest.raises(ModelError, match="is a given network"):
        load_run(tmp_path / "run").classifier("given-net-s0")
    write_report(tmp_path / "run")
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert "2 given networks, which this study did not train" in page
    assert "net (given)" in page
