"""What a study says of worker processes that do not start, fail or are killed: real scripts, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from study_support import tiny_spec, write_data, write_spec
from tangency.engines.deaths import leave_if_imported, out_of_memory, refuse_daemon, why
from tangency.engines.local import now_and_then
from tangency.errors import RunError

pytestmark = pytest.mark.processes

LAST_RESORT = 900  # seconds; nothing here takes a minute on an idle machine

GUARDED = """
import tangency, tangency.study.work.jobs as jobs

def hurt(bench, task, progress):
    {body}

jobs.do_task = hurt  # in the workers, too, which import this script
if __name__ == "__main__":
    tangency.run_study("{spec}", "{out}")
"""


@contextmanager
def script(folder: Path, text: str) -> Iterator[subprocess.Popen[str]]:
    """A script in a session of its own, which is ended with all that it started."""
    (folder / "mine.py").write_text(text)
    with subprocess.Popen(
        [sys.executable, str(folder / "mine.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def said(folder: Path, text: str) -> str:
    """What a script that fails says on standard error, in one line."""
    with script(folder, text) as process:
        told = process.communicate(timeout=LAST_RESORT)[1]
        assert process.returncode == 1, told
    return " ".join(told.split())


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    content = tiny_spec(write_data(tmp_path), untrained=False, sweep=[{"objective": "standard"}])
    return write_spec(tmp_path, content)


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(spec: Path, tmp_path: Path) -> None:
    text = f"import tangency\nprint('imported')\ntangency.run_study('{spec}', '{tmp_path / 'run'}')\n"
    with script(tmp_path, text) as process:
        out, err = process.communicate(timeout=LAST_RESORT)
    assert process.returncode == 1
    assert out.count("imported") == 2  # the script, and one worker: nothing is tried again and again
    assert err.count("Traceback") == 1
    assert 'if __name__ == "__main__":\n        main()' in err
    assert f"import '{tmp_path / 'mine.py'}'" in err
    assert "memory" not in err


@pytest.mark.slow
def test_the_traceback_of_a_worker_is_shown(spec: Path, tmp_path: Path) -> None:
    body = "return surprise[task.kind]"
    told = said(tmp_path, GUARDED.format(body=body, spec=spec, out=tmp_path / "run"))
    assert "RuntimeError: in worker, task 'train standard-0-s0'" in told
    assert "return surprise[task.kind]" in told
    assert "NameError: name 'surprise' is not defined" in told


@pytest.mark.slow
def test_a_worker_that_is_killed_again_and_again_ran_out_of_memory(spec: Path, tmp_path: Path) -> None:
    body = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    told = said(tmp_path, GUARDED.format(body=body, spec=spec, out=tmp_path / "run"))
    assert "died 3 times, the last time killed, as systems do when memory runs out" in told
    assert "Finished work is kept" in told


@pytest.mark.slow
def test_a_script_that_workers_cannot_import_is_named(spec: Path, tmp_path: Path) -> None:
    text = "import tangency\nif __name__ == '__main__':\n"
    text += f"    tangency.run_study('{spec}', '{tmp_path / 'run'}')\nelse:\n    raise ImportError('no such luck')\n"
    told = said(tmp_path, text)
    assert "ImportError: no such luck" in told
    assert f"with exit code 1 before it began, most likely while it imported '{tmp_path / 'mine.py'}'" in told
    assert "memory" not in told.rpartition("RunError")[2]


@pytest.mark.parametrize(
    ("code", "begun", "words"),
    [
        (-signal.SIGKILL, True, "memory"),
        (-signal.SIGKILL, False, "memory"),
        (-signal.SIGSEGV, True, "signal 11, Segmentation fault"),
        (1, False, "before it began, most likely while it imported"),
        (3, True, "ended with exit code 3; its own words"),
    ],
)
def test_why_a_worker_ended(code: int, begun: bool, words: str) -> None:
    told = why(code, begun)
    assert words in told
    assert ("memory" in words) == ("memory" in told)


def test_an_error_that_is_about_memory_says_so_and_no_other_does() -> None:
    texts = ["", "CUDA out of memory. Tried to allocate 2 GiB", "DefaultCPUAllocator: can't allocate memory: 9 bytes"]
    for error in (MemoryError(), RuntimeError(texts[1]), RuntimeError(texts[2])):
        told = out_of_memory(error, "task 'train 0'")
        assert str(told).startswith("task 'train 0': memory ran out (")
        assert "fewer --workers" in str(told)
    assert out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "task") is None


def test_a_process_that_may_start_no_others_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        daemon, _inheriting = True, True

    monkeypatch.setattr("multiprocessing.current_process", Worker)
    with pytest.raises(RunError, match="daemonic process"):
        refuse_daemon()
    with pytest.raises(SystemExit) as left:
        leave_if_imported()
    assert left.value.code == 76


def test_a_worker_reports_its_progress_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand steps in ten seconds."""
    steps, reports = iter(range(1000)), list[float]()
    monkeypatch.setattr("time.monotonic", lambda: next(steps) * 0.01)
    advance = now_and_then(reports.append)
    for step in range(1000):
        advance(step / 1000)
    assert reports[0] == 0.0
    assert 90 <= len(reports) <= 100
