"""Measuring image after image: rows go to disk shard by shard, so memory is flat and a kill costs one shard."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tangency.data.partners import measured_order
from tangency.files import remove_leftovers
from tangency.measures import BatchSize, ComparisonSource, Driver, MeasureConfig, Rows, Subject, write_measured
from tangency.measures.tables import check_alike, is_shard, join_shards
from tangency.tensors import digest
from tangency.types import OnProgress

SHARD = 250  # images, whatever the limit, so that a larger limit goes on from a smaller one


@dataclass(frozen=True)
class RowShards:
    """Rows of one classifier, as tables of at most 250 images each.

    Args:
        folder: holds them, for one identity.
        images: of each shard, in the order of the random permutation whose beginning is measured.
        dimension, classes: as of `Rows`.
    """

    folder: Path
    images: tuple[Tensor, ...]
    dimension: int
    classes: int

    @property
    def paths(self) -> list[Path]:
        """Files of all shards; a name holds the shard's size, since the last one grows with the limit."""
        return [self.folder / f"{number:05d}-{len(ids)}.parquet" for number, ids in enumerate(self.images)]

    def holds(self, number: int) -> bool:
        """Whether a shard is there and whole; a damaged one is measured again."""
        return is_shard(self.paths[number], self.images[number].tolist())

    def rows(self) -> Rows:
        """All of them, sorted by image; filled in shard by shard, so that nothing is held twice."""
        import polars as pl

        check_alike(self.paths)
        ids = torch.cat(self.images).sort().values
        columns: dict[str, Tensor] = {}
        for path in self.paths:
            table = pl.read_parquet(path, glob=False)
            where = torch.searchsorted(ids, torch.from_numpy(table["image"].to_numpy(writable=True)))
            for name in table.drop("image").columns:
                whole = columns.setdefault(name, torch.empty(len(ids), dtype=torch.float64))
                whole[where] = torch.from_numpy(table[name].to_numpy(writable=True))
        return Rows(ids, columns, self.dimension, self.classes)

    def join(self, out: Path, trial: str = "model") -> None:
        """Write all of them as one table."""
        join_shards(out, [(trial, 0, self.paths)])


def planned_shards(images: int, limit: int, folder: Path, dimension: int, classes: int) -> RowShards:
    """The first `limit` of a number of images in their fixed random order, cut into shards."""
    return RowShards(folder, torch.split(measured_order(images)[:limit], SHARD), dimension, classes)


def identity_of(module: nn.Module, settings: Sequence[object], config: MeasureConfig) -> str:
    """Hash of all that decides a row: the weights, the settings (card, data, scores, tangent spaces), the measures.

    A module without weights is code that nothing here can tell from another, so its hash is never the same twice.
    """
    weights = module.state_dict()
    parts = [digest(weights) if weights else uuid.uuid4().hex, config.digest(), *settings]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def fill_shards(
    targets: Sequence[tuple[RowShards, Subject]],
    source: ComparisonSource,
    config: MeasureConfig,
    on_progress: OnProgress | None = None,
    batch_size: BatchSize = "auto",
) -> int:
    """Measure the images of the shards that are missing, and write each when it is done.

    Args:
        targets: where rows go, and whose they are; all have the same images.
        source: of all that no classifier changes, made once for all classifiers.
        config: what is measured, besides attributions.
        on_progress: called with what is measured, and the share of all images that is done.
        batch_size: images at once, 125 or as many as memory holds by default; it changes memory, not results.

    Returns:
        How many images were measured now.
    """
    images = targets[0][0].images
    for shards, _ in targets:
        remove_leftovers(shards.folder)
    missing = [
        {shards.paths[number]: subject for shards, subject in targets if not shards.holds(number)}
        for number in range(len(images))
    ]
    total = sum(map(len, images))
    measured, done = 0, sum(len(ids) for ids, wanted in zip(images, missing, strict=True) if not wanted)

    def advance(count: int) -> None:
        nonlocal measured
        measured += count
        if on_progress is not None:
            on_progress(f"{total} images", (done + measured) / total)

    subjects = [subject for _, subject in targets if any(subject in wanted.values() for wanted in missing)]
    if subjects:
        driver = Driver.fitting(source, config, subjects, batch_size)
        for ids, wanted in zip(images, missing, strict=True):
            if wanted:
                write_measured(driver, wanted, ids, advance)
    return measured
