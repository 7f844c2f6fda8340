"""A study of 24 trials under random faults; afterwards its rows must be those of an undisturbed run, to the bit.

    python scripts/fault_study.py --engine local --faults 30 --seed 0 --minutes 20 --out DIR

Kills workers, nodes and drivers, cancels and requeues Slurm jobs, fills the disk of the run folder, starts a second
driver. A fault counts where a job was running that was not done when it struck. Studies follow one another until there
were enough faults; started again, it goes on. Wants root for Slurm and for a small disk; ends with exit code 1 where
anything was lost, repeated or changed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import yaml

from fault_places import PLACES, Local, Slurm, kill
from tangency.study import load_spec
from tangency.study.layout import Layout
from tangency.study.planning import plan_study
from tangency.worlds import load_dataset

SPEC = {
    "name": "faults",
    "data": "fashion-mnist-5k?train=150",
    "measured": 4,
    "shard": 2,
    "score": {"components": 1, "rank": 3},
    "sweep": [
        {"objective": "standard"},
        {"objective": "gradient_norm", "strengths": [0.01, 0.1, 1.0]},
        {"objective": "noise_augmentation", "strengths": [0.1, 0.2, 0.3, 0.4]},
    ],
    "seeds": [0, 1, 2],
    "untrained": False,
    "rule": "kappa",  # no filtered networks
    "pictures": 2,
    "replicates": 100,
    "workers": 2,
    "measures": {"directions": 1, "sigmas": [0.5], "rho_sigmas": [0.05], "epsilons": [2.0], "metrics": ["cosine"]},
}
DISK = "256m"  # Ray refuses to begin with less than 100 MB free
PATIENCE = 300.0  # seconds until something must have happened, on busy machines
WORK = ("train.step", "measure.batch")


class Study:
    """A run folder on a small disk, the journal of its processes, and the driver that works on it."""

    def __init__(self, place: Local, spec: Path, folder: Path) -> None:
        self.place, self.spec, self.folder = place, spec, folder
        self.run, self.journal = folder / "disk" / "run", folder / "journal"
        self.driver: subprocess.Popen[bytes] | None = None
        (folder / "disk").mkdir(parents=True, exist_ok=True)
        self.small = os.geteuid() == 0 and (os.path.ismount(folder / "disk") or self._mount())
        self.kept = _read(folder / "kept.json") or {}  # times of finished files, as first seen

    def _mount(self) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(self.folder / "disk")]
        return subprocess.run(command, capture_output=True).returncode == 0

    def command(self) -> list[str]:
        """Of a driver."""
        words = ["study", "run", str(self.spec), "--out", str(self.run), *self.place.options]
        return [sys.executable, "-m", "tangency", *words]

    def start(self) -> None:
        """Start a driver."""
        with open(self.folder / "driver.log", "ab") as log:
            self.driver = subprocess.Popen(
                self.command(),
                env={**os.environ, "TANGENCY_JOURNAL": str(self.journal), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End a driver that runs, and its own processes."""
        if self.driver is not None and self.code() is None:
            os.killpg(self.driver.pid, signal.SIGKILL)
            self.driver.wait()

    def code(self) -> int | None:
        """Exit code of the driver; None where it runs."""
        assert self.driver is not None
        return self.driver.poll()

    def workers(self) -> list[psutil.Process]:
        """Processes that do jobs."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return self.place.workers(psutil.Process(self.driver.pid) if self.driver else None)
        return []

    @cached_property
    def _outputs(self) -> dict[str, list[Path]]:
        spec = load_spec(self.spec)
        plan, layout = plan_study(spec, load_dataset(spec.data)), Layout(self.run)
        train = {f"train {trial.id}": [layout.trial_json(trial)] for trial in plan.trials}
        shards = [[layout.shard(trial, images) for trial in plan.trials] for images in plan.shards]
        return train | {f"measure shard {number}": paths for number, paths in enumerate(shards)}

    def unfinished(self) -> list[str]:
        """Jobs that run, by what the driver wrote last, and whose files are not all there."""
        going, missing = _read(self.run / "progress.json") or {"running": []}, self.missing()
        return [job["name"] for job in going["running"] if job["name"] in missing]

    def missing(self) -> set[str]:
        """Jobs whose files are not all there."""
        return {name for name, paths in self._outputs.items() if not all(path.exists() for path in paths)}

    def lost(self) -> list[str]:
        """Jobs that lost their worker, by what the driver wrote last."""
        return [job["name"] for job in (_read(self.run / "progress.json") or {"lost": []})["lost"]]

    def count(self, *points: str) -> int:
        """How often points of the journal were reached."""
        return _count(self.journal, *points)

    def keep(self) -> None:
        """Note the times of what is finished."""
        networks = [path.parent / name for path in self.run.glob("trials/*/trial.json") for name in _FINISHED]
        for path in [*networks, *self.run.glob("trials/*/rows/*/*.parquet")]:
            with contextlib.suppress(FileNotFoundError):
                self.kept.setdefault(str(path.relative_to(self.run)), path.stat().st_mtime_ns)
        (self.folder / "kept.json").write_text(json.dumps(self.kept))

    def until(self, happened: Callable[[], Any], patience: float = PATIENCE) -> bool:
        """Wait for an event; False where it does not happen."""
        last = time.monotonic() + patience
        while not happened():
            if time.monotonic() > last:
                return False
            time.sleep(0.1)
        return True


_FINISHED = ("trial.json", "model.safetensors")


def _read(path: Path) -> Any:
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return None


def _count(journal: Path, *points: str) -> int:
    lines = journal.read_text().splitlines() if journal.exists() else []
    return sum(line in points for line in lines)


def strike(study: Study, kind: str, draw: random.Random) -> list[str]:
    """One fault: names of the jobs that were hit, none where it hit nothing."""
    if kind in ("worker", "node"):
        return _kill_worker(study, kind, draw)
    if kind in ("scancel", "requeue"):
        return _take_job(study, kind, draw)
    return {"driver": _kill_driver, "full disk": _fill, "two drivers": _second}[kind](study)


def _kill_worker(study: Study, kind: str, draw: random.Random) -> list[str]:
    """The driver must report as lost a job whose files were not there when its worker was stopped."""
    before, workers = len(study.lost()), study.workers()
    if not workers:
        return []
    victim = draw.choice(workers)
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.suspend()
    missing = study.missing()
    if kind == "node":
        study.place.kill_node(victim)  # type: ignore[attr-defined]  # the local engine has no such fault
    kill(victim)
    study.until(lambda: len(study.lost()) > before or study.code() is not None, 120)
    return [name for name in study.lost()[before:] if name in missing]


def _take_job(study: Study, kind: str, draw: random.Random) -> list[str]:
    """A worker's own report says what it does; that must not be done when its process is gone."""
    assert isinstance(study.place, Slurm)
    workers = study.workers()
    if not workers:
        return []
    victim = draw.choice(workers)
    job = study.place.job(victim)
    report = _read(study.run / "queue" / "workers" / f"slurm-{job}.json") or {"job": ""}
    claim = study.run / "queue" / "claims" / f"{report['job']}.lock"
    if not report["job"] or not claim.exists():
        return []
    study.place.take(kind, job)
    gone = study.until(lambda: not victim.is_running(), 60)
    done = (study.run / "queue" / "done" / f"{report['job']}.json").exists()
    log = study.run / "queue" / "slurm" / f"{job}_0_log.out"
    again = [line for line in log.read_text().splitlines() if report["job"] in line] if log.exists() else []
    return [report["job"]] if gone and (not done or (again and not again[-1].startswith("done"))) else []


