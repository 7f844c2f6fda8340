"""Two hundred seeded mutants of each format: read or refused, nothing else, with bounded work and memory.

Each is loaded in a process forked from one that has loaded the libraries; see worker.py.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from fuzz.run_folder import RUN_FOLDERS
from fuzz.subjects import SUBJECTS
from processes import run

pytestmark = pytest.mark.processes

MUTANTS = 200
MEMORY = 2 << 30  # bytes above what the valid file takes
FORMATS = [*SUBJECTS, *RUN_FOLDERS]
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")


def mutants(name: str, count: int) -> list[dict[str, Any]]:
    """What came of the valid file, then of each mutant."""
    tests = Path(__file__).parent.parent
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(tests), *sys.path])}
    done = run([sys.executable, "-m", "fuzz.worker", name, str(count), "0"], environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@forking
@pytest.mark.parametrize("name", FORMATS)
def test_mutants_are_read_or_refused(name: str) -> None:
    valid, *found = mutants(name, MUTANTS)
    assert valid["outcome"] == "read", valid
    assert len(found) == MUTANTS
    wrong = [one for one in found if one["outcome"] not in ("read", "refused")]
    assert not wrong, "\n".join(f"{one['mutant']} {one['file']}: {one['outcome']}\n{one['message']}" for one in wrong)
    assert all(
        one["message"].strip() and "\n" not in one["message"].strip() for one in found if one["outcome"] != "read"
    )
    assert max(one["memory"] for one in found) - valid["memory"] < MEMORY
    changed = [one for one in found if not one["same"]]
    assert len(changed) > 0.9 * MUTANTS
    assert sum(one["magic"] for one in changed) >= 0.3 * MUTANTS, "the mutants stop at the magic bytes"


@pytest.mark.slow
@forking
@pytest.mark.parametrize(
    ("harm", "outcome"),
    [
        ("raise KeyError('no')", "crashed"),
        ("import os; os.abort()", "killed by SIGABRT"),
        ("import os; os.system('true')", "ran code: os.system"),
        ("import pickle; pickle.loads(pickle.dumps(print))", "ran code: pickle.find_class"),
        ("b'x' * (3 << 30)", "read"),
        ("while True: pass", "over 1 s of CPU"),
    ],
)
def test_the_watch_sees_what_must_not_be(harm: str, outcome: str) -> None:
    """Loaders that do wrong are told as such."""
    script = (
        f"import json, fuzz.worker as w\nw.CPU_SECONDS = {1 if 'while' in harm else 60}\n"
        f"print(json.dumps(w.in_child(lambda: exec({harm!r}))))"
    )
    tests = Path(__file__).parent.parent
    environment = {"PYTHONPATH": os.pathsep.join([str(tests), *sys.path])}
    done = run([sys.executable, "-c", script], environment)
    found = json.loads(done.stdout)
    assert found["outcome"] == outcome, found
    if outcome == "read":
        assert found["memory"] > MEMORY
