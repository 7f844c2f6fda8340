"""Why a worker process ended or failed, in words: signals, exit codes, memory, and scripts without a guard."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import wait

from tangency.engines.contract import Job
from tangency.errors import RunError, TangencyError

_KILLED = 9  # SIGKILL, which Windows does not have
IMPORTED = 76  # exit code of a worker that reached the study's own call while it imported the script
_GUARD = """\
    def main():
        tangency.run_study(spec, "runs/mine")

    if __name__ == "__main__":
        main()"""


def leave_if_imported() -> None:
    """End this process where it is a worker that is only just importing the script which started the study.

    Python's "spawn" imports the main script in each new process, and what stands outside of a guard runs again there.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # what multiprocessing itself goes by
        sys.exit(IMPORTED)


def refuse_daemon() -> None:
    """Raise in a process that may not start others."""
    if multiprocessing.current_process().daemon:
        raise RunError(
            "study: this is a daemonic process, such as a worker of multiprocessing.Pool, which may start no processes "
            "of its own; run the study in the main process, or in a worker of concurrent.futures."
        )


def unguarded() -> RunError:
    """The error of a script that is not guarded."""
    return RunError(
        f"study: its worker processes import '{_script()}', and that starts the study again, since the call is not "
        f"guarded. Put it into a function:\n{_GUARD}"
    )


def end_with_parent() -> None:
    """Leave at once when the process that started this one is killed: nobody would take the result."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def why(code: int | None, begun: bool) -> str:
    """Why a worker ended, from its exit code and whether it had begun to work."""
    if code == -_KILLED:
        return "killed, as systems do when memory runs out; use fewer --workers, or smaller batches"
    if code is not None and code < 0:
        return f"ended by signal {-code}, {signal.strsignal(-code) or 'unknown'}"
    if not begun:
        return (
            f"it ended with exit code {code} before it began, most likely while it imported '{_script()}': its own "
            "words stand above"
        )
    return f"it ended with exit code {code}; its own words, if any, stand above"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that no memory is left, of the machine or of an accelerator."""
    text = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text


def out_of_memory(error: BaseException, work: str) -> RunError | None:
    """The error to raise where one says that no memory is left; None for others."""
    text = str(error)
    if is_out_of_memory(error):
        return RunError(
            f"{work}: memory ran out ({' '.join(text.split())[:200] or 'MemoryError'}). Finished work is kept: run "
            "the study again, with fewer --workers, or smaller batches."
        )
    return None


def as_reported(error: Exception, job: Job) -> Exception:
    """What the driver raises for an error of a job: a user's mistake as it is, all else with its traceback."""
    if isinstance(error, TangencyError):
        return error
    known = out_of_memory(error, f"task '{job.name}'")
    return known or RuntimeError(f"in worker, task '{job.name}':\n{traceback.format_exc()}")


def _script() -> str:
    return str(getattr(sys.modules.get("__main__"), "__file__", None) or "the main module")
