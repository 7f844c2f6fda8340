"""Work for engines that costs nothing: steps that are counted, each with a checkpoint, and ways to fail."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.engines import Job, Progress
from tangency.errors import DataError
from tangency.files import write_json


@dataclass(frozen=True)
class Counting:
    """Jobs of steps; each step is a line in a log outside of the run folder, and a checkpoint in it.

    Args:
        log: file that all processes of this machine see.
        data: file whose content is the data of the work; "" for none.
    """

    log: str
    data: str = ""
    threads: int = 1

    def data_digest(self) -> str:
        if not self.data:
            return ""
        if not Path(self.data).exists():
            raise DataError(f"data '{self.data}': not there")
        return hashlib.sha256(Path(self.data).read_bytes()).hexdigest()

    def open(self, run: Path, device: str) -> Callable[[Mapping[str, Any], Progress], None]:
        def do(payload: Mapping[str, Any], progress: Progress) -> None:
            self.count(run, progress, **payload)

        return do

    def count(
        self,
        run: Path,
        progress: Progress,
        name: str,
        steps: int = 2,
        seconds: float = 0.0,
        fault: str = "",
        reads: str = "",
    ) -> None:
        """Count to `steps`, from where an earlier process came to; the sum of what it reads and its steps is made."""
        folder = run / "made" / name
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = folder / "checkpoint"
        begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
        if fault == "user":
            raise DataError("these data are no data; use others")
        if fault == "bug":
            raise ZeroDivisionError("a bug")
        for step in range(begin, steps):
            self.note(f"{name} {step} {os.getpid()} {run}")
            time.sleep(seconds)
            temporary = folder / f".checkpoint.{os.getpid()}.tmp"
            temporary.write_text(str(step + 1))
            temporary.replace(checkpoint)
            progress((step + 1) / steps)
            if fault == "killed" or (fault == "killed once" and step == 1 and begin == 0):
                time.sleep(0.3)  # the driver has the checkpoint
                os.kill(os.getpid(), signal.SIGKILL)
        read = int((run / reads).read_text()) if reads else 0
        (folder / "value.txt").write_text(str(read + steps))
        (folder / "value.txt").rename(folder / "value")
        write_json(folder / "done.json", {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "")})
        checkpoint.unlink()

    def note(self, line: str) -> None:
        """Append to the log, in one write."""
        handle = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{line}\n".encode())
        os.close(handle)

    def noted(self) -> list[list[str]]:
        """Name, step, process and folder of each step that was begun."""
        return [line.split() for line in Path(self.log).read_text().splitlines()] if Path(self.log).exists() else []


def counting_job(name: str, cost: float = 1.0, **payload: Any) -> Job:
    """A job that counts; `reads` names what it wants of another."""
    reads = (payload["reads"],) if "reads" in payload else ()
    return Job(name, f"count {name}", {"name": name, **payload}, cost, reads, (f"made/{name}",))


def value(run: Path, name: str) -> int:
    """What a job made."""
    return int((run / "made" / name / "value").read_text())
