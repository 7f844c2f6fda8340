"""`python -m benchmarks.engines [local ray slurm plan] [--compute]`: what engines cost, into benchmarks/engines.json.

Work is simulated, so that only the engines are measured: jobs of small steps that sleep, on any machine; with --compute
they multiply matrices, which wants idle cores. Slurm is the one that sbatch knows; to have one on this machine:

    eval "$(python scripts/slurm_here.py start ~/slurm-here)"

Each measurement is made in a fresh process, the driver, with the file of progress that a study writes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.case import peak_bytes
from benchmarks.simulated import Simulated, simulated_jobs, spans
from tangency.engines import Bulletin, EngineConfig, Event, Job, open_engine

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "engines.json"
STEP = 0.02  # seconds of a step that sleeps, as of a small network's
PRODUCTS = 40  # of matrices, in a step that computes
QUEUED = 10_000
FOLLOWED = 200  # of the queued jobs are done
OVERHEAD = {"local": 0.02, "ray": 0.05, "slurm": 0.05}
Numbers = dict[str, float]


class _Enough(Exception):
    """Ends an engine once what is measured has happened."""


@dataclass
class Driver:
    """Times of a driver, from the events of its engine.

    Args:
        enough: jobs done after which it ends.
    """

    bulletin: Bulletin
    enough: int
    started: float = field(default_factory=time.perf_counter)
    queued_s: float = 0.0
    done: int = 0
    first: tuple[float, float] | None = None  # wall and processor seconds when the first job ran
    last: tuple[float, float] | None = None  # and when the last one was done

    def take(self, event: Event) -> None:
        """Something happened to a job."""
        self.bulletin.take(event)
        if event.state == "lost":
            raise RuntimeError(f"{event.job.name} was lost on {event.where}: {event.why}")
        if self.first is None:
            self.first = time.perf_counter(), _processor_seconds()
            self.queued_s = self._queued()
        if event.state == "done":
            self.done += 1
            self.last = time.perf_counter(), _processor_seconds()
            if self.done == self.enough:
                raise _Enough

    def _queued(self) -> float:
        """Seconds until jobs were queued: until workers were submitted, with Slurm; else now."""
        assert self.first is not None  # since there is an event
        submitted = self.bulletin.path.parent / "queue" / "slurm.json"
        later = time.time() - submitted.stat().st_mtime if submitted.exists() else 0.0
        return self.first[0] - self.started - later

    def numbers(self) -> Numbers:
        """Seconds to the first job, processor share of a core from then on, most memory."""
        assert self.first is not None  # since jobs were done
        assert self.last is not None
        wall = self.last[0] - self.first[0]
        return {
            "first_job_s": self.first[0] - self.started,
            "queued_s": self.queued_s,
            "driver_share": (self.last[1] - self.first[1]) / wall,
            "driver_peak_mb": peak_bytes() / 1e6,
        }


def _processor_seconds() -> float:
    """Of this process and of the commands that it ran, as squeue; workers, which still run, do not count."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def driven(config: EngineConfig, workers: int, jobs: list[Job], compute: bool, enough: int = 0) -> Numbers:
    """Do jobs with an engine: the driver's numbers and those of the workers.

    Args:
        config: of the engine.
        workers: how many.
        jobs: simulated ones.
        compute: whether they compute.
        enough: jobs after which to end; 0 for all.
    """
    run = Path(tempfile.mkdtemp(prefix=f"tangency-{config.kind}-"))
    log = run / "log"
    try:
        bulletin = Bulletin(run / "going.json")
        driver = Driver(bulletin, enough or len(jobs))
        bulletin.begin("simulate", jobs)
        try:
            with open_engine(config, Simulated(str(log), compute), run, workers, "cpu") as engine:
                engine.do(jobs, driver.take)
        except _Enough:
            pass
        worked = spans(log).values()
        spent, busy = sum(each.end - each.begin for each in worked), sum(each.busy for each in worked)
        wall = max(each.end for each in worked) - min(each.begin for each in worked)
        return driver.numbers() | {"wall_s": wall, "overhead": spent / busy - 1, "workers": len(worked)}
    finally:
        shutil.rmtree(run, ignore_errors=True)


