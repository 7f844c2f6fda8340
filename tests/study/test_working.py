"""Studies and measurements whose score and tangent spaces live at a working size."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from study_support import tangency, tiny_spec, write_data, write_spec
from tangency.errors import ModelError, SpecError
from tangency.evaluate.classifiers.saved import find_classifier
from tangency.evaluate.measure import measure_models
from tangency.evaluate.request import MeasureRequest
from tangency.measures import measure
from tangency.mixtures import load_mixture
from tangency.models import build, save_classifier
from tangency.report import write_report
from tangency.score import MixtureScore, ScoreCard, build_network, save_score
from tangency.study import load_spec, parse_spec, run_study
from tangency.tangents import MixtureTangents
from tangency.worlds import load_dataset

MEASURES = tiny_spec(Path("none"))["measures"] | {"working_size": 4}
FAST = {"sigmas": (0.5,), "epsilons": (2.0,), "rho_sigmas": (0.05,), "metrics": ("cosine",), "limit": 8}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a spec and its finished run."""
    folder = tmp_path_factory.mktemp("working")
    spec = write_spec(folder, tiny_spec(write_data(folder), measures=MEASURES, sweep=[{"objective": "standard"}]))
    run_study(load_spec(spec), folder / "run")
    return folder


def shown(rows: pl.DataFrame, trial: str) -> dict[str, np.ndarray]:
    """Measure to values of one trial, in the order of the images."""
    own = rows.filter(trial=trial).sort("image")
    return {key: own[key].to_numpy() for key in own.columns[3:]}


@pytest.mark.processes
def test_the_rows_of_a_study_are_those_of_the_library(done: Path) -> None:
    run, data = done / "run", load_dataset(f"npz:{done / 'tiny.npz'}")
    found = shown(pl.read_parquet(run / "rows.parquet"), "standard-0-s0")
    ids = torch.from_numpy(pl.read_parquet(run / "rows.parquet")["image"].unique().sort().to_numpy(writable=True))
    (path,) = (run / "artefacts").glob("score-*.safetensors")
    mixture = load_mixture(path)[0]
    assert mixture.shape == (1, 4, 4)
    rows = measure(
        find_classifier(f"run:{run}/trials/standard-0-s0", "cpu").classifier,
        data.test.images(ids),
        data.test.labels[ids],
        train_data=data.train,
        score=MixtureScore(mixture),
        tangents=MixtureTangents(mixture),
        config=load_spec(done / "spec.yaml").measures,
        pool=data.test,
        ids=ids,
    )
    assert len(ids) == 12
    assert set(found) == set(rows.keys())
    assert {"working_share.margin", "working_pixels"} <= found.keys()
    np.testing.assert_array_equal(found["working_pixels"], np.full(12, 0.25))
    for key, values in rows.columns.items():
        np.testing.assert_allclose(found[key], values.numpy(), rtol=1e-4, atol=1e-6, err_msg=key)


@pytest.mark.processes
def test_the_summary_and_the_page_of_a_study_tell_its_working_size(done: Path) -> None:
    summary = json.loads((done / "run" / "summary.json").read_text())
    assert all(trial["measures"]["working_share.margin"]["mean"] is not None for trial in summary["trials"])
    assert summary["data"]["working"].startswith("score and tangent spaces are at 4x4 of 8x8 by area")
    assert "Score and tangent spaces are at 4x4 of 8x8 by area" in write_report(done / "run").read_text()


@pytest.mark.slow
@pytest.mark.processes
def test_a_killed_study_goes_on_at_its_working_size(done: Path, tmp_path: Path) -> None:
    command = ("study", "run", done / "spec.yaml", "--out", tmp_path / "run")
    first = tangency(*command, TANGENCY_JOURNAL=str(tmp_path / "journal"), TANGENCY_KILL="measure.trial#3@driver")
    assert first.returncode == -9, first.stderr
    assert list(tmp_path.glob("run/trials/*/rows/*/*.parquet"))
    assert not (tmp_path / "run" / "summary.json").exists()
    again = tangency(*command)
    assert again.returncode == 0, again.stderr
    assert pl.read_parquet(tmp_path / "run" / "rows.parquet").equals(pl.read_parquet(done / "run" / "rows.parquet"))


@pytest.mark.slow
@pytest.mark.processes
def test_another_working_size_is_measured_anew_and_nothing_is_trained_again(done: Path, tmp_path: Path) -> None:
    content = tiny_spec(done / "tiny.npz", sweep=[{"objective": "standard"}], untrained=False)
    run = tmp_path / "run"
    run_study(parse_spec(content, "test"), run)
    (weights,) = run.glob("trials/*/model.safetensors")
    before, whole = weights.stat().st_mtime_ns, pl.read_parquet(run / "rows.parquet")
    run_study(parse_spec(content | {"measures": MEASURES}, "test"), run, replace=True)
    small = pl.read_parquet(run / "rows.parquet")
    assert weights.stat().st_mtime_ns == before
    name = "standard-0-s0"
    np.testing.assert_array_equal(shown(small, name)["accuracy"], shown(whole, name)["accuracy"])
    assert "working_share.margin" not in shown(whole, name)
    fractions = [shown(rows, name)["tangent_fraction.margin"] for rows in (small, whole)]
    assert (fractions[0] != fractions[1]).all()
    run_study(parse_spec(content, "test"), run, replace=True)
    assert pl.read_parquet(run / "rows.parquet").equals(whole)


