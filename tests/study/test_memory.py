"""Memory that runs out: measuring is tried again with half the batch and marked, a training stays in the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pytest

from study_support import InProcess, tiny_spec, write_data
from tangency.errors import RunError
from tangency.measures import Driver, write_measured
from tangency.study import StudySpec, parse_spec, run_study
from tangency.study.forecast import foresee
from tangency.study.forecast.tasks import foreseen_phases
from tangency.study.layout import Layout
from tangency.study.planning import plan_study
from tangency.training import train
from tangency.worlds import load_dataset

pytestmark = pytest.mark.processes  # torch asks the system for the processor

NO_MEMORY = "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"


@pytest.fixture
def spec(tmp_path: Path) -> StudySpec:
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.1]}]
    return parse_spec(tiny_spec(write_data(tmp_path), untrained=False, sweep=sweep), "tiny")


def done(spec: StudySpec, run: Path) -> dict[str, Any]:
    with mock.patch("tangency.study.run.open_engine", InProcess):
        return run_study(spec, run)


def limited(most: int) -> Callable[..., None]:
    """`write_measured` of a machine whose memory holds batches of so many images."""

    def write(driver: Driver, *arguments: Any) -> None:
        if driver.batch_size > most:
            raise RuntimeError(NO_MEMORY)
        write_measured(driver, *arguments)

    return write


def test_measuring_goes_on_with_half_the_batch_and_says_so(spec: StudySpec, tmp_path: Path) -> None:
    whole = done(spec, tmp_path / "whole")
    assert whole["provenance"]["halved"] == {}
    with mock.patch("tangency.study.work.tasks.write_measured", limited(12)):
        halved = done(spec, tmp_path / "halved")
    assert set(halved["provenance"]["halved"]) == {trial["id"] for trial in halved["trials"]}
    assert set(halved["provenance"]["halved"].values()) == {spec.measured}
    rows = [pl.read_parquet(tmp_path / name / "rows.parquet") for name in ("whole", "halved")]
    assert rows[0].columns == rows[1].columns
    for name in rows[0].columns:
        if rows[0][name].dtype.is_numeric():
            np.testing.assert_allclose(rows[1][name].to_numpy(), rows[0][name].to_numpy(), rtol=1e-6, atol=1e-6)
    for shard in (tmp_path / "halved").glob("trials/*/rows/*/*.parquet"):
        shard.unlink()
    again = done(spec, tmp_path / "halved")  # with all the memory, it is written anew, and no longer marked
    assert again["provenance"]["halved"] == {}


def test_half_of_the_batch_is_tried_once(spec: StudySpec, tmp_path: Path) -> None:
    with (
        mock.patch("tangency.study.work.tasks.write_measured", limited(3)),
        pytest.raises(RuntimeError, match="allocate memory"),
    ):
        done(spec, tmp_path / "run")


@pytest.mark.parametrize(
    ("starving", "lost"),
    [("gradient_norm", {"gradient_norm-0.1-s0"}), ("standard", {"standard-0-s0", "filtered-s0"})],
)
def test_a_training_without_memory_stays_in_the_table_and_is_tried_again_later(
    starving: str, lost: set[str], spec: StudySpec, tmp_path: Path
) -> None:
    def starved(classifier: Any, data: Any, objective: Any, *arguments: Any, **options: Any) -> Any:
        if objective.name == starving:
            raise MemoryError
        return train(classifier, data, objective, *arguments, **options)

    with mock.patch("tangency.study.work.tasks.train", starved):
        summary = done(spec, tmp_path / "run")
    outcomes = {trial["id"]: trial["outcome"] for trial in summary["trials"]}
    assert {name for name, outcome in outcomes.items() if outcome == "ran out of memory"} == lost
    assert len(outcomes) == 3
    data = load_dataset(spec.data)
    plan, layout = plan_study(spec, data), Layout(tmp_path / "run")
    training, filtering, measuring = foreseen_phases(plan, data, layout)
    names = [{plan.trials[i].id for i in task.trials} for task in measuring if task.kind == "measure"]
    assert [plan.trials[task.index].id for task in training] == sorted(lost - {"filtered-s0"})
    assert len(filtering) == len(lost & {"filtered-s0"})
    assert names == [lost] * len(plan.shards)
    assert foresee(spec, tmp_path / "run", calibrated=False).forecast.trained == 3 - len(lost)
    later = done(spec, tmp_path / "run")
    assert {trial["outcome"] for trial in later["trials"]} == {"ok"}


def test_other_errors_are_raised_as_they_are(spec: StudySpec, tmp_path: Path) -> None:
    with (
        mock.patch("tangency.study.work.tasks.train", side_effect=RunError("no such thing")),
        pytest.raises(RunError, match="no such thing"),
    ):
        done(spec, tmp_path / "run")