def _kill_driver(study: Study) -> list[str]:
    """With it end its workers, except on Slurm."""
    assert study.driver is not None
    workers = study.workers()
    study.driver.kill()
    study.driver.wait()
    if study.place.outlives:
        return study.unfinished()
    if not study.until(lambda: not any(worker.is_running() for worker in workers), 60):
        raise SystemExit("fault_study: workers outlive a killed driver")
    return study.unfinished()


def _fill(study: Study) -> list[str]:
    """A full disk for a while: the driver must end in words, and what runs is left."""
    running, filler, begin = study.unfinished(), study.folder / "disk" / "filler", time.monotonic()
    words = (study.folder / "driver.log").stat().st_size
    with open(filler, "wb", buffering=0) as file:
        while study.code() is None and time.monotonic() - begin < 40:
            with contextlib.suppress(OSError):
                while file.write(bytes(1 << 20)):
                    pass
            with contextlib.suppress(OSError):
                while file.write(bytes(1 << 12)):
                    pass
            time.sleep(0.1)
    missing = study.missing()
    refused = b"cannot be written" in (study.folder / "driver.log").read_bytes()[words:]
    filler.unlink()
    return [name for name in running if name in missing] if refused and study.code() is not None else []


def _second(study: Study) -> list[str]:
    """A second driver must be refused while the first one works: on jobs that were not done while it was there."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    second = subprocess.Popen(study.command(), start_new_session=True, **quiet)
    hit: list[str] = []
    while second.poll() is None and study.code() is None:
        hit = study.unfinished() or hit
        time.sleep(0.1)
    if second.poll() is None:  # the first one has ended: this one may work
        os.killpg(second.pid, signal.SIGKILL)
        second.wait()
        return []
    words = " ".join(second.stderr.read().decode().split()) if second.stderr else ""
    if second.returncode != 2 or "another process is working on it" not in words:
        raise SystemExit(f"fault_study: a second driver was not refused: {second.returncode} {words[-500:]}")
    return hit


def disturb(study: Study, due: list[str], draw: random.Random, enough: Callable[[], bool], log: Path) -> dict[str, int]:
    """Run a study to its end under faults: endings of drivers by what they were due to."""
    endings: collections.Counter[str] = collections.Counter()
    study.start()
    while True:
        worked = study.count(*WORK)
        fair = study.until(lambda: study.code() is not None or study.count(*WORK) > worked)  # noqa: B023
        if study.code() == 0:
            return endings
        if study.code() is None and not fair:
            raise SystemExit(f"fault_study: nothing went on for {PATIENCE:g} s; see {study.folder}")
        if study.code() is None and not enough():
            time.sleep(draw.uniform(0, 2))
            study.keep()
            kind = due.pop() if due else draw.choice(_kinds(study))
            began, hit = time.time(), strike(study, kind, draw)
            record = {"kind": kind, "hit": hit, "study": study.folder.name, "at": began, "seconds": time.time() - began}
            with open(log, "a") as file:
                file.write(json.dumps(record) + "\n")
            print(f"{kind}: {', '.join(hit) or 'hit nothing'}", flush=True)
            if study.code() not in (None, 0):
                endings[kind] += 1
                study.start()
        elif study.code() is not None:  # by itself, as where a job lost its worker three times
            endings["by itself"] += 1
            if endings["by itself"] > 5:
                raise SystemExit(f"fault_study: drivers end by themselves; see {study.folder}/driver.log")
            study.start()
        else:
            time.sleep(1)


def _kinds(study: Study) -> list[str]:
    return [kind for kind in study.place.kinds if study.small or kind != "full disk"]


def verdict(study: Study, expected: Path) -> dict[str, Any]:
    """What of a finished study is as it must be; a lost trial is missing, or ended otherwise."""
    same = {}
    for path, changed in study.kept.items():
        with contextlib.suppress(FileNotFoundError):
            same[path] = (study.run / path).stat().st_mtime_ns == changed
    trials, whole = (
        {t["id"]: t["outcome"] for t in _read(f / "summary.json")["trials"]} for f in (study.run, expected)
    )
    return {
        "rows equal": (study.run / "rows.parquet").read_bytes() == (expected / "rows.parquet").read_bytes(),
        "trials": len(trials),
        "lost": sum(trials.get(name) != outcome for name, outcome in whole.items()),
        "trainings": study.count("train.finished"),
        "epochs": study.count("train.epoch"),
        "steps repeated": study.count("train.step") - _count(expected.parent / "whole.journal", "train.step"),
        "finished files": len(study.kept),
        "repeated": len(study.kept) - sum(same.values()),
    }


def undisturbed(folder: Path) -> Path:
    """Run folder of the same study on one process of one thread."""
    run, command = folder / "whole", [sys.executable, "-m", "tangency", "study", "run", str(folder / "spec.yaml")]
    journal = {"TANGENCY_JOURNAL": str(folder / "whole.journal"), "OMP_NUM_THREADS": "1"}
    if not (run / "summary.json").exists():
        more = ["--out", str(run), "--workers", "1", "--json"]
        subprocess.run([*command, *more], env=os.environ | journal, stdout=subprocess.DEVNULL, check=True)
    return run


def table(folder: Path) -> tuple[str, bool]:
    """(counts of all faults and studies so far, whether all is well)."""
    faults = _records(folder / "faults.jsonl")
    studies = [found for path in sorted(folder.glob("study-*/verdict.json")) if (found := _read(path))]
    hits = collections.Counter(fault["kind"] for fault in faults if fault["hit"])
    misses = collections.Counter(fault["kind"] for fault in faults if not fault["hit"])
    lines = ["| fault | hit work | hit nothing |", "| --- | --- | --- |"]
    lines += [f"| {kind} | {hits[kind]} | {misses[kind]} |" for kind in sorted(hits | misses)]
    lines += [f"| all | {hits.total()} | {misses.total()} |", "", json.dumps({"hits": hits, "studies": studies})]
    good = all(
        one["rows equal"] and not one["lost"] and not one["repeated"] and one["trainings"] <= one["trials"]
        for one in studies
    )
    return "\n".join(lines), bool(studies) and good


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> int:
    """Studies one after another, until there were enough faults or time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=sorted(PLACES), default="local")
    parser.add_argument("--faults", type=int, default=30, help="that must hit work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20.0, help="after which no fault is begun")
    parser.add_argument("--epochs", type=int, default=12, help="of each of the 24 trainings")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    out, folder = chosen.out.resolve(), chosen.out.resolve() / chosen.engine
    folder.mkdir(parents=True, exist_ok=True)
    spec = {**SPEC, "train": {"batch_size": 30, "epochs": chosen.epochs}}
    (out / "spec.yaml").write_text(yaml.safe_dump(spec))
    last, log = time.monotonic() + 60 * chosen.minutes, folder / "faults.jsonl"

    def enough() -> bool:
        return time.monotonic() > last or sum(bool(one["hit"]) for one in _records(log)) >= chosen.faults

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # in good order: the cluster is ended
    draw, place = random.Random(f"{chosen.seed} {len(_records(log))}"), PLACES[chosen.engine]()
    due: list[str] = []
    try:
        number = len(list(folder.glob("study-*/verdict.json")))
        while not enough() or (folder / f"study-{number}").exists():
            study = Study(place, out / "spec.yaml", folder / f"study-{number}")
            due = due or draw.sample(_kinds(study), len(_kinds(study)))
            try:
                endings = disturb(study, due, draw, enough, log)
            finally:
                study.stop()
            result = verdict(study, undisturbed(out)) | {"endings": endings}
            (study.folder / "verdict.json").write_text(json.dumps(result))
            print(json.dumps(result), flush=True)
            if study.small and result["rows equal"]:
                subprocess.run(["umount", str(study.folder / "disk")], check=False)
            number += 1
    finally:
        place.close()
    words, good = table(folder)
    print(words)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
