"""Measuring image after image: rows go to disk shard by shard, so memory is flat and a kill costs one shard."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tangency.data.partners import measured_order
from tangency.files import atomic, is_whole, journal, remove_leftovers
from tangency.measures import BatchSize, MapFile, MeasureConfig, ReferenceSource, Rows, fitting_batch, measure_batch
from tangency.measures.quantities import check_maps
from tangency.measures.run import chosen_labels
from tangency.tensors import digest
from tangency.types import LabelledImages, OnProgress

SHARD = 250  # images, whatever the limit, so that a larger limit goes on from a smaller one
BATCH = 100  # images at once, where memory holds them
IMAGE = "image"


@dataclass(frozen=True)
class Shards:
    """Rows of one classifier, as wide tables of at most 250 images each.

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

    def holds(self, number: int) -> bool:
        """Whether a shard is there and whole; a damaged one is measured again."""
        return is_whole(self.path(number), (IMAGE,))

    def write(self, number: int, rows: Rows) -> None:
        """Write a shard, whole or not at all."""
        import polars as pl

        columns = {IMAGE: rows.ids.cpu().numpy()} | {key: v.cpu().numpy() for key, v in rows.columns.items()}
        with atomic(self.path(number)) as temporary:
            pl.DataFrame(columns).write_parquet(temporary, compression="zstd")

    def rows(self) -> Rows:
        """All of them, sorted by image; filled in shard by shard, so that nothing is held twice."""
        import polars as pl

        ids = torch.cat(self.images)
        place = torch.empty_like(ids)
        place[ids.argsort()] = torch.arange(len(ids))
        columns: dict[str, Tensor] = {}
        for path, where in zip(self.tables(), place.split([len(part) for part in self.images]), strict=True):
            table = pl.read_parquet(path)
            for name in table.columns[1:]:
                whole = columns.setdefault(name, torch.empty(len(ids), dtype=torch.float64))
                whole[where] = torch.from_numpy(table[name].to_numpy(writable=True))
        return Rows(ids.sort().values, columns, self.dimension, self.classes)

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


@dataclass(frozen=True)
class Target:
    """A classifier, where its rows go, and attribution maps that are measured as its gradients are."""

    shards: Shards
    classifier: nn.Module
    maps: MapFile | None = None


def planned_shards(
    data: LabelledImages, limit: int, folder: Path, classes: int, dimension: int | None = None
) -> Shards:
    """The first `limit` images of a fixed random order, cut into shards; `dimension` is that of the images if None."""
    order = measured_order(len(data))[:limit]
    dimension = int(np.prod(data.shape)) if dimension is None else dimension
    return Shards(folder, order.split(SHARD), dimension, classes)


def identity_of(module: nn.Module, settings: Sequence[object], config: MeasureConfig) -> str:
    """Hash of all that decides a row: the weights, the settings (card, data, scores, tangent spaces), the measures.

    A module without weights is code that nothing here can tell from another, so its hash is never the same twice.
    """
    weights = module.state_dict()
    parts = [digest(weights) if weights else uuid.uuid4().hex, config.digest(), *settings]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def fill_shards(
    targets: Sequence[Target],
    data: LabelledImages,
    source: ReferenceSource,
    config: MeasureConfig,
    on_progress: OnProgress | None = None,
    batch_size: BatchSize = "auto",
) -> int:
    """Measure the images of the shards that are missing, and write each when it is done.

    Args:
        targets: classifiers and where their rows go; all with the same images.
        data: the images.
        source: of all that no classifier changes, made once for all classifiers.
        config: what is measured, besides maps.
        on_progress: called with what is measured, and the share of all images that is done.
        batch_size: images at once, 100 or as many as memory holds by default; it changes memory, not results.

    Returns:
        How many images were measured now.
    """
    images = targets[0].shards.images
    for target in targets:
        if target.shards.folder.exists():
            remove_leftovers(target.shards.folder)
    total, done, now = sum(map(len, images)), 0, 0
    first = data.images(images[0][:1]).to(source.device)
    size: int | None = None
    for number, ids in enumerate(images):
        missing = [target for target in targets if not target.shards.holds(number)]
        parts = []
        if missing and size is None:
            models = [target.classifier for target in missing]
            size = fitting_batch(batch_size, models, first, source.held_bytes, BATCH)
        for some in ids.split(size or 1) if missing else ():
            maps = [target.maps.at(some) if target.maps else {} for target in missing]
            parts.append(rows_of([target.classifier for target in missing], data, some, source, config, maps))
            now += len(some)
            done += len(some)
            if on_progress is not None:
                on_progress(f"{total} images", done / total)
        for target, rows in zip(missing, zip(*parts, strict=True), strict=True):
            journal("stream.shard")
            target.shards.write(number, Rows.concatenate(list(rows)))
        done += 0 if missing else len(ids)
    return now


def rows_of(
    classifiers: Sequence[nn.Module],
    data: LabelledImages,
    ids: Tensor,
    source: ReferenceSource,
    config: MeasureConfig,
    maps: Sequence[Mapping[str, Tensor]] = (),
) -> list[Rows]:
    """Rows of every classifier, and of its maps, for a few images of a data set, by their numbers (n,).

    What no classifier changes is made once, unless each one's own predictions are the labels.
    """
    where = ids.to(source.device)
    shared = source.of(where) if config.label == "true" else None
    x, truth = source.images(where), data.labels[ids].to(source.device)
    rows_by_classifier = []
    for number, classifier in enumerate(classifiers):
        references = shared or source.of(where, chosen_labels(classifier, x, truth, config))
        given = check_maps(maps[number] if maps else {}, x)
        rows = measure_batch(classifier, references, config.with_maps(given), given)
        rows_by_classifier.append(rows if given else _without_maps(rows))
    return rows_by_classifier


def _without_maps(rows: Rows) -> Rows:
    """Without the controls of maps, which stand among what all classifiers share."""
    columns = {key: values for key, values in rows.columns.items() if ".map(" not in key}
    return dataclasses.replace(rows, columns=columns)
