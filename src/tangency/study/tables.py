"""Whether a table on disk can be read to its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tangency.files import polars_errors


def is_whole(path: Path, columns: Sequence[str]) -> bool:
    """Whether a Parquet file is there, has these columns, and each of its pages can be read.

    A damaged page is told only when it is read: the footer of such a file is fine.
    """
    import polars

    try:
        with polars_errors():
            table = polars.read_parquet(path, use_statistics=False)
    except (OSError, polars.exceptions.PolarsError):
        return False
    return set(columns) <= set(table.columns)
