"""Arrays of an .npz archive; arrays of objects are refused."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tangency.errors import DataError, quoted

# Errors of zipfile, zlib and NumPy's parser of headers for damaged, encrypted or foreign members.
DAMAGED = (
    *(ValueError, EOFError, OSError, MemoryError, KeyError, OverflowError, RuntimeError, SyntaxError, TypeError),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


def read_arrays(path: Path, expected: str, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The named arrays of an archive, or all of them.

    Args:
        path: of the archive.
        expected: what it should be, for errors.
        names: of the arrays, without ".npy".

    Raises:
        DataError: no archive, a damaged one, a member that is no array, or an array of objects (a pickle).
    """
    arrays: dict[str, np.ndarray] = {}
    name = ""
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files if names is None else names:
                arrays[name] = archive[name]
    except DAMAGED as error:
        if name and "allow_pickle" in str(error):
            raise DataError(
                f"{path}: the array '{name}' holds Python objects (a pickle, which could run code), expected "
                "numbers. Save it again with a numeric dtype, all images of one size."
            ) from error
        raise DataError(
            f"{path}: cannot be read ({quoted(error)}), expected {expected}. It may be truncated."
        ) from error
    odd = next((name for name, array in arrays.items() if not isinstance(array, np.ndarray)), None)
    if odd is not None:
        raise DataError(f"{path}: the member '{odd}' is no array, expected {expected}. Write it with numpy.savez.")
    return arrays
