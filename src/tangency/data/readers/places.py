"""Where full data sets are looked for, and the error that names every place."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tangency.errors import DataError
from tangency.references import Reference

VARIABLE = "TANGENCY_DATA"


def candidates(reference: Reference, root: Path | None, below: Iterable[str]) -> list[Path]:
    """Folders that may hold a full data set, in the order of search.

    A location in the reference (`mnist:DIR`) or an explicit root is searched alone: who names a folder means
    it.

    Args:
        reference: of the data set; its location is a folder, or empty.
        root: an explicit folder, or None.
        below: folders under each root, "." for the root itself.
    """
    if reference.location:
        roots = [reference.path(root)]
    elif root is not None:
        roots = [root]
    else:
        named = os.environ.get(VARIABLE)
        roots = [Path(named).expanduser()] if named else []
        roots += [Path("data"), Path.home() / ".cache"]
    below = list(below)
    return [where if part == "." else where / part for where in roots for part in below]


def not_found(name: str, looked: Iterable[Path], files: str, torchvision_name: str) -> DataError:
    """The error for an absent full set: every place looked at, and how to get it."""
    variable = os.environ.get(VARIABLE)
    state = f"{VARIABLE} is '{variable}'" if variable else f"{VARIABLE} is not set"
    return DataError(
        f"{name}: the full data set was not found. Looked for {files} in: {', '.join(map(str, looked))} "
        f"({state}). Name its folder as '{name}:DIR' or in {VARIABLE}, or fetch it with: python -c \"import "
        f"torchvision; torchvision.datasets.{torchvision_name}('data', download=True)\". The embedded sample "
        "'fashion-mnist-5k' needs no files, and is never taken in place of a full set."
    )
