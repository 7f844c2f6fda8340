"""Atomic writes: whole or absent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tangency.files import atomic, remove_leftovers, temporary_path, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a" / "file.txt"
    with atomic(target) as temporary:
        temporary.write_text("old")

    def fail() -> None:
        with atomic(target) as temporary:
            temporary.write_text("new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert target.read_text() == "old"
    assert [p.name for p in target.parent.iterdir()] == ["file.txt"]


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_never_share_a_temporary_one(tmp_path: Path) -> None:
    """As two hosts do whose processes have the same number, or two threads."""
    with atomic(tmp_path / "a.json") as first, atomic(tmp_path / "a.json") as second:
        first.write_text("first")
        second.write_text("second")
        assert first.read_text() == "first"
    assert (tmp_path / "a.json").read_text() == "first"  # the last one to end
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def _killed(folder: Path) -> None:
    """A process is killed in the middle of writing a model."""
    code = (
        "import os, sys; from pathlib import Path; from tangency.files import atomic\n"
        "with atomic(Path(sys.argv[1])) as temporary:\n    temporary.write_text('half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder / "model.safetensors")], check=False)
    assert done.returncode == -9


@pytest.mark.processes
def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_text("{}")
    _killed(tmp_path / "sub")
    assert len(list((tmp_path / "sub").iterdir())) == 1
    remove_leftovers(tmp_path, ("model.safetensors",))  # of the folder itself
    assert len(list((tmp_path / "sub").iterdir())) == 1
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["kept.json", "sub"]


def test_what_another_host_writes_is_kept_for_a_day_whatever_its_process_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may be that of an ended process here."""
    with monkeypatch.context() as patch:
        patch.setattr("tangency.files.socket.gethostname", lambda: "elsewhere")
        patch.setattr("tangency.files.os.getpid", lambda: 1 << 22)  # above all process numbers here
        theirs = temporary_path(tmp_path / "model.safetensors")
    theirs.write_text("half")
    with atomic(tmp_path / "model.safetensors") as ours:
        ours.write_text("whole")
        remove_leftovers(tmp_path)
        assert {theirs, ours} == set(tmp_path.iterdir())  # this process is alive
        remove_leftovers(tmp_path, nobody_else=True)
        assert list(tmp_path.iterdir()) == [ours]
    theirs.write_text("half")
    os.utime(theirs, (time.time() - 25 * 3600,) * 2)
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
