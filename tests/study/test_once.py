"""What a study loads, fits, hashes and plans: once in a process, and once in all where workers can be given it."""

from __future__ import annotations

import inspect
import json
import sys
from collections import Counter

import pytest

from processes import run
from study_support import tiny_spec, write_data, write_spec
from tangency.evaluate.fitting.closed import ScoreSpec, shares_mixture
from tangency.score import ScoreCard, build_network, save_score
from tangency.score.references import FITTED

SCRIPT = """
import os, sys, tangency, tangency.study.work.jobs, tangency.study.run
from pathlib import Path

def count(module, name):
    original = getattr(sys.modules[module], name)

    def counted(*arguments, **options):
        (Path({folder!r}) / f"{{os.getpid()}}.calls").open("a").write(name + "\\n")
        return original(*arguments, **options)

    for held in list(sys.modules.values()):  # each module that has imported it by name
        if getattr(held, name, None) is original:
            setattr(held, name, counted)

for module, name in {counted!r}:
    count(module, name)
if __name__ == "__main__":
    (Path({folder!r}) / "driver").write_text(str(os.getpid()))
    tangency.run_study({spec!r}, {out!r})
"""
COUNTED = (
    ("tangency.worlds.registry", "load_dataset"),
    ("tangency.score.networks.store", "load_network"),
    ("tangency.score.references", "fingerprint"),
    ("tangency.study.plan", "plan_trials"),
    ("tangency.study.plan", "plan_judge"),
    ("tangency.study.generation.plan", "plan_entries"),
    ("tangency.study.planning", "plan_study"),
    ("tangency.mixtures.budget", "fit_affordable"),
)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Counter[str], list[Counter[str]]]:
    """Calls in the driver, and in each of the workers, of a study of two processes with all kinds of scores."""
    folder = tmp_path_factory.mktemp("once")
    options = {"channels": 1, "classes": 3, "size": "tiny"}
    save_score(
        build_network(ScoreCard("unet", "edm", (1, 8, 8), options, classes=("0", "1", "2"))), folder / "net.safetensors"
    )
    content = tiny_spec(
        write_data(folder),
        score={},
        network_score=str(folder / "net.safetensors"),
        tangents=["mfa", "mfa?components=1&rank=2"],
        seeds=[0, 1],
        workers=2,
        shard=3,
        pictures=2,
    )
    content["measures"]["alignments"] = [["margin", "bayes_gradient"], ["sum_logits", "network_score"]]
    spec, out = str(write_spec(folder, content)), str(folder / "run")
    (folder / "mine.py").write_text(SCRIPT.format(folder=str(folder), spec=spec, out=out, counted=COUNTED))
    run([sys.executable, str(folder / "mine.py")], {"OMP_NUM_THREADS": "1"})
    assert json.loads((folder / "run" / "summary.json").read_text())["trials"]
    by_process = {path.stem: Counter(path.read_text().split()) for path in folder.glob("*.calls")}
    return by_process.pop((folder / "driver").read_text()), list(by_process.values())


@pytest.mark.slow
@pytest.mark.processes
def test_each_process_loads_once_and_the_driver_alone_plans(calls: tuple[Counter[str], list[Counter[str]]]) -> None:
    driver, workers = calls
    assert len(workers) == 2
    assert driver == dict.fromkeys((name for _, name in COUNTED if name != "fit_affordable"), 1)
    for worker in workers:
        assert worker["load_dataset"] == worker["load_network"] == 1
        assert set(worker) <= {"load_dataset", "load_network", "fit_affordable"}


@pytest.mark.slow
@pytest.mark.processes
def test_each_mixture_is_fitted_once_in_a_run(calls: tuple[Counter[str], list[Counter[str]]]) -> None:
    """That of the score, which is a baseline of the trained one too, and that of the second tangent spaces."""
    assert sum(worker["fit_affordable"] for worker in calls[1]) == 2


def test_the_mixture_that_is_shared_is_the_one_that_mfa_stands_for() -> None:
    defaults = {
        name: p.default for name, p in inspect.signature(FITTED["mfa"]).parameters.items() if p.kind == p.KEYWORD_ONLY
    }
    assert defaults == ScoreSpec().model_dump(include=set(defaults))
    assert shares_mixture(ScoreSpec(images=50), 50)
    assert not shares_mixture(ScoreSpec(images=50), 51)
    assert not shares_mixture(ScoreSpec(noise="diagonal"), 50)
    assert not shares_mixture(ScoreSpec(kind="gaussian"), 50)
