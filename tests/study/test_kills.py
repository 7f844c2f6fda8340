"""`kill -9` of worker and driver at journalled points: nothing is lost, doubled or changed."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import polars as pl
import pytest

from study_support import tangency, tiny_spec, write_data, write_spec

pytestmark = pytest.mark.processes

# (who is killed, at which point, proof of partial work: files that exist afterwards or, where the same run goes on with
# a new worker, a file that the first worker had written)
POINTS = [
    ("driver", "train.step#4", "trials/*/checkpoint.safetensors"),
    ("driver", "train.epoch#3", "trials/*/best.safetensors"),
    ("driver", "rename:checkpoint.safetensors#2", "trials/*/.checkpoint.safetensors.*.tmp"),
    ("driver", "rename:trial.json#2", "trials/*/.trial.json.*.tmp"),
    ("driver", "rename:score-*#1", "artefacts/.score-*.tmp"),
    ("driver", "filter.chosen#1", "trials/*/trial.json"),
    ("driver", "rename:trial.json#4", "trials/*/.trial.json.*.tmp"),  # of the filtered network
    ("driver", "measure.trial#4", "trials/*/rows/*/*.parquet"),
    ("driver", "rename:pictures.safetensors#1", "artefacts/.pictures.safetensors.*.tmp"),
    ("self", "rename:rows.parquet#1", "trials/*/rows/*/*.parquet"),
    ("self", "rename:summary.json#1", "rows.parquet"),
    ("self", "report.page#1", "summary.json"),
    ("self", "rename:index.html#1", "report/.index.html.*.tmp"),
    ("worker", "train.step#4", "rename:checkpoint.safetensors"),
    ("worker", "rename:model.safetensors#2", "rename:best.safetensors"),
    ("worker", "filter.chosen#1", "rename:trial.json"),
    ("worker", "measure.trial#2", "rename:*-6.parquet"),
]
FAST = {("worker", "measure.trial#2")}


# The phase that trains twice as long: by then 2 networks have made 12 steps, 4 trials have been measured in 2 shards.
LONGER = [
    ("driver", "train.step#16", "trials/*/checkpoint.safetensors"),
    ("driver", "rename:trial.json#6", "trials/*/.trial.json.*.tmp"),  # of the second one
    ("driver", "measure.trial#11", "trials/*/rows/*/*.parquet"),
    ("worker", "train.step#16", "train.epoch"),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """Spec, and the rows of a run that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    spec = write_spec(folder, tiny_spec(write_data(folder)))
    done = tangency("study", "run", spec, "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    return spec, pl.read_parquet(folder / "run" / "rows.parquet")


def trained(journal: Path) -> int:
    """How many trainings ran to their last step."""
    return sum(line == "train.finished" for line in journal.read_text().splitlines())


@pytest.mark.parametrize(
    ("whom", "point", "proof"),
    [pytest.param(*p, marks=[] if p[:2] in FAST else pytest.mark.slow, id=f"{p[0]} at {p[1]}") for p in POINTS],
)
def test_a_killed_study_goes_on(
    whom: str, point: str, proof: str, undisturbed: tuple[Path, pl.DataFrame], tmp_path: Path
) -> None:
    spec, expected = undisturbed
    run, journal = tmp_path / "run", tmp_path / "journal"
    suffix = "@driver" if whom == "driver" else ""
    command = ("study", "run", spec, "--out", run)
    first = tangency(*command, TANGENCY_JOURNAL=str(journal), TANGENCY_KILL=point + suffix)
    if whom == "worker":  # the driver gives the task to a new process
        assert first.returncode == 0, first.stderr
        lines = journal.read_text().splitlines()
        assert lines.count("worker.start") == 2, "nobody was killed"  # one worker, and the one that replaced it
        assert fnmatch.filter(lines[: len(lines) - lines[::-1].index("worker.start") - 1], proof), "no partial work"
    else:
        assert first.returncode == -9, first.stderr
        assert list(run.glob(proof)), f"no partial work: {sorted(run.rglob('*'))}"
        assert not (run / "report" / "index.html").exists()
        again = tangency(*command, TANGENCY_JOURNAL=str(journal))
        assert again.returncode == 0, again.stderr
    assert trained(journal) == 2  # two trained networks, and none of them twice
    if point.startswith("measure"):  # and no shard
        written = fnmatch.filter(journal.read_text().splitlines(), "rename:*-6.parquet")
        assert len(written) == len(list(run.glob("trials/*/rows/*/*-6.parquet")))
    assert pl.read_parquet(run / "rows.parquet").equals(expected)
    assert (run / "report" / "index.html").exists()
    assert not list(run.rglob("*.tmp"))
    assert not list(run.rglob("checkpoint.safetensors"))


@pytest.mark.slow
def test_running_again_does_nothing_twice(undisturbed: tuple[Path, pl.DataFrame], tmp_path: Path) -> None:
    spec, expected = undisturbed
    journal = tmp_path / "journal"
    run = spec.parent / "run"
    before = {path: path.stat().st_mtime_ns for path in run.glob("trials/**/*") if path.is_file()}
    assert tangency("study", "run", spec, "--out", run, TANGENCY_JOURNAL=str(journal)).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    reached = journal.read_text()
    assert "train.step" not in reached
    assert "measure.trial" not in reached
    assert pl.read_parquet(run / "rows.parquet").equals(expected)


@pytest.fixture(scope="module")
def converged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    """The same of a study that trains its networks twice as long, too."""
    folder = tmp_path_factory.mktemp("longer")
    spec = write_spec(folder, tiny_spec(write_data(folder), convergence=True))
    done = tangency("study", "run", spec, "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    return spec, pl.read_parquet(folder / "run" / "rows.parquet")


def finished(run: Path) -> dict[Path, int]:
    """Files of finished work with the times of their writing."""
    kept = [path for name in ("trial.json", "model.safetensors", "*.parquet") for path in run.glob(f"trials/**/{name}")]
    return {
        path: path.stat().st_mtime_ns for path in kept if (path.parent / "trial.json").exists() or "rows" in path.parts
    }


@pytest.mark.slow
@pytest.mark.parametrize(("whom", "point", "proof"), [pytest.param(*p, id=f"{p[0]} at {p[1]}") for p in LONGER])
def test_a_study_that_is_killed_while_it_trains_longer_goes_on(
    whom: str, point: str, proof: str, converged: tuple[Path, pl.DataFrame], tmp_path: Path
) -> None:
    spec, expected = converged
    run, journal = tmp_path / "run", tmp_path / "journal"
    command = ("study", "run", spec, "--out", run)
    suffix = "@driver" if whom == "driver" else ""
    first = tangency(*command, TANGENCY_JOURNAL=str(journal), TANGENCY_KILL=point + suffix)
    if whom == "worker":
        assert first.returncode == 0, first.stderr
        lines = journal.read_text().splitlines()
        assert lines.count("worker.start") == 2, "nobody was killed"
        second = len(lines) - lines[::-1].index("worker.start") - 1
        assert (lines[:second].count("train.finished"), lines[:second].count("measure.trial")) == (2, 8)
        assert lines[:second].count(proof) > 4, "no partial work"  # epochs beyond those of the two networks
    else:
        assert first.returncode == -9, first.stderr
        assert list(run.glob(proof)), f"no partial work: {sorted(run.rglob('*'))}"
        before = finished(run)
        lines = journal.read_text().splitlines()
        assert (lines.count("train.finished") >= 2, lines.count("measure.trial") >= 8) == (True, True), "too early"
        trials = sum(path.name == "trial.json" for path in before)
        assert trials == {"train.step#16": 4, "rename:trial.json#6": 5, "measure.trial#11": 6}[point]
        again = tangency(*command, TANGENCY_JOURNAL=str(journal))
        assert again.returncode == 0, again.stderr
        assert {path: path.stat().st_mtime_ns for path in before} == before
    assert trained(journal) == 4  # two networks, and the same two for longer
    assert {"standard-0-long-s0", "gradient_norm-0.1-long-s0"} <= set(expected["trial"])
    assert pl.read_parquet(run / "rows.parquet").equals(expected)
    assert not list(run.rglob("*.tmp"))
    assert not list(run.rglob("checkpoint.safetensors"))
