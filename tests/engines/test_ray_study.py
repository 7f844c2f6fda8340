"""A study on a real Ray cluster has the rows of one on this machine, bit for bit, whatever is killed or not seen."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from engines.conftest import RayHere
from study_support import tiny_spec, write_data
from tangency import run_study
from tangency.engines import EngineConfig, Event, Job

pytestmark = [pytest.mark.processes, pytest.mark.slow]

EPOCHS = 3
SWEEP = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.1, 0.2, 0.4]}]


def world_spec(folder: Path) -> dict:
    """Trials of a world, whose score is exact."""
    return {
        "data": "world:linear?rank=2&classes=2&shape=1x8x8&train=120&test=20",
        "score": "exact",
        "measured": 6,
        "shard": 3,
        "sweep": SWEEP,
        "untrained": False,
        "train": {"epochs": EPOCHS, "batch_size": 10},
        "pictures": 2,
        "replicates": 100,
        "measures": {"metrics": ["cosine"], "directions": 1},
    }


def fitted_spec(folder: Path) -> dict:
    """Trials on images in a file, whose score is fitted, and read by all that measure."""
    return tiny_spec(write_data(folder), sweep=SWEEP, train={"epochs": EPOCHS, "batch_size": 5})


SPECS = {"world": world_spec, "fitted": fitted_spec}


@dataclass(frozen=True)
class Whole:
    """A study that one process of this machine did."""

    spec: dict
    rows: pl.DataFrame
    journal: list[str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    """What nobody disturbed, by the kind of spec."""
    done: dict[str, Whole] = {}

    def get(kind: str) -> Whole:
        if kind not in done:
            folder = tmp_path_factory.mktemp(kind)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TANGENCY_JOURNAL", str(folder / "journal"))
                spec = SPECS[kind](folder) | {"workers": 1}
                run_study(spec, folder / "run")
            rows = pl.read_parquet(folder / "run" / "rows.parquet")
            done[kind] = Whole(spec, rows, (folder / "journal").read_text().splitlines())
        return done[kind]

    return get


def on_node(pid: int, name: str, here: RayHere) -> bool:
    import psutil

    return int((here.folder / f"{name}.pid").read_text()) in {above.pid for above in psutil.Process(pid).parents()}


@pytest.mark.parametrize(
    ("kind", "workers", "kill", "hidden"),
    [
        ("world", 1, "", False),
        ("world", 2, "n1", False),
        ("fitted", 2, "n2", True),
    ],
)
def test_rows_are_those_of_one_process(
    kind: str, workers: int, kill: str, hidden: bool, whole, ray_here: RayHere, tmp_path: Path, monkeypatch
) -> None:
    expected, killed, lost = whole(kind), list[int](), list[Event]()
    run, journal = (ray_here.hidden if hidden else tmp_path) / f"run-{tmp_path.name}", tmp_path / "journal"
    monkeypatch.setenv("TANGENCY_JOURNAL", str(journal))

    def watch(phase: str, jobs: list[Job], event: Event | None) -> None:
        if event and event.state == "lost":
            lost.append(event)
        if event and event.state == "progress" and phase == "training" and 0.4 < event.share < 0.8 and not killed:
            pid = int(event.where.rpartition(":")[2])
            if kill and event.job.name.startswith("train ") and on_node(pid, kill, ray_here):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    engine = EngineConfig(kind="ray", address=ray_here.address)
    run_study(expected.spec | {"workers": workers}, run, watch, engine=engine)
    assert pl.read_parquet(run / "rows.parquet").equals(expected.rows)
    assert len(killed) == len(lost) == bool(kill), "the fault hit a training"
    lines = journal.read_text().splitlines()
    for point in ("train.finished", "measure.trial"):
        assert lines.count(point) == expected.journal.count(point) > 0, "all is done, and nothing twice"
    steps = expected.journal.count("train.step")
    an_epoch = steps // expected.journal.count("train.epoch")
    repeated = lines.count("train.step") - steps
    assert 0 <= repeated <= (an_epoch + 3 if kill else 0), "an epoch is lost at most, and what ran while it was killed"
    assert not list(run.rglob(".*.tmp"))
    assert not list(run.rglob("checkpoint.safetensors"))
