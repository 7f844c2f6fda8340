"""Progress and tables on the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
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

from tangency.study.run import Watcher
from tangency.study.tasks import Task

ALIGNMENT = "alignment_cosine.logp_y.bayes_gradient.sigma="


@contextlib.contextmanager
def watching(quiet: bool) -> Iterator[Watcher]:
    """A progress bar with an ETA for each phase, on standard error."""
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        bars: dict[str, TaskID] = {}
        shares: dict[Task, float] = {}

        def watch(phase: str, tasks: list[Task], task: Task | None, share: float) -> None:
            if task is None:
                total = sum(t.cost for t in tasks)
                bars[phase] = progress.add_task(phase, total=total or 1.0, completed=0.0 if tasks else 1.0, note="")
                return
            shares[task] = share
            done = sum(t.cost * shares.get(t, 0.0) for t in tasks)
            finished = sum(shares.get(t, 0.0) >= 1 for t in tasks)
            progress.update(bars[phase], completed=done, note=f"{finished}/{len(tasks)} tasks")

        yield watch


def _interval(entry: dict[str, Any] | None, show: Callable[[float], str] = "{:.3f}".format) -> str:
    if not entry or entry["mean"] is None:
        return "–"
    if entry["low"] is None:
        return show(entry["mean"])
    return f"{show(entry['mean'])} [{show(entry['low'])}, {show(entry['high'])}]"


def print_study(summary: dict[str, Any]) -> None:
    """One line a trial: accuracy, F², its excess over the best control, κ, alignment, regime."""
    table = Table(title=f"{summary['name']}: {summary['data']['measured']} test images, 95 % intervals", box=None)
    table.add_column("trial", no_wrap=True)
    for name in ("accuracy", "F²", "F² − best control", "κ", "cosine with Bayes gradient", "regime"):
        table.add_column(name)
    for trial in summary["trials"]:
        measures = trial["measures"]
        aligned = [key for key in measures if key.startswith(ALIGNMENT) and key.count(".") == ALIGNMENT.count(".") + 1]
        last = max(aligned, key=lambda key: float(key.rsplit("=", 1)[1]), default="")
        excess = trial["excess"].get("tangent_fraction.logp_y")
        best = f" ({excess['best_control']})" if excess else ""
        regime = trial["regime"] or ("control" if trial["objective"] == "untrained" else trial["outcome"])
        table.add_row(
            trial["id"],
            _interval(measures.get("accuracy")),
            _interval(measures.get("tangent_fraction.logp_y")),
            _interval(excess, "{:+.3f}".format) + best,
            _interval(measures.get("kappa.logp_y"), "{:.2f}".format),
            _interval(measures.get(last)),
            regime.replace("_", "-"),
        )
    console = Console(width=max(Console().width, 150))
    console.print(table)
    console.print(f"{summary['seconds']:.0f} s in all", highlight=False)


def print_measures(found: dict[str, Any]) -> None:
    """Every measure of one classifier with its interval and chance level."""
    table = Table(title=f"{found['model']} on {found['data']}: {found['measured']} images, 95 % intervals", box=None)
    for name in ("measure", "mean [interval]", "chance", "degenerate"):
        table.add_column(name, no_wrap=True)
    for key, entry in found["measures"].items():
        chance = "–" if entry["chance"] is None else f"{entry['chance']:.3f}"
        table.add_row(key, _interval(entry), chance, str(entry["degenerate"]))
    for key, entry in found["excess"].items():
        table.add_row(
            f"{key} − {entry['best_control']}", _interval(entry, "{:+.3f}".format), "0", str(entry["degenerate"])
        )
    Console(width=max(Console().width, 120)).print(table)
