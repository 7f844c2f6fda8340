"""Measuring image after image: rows go to disk shard by shard, so memory is flat and a kill costs one shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from tangency.files import atomic, journal, remove_leftovers
from tangency.measures import MeasureConfig, ReferenceSource, Rows, measure_batch
from tangency.measures.run import chosen_labels
from tangency.seeding import permutation
from tangency.statistics.bootstrap import Array
from tangency.tensors import digest
from tangency.types import LabelledImages

SHARD = 1000  # images, whatever is asked for, so that a larger limit goes on from a smaller one
BATCH = 100
IMAGE = "image"
Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Shards:
    """Rows of one classifier, as wide tables of at most 1,000 images each.

    Args:
        folder: holds them, for one identity.
        images: of each shard, in the order of the random permutation whose beginning is measured.
        dimension, classes: as of `Rows`.
    """

    folder: Path
    images: tuple[Tensor, ...]
    dimension: int
    classes: int

    def path(self, number: int) -> Path:
        """File of a shard; its name holds its size, since the last one grows with the limit."""
        return self.folder / f"{number:05d}-{len(self.images[number])}.parquet"

    def missing(self) -> list[int]:
        """Shards that are not there."""
        return [number for number in range(len(self.images)) if not self.path(number).exists()]

    def write(self, number: int, rows: Rows) -> None:
        """Write a shard, whole or not at all."""
        import polars as pl

        columns = {IMAGE: rows.ids.cpu().numpy()} | {key: v.cpu().numpy() for key, v in rows.columns.items()}
        with atomic(self.path(number)) as temporary:
            pl.DataFrame(columns).write_parquet(temporary, compression="zstd")

    def columns(self) -> dict[str, Array]:
        """Measure to values (N,), sorted by image; the image numbers stand under "image"."""
        import polars as pl

        table = pl.concat([pl.read_parquet(self.path(number)) for number in range(len(self.images))]).sort(IMAGE)
        return {name: table[name].to_numpy() for name in table.columns}

    def tables(self) -> Iterator[Path]:
        """Files of all shards, in order."""
        return (self.path(number) for number in range(len(self.images)))

    def write_long(self, out: Path, trial: str = "model") -> None:
        """One table with a row for each image and measure: trial, seed, image, measure, value."""
        import polars as pl

        with atomic(out) as temporary:
            head = [pl.lit(trial).alias("trial"), pl.lit(0, dtype=pl.Int64).alias("seed")]
            wide = pl.scan_parquet(list(self.tables()))
            long = wide.unpivot(index=IMAGE, variable_name="measure", value_name="value")
            long.select(*head, IMAGE, "measure", "value").sink_parquet(temporary, compression="zstd")


def planned_shards(data: LabelledImages, limit: int, folder: Path, classes: int) -> Shards:
    """The first `limit` images of a fixed random order, cut into shards."""
    order = permutation(len(data), 0, "measured images")[:limit]
    dimension = int(np.prod(data.shape))
    return Shards(folder, tuple(part.sort().values for part in order.split(SHARD)), dimension, classes)


def identity_of(module: nn.Module, told: Sequence[object], config: MeasureConfig) -> str:
    """Hash of all that decides a row: the weights, what is told (card, data, scores, tangent spaces), the measures."""
    parts = [digest(module.state_dict()), config.digest(), *told]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def fill_shards(
    targets: Sequence[tuple[Shards, nn.Module]],
    data: LabelledImages,
    source: ReferenceSource,
    config: MeasureConfig,
    tell: Tell | None = None,
    batch_size: int = BATCH,
) -> int:
    """Measure the images of the shards that are missing, and write each when it is done.

    Args:
        targets: where rows go, and the classifier whose they are; all with the same images.
        data: the images.
        source: of all that no classifier changes, made once for all classifiers.
        config: what is measured.
        tell: told what is measured, and the share of all images that is done.
        batch_size: images at once; it changes memory, not results.

    Returns:
        How many images were measured now.
    """
    images = targets[0][0].images
    for shards, _ in targets:
        if shards.folder.exists():
            remove_leftovers(shards.folder)
    total, done, now = sum(map(len, images)), 0, 0
    for number, ids in enumerate(images):
        open_targets = [target for target in targets if not target[0].path(number).exists()]
        parts = []
        for some in ids.split(batch_size) if open_targets else ():
            parts.append(rows_of([classifier for _, classifier in open_targets], data, some, source, config))
            now += len(some)
            done += len(some)
            if tell is not None:
                tell(f"{total} images", done / total)
        for (shards, _), rows in zip(open_targets, zip(*parts, strict=True), strict=True):
            journal("stream.shard")
            shards.write(number, Rows.concatenate(list(rows)))
        done += 0 if open_targets else len(ids)
    return now


def rows_of(
    classifiers: Sequence[nn.Module], data: LabelledImages, ids: Tensor, source: ReferenceSource, config: MeasureConfig
) -> list[Rows]:
    """Rows of every classifier for a few images of a data set, by their numbers (n,).

    What no classifier changes is made once, unless each one's own predictions are the labels.
    """
    x, truth = data.images(ids).to(source.device), data.labels[ids].to(source.device)
    where = ids.to(source.device)
    if config.label == "true":
        shared = source.at(x, truth, where)
        return [measure_batch(classifier, shared, config) for classifier in classifiers]
    return [
        measure_batch(classifier, source.at(x, chosen_labels(classifier, x, truth, config), where, truth), config)
        for classifier in classifiers
    ]
