"""Studies in process: identities, worker count, seeds, summary, bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from study_support import tiny_spec, write_data, write_spec
from tangency.data import load
from tangency.errors import ModelError, RunError, SpecError
from tangency.evaluate import MeasureRequest, measure_models
from tangency.study import dump_spec, load_spec, parse_spec, quickstart_spec, run_study, study_status
from tangency.study.layout import Layout
from tangency.study.plan import measured_images, plan_trials

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path, dict]:
    """Spec content, run directory and summary of one finished study with two seeds."""
    folder = tmp_path_factory.mktemp("study")
    content = tiny_spec(write_data(folder), seeds=[0, 1], workers=2)
    summary = run_study(parse_spec(content, "test"), folder / "run")
    return content, folder / "run", summary


def test_summary_has_the_keys_that_scripts_rely_on(study: tuple[dict, Path, dict]) -> None:
    _, run, summary = study
    assert json.loads((run / "summary.json").read_text()) == summary
    assert {"spec_hash", "seconds", "trials"} <= set(summary)
    assert [t["id"] for t in summary["trials"]][:3] == ["untrained-s0", "standard-0-s0", "gradient_norm-0.1-s0"]
    for trial in summary["trials"]:
        assert {"id", "objective", "strength", "seed", "outcome", "regime", "measures"} <= set(trial)
        wanted = ["accuracy", "kappa.margin", "rho.logits.sigma=0.05", "change_on.eps=2", "change_off.eps=2"]
        wanted += [
            f"tangent_fraction.margin{c}" for c in ("", ".shuffled", ".shuffled_class", ".dct", ".pca", ".phase")
        ]
        key = "alignment_cosine.margin.bayes_gradient.sigma=0.5"
        wanted += [key, *(f"{key}.{c}" for c in ("shuffled", "random", "image", "untrained"))]
        wanted += ["radius", "tangent_overlap.dct"]
        for key in wanted:
            entry = trial["measures"][key]
            assert {"mean", "low", "high", "n", "degenerate", "chance"} <= set(entry), key
            if key == "tangent_fraction.margin.shuffled_class":  # a class of one component has one tangent space
                assert (entry["n"], entry["mean"]) == (0, None)
            else:
                assert entry["low"] <= entry["mean"] <= entry["high"], key
            assert entry["n"] + entry["degenerate"] == 12, key


def test_summary_numbers_follow_from_the_rows(study: tuple[dict, Path, dict]) -> None:
    _, run, summary = study
    table = pl.read_parquet(run / "rows.parquet")
    assert table.columns[:3] == ["trial", "seed", "image"]
    trial = summary["trials"][1]

    def column(name: str) -> np.ndarray:
        return table.filter(trial=trial["id"]).sort("image")[name].to_numpy()

    f, k = column("tangent_fraction.margin"), column("tangent_rank")
    kappa = ((1 - f).sum() / (64 - k).sum()) / (f.sum() / k.sum())
    assert trial["measures"]["tangent_fraction.margin"]["mean"] == pytest.approx(f.mean())
    assert trial["measures"]["kappa.margin"]["mean"] == pytest.approx(kappa)
    assert trial["measures"]["tangent_fraction.margin"]["chance"] == pytest.approx(3 / 64)
    rho = column("rho_off.logits.sigma=0.05").sum() / column("rho_all.logits.sigma=0.05").sum()
    assert trial["measures"]["rho.logits.sigma=0.05"]["mean"] == pytest.approx(rho)
    # of one component a class all images of a class have one tangent space, and no other stands in for it
    assert np.isnan(column("tangent_fraction.margin.shuffled_class")).all()
    assert trial["measures"]["tangent_fraction.margin.shuffled_class"]["n"] == 0
    controls = {c: column(f"tangent_fraction.margin.{c}").mean() for c in ("shuffled", "dct", "pca", "phase")}
    excess = trial["excess"]["tangent_fraction.margin"]
    assert excess["mean"] == pytest.approx(f.mean() - max(controls.values()))
    assert excess["best_control"] == max(controls, key=lambda c: controls[c])


def test_rows_do_not_depend_on_workers_shards_or_the_order_of_the_sweep(
    study: tuple[dict, Path, dict], tmp_path: Path
) -> None:
    content, run, _ = study
    changed = content | {"workers": 1, "shard": 5, "sweep": content["sweep"][::-1], "seeds": [1, 0]}
    run_study(parse_spec(changed, "test"), tmp_path / "other")
    a, b = (pl.read_parquet(folder / "rows.parquet") for folder in (run, tmp_path / "other"))
    assert a.select("trial", "seed", "image").equals(b.select("trial", "seed", "image"))
    assert a.columns == b.columns
    for name in a.columns[3:]:
        np.testing.assert_allclose(a[name].to_numpy(), b[name].to_numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_seeds_are_pooled_in_cells_with_wider_intervals_than_images_alone_allow(study: tuple[dict, Path, dict]) -> None:
    _, _, summary = study
    cells = {cell["id"]: cell for cell in summary["cells"]}
    assert set(cells) == {"untrained", "standard-0", "gradient_norm-0.1", "filtered"}
    by_seed = [t["measures"]["accuracy"]["mean"] for t in summary["trials"] if t["objective"] == "standard"]
    assert cells["standard-0"]["measures"]["accuracy"]["mean"] == pytest.approx(np.mean(by_seed))
    assert cells["standard-0"]["seeds"] == [0, 1]


def test_a_new_measure_retrains_nothing_and_a_new_strength_only_itself(study: tuple[dict, Path, dict]) -> None:
    content, run, _ = study
    data = load(content["data"])

    def hashes(**changes: object) -> dict[str, tuple[str, str]]:
        trials = plan_trials(parse_spec(content | changes, "test"), data)
        return {t.id: (t.train_hash, t.measure_hash) for t in trials}

    base = hashes()
    remeasured = hashes(measures={**content["measures"], "directions": 2})
    assert all(remeasured[i][0] == base[i][0] and remeasured[i][1] != base[i][1] for i in base)
    retrained = hashes(train={"epochs": 3, "batch_size": 40})
    assert all((retrained[i][0] == base[i][0]) == i.startswith("untrained") for i in base)
    more = hashes(sweep=[*content["sweep"], {"objective": "pgd_l2", "strengths": [0.5]}])
    assert {i: more[i] for i in base} == base
    assert all(hashes(threads=2)[i][0] != base[i][0] for i in base)
    assert study_status(parse_spec(content, "test"), run).trials == dict.fromkeys(base, "measured")


def test_more_measured_images_keep_the_first_ones(study: tuple[dict, Path, dict]) -> None:
    content, _, _ = study
    data = load(content["data"])
    few, more = (measured_images(parse_spec(content | {"measured": n}, "t"), data) for n in (12, 24))
    assert more[:2] == few
    every = measured_images(parse_spec(content | {"measured": 999}, "t"), data)
    assert sorted(image for shard in every for image in shard) == list(range(30))


def test_a_diverged_training_is_a_recorded_outcome(tmp_path: Path) -> None:
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [1e38]}]
    content = tiny_spec(write_data(tmp_path), sweep=sweep)
    summary = run_study(parse_spec(content, "test"), tmp_path / "run")
    outcomes = {t["id"]: (t["outcome"], t["regime"], bool(t["measures"])) for t in summary["trials"]}
    assert outcomes["gradient_norm-1e+38-s0"] == ("diverged", None, False)
    assert outcomes["standard-0-s0"][0] == "ok"


def test_one_saved_trial_measured_alone_has_the_numbers_of_the_study(
    study: tuple[dict, Path, dict], tmp_path: Path
) -> None:
    _, run, summary = study
    trial = summary["trials"][1]
    found = measure_models(
        MeasureRequest((f"run:{run}/trials/{trial['train_hash']}",), limit=12, out=tmp_path / "alone")
    )[0]
    for key, entry in found.measures.items():
        wanted = trial["measures"][key]["mean"]
        assert entry.mean == (None if wanted is None else pytest.approx(wanted, rel=1e-3, abs=1e-5)), key
    assert len(pl.read_parquet(tmp_path / "alone" / "rows.parquet")["image"].unique()) == 12


def test_a_run_is_held_by_one_process(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "run")
    with layout.locked(), pytest.raises(RunError, match="another process is working on it"), layout.locked():
        pass
    with layout.locked():
        pass


def test_an_output_that_is_a_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(RunError, match="got a file, expected a folder"):
        run_study(parse_spec(tiny_spec(write_data(tmp_path)), "test"), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"swep": []}, r"unknown key 'swep'\. Did you mean 'sweep'\?"),
        ({"train": {"epoch": 3}}, r"unknown key 'train\.epoch'\. Did you mean 'train\.epochs'\?"),
        ({"measures": {"sigma": [1]}}, r"Did you mean 'measures\.sigmas'\?"),
        ({"sweep": [{"objective": "gradnorm", "strengths": [1]}]}, r"Did you mean"),
        ({"sweep": [{"objective": "gradient_norm", "strengths": [-1]}]}, r"-1"),
        ({"sweep": []}, r"sweep.*at least 1"),
        ({"measured": 1}, r"measured.*got 1"),
        ({"train": {"epochs": 0}}, r"epochs is 0, expected at least 1"),
        ({"measures": {"epsilons": [-2.0]}}, r"epsilons: got \[-2\.0\]"),
        ({"seeds": [1, 1]}, r"distinct"),
        ({"score": {"kind": "edm"}}, r"score\.kind.*'mfa'"),
    ],
)
def test_bad_specs_are_one_clear_sentence(changes: dict, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint) as caught:
        parse_spec({"sweep": [{"objective": "standard"}]} | changes, "spec 'x.yaml'")
    assert "\n" not in str(caught.value)


def test_repeated_trials_and_unreadable_specs_are_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    twice = parse_spec(tiny_spec(data, sweep=[{"objective": "standard"}, {"objective": "standard"}]), "t")
    with pytest.raises(SpecError, match="more than once"):
        plan_trials(twice, load(f"npz:{data}"))
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path / "missing.yaml")
    (tmp_path / "bad.yaml").write_text("sweep: [")
    with pytest.raises(SpecError, match="not valid YAML"):
        load_spec(tmp_path / "bad.yaml")
    with pytest.raises(SpecError, match="expected a mapping"):
        parse_spec([1], "x")


def test_a_spec_survives_being_written_and_read(tmp_path: Path) -> None:
    spec = parse_spec(tiny_spec(write_data(tmp_path)), "t")
    path = write_spec(tmp_path, yaml.safe_load(dump_spec(spec)))
    assert load_spec(path) == spec
    assert load_spec(path).digest() == spec.digest()


def test_the_quickstart_has_the_trials_that_it_promises() -> None:
    spec = quickstart_spec()
    strengths = {e.objective: e.strengths for e in spec.sweep}
    assert strengths["standard"] == (0.0,)
    assert {0.3, 3, 30} <= set(strengths["gradient_norm"])
    assert len(strengths["noise_augmentation"]) == len(strengths["pgd_l2"]) == 2
    assert strengths["noise_consistency"]
    assert all(math.isfinite(s) for values in strengths.values() for s in values)
    assert quickstart_spec(train={"epochs": 1}).train.epochs == 1


def test_a_folder_belongs_to_the_study_of_one_name(study: tuple[dict, Path, dict]) -> None:
    content, run, summary = study
    with pytest.raises(RunError, match="holds the study 'tiny', got a spec of the name 'other'"):
        run_study(parse_spec(content | {"name": "other", "measured": 13}, "test"), run)
    assert json.loads((run / "summary.json").read_text()) == summary
    assert load_spec(run / "spec.yaml").name == "tiny"


@pytest.mark.slow
def test_time_adds_up_over_runs_and_the_start_is_the_first(tmp_path: Path) -> None:
    spec = parse_spec(tiny_spec(write_data(tmp_path), sweep=[{"objective": "standard"}]), "test")
    first = run_study(spec, tmp_path / "run")
    second = run_study(spec, tmp_path / "run")
    assert second["seconds"] > first["seconds"]
    assert second["provenance"]["started"] == first["provenance"]["started"]
    assert second["trials"] == first["trials"]


def test_a_trial_is_found_by_its_id(study: tuple[dict, Path, dict]) -> None:
    _, run, summary = study
    by_id = measure_models(MeasureRequest((f"run:{run}/trials/standard-0-s0",), limit=12))[0]
    by_hash = measure_models(MeasureRequest((f"run:{run}/trials/{summary['trials'][1]['train_hash']}",), limit=12))[0]
    assert by_id.measures == by_hash.measures
    with pytest.raises(ModelError, match="Did you mean 'standard-0-s0'"):
        measure_models(MeasureRequest((f"run:{run}/trials/standart-0-s0",)))[0]
    with pytest.raises(ModelError, match="no such run"):
        measure_models(MeasureRequest(("run:nowhere/trials/standard-0-s0",)))[0]


def test_files_of_a_run_can_be_read_by_others(study: tuple[dict, Path, dict]) -> None:
    _, run, _ = study
    modes = {path: oct(path.stat().st_mode & 0o777) for path in run.rglob("*") if path.is_file()}
    assert len(set(modes.values())) == 1, modes
