"""Progress and tables on the terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from tangency.measures.keys import FRACTION, KAPPA
from tangency.report.read.keys import alignment_key
from tangency.report.text.glossary import REFERENCE_TEXTS
from tangency.study.run import Watcher
from tangency.study.tasks import Task

ORIGINS = {"mfa": "the mixture's", "exact": "the world's exact"}  # kind of score: whose Bayes gradient it gives


class _Shares:
    """How much of a phase is done: tasks weighted by their cost."""

    def __init__(self) -> None:
        self._share: dict[Task, float] = {}

    def update(self, tasks: list[Task], task: Task, share: float) -> tuple[float, int]:
        """Share of the whole phase, and number of finished tasks."""
        self._share[task] = share
        total = sum(t.cost for t in tasks) or 1.0
        done = sum(t.cost * self._share.get(t, 0.0) for t in tasks) / total
        return done, sum(self._share.get(t, 0.0) >= 1 for t in tasks)


@contextlib.contextmanager
def watching(quiet: bool) -> Iterator[Watcher]:
    """Progress on standard error: bars with an ETA on a terminal, a line for each tenth elsewhere."""
    console = Console(stderr=True)
    if quiet:
        yield lambda *_: None
    elif console.is_terminal:
        with _bars(console) as watch:
            yield watch
    else:
        yield _lines(console)


@contextlib.contextmanager
def _bars(console: Console) -> Iterator[Watcher]:
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        bars: dict[str, TaskID] = {}
        shares = _Shares()

        def watch(phase: str, tasks: list[Task], task: Task | None, share: float) -> None:
            if task is None:
                bars[phase] = progress.add_task(phase, total=1.0, note="")
                progress.update(bars[phase], completed=0.0 if tasks else 1.0)
                return
            done, finished = shares.update(tasks, task, share)
            progress.update(bars[phase], completed=done, note=f"{finished}/{len(tasks)} tasks")

        yield watch


def _lines(console: Console) -> Watcher:
    shares, tenths = _Shares(), {}
    started = time.monotonic()

    def watch(phase: str, tasks: list[Task], task: Task | None, share: float) -> None:
        if task is None:
            tenths[phase] = 0
            console.print(f"{phase}: {len(tasks)} tasks" if tasks else f"{phase}: all done before", highlight=False)
            return
        done, finished = shares.update(tasks, task, share)
        if int(done * 10) > tenths[phase]:
            tenths[phase] = int(done * 10)
            note = f"{phase}: {done:4.0%}, {finished}/{len(tasks)} tasks, {time.monotonic() - started:.0f} s so far"
            console.print(note, highlight=False)

    return watch


def _interval(entry: dict[str, Any] | None, signed: bool = False) -> str:
    """ "0.314 ± 0.010": the mean and half the width of its interval, where it has one."""
    if not entry or entry["mean"] is None:
        return "–"
    mean = ("{:+.3f}" if signed else "{:.3f}").format(entry["mean"])
    if entry["low"] is None:
        return mean
    return f"{mean} ± {(entry['high'] - entry['low']) / 2:.3f}"


def print_study(summary: dict[str, Any]) -> None:
    """One line a trial: accuracy, F², its excess over the best control, κ, alignment, regime."""
    title = f"{summary['name']}: {summary['data']['measured']} test images, mean ± half the 95 % interval"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("trial", "accuracy", "F²", "F² − best control", "κ", "cos Bayes", "regime"):
        table.add_column(name, no_wrap=True)
    for trial in summary["trials"]:
        measures = trial["measures"]
        excess = trial["excess"].get(FRACTION)
        best = f" {excess['best_control']}" if excess else ""
        regime = trial["regime"] or REFERENCE_TEXTS.get(trial["objective"], ("", trial["outcome"]))[1]
        table.add_row(
            trial["id"],
            _interval(measures.get("accuracy")),
            _interval(measures.get(FRACTION)),
            _interval(excess, signed=True) + best,
            _interval(measures.get(KAPPA)),
            _interval(measures.get(alignment_key(measures))),
            regime.replace("_", "-"),
        )
    console = Console(width=max(Console().width, 136))
    console.print(table)
    origin = ORIGINS.get(summary["score"]["kind"], "the score's")
    console.print(
        "F²: share of gradient energy in the tangent space (chance k/d). "
        "κ: energy off over on the manifold, per dimension (chance 1).\n"
        f"cos Bayes: cosine of ∇ log p(y|x) with {origin} Bayes gradient, largest σ (chance 0). "
        f"{summary['seconds']:.0f} s in all.",
        highlight=False,
    )


def print_measures(found: dict[str, Any]) -> None:
    """Every measure of one classifier with its interval and chance level."""
    table = Table(
        title=f"{found['model']} on {found['data']}: {found['measured']} images, mean ± half the 95 % interval",
        box=None,
    )
    for name in ("measure", "mean", "chance", "degenerate"):
        table.add_column(name, no_wrap=True)
    for key, entry in found["measures"].items():
        chance = "–" if entry["chance"] is None else f"{entry['chance']:.3f}"
        table.add_row(key, _interval(entry), chance, str(entry["degenerate"]))
    for key, entry in found["excess"].items():
        table.add_row(f"{key} − {entry['best_control']}", _interval(entry, signed=True), "0", str(entry["degenerate"]))
        for name, other in entry["controls"].items():
            if name != entry["best_control"]:
                table.add_row(f"{key} − {name}", _interval(other, signed=True), "0", str(other["degenerate"]))
    console = Console(width=max(Console().width, 136))
    for sentence in found["reading"]:
        console.print(f"model: {sentence}", markup=False, highlight=False)
    console.print(table)
    for sentence in (*found["check"]["warnings"], *found["warnings"], *found["regime"].get("warnings", ())):
        console.print(f"Warning: {sentence}", markup=False, highlight=False, soft_wrap=True)
    console.print(found["regime"]["text"], markup=False, highlight=False, soft_wrap=True)
