"""The idx format of MNIST and its kin: magic, sizes (big-endian), bytes; plain or gzipped."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tangency.errors import DataError, quoted
from tangency.formats.opening import read_bytes, refuse_foreign

_UNSIGNED_BYTE = 0x08
_GZIP = b"\x1f\x8b"


def parse_idx(data: bytes, axes: int, what: str) -> np.ndarray:
    """The array in the bytes of an idx file.

    Args:
        data: the file, gzipped or not.
        axes: 3 for images, 1 for labels.
        what: the file's name, for errors.

    Returns:
        uint8 array with `axes` axes, read-only.

    Raises:
        DataError: not an idx file of bytes with that many axes, truncated, or followed by more.
    """
    expected = f"an idx file of unsigned bytes with {axes} axes (magic {(_UNSIGNED_BYTE << 8) + axes:#010x})"
    if not data.startswith(_GZIP):
        refuse_foreign(data, what, expected)
    stream = gzip.GzipFile(fileobj=io.BytesIO(data)) if data.startswith(_GZIP) else io.BytesIO(data)
    try:
        header = stream.read(4 + 4 * axes)
        magic = int.from_bytes(header[:4], "big")
        if len(header) < 4 or magic != (_UNSIGNED_BYTE << 8) + axes:
            raise DataError(f"{what}: starts with {header[:4].hex() or 'nothing'}, expected {expected}.")
        if len(header) < 4 + 4 * axes:
            raise DataError(f"{what}: ends inside its header of {4 + 4 * axes} bytes. Download it again.")
        shape = struct.unpack(f">{axes}I", header[4:])
        size = math.prod(shape)
        body = stream.read(size + 1)  # never more than declared, so a gzip bomb stays packed
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{what}: damaged or truncated gzip data ({quoted(error)}). Download it again.") from error
    except (OverflowError, MemoryError) as error:
        raise DataError(f"{what}: declares the impossible shape {shape}, expected {expected}.") from error
    if len(body) != size:
        got = f"only {len(body)}" if len(body) < size else "more"
        raise DataError(f"{what}: declares shape {shape}, {size} bytes, but holds {got}. Download it again.")
    return np.frombuffer(body, np.uint8).reshape(shape)


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The array in an idx file; see `parse_idx`."""
    return parse_idx(read_bytes(path, "an idx file"), axes, str(path))


def encode_idx(array: np.ndarray) -> bytes:
    """The bytes of an idx file, ungzipped, for a uint8 array."""
    if array.dtype != np.uint8:
        raise DataError(f"idx: got {array.dtype}, expected uint8.")
    magic = struct.pack(">I", (_UNSIGNED_BYTE << 8) + array.ndim)
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + np.ascontiguousarray(array).tobytes()


def to_tensors(images: np.ndarray, labels: np.ndarray, what: str) -> tuple[Tensor, Tensor]:
    """Pixels (N, 1, H, W) uint8 and labels (N,) int64 from the arrays (N, H, W) and (N,) of two idx files."""
    if len(images) != len(labels):
        raise DataError(
            f"{what}: {len(images)} images but {len(labels)} labels, expected as many. The two files belong "
            "to different sets, or one is damaged."
        )
    return torch.from_numpy(images[:, None].copy()), torch.from_numpy(labels.astype(np.int64))
