"""Progress where standard error is no terminal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tangency.cli.progress import advancing, watching
from tangency.engines import Event, Job


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was written, without the seconds."""
    out, err = capsys.readouterr()
    assert out == ""
    return [line.rpartition(",")[0] for line in err.splitlines()]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock, in seconds."""
    clock = [0.0]
    monkeypatch.setattr("tangency.cli.progress.time.monotonic", lambda: clock[0])
    return lambda seconds: clock.__setitem__(0, seconds)


def test_a_line_at_both_ends_and_one_a_minute(capsys: pytest.CaptureFixture[str], at: Callable[[float], None]) -> None:
    with advancing("training", quiet=False) as advance:
        for second in range(200):
            at(second)
            advance(f"epoch {second // 2 + 1}/100", second / 200)
        at(199.5)
        advance("done", 1.0)
        advance("done", 1.0)
    shown = ["  0% epoch 1/100", " 30% epoch 31/100", " 60% epoch 61/100", " 90% epoch 91/100", "100% done"]
    assert lines(capsys) == [f"training: {words}" for words in shown]


def test_the_time_left_is_that_of_the_present_part(
    capsys: pytest.CaptureFixture[str], at: Callable[[float], None]
) -> None:
    with advancing("measuring", quiet=False) as advance:
        for second, part, share in (
            (0, "filters", 0),
            (90, "filters", 0.25),
            (200, "images", 0.5),
            (5000, "images", 0.8),
        ):
            at(second)
            advance(part, share)
    said = [line.rpartition(", ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said == ["0 s so far", "90 s so far (about 4 min left)", "3 min so far", "83 min so far (about 53 min left)"]


def test_tasks_of_a_study_count_by_their_cost(capsys: pytest.CaptureFixture[str], at: Callable[[float], None]) -> None:
    jobs = [Job("train-0", "train a", {}, cost=1.0), Job("train-1", "train b", {}, cost=3.0)]
    events = [None, Event(jobs[0], "done", 1.0), Event(jobs[1], "progress", 0.5), Event(jobs[1], "lost", 0.0)]
    with watching(quiet=False) as watch:
        for place, event in enumerate(events):
            at(100.0 * place)
            watch("training", jobs, event)
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
