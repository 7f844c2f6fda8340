"""A study of the calibrated log p: temperatures on images that it does not measure, and networks without one."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch

from study_support import InProcess, tiny_spec
from support import make_mixture
from tangency.autodiff import fit_temperature
from tangency.errors import SpecError
from tangency.measures import validation_images
from tangency.models import load_model
from tangency.report.read.summary import read_summary
from tangency.study import run_study
from tangency.study.plan import measured_images
from tangency.study.spec import parse_spec
from tangency.worlds import load_dataset

SCALAR = "calibrated_logp_y"


def noisy(folder: Path) -> Path:
    """Images of a mixture of three classes; a quarter of the test labels are drawn anew, so that networks err."""
    x, y = make_mixture((1, 8, 8), 3, 2, 3, noise=0.003).sample(420, 0)
    pixels, labels = (x.clamp(0, 1) * 255).byte().numpy()[:, 0], y.numpy()
    rng = np.random.default_rng(0)
    test = np.where(rng.random(300) < 0.25, rng.integers(3, size=300), labels[120:])
    path = folder / "noisy.npz"
    np.savez(path, train_images=pixels[:120], train_labels=labels[:120], test_images=pixels[120:], test_labels=test)
    return path


def spec(folder: Path, **changes: object) -> dict:
    own = tiny_spec(noisy(folder), sweep=[{"objective": "standard"}], train={"epochs": 8, "batch_size": 20}, **changes)
    scalars = ["margin", SCALAR]
    own["measures"] |= {"tangent_scalars": scalars, "alignments": [[name, "bayes_gradient"] for name in scalars]}
    return own


@pytest.mark.processes  # platform.platform() asks uname
def test_a_study_reports_temperatures_and_leaves_out_networks_that_have_none(tmp_path: Path) -> None:
    study = parse_spec(spec(tmp_path), "test")
    with mock.patch("tangency.study.run.open_engine", InProcess):
        run_study(study, tmp_path / "run")
    text = (tmp_path / "run" / "summary.json").read_text()
    trials = {trial["id"]: trial for trial in json.loads(text)["trials"]}
    standard, untrained = trials["standard-0-s0"], trials["untrained-s0"]

    data = load_dataset(study.data)
    held_out = validation_images(data.test)
    net = load_model(str(tmp_path / "run" / "trials" / standard["train_hash"] / "model.safetensors"))
    with torch.no_grad():
        expected = fit_temperature(net(held_out.images()), held_out.labels)
    fitted = standard["calibration"]["temperature"]
    assert fitted["value"] == pytest.approx(expected.value, rel=1e-4)
    assert (fitted["images"], fitted["errors"]) == (150, expected.errors)
    measured = {image for shard in measured_images(study, data) for image in shard}
    seen = {data.test.images(torch.tensor([i])).numpy().tobytes() for i in measured}
    assert seen.isdisjoint(image[None].numpy().tobytes() for image in held_out.images())

    assert untrained["calibration"]["temperature"] is None
    assert "do not predict the labels" in untrained["calibration"]["refused"]
    rows = pl.read_parquet(tmp_path / "run" / "rows.parquet")
    for key in (f"tangent_fraction.{SCALAR}", f"alignment_cosine.{SCALAR}.bayes_gradient.sigma=0.5"):
        own = rows.filter(pl.col("trial") == "standard-0-s0")[key]
        none = rows.filter(pl.col("trial") == "untrained-s0")[key]
        assert own.is_finite().all()
        assert none.is_nan().all()
        assert untrained["measures"][key]["mean"] is None
        assert standard["measures"][key]["mean"] == pytest.approx(own.mean())
    summary = read_summary(tmp_path / "run" / "summary.json")
    assert {t.id: t.calibration is not None for t in summary.trials} == dict.fromkeys(trials, True)


def test_a_study_that_measures_its_validation_images_is_refused(tmp_path: Path) -> None:
    study = parse_spec(spec(tmp_path, measured=151), "test")
    with pytest.raises(SpecError, match="measured: got 151 of 300 test images with the scalar calibrated_logp_y"):
        run_study(study, tmp_path / "run")
    assert not (tmp_path / "run" / "trials").exists()
