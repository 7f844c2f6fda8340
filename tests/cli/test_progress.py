"""Progress where standard error is no terminal."""

from __future__ import annotations

import pytest

from tangency.cli.progress import advancing, watching
from tangency.engines import Event, Job


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was written, without the seconds."""
    out, err = capsys.readouterr()
    assert out == ""
    return [line.rpartition(",")[0] for line in err.splitlines()]


def test_a_line_for_each_part_and_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with advancing("training", quiet=False) as advance:
        for part, share in (("epoch 1/2", 0.0), ("epoch 1/2", 0.06), ("epoch 1/2", 0.5), ("epoch 2/2", 0.51)):
            advance(part, share)
    assert lines(capsys) == ["training:   0% epoch 1/2", "training:  50% epoch 1/2", "training:  51% epoch 2/2"]


def test_the_time_left_is_that_of_the_present_part(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 100.0, 110.0, 200.0, 203.0])
    monkeypatch.setattr("tangency.cli.progress.time.monotonic", lambda: next(clock))
    with advancing("measuring", quiet=False) as advance:
        for part, share in (("filters", 0.0), ("filters", 0.25), ("images", 0.5), ("images", 0.8)):
            advance(part, share)
    said = [line.rpartition(", ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said == ["100 s so far", "110 s so far (about 30 s left)", "200 s so far", "203 s so far (about 2 s left)"]


def test_tasks_of_a_study_count_by_their_cost(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [Job("train-0", "train a", {}, cost=1.0), Job("train-1", "train b", {}, cost=3.0)]
    with watching(quiet=False) as watch:
        watch("training", jobs, None)
        watch("training", jobs, Event(jobs[0], "done", 1.0))
        watch("training", jobs, Event(jobs[1], "progress", 0.5))
        watch("training", jobs, Event(jobs[1], "lost", 0.0))
        watch("measuring", [], None)
    wanted = ["training:   0% of 2 tasks", "training:  25% of 2 tasks", "training:  62% of 2 tasks"]
    wanted.append("training:  25% of 2 tasks, 1 lost and tried again")
    assert lines(capsys) == [*wanted, "measuring: 100% was done before"]


def test_nothing_is_written_if_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with advancing("training", quiet=True) as advance:
        advance("epoch 1/2", 0.5)
    with watching(quiet=True) as watch:
        watch("training", [], None)
    assert capsys.readouterr() == ("", "")
