"""Which pictures of a study are still to be made or judged, and all that were, in one table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from tangency.files import atomic
from tangency.study.generation.plan import PlannedEntry
from tangency.study.generation.shards import JudgedPictures
from tangency.study.layout import Layout
from tangency.study.plan import Trial
from tangency.study.work.tasks import Task
from tangency.tensors import write_tensors

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class GeneratedEntry:
    """The results of one entry of `generate:`.

    Args:
        entry: of the spec.
        references: pictures of the references.
        trials: trial id to the pictures that its gradients made.
    """

    entry: PlannedEntry
    references: JudgedPictures
    trials: dict[str, JudgedPictures]


def finished(entries: list[PlannedEntry], trial: Trial | None, layout: Layout) -> bool:
    """Whether all pictures of a trial are made and judged."""
    return all(entry.files(layout, trial).done() for entry in entries)


def _missing(
    entries: list[PlannedEntry], trials: list[Trial], usable: list[int], layout: Layout
) -> Iterator[tuple[PlannedEntry, Trial | None, tuple[int, ...]]]:
    """Each folder once: entries that differ in their references alone share a trial's pictures."""
    folders = set()
    for entry in entries:
        for numbers in ((), *((number,) for number in usable)):
            trial = trials[numbers[0]] if numbers else None
            files = entry.files(layout, trial)
            if files.folder not in folders and not files.done():
                folders.add(files.folder)
                yield entry, trial, numbers


def pictures_to_make(entries: list[PlannedEntry], trials: list[Trial], usable: list[int], layout: Layout) -> list[Task]:
    """`missing_batches`; batches of what is judged, left by a killed run, are removed."""
    for entry in entries:
        for trial in (None, *(trials[number] for number in usable)):
            files = entry.files(layout, trial)
            if files.done():
                files.clear()
    return missing_batches(entries, trials, usable, layout)


def missing_batches(entries: list[PlannedEntry], trials: list[Trial], usable: list[int], layout: Layout) -> list[Task]:
    """Batches of pictures that are not made."""
    return [
        Task("generate", entry.number, numbers, part, cost=float(entry.config.budget * len(ids)))
        for entry, trial, numbers in _missing(entries, trials, usable, layout)
        for part, ids in enumerate(entry.batches)
        if not entry.files(layout, trial).made(part)
    ]


def pictures_to_judge(
    entries: list[PlannedEntry], trials: list[Trial], usable: list[int], layout: Layout
) -> list[Task]:
    """Tasks that judge pictures; the references of an entry have several sources."""
    return [
        Task("judge_pictures", entry.number, numbers, cost=float(len(entry.ids) * (1 if numbers else 5)))
        for entry, _, numbers in _missing(entries, trials, usable, layout)
    ]


def collect(entries: list[PlannedEntry], usable: list[Trial], layout: Layout) -> list[GeneratedEntry]:
    """Everything that was made, written to generation.parquet, with the first pictures beside it."""
    generated = [
        GeneratedEntry(
            entry,
            entry.files(layout, None).read_judged(),
            {trial.id: entry.files(layout, trial).read_judged() for trial in usable},
        )
        for entry in entries
    ]
    with atomic(layout.generation) as temporary:
        _table(generated, usable).write_parquet(temporary, compression="zstd")
    pictures: dict[str, Tensor] = {}
    for one in generated:
        name = one.entry.name
        pictures[f"{name}.labels"] = one.references.labels
        pictures |= {f"{name}.reference.{source}": kept for source, kept in one.references.pictures.items()}
        for trial, judged in one.trials.items():
            pictures |= {f"{name}.trial.{trial}": kept for kept in judged.pictures.values()}
    write_tensors(layout.generated_pictures, pictures, {"entries": [one.entry.name for one in generated]})
    return generated


def _table(generated: list[GeneratedEntry], usable: list[Trial]) -> polars.DataFrame:
    """Columns trial (empty for references), seed, task, image, class, source, measure, value, sorted."""
    import polars as pl

    seeds = {trial.id: trial.seed for trial in usable}
    parts = []
    for one in generated:
        for trial, judged in (("", one.references), *one.trials.items()):
            seed = pl.lit(seeds.get(trial), dtype=pl.Int64).alias("seed")
            parts.append(
                judged.rows.select(pl.lit(trial).alias("trial"), seed, pl.lit(one.entry.name).alias("task"), "*")
            )
    return pl.concat(parts).sort("trial", "task", "source", "measure", "image")
