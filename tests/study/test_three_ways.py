"""A study, `tangency measure` and `measure` give equal rows of one classifier: they are one driver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from study_support import tiny_spec, write_data
from tangency.evaluate import MeasureRequest, measure_models
from tangency.measures import measure
from tangency.mixtures import load_mixture
from tangency.score import MixtureScore
from tangency.study import load_run, run_study
from tangency.study.guides import load_study_data
from tangency.tangents import MixtureTangents


@pytest.mark.processes
@pytest.mark.parametrize("guide_fraction", [pytest.param(0.0, marks=pytest.mark.slow), 0.25])
def test_three_ways_give_equal_rows(guide_fraction: float, tmp_path: Path) -> None:
    """Also where training images are kept for guides: what is measured with is fitted to the others, everywhere."""
    changes = {"sweep": [{"objective": "standard"}], "guide_fraction": guide_fraction}
    content = tiny_spec(write_data(tmp_path), workers=1, **changes)
    run_study(content, tmp_path / "run")
    run = load_run(tmp_path / "run")
    trial = "standard-0-s0"
    measure_models(MeasureRequest((run.reference(trial),), limit=12, out=tmp_path / "measured", batch_size=5))
    of_study = run.rows.filter(trial=trial).sort("image")
    of_command = pl.read_parquet(tmp_path / "measured" / "rows.parquet").sort("image")
    ids, data = torch.tensor(of_study["image"].to_list()), load_study_data(run.spec.data, guide_fraction)
    (path,) = (tmp_path / "run" / "artefacts").glob("score-*.safetensors")
    mixture = load_mixture(path)[0]
    of_python = measure(
        run.classifier(trial),
        data.test.images(ids),
        data.test.labels[ids],
        train_data=data.train,
        score=MixtureScore(mixture),
        tangents=MixtureTangents(mixture),
        config=run.spec.measures,
        pool=data.test,
        ids=ids,
        batch_size=12,
    ).frame()
    assert {trial, "untrained-s0", "filtered-s0"} == set(run.rows["trial"])
    assert len(of_study) == len(of_command) == len(of_python) == 12
    for other in (of_command, of_python):
        assert set(other.columns) >= set(of_study.columns)
        for name in of_study.columns[2:]:
            np.testing.assert_allclose(
                other[name].to_numpy(), of_study[name].to_numpy(), rtol=1e-5, atol=1e-6, err_msg=name
            )
