"""A spec that is changed under a run is refused with the difference; --extend and --replace are the ways on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from study_support import tiny_spec, write_data, write_spec
from tangency.cli import main
from tangency.errors import RunError
from tangency.study import load_spec, parse_spec, run_study
from tangency.study.layout import Layout
from tangency.study.plan import plan_trials
from tangency.study.replaced import refuse_changed, refuse_other_study, unused_networks
from tangency.study.spec import StudySpec, dump_spec
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


def check(run: Path, spec: StudySpec, extend: bool = False) -> None:
    """As `run_study` does before anything is written."""
    loaded = load_dataset(spec.data)
    refuse_other_study(Layout(run), spec)
    refuse_changed(Layout(run), spec, loaded, plan_trials(spec, loaded), extend=extend)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a standard network and one of gradient norm .1."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    assert run_study(spec_of(data), run)["unused_networks"] == 0
    return run


SAME: dict[str, dict] = {
    "the same": {},
    "workers": {"workers": 2},
    "an engine": {"engine": {"kind": "slurm"}},
    "a device": {"device": "cpu"},
    "checkpoints": {"train": {"epochs": 1, "batch_size": 40, "checkpoint_seconds": 5.0}},
    "the name on the report": {"name": "other"},
    "a list written otherwise": {"sweep": [NORM, {"objective": "standard", "strengths": [0]}]},
}


@pytest.mark.parametrize("case", SAME)
def test_where_and_how_work_is_done_is_no_change(case: str, run: Path, data: Path) -> None:
    check(run, spec_of(data, **SAME[case]))


MEASURES = {"directions": 1, "sigmas": [0.5], "rho_sigmas": [0.05], "epsilons": [2.0], "metrics": ["cosine"]}
MORE: dict[str, tuple[dict, str]] = {
    "strengths": (
        {"sweep": [*ONE, {"objective": "gradient_norm", "strengths": [0.1, 0.2]}]},
        "sweep.gradient_norm gains 0.2",
    ),
    "an objective": (
        {"sweep": [*ONE, NORM, {"objective": "pgd_l2", "strengths": [1.0]}]},
        "sweep.pgd_l2 gains 1.0",
    ),
    "a recipe": ({"sweep": [*ONE, NORM, NORM | {"train": {"epochs": 2}}]}, '{"train": {"epochs": 2}} gains 0.1'),
    "a given network": ({"sweep": [*ONE, NORM, {"networks": ["a.pt"]}]}, "sweep.networks gains 'a.pt'"),
    "seeds": ({"seeds": [0, 1]}, "seeds gains 1"),
    "measured images": ({"measured": 20}, "measured was 12, is 20"),
    "pictures": ({"pictures": 4}, "pictures was 3, is 4"),
    "a control": ({"untrained": True}, "untrained was False, is True"),
    "resamples": ({"replicates": 200}, "replicates was 100, is 200"),
    "measures": ({"measures": MEASURES | {"epsilons": [1.0, 2.0]}}, "measures.epsilons gains 1.0"),
    "a curved step": ({"measures": MEASURES | {"curved": 2}}, "measures.curved was 0, is 2"),
    "an estimator": ({"tangents": ["mfa", "local-pca"]}, "tangents gains 'local-pca'"),
}


@pytest.mark.parametrize("case", MORE)
def test_asking_for_more_shows_the_difference_and_wants_extend(case: str, run: Path, data: Path) -> None:
    changes, words = MORE[case]
    spec = spec_of(data, **changes)
    with pytest.raises(RunError) as told:
        check(run, spec)
    assert words in str(told.value)
    assert "use --extend (extend=True in Python)" in str(told.value)
    assert ("measured anew" in str(told.value)) == (words.startswith(("measures", "tangents")))
    check(run, spec, extend=True)


OTHER: dict[str, tuple[dict, str]] = {
    "fewer images": ({"measured": 6}, "measured was 12, is 6"),
    "other measures": (
        {"measures": MEASURES | {"sigmas": [0.25]}},
        "measures.sigmas gains 0.25 and loses 0.5",
    ),
    "another size": ({"measures": MEASURES | {"working_size": 4}}, "measures.working_size was absent, is 4"),
    "another score": ({"score": {"components": 1, "rank": 2}}, "score.rank was 3, is 2"),
    "another first estimator": (
        {"tangents": ["local-pca", "mfa"]},
        "tangents gains 'local-pca'",
    ),
    "best weights": ({"weights": "best"}, "weights was 'last', is 'best'"),
    "the former rule": ({"rule": "kappa"}, "rule was 'regimes', is 'kappa'"),
}


@pytest.mark.parametrize("extend", [False, True])
@pytest.mark.parametrize("case", OTHER)
def test_what_would_leave_numbers_out_wants_replace(case: str, extend: bool, run: Path, data: Path) -> None:
    changes, words = OTHER[case]
    with pytest.raises(RunError) as told:
        check(run, spec_of(data, **changes), extend)
    assert words in str(told.value)
    assert "--replace (replace=True in Python)" in str(told.value)
    assert "--extend" not in str(told.value)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"networks": ["a.pt", "b.pt"]}, {"networks": ["b.pt"]}, "sweep.networks loses 'a.pt'"),
        ({"networks": ["a.pt"]}, NORM, "sweep.networks loses 'a.pt'"),
        (NORM | {"train": {"epochs": 2}}, NORM | {"train": {"epochs": 3}}, '"epochs": 3}} gains 0.1'),
        (NORM | {"model": {"architecture": "mlp"}}, NORM | {"train": {"epochs": 3}}, '"mlp"}} loses 0.1'),
    ],
)
def test_given_networks_and_recipes_of_an_entry_are_part_of_the_spec(
    before: dict, after: dict, words: str, data: Path, tmp_path: Path
) -> None:
    Layout(tmp_path).spec.write_text(dump_spec(spec_of(data, sweep=[*ONE, before])))
    with pytest.raises(RunError, match=re.escape(words)) as told:
        check(tmp_path, spec_of(data, sweep=[*ONE, after]))
    assert ("--replace" in str(told.value)) == ("networks" in before)  # rows of a given network would be left out


LESS: dict[str, tuple[dict, int, str]] = {
    "epochs": ({"train": {"epochs": 2, "batch_size": 40}}, 2, "train.epochs was 1, is 2"),
    "model": ({"model": {"options": {"channels": [2, 2, 2]}}}, 2, "model.options.channels was absent, is [2, 2, 2]"),
    "threads": ({"threads": 2}, 2, "threads was 1, is 2"),
    "a strength left out": ({"sweep": ONE}, 1, "sweep.gradient_norm loses 0.1"),
    "another seed": ({"seeds": [1]}, 2, "seeds gains 1 and loses 0"),
    "other data": ({"data": "fashion-mnist-5k"}, 2, "data was "),
}


@pytest.mark.parametrize("extend", [False, True])
@pytest.mark.parametrize("case", LESS)
def test_what_leaves_networks_out_is_refused_and_nothing_is_written(
    case: str, extend: bool, run: Path, data: Path
) -> None:
    changes, count, words = LESS[case]
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    with pytest.raises(RunError, match=re.escape(words)) as told:
        run_study(spec_of(data, **changes), run, extend=extend)
    assert f"holds {count} trained network" in str(told.value)
    assert "gradient_norm-0.1-s0" in str(told.value)
    assert "--replace (replace=True in Python)" in str(told.value)
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path in before}


@pytest.mark.slow
def test_leave_to_replace_keeps_the_networks_and_counts_them(data: Path, tmp_path: Path) -> None:
    folder, first, second = tmp_path / "run", spec_of(data, sweep=ONE), spec_of(data, sweep=ONE, seeds=[1])
    file = write_spec(tmp_path, first.model_dump(mode="json"))
    kept = run_study(str(file), str(folder))["trials"][0]
    assert run_study(second, folder, replace=True)["unused_networks"] == 1
    assert json.loads((folder / "summary.json").read_text())["unused_networks"] == 1
    assert len(list(folder.glob("trials/*/model.safetensors"))) == 2
    run_study(second, folder)  # nothing is left out that was not before
    with pytest.raises(RunError, match=r"seeds gains 0 and loses 1\. The run holds 1 trained network .standard-0-s1."):
        run_study(first, folder)
    again = run_study(first, folder, replace=True)["trials"][0]
    assert again["measures"] == kept["measures"]
    trials = plan_trials(first, load_dataset(first.data))
    assert unused_networks(Layout(folder), trials) == 1


def test_extend_trains_only_what_is_new(data: Path, tmp_path: Path) -> None:
    folder, first, second = tmp_path / "run", spec_of(data, sweep=ONE), spec_of(data, sweep=ONE, seeds=[0, 1])
    kept = run_study(first, folder)["trials"][0]
    before = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/model.safetensors")}
    with pytest.raises(RunError, match="seeds gains 1"):
        run_study(second, folder)
    assert load_spec(folder / "spec.yaml") == first
    trials = run_study(second, folder, extend=True)["trials"]
    assert [trial["seed"] for trial in trials if trial["objective"] == "standard"] == [0, 1]
    assert next(trial for trial in trials if trial["id"] == kept["id"])["measures"] == kept["measures"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    run_study(second, folder)  # which is the spec of the run now


def test_the_command_line_says_so_in_one_paragraph(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    spec = write_spec(tmp_path, spec_of(data, seeds=[0, 1]).model_dump(mode="json"))
    monkeypatch.setattr("sys.argv", ["tangency", "study", "run", str(spec), "--out", str(run)])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert "seeds gains 1. This spec keeps all" in " ".join(said.split())
    assert "--extend" in said
    monkeypatch.setattr("sys.argv", ["tangency", "study", "status", str(run / "spec.yaml"), "--out", str(run)])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    assert "s of processors" in capsys.readouterr().out


def test_another_study_is_refused_by_its_name(run: Path, data: Path) -> None:
    with pytest.raises(RunError, match="holds the study 'tiny', got a spec of the name 'other'"):
        check(run, spec_of(data, name="other", seeds=[0, 1]), extend=True)


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
        with pytest.raises(RunError, match=r"spec\.yaml cannot be read by this version.* use --extend"):
            check(run, spec_of(data, seeds=[0, 1]))
        check(run, spec_of(data, seeds=[0, 1]), extend=True)
        with pytest.raises(RunError, match=r"spec\.yaml cannot be read by this version.* --replace"):
            check(run, spec_of(data, seeds=[1]), extend=True)
    finally:
        spec.write_text(held)
    assert load_spec(str(spec)) == load_spec(spec)


def test_a_run_that_was_broken_off_counts_what_it_had_finished(run: Path, data: Path) -> None:
    summary, held = run / "summary.json", (run / "summary.json").read_text()
    try:
        summary.unlink()
        check(run, spec_of(data, seeds=[0, 1]), extend=True)
        with pytest.raises(RunError, match="holds 2 trained networks"):
            check(run, spec_of(data, seeds=[1]), extend=True)
    finally:
        summary.write_text(held)
