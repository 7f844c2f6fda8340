"""Attribution maps from a file: arrays of an npz archive, one map for each test image."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tangency.errors import DataError
from tangency.formats.arrays import read_arrays
from tangency.measures.quantities import map_quantity


@dataclass(frozen=True)
class MapFile:
    """Attribution maps of a data set's test images.

    Args:
        maps: name to (N, C, H, W) or (N, H, W), in the order of the test images.
        path: of the file.
        sha256: of the file, so that results can name it.
    """

    maps: dict[str, Tensor]
    path: Path
    sha256: str

    @property
    def about(self) -> dict[str, object]:
        """File, hash and names, as results name them."""
        return {"file": str(self.path), "sha256": self.sha256, "names": list(self.maps)}


def read_maps(reference: str, count: int, shape: tuple[int, int, int]) -> MapFile:
    """The maps of `npz:FILE`: every array is one, under its own name.

    Args:
        reference: "npz:FILE".
        count: number of test images; row i of an array is the map of test image i.
        shape: (C, H, W) of the images.

    Returns:
        The maps in float32, with the file's hash.

    Raises:
        DataError: for a file that is absent or no archive, an array of objects, or one of another shape or number.
    """
    kind, _, location = reference.partition(":")
    if kind != "npz" or not location:
        raise DataError(f"maps '{reference}': expected npz:FILE, an archive of arrays (N, H, W) or (N, C, H, W).")
    path = Path(location).expanduser()
    arrays = _arrays(path, reference)
    if not arrays:
        raise DataError(f"maps '{reference}': an empty archive, expected at least one array of maps.")
    for name, array in arrays.items():
        map_quantity(name)
        _check(name, array, reference, count, shape)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return MapFile({name: torch.from_numpy(a.astype(np.float32)) for name, a in arrays.items()}, path, digest)


def _arrays(path: Path, reference: str) -> dict[str, np.ndarray]:
    if path.is_file() and not zipfile.is_zipfile(path):
        raise DataError(f"maps '{reference}': no archive, expected the .npz that numpy.savez writes.")
    try:
        return read_arrays(path, "an .npz archive of numbers, as numpy.savez writes")
    except DataError as error:
        raise DataError(f"maps '{reference}': {str(error).removeprefix(f'{path}: ')}") from error


def _check(name: str, array: np.ndarray, reference: str, count: int, shape: tuple[int, int, int]) -> None:
    if array.dtype.kind not in "fiu":
        raise DataError(f"maps '{reference}', array '{name}': got {array.dtype}, expected real numbers.")
    if len(array.shape) == 0 or len(array) != count:
        raise DataError(
            f"maps '{reference}', array '{name}': got {array.shape[0] if array.shape else 'no'} maps for {count} test "
            "images, expected one for each, in the order of the test images; --limit chooses among both alike."
        )
    if tuple(array.shape[1:]) not in (shape, shape[1:]):
        raise DataError(
            f"maps '{reference}', array '{name}': got maps of shape {tuple(array.shape[1:])}, expected {shape} or "
            f"{shape[1:]}, the size of the images."
        )
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array).reshape(count, -1).all(1))[:5].tolist()
        raise DataError(f"maps '{reference}', array '{name}': NaN or infinite values for images {bad}.")
