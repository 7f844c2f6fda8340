"""Whether a table on disk can be read to its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tangency.files import polars_errors


def is_whole(path: Path, columns: Sequence[str], images: Sequence[int] = ()) -> bool:
    """Whether a Parquet file is there, has these columns, and each of its pages can be read.

    A damaged page is told only when it is read: the footer of such a file is fine.

    Args:
        path: of the file.
        columns: that it must have.
        images: where given, each of its measures must have one row for each of them.
    """
    import polars

    try:
        with polars_errors():
            table = polars.read_parquet(path, use_statistics=False)
    except (OSError, polars.exceptions.PolarsError):
        return False
    if not set(columns) <= set(table.columns):
        return False
    held = table.group_by("measure").agg(polars.col("image").sort())["image"].to_list() if len(images) else []
    return all(found == sorted(images) for found in held)