def planned() -> Numbers:
    """From the spec of 10,000 trainings to the jobs of their phase."""
    from tangency.study import parse_spec
    from tangency.study.layout import Layout
    from tangency.study.phases import phases
    from tangency.study.preflight import checked_plan
    from tangency.study.work.jobs import study_jobs
    from tangency.study.work.needs import Needs
    from tangency.worlds import load_dataset

    started = time.perf_counter()
    side = round(QUEUED**0.5)
    content = {
        "data": "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10",
        "score": "exact",
        "untrained": False,
        "seeds": list(range(side)),
        "sweep": [{"objective": "gradient_norm", "strengths": {"logspace": [1e-5, 1e2, side]}}],
    }
    spec = parse_spec(content, "spec")
    data = load_dataset(spec.data)
    plan, layout = checked_plan(spec, data), Layout(Path("runs/none"))
    _, tasks = next(phases(plan, data, layout))
    jobs = study_jobs(tasks, Needs.of(plan, data, EngineConfig()), layout)
    return {"jobs": len(jobs), "planned_s": time.perf_counter() - started, "driver_peak_mb": peak_bytes() / 1e6}


def measured(config: EngineConfig, count: int, seconds: float, compute: bool) -> Numbers:
    """All numbers of an engine.

    Args:
        config: of the engine.
        count: jobs, of one worker and then of two.
        seconds: of each where it sleeps; it computes about as long.
        compute: whether it does.
    """
    jobs = simulated_jobs(count, round(seconds / STEP), PRODUCTS if compute else STEP)
    one, two = (_in_fresh_process(driven, config, workers, jobs, compute) for workers in (1, 2))
    queued = _in_fresh_process(driven, config, 2, simulated_jobs(QUEUED, 1, 0.0), False, FOLLOWED)
    return {
        "jobs": count,
        "job_s": one["wall_s"] / count,
        "two_workers_over_one": one["wall_s"] / two["wall_s"],
        "overhead": max(one["overhead"], two["overhead"]),
        "driver_share": max(one["driver_share"], two["driver_share"]),
        "first_job_s": one["first_job_s"],
        "queued_s": queued["queued_s"],
        "queued_driver_peak_mb": queued["driver_peak_mb"],
        "queued_job_s": queued["wall_s"] / FOLLOWED,
    }


def _in_fresh_process(work: Callable[..., Numbers], *arguments: Any) -> Numbers:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        numbers = pool.submit(work, *arguments).result()
    print("  ".join(f"{name} {value:.4g}" for name, value in numbers.items()), flush=True)
    return numbers


def misses(kind: str, numbers: Numbers) -> list[str]:
    """What is not within the limits."""
    limits = {"overhead": OVERHEAD.get(kind, 0.0), "driver_share": 0.02, "queued_s": 60.0}
    limits |= {"queued_driver_peak_mb": 1000.0, "planned_s": 60.0, "driver_peak_mb": 1000.0}
    over = [f"{n} {numbers[n]:.3g} > {limit:g}" for n, limit in limits.items() if numbers.get(n, 0.0) > limit]
    ratio = numbers.get("two_workers_over_one", 2.0)
    return over + ([f"two_workers_over_one {ratio:.3g} < 1.8"] if ratio < 1.8 else [])


def main() -> None:
    """Measure the named engines, or all; results of those that are not measured now are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*OVERHEAD, "plan", []], metavar="local|ray|slurm|plan")
    parser.add_argument("--compute", action="store_true", help="jobs compute; wants two idle cores")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30.0, help="of a job")
    parser.add_argument("--address", default="", help="of a Ray cluster; else one is started for each measurement")
    chosen = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])  # of Ray's and Slurm's
    failed = []
    for name in chosen.names or [*OVERHEAD, "plan"]:
        if name == "slurm" and shutil.which("sbatch") is None:
            print("slurm: skipped, since sbatch is not on the PATH")
            continue
        if name == "plan":
            numbers = _in_fresh_process(planned)
        else:
            config = EngineConfig(kind=name, address=chosen.address if name == "ray" else "")
            numbers = measured(config, chosen.jobs, chosen.seconds, chosen.compute)
        for key, value in numbers.items():
            print(f"{name:6} {key:24} {value:.4g}", flush=True)
        failed += [f"{name}: {miss}" for miss in misses(name, numbers)]
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results[f"{name}, computing" if chosen.compute and name != "plan" else name] = numbers
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if failed:
        sys.exit("beyond the limits: " + "; ".join(failed))


if __name__ == "__main__":
    main()
