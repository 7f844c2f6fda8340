"""The tables of measured values: a row for each trial (or model) and image, a column for each measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tangency.errors import RunError, listed, quoted
from tangency.files import atomic, is_whole, polars_errors
from tangency.measures.rows import HEAD, Rows

if TYPE_CHECKING:
    import polars

Array = NDArray[np.float64]
_GROUP = 5_000  # rows that are held at once
_SHARD_COLUMNS = ("image", "accuracy")  # that every table of some images of one classifier has


def write_shard(path: Path, rows: Rows) -> None:
    """Write rows of one classifier: image, then a float64 column for each measure; whole or not at all."""
    with atomic(path) as temporary:
        rows.frame().drop("trial", "seed").write_parquet(temporary, compression="zstd")


def is_shard(path: Path, images: Sequence[int]) -> bool:
    """Whether a file of `write_shard` is there, whole, and holds a number for each of some images, in any order."""
    import polars as pl

    if not is_whole(path, _SHARD_COLUMNS, images):
        return False
    rows = pl.read_parquet(path, glob=False).drop("image")
    return set(rows.dtypes) == {pl.Float64} and not sum(rows.null_count().row(0))


def check_alike(shards: Sequence[Path]) -> None:
    """Raise a `RunError` unless all shards of one classifier have the same measures: what one lacks has no value."""
    import polars as pl

    held = [set(pl.read_parquet_schema(path)) for path in shards]
    every = set().union(*held)
    for path, own in zip(shards, held, strict=True):
        if lacking := sorted(every - own):
            raise RunError(
                f"'{path}': lacks {listed(lacking, 3)}, which other files of '{path.parent}' have; delete that folder "
                "and measure again."
            )


def join_shards(path: Path, trials: Iterable[tuple[str, int, Sequence[Path]]]) -> None:
    """Write the shards of some trials as one table: trial, seed, image, then a float64 column for each measure.

    The rows of a trial keep the order in which its images were measured. A measure that was not taken of a trial is
    null there; a degenerate value is NaN. In memory are some thousand rows and the footers of the shards.

    Args:
        path: of the table.
        trials: name, seed and shards of each, at least one, in the order of the table.

    Raises:
        RunError: the shards of a trial do not have the same measures.
    """
    import polars as pl

    trials = list(trials)
    for _, _, shards in trials:
        check_alike(shards)
    parts = [
        pl.scan_parquet(list(shards), glob=False).select(
            pl.lit(name).alias("trial"), pl.lit(seed, dtype=pl.Int64).alias("seed"), pl.all()
        )
        for name, seed, shards in trials
    ]
    _write(path, parts)


def join_models(path: Path, models: Iterable[tuple[str, str, NDArray[np.int64], Mapping[str, Array]]]) -> None:
    """Write measured models as one table: model, data, image, then a float64 column for each measure.

    A measure that was not taken of a model is null there; a degenerate value is NaN.

    Args:
        path: of the table.
        models: name, data set, image indices (N,) and measures to values (N,) of each, at least one.
    """
    import polars as pl

    parts = [
        pl.LazyFrame({"image": ids} | {key: np.asarray(values, np.float64) for key, values in columns.items()}).select(
            pl.lit(name).alias("model"), pl.lit(data).alias("data"), pl.col("image").cast(pl.Int64), pl.exclude("image")
        )
        for name, data, ids, columns in models
    ]
    _write(path, parts)


def _write(path: Path, parts: Sequence[polars.LazyFrame]) -> None:
    """Tables below each other, with the columns of all."""
    import polars as pl

    with atomic(path) as temporary:
        pl.concat(parts, how="diagonal").sink_parquet(temporary, compression="zstd", row_group_size=_GROUP)


def read_rows(path: Path, again: str) -> polars.DataFrame:
    """The table of `join_shards`; `again` says how it is made anew, for errors.

    Raises:
        RunError: it is missing, damaged, foreign, or of an older version, with one row for each measure.
    """
    import polars as pl

    if not path.is_file():
        raise RunError(f"'{path}': is missing, so there is nothing to pair images by. {again}")
    try:
        with polars_errors():
            rows = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunError(f"'{path}': is not a readable Parquet table ({quoted(error)}). {again}") from None
    if missing := set(HEAD) - set(rows.columns):
        raise RunError(f"'{path}': has columns {rows.columns}, and lacks {sorted(missing)}. {again}")
    if not rows.schema["image"].is_integer() or rows["image"].null_count():
        raise RunError(
            f"'{path}': column 'image' holds {rows.schema['image']}, expected a number of each image. {again}"
        )
    others = [name for name, kind in rows.schema.items() if name not in HEAD and kind != pl.Float64]
    if others:
        raise RunError(
            f"'{path}': column '{others[0]}' holds no float64, expected a column of them for each measure; tables of "
            f"older versions have a row for each measure instead. {again}"
        )
    return rows


def columns_of(rows: polars.DataFrame, path: Path, again: str) -> tuple[NDArray[np.int64], dict[str, Array]]:
    """Image indices (N,) of one trial, ascending, and its measures to values (N,); those not taken of it are left out.

    Args:
        rows: of that trial alone.
        path, again: of the table and how it is made anew, for errors.
    """
    rows = rows.sort("image")
    ids = rows["image"].to_numpy()
    if not len(ids):
        raise RunError(f"'{path}': holds no rows. {again}")
    taken = sorted(name for name in rows.columns if name not in HEAD and rows[name].null_count() < len(rows))
    for name in taken:
        if (np.diff(ids) <= 0).any() or rows[name].null_count():
            raise RunError(f"'{path}': the rows of '{name}' are not one for each image. {again}")
    return ids, {name: rows[name].to_numpy() for name in taken}
