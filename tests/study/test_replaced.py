"""A spec that is changed under an existing run: more is done in silence, what would leave networks out is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from study_support import tiny_spec, write_data, write_spec
from tangency.errors import RunError
from tangency.study import load_spec, parse_spec, run_study
from tangency.study.layout import Layout
from tangency.study.plan import plan_trials
from tangency.study.replaced import refuse_replacing, unused_networks
from tangency.study.spec import StudySpec
from tangency.worlds import load_dataset

pytestmark = pytest.mark.processes

ONE = [{"objective": "standard"}]
NORM = {"objective": "gradient_norm", "strengths": [0.1]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def spec_of(data: Path, /, **changes: object) -> StudySpec:
    base: dict = {"untrained": False, "train": {"epochs": 1, "batch_size": 40}}
    return parse_spec(tiny_spec(data) | base | changes, "test")


def check(run: Path, spec: StudySpec) -> None:
    """As `run_study` does before anything is written."""
    loaded = load_dataset(spec.data)
    refuse_replacing(Layout(run), spec, loaded, plan_trials(spec, loaded))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a standard network and one of gradient norm .1."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    assert run_study(spec_of(data), run)["unused_networks"] == 0
    return run


MORE: dict[str, dict] = {
    "the same": {},
    "strengths": {"sweep": [*ONE, {"objective": "gradient_norm", "strengths": [0.1, 0.2]}]},
    "an objective": {"sweep": [*ONE, NORM, {"objective": "pgd_l2", "strengths": [1.0]}]},
    "seeds": {"seeds": [0, 1]},
    "measured images": {"measured": 20},
    "a control": {"untrained": True},
    "workers": {"workers": 2},
    "checkpoints": {"train": {"epochs": 1, "batch_size": 40, "checkpoint_seconds": 5.0}},
    "other measures": {"measures": {"directions": 1, "sigmas": [0.25], "rho_sigmas": [], "epsilons": [1.0]}},
}  # fmt: skip


@pytest.mark.parametrize("case", MORE)
def test_asking_for_more_goes_on_without_a_word(case: str, run: Path, data: Path) -> None:
    check(run, spec_of(data, **MORE[case]))


LESS: dict[str, tuple[dict, int, str]] = {
    "epochs": ({"train": {"epochs": 2, "batch_size": 40}}, 2, "train.epochs was 1, is 2"),
    "model": ({"model": {"options": {"channels": [2, 2, 2]}}}, 2, "model.options"),
    "threads": ({"threads": 2}, 2, "threads was 1, is 2"),
    "a strength left out": ({"sweep": ONE}, 1, "sweep is another one"),
    "another seed": ({"seeds": [1]}, 2, "seeds is another one"),
    "other data": ({"data": "fashion-mnist-5k"}, 2, "data was "),
}


@pytest.mark.parametrize("case", LESS)
def test_what_leaves_networks_out_is_refused_and_nothing_is_written(case: str, run: Path, data: Path) -> None:
    changes, count, words = LESS[case]
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    with pytest.raises(RunError, match=words.replace(".", r"\.")) as told:
        run_study(spec_of(data, **changes), run)
    assert f"holds {count} trained network" in str(told.value)
    assert "gradient_norm-0.1-s0" in str(told.value)
    assert "--replace (replace=True in Python)" in str(told.value)
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path in before}


def test_leave_to_replace_keeps_the_networks_and_counts_them(data: Path, tmp_path: Path) -> None:
    folder, first, second = tmp_path / "run", spec_of(data, sweep=ONE), spec_of(data, sweep=ONE, seeds=[1])
    file = write_spec(tmp_path, first.model_dump(mode="json"))
    kept = run_study(str(file), str(folder))["trials"][0]
    assert run_study(second, folder, replace=True)["unused_networks"] == 1
    assert json.loads((folder / "summary.json").read_text())["unused_networks"] == 1
    assert len(list(folder.glob("trials/*/model.safetensors"))) == 2
    run_study(second, folder)  # nothing is left out that was not before
    with pytest.raises(RunError, match=r"holds 1 trained network .standard-0-s1. .* since seeds is another one"):
        run_study(first, folder)
    again = run_study(first, folder, replace=True)["trials"][0]
    assert again["measures"] == kept["measures"]
    trials = plan_trials(first, load_dataset(first.data))
    assert unused_networks(Layout(folder), trials) == 1


def test_other_images_behind_the_same_name_are_noticed(run: Path, data: Path, tmp_path: Path) -> None:
    held = data.read_bytes()
    with np.load(data) as arrays:
        changed = {name: arrays[name].copy() for name in arrays}
    changed["train_images"][0, 0, 0] ^= 1
    try:
        np.savez(data, **changed)
        with pytest.raises(RunError, match="holds other training images than then"):
            check(run, spec_of(data))
    finally:
        data.write_bytes(held)


def test_a_spec_that_cannot_be_read_is_no_licence(run: Path, data: Path) -> None:
    """Of another version, say; the summary still says what there is."""
    spec, held = run / "spec.yaml", (run / "spec.yaml").read_text()
    try:
        spec.write_text(held + "another_version: 1\n")
        check(run, spec_of(data, seeds=[0, 1]))
        with pytest.raises(RunError, match=r"spec\.yaml that they were trained by cannot be read"):
            check(run, spec_of(data, seeds=[1]))
    finally:
        spec.write_text(held)
    assert load_spec(str(spec)) == load_spec(spec)


def test_a_run_that_was_broken_off_counts_what_it_had_finished(run: Path, data: Path) -> None:
    summary, held = run / "summary.json", (run / "summary.json").read_text()
    try:
        summary.unlink()
        check(run, spec_of(data, seeds=[0, 1]))
        with pytest.raises(RunError, match="holds 2 trained networks"):
            check(run, spec_of(data, seeds=[1]))
    finally:
        summary.write_text(held)
