"""What goes to workers that do not see the run folder and what comes back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tangency.engines.carried import CarriedFolder, versions, write_changes
from tangency.errors import RunError


def write(folder: Path, name: str, content: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


def carried(run: Path, there: CarriedFolder, inputs: list[str], outputs: list[str]) -> list[str]:
    """Send a job's files; the names of those that had to be read."""
    read = []

    def content(name: str) -> bytes:
        read.append(name)
        return (run / name).read_bytes()

    there.receive(versions(run, [*inputs, *outputs]), tuple(outputs), content)
    return read


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write(tmp_path / "run", "artefacts/score", "the score")
    write(tmp_path / "run", "artefacts/deep/more", "more")
    write(tmp_path / "run", "artefacts/.score.17.tmp", "half a sco")
    write(tmp_path / "run", "trials/a/checkpoint", "epoch 1")
    write(tmp_path / "run", "trials/b/model", "another's")
    return tmp_path / "run"


@pytest.fixture
def there(tmp_path: Path) -> CarriedFolder:
    (tmp_path / "there").mkdir()
    return CarriedFolder(tmp_path / "there")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_job_gets_what_it_reads_and_goes_on_from_and_nothing_else(run: Path, there: CarriedFolder) -> None:
    carried(run, there, ["artefacts", "missing", "trials/a/checkpoint/below-a-file"], ["trials/a"])
    assert contents(there.folder) == {
        "artefacts/score": "the score",
        "artefacts/deep/more": "more",
        "trials/a/checkpoint": "epoch 1",
    }
    assert there.changes() == {}
    carried(run, there, [], ["trials/b"])
    assert contents(there.folder) == {"trials/b/model": "another's"}


def test_what_is_there_is_not_sent_again_unless_it_changed(run: Path, there: CarriedFolder) -> None:
    assert carried(run, there, ["artefacts"], []) == ["artefacts/score", "artefacts/deep/more"]
    assert carried(run, there, ["artefacts"], []) == []
    write(run, "artefacts/more.new", "changed")
    (run / "artefacts/more.new").replace(run / "artefacts/deep/more")
    assert carried(run, there, ["artefacts"], []) == ["artefacts/deep/more"]
    assert contents(there.folder)["artefacts/deep/more"] == "changed"


def test_changes_come_back_once_in_the_order_in_which_they_were_made(run: Path, there: CarriedFolder) -> None:
    carried(run, there, ["artefacts"], ["trials/a"])
    write(there.folder, "trials/a/.mark.9.tmp", "made")  # written first, in place last
    time.sleep(0.05)
    write(there.folder, "trials/a/z-model", "made")
    time.sleep(0.05)
    (there.folder / "trials/a/.mark.9.tmp").replace(there.folder / "trials/a/a-mark")
    write(there.folder, "trials/a/.model.9.tmp", "half a mod")
    (there.folder / "trials/a/checkpoint").unlink()
    changes = there.changes()
    assert changes == {"trials/a/z-model": b"made", "trials/a/a-mark": b"made", "trials/a/checkpoint": None}
    assert list(changes)[:2] == ["trials/a/z-model", "trials/a/a-mark"]
    assert there.changes() == {}
    write_changes(run, changes)
    assert contents(run / "trials/a") == {"z-model": "made", "a-mark": "made"}


def test_a_file_that_another_wrote_meanwhile_replaces_the_own_one(run: Path, there: CarriedFolder) -> None:
    carried(run, there, [], ["trials/a"])
    write(there.folder, "trials/a/checkpoint", "epoch 2, here")
    there.changes()  # on its way, but the driver never got it
    assert carried(run, there, [], ["trials/a"]) == ["trials/a/checkpoint"]
    assert contents(there.folder) == {"trials/a/checkpoint": "epoch 1"}


def test_what_cannot_be_written_leaves_the_earlier_file_whole(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="checkpoint': cannot be written"):
        write_changes(run, {"trials/a/checkpoint": b"epoch 2"})
    assert contents(run / "trials/a") == {"checkpoint": "epoch 1"}