def small_score(folder: Path, side: int) -> str:
    """A trained score of the tiny images at this size, of random weights."""
    options = {"channels": 1, "classes": 3, "size": "tiny"}
    classes = load_dataset(f"npz:{write_data(folder)}").train.classes
    network = build_network(ScoreCard("unet", "edm", (1, side, side), options, classes=classes))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.module.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    save_score(network, folder / f"score{side}.safetensors")
    return str(folder / f"score{side}.safetensors")


def test_pictures_at_a_working_size_are_refused(tmp_path: Path) -> None:
    data, run = write_data(tmp_path), tmp_path / "run"
    spec = parse_spec(tiny_spec(data, measures=MEASURES, generate=[{"task": "inpaint"}]), "test")
    with pytest.raises(SpecError, match=r"^generate: got it with measures at 4x4 of 8x8.*working_size: own, since"):
        run_study(spec, run)
    assert not run.exists()


@pytest.mark.slow
@pytest.mark.processes
def test_a_trained_score_lives_at_the_working_size_of_a_study(tmp_path: Path) -> None:
    """As `tangency measure` has it; one of the images' own size is refused."""
    measures = MEASURES | {"alignments": [["margin", "network_bayes_gradient"]]}
    sweep = [{"objective": "standard"}]
    content = tiny_spec(write_data(tmp_path), score={"kind": "none"}, measures=measures, sweep=sweep)
    with pytest.raises(ModelError, match=r"takes images of \(1, 8, 8\)"):
        run_study(parse_spec(content | {"network_score": small_score(tmp_path, 8)}, "test"), tmp_path / "run")
    score = small_score(tmp_path, 4)
    summary = run_study(parse_spec(content | {"network_score": score}, "test"), tmp_path / "run")
    assert summary["score"]["network"]["file"]
    key = "alignment_cosine.margin.network_bayes_gradient.sigma=0.5"
    found = shown(pl.read_parquet(tmp_path / "run" / "rows.parquet"), "standard-0-s0")[key]
    model = f"run:{tmp_path / 'run'}/trials/standard-0-s0"  # measured as the study does it
    measure_models(MeasureRequest(model, out=tmp_path / "m", limit=12))
    again = pl.read_parquet(tmp_path / "m" / "rows.parquet").sort("image")[key].to_numpy()
    np.testing.assert_allclose(found, again, rtol=1e-4)


def test_as_many_images_at_once_as_memory_holds_change_no_row(tmp_path: Path) -> None:
    data = load_dataset(f"npz:{write_data(tmp_path)}")
    save_classifier(build("convnet", data.train.shape, data.train.classes), tmp_path / "net.safetensors")
    tables = []
    for batch in ("auto", 3):
        asked = {"working_size": 4, "batch_size": batch, "out": tmp_path / str(batch), **FAST}
        measure_models(MeasureRequest(str(tmp_path / "net.safetensors"), f"npz:{tmp_path / 'tiny.npz'}", **asked))
        tables.append(pl.read_parquet(tmp_path / str(batch) / "rows.parquet").sort("image"))
    auto, three = tables
    assert auto.columns == three.columns
    for name in auto.columns[2:]:
        np.testing.assert_allclose(auto[name].to_numpy(), three[name].to_numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_weights_that_are_nan_are_told_at_a_working_size(tmp_path: Path) -> None:
    data = load_dataset(f"npz:{write_data(tmp_path)}")
    classifier = build("convnet", data.train.shape, data.train.classes)
    with torch.no_grad():
        next(classifier.parameters()).fill_(torch.nan)
    save_classifier(classifier, tmp_path / "net.safetensors")
    asked = MeasureRequest(str(tmp_path / "net.safetensors"), f"npz:{tmp_path / 'tiny.npz'}", **FAST)
    told = []
    for size in ("own", 4):
        (found,) = measure_models(dataclasses.replace(asked, working_size=size))
        assert "its logits are NaN or infinite for 30 of 30 images" in found.check.warnings[0]
        numbers = {key: entry.mean for key, entry in found.measures.items()}
        assert numbers["accuracy"] is None
        assert numbers["tangent_fraction.margin"] is None
        assert numbers["change_off.eps=2"] is None
        told.append({key for key, mean in numbers.items() if mean is not None})
    assert found.measures["working_share.margin"].degenerate == 8
    assert told[0] == told[1]  # what no classifier changes
