"""Many encoded images into one uint8 tensor, decoded in parallel threads (PIL lets go of the lock)."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tangency.data.opening import recognised
from tangency.data.references import Reference
from tangency.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_CHUNK = 256  # images a task: large against the cost of a task, small against a data set
_MODES = {1: "L", 3: "RGB"}
_CHANNELS = {"L": 1, "LA": 1, "1": 1, "RGB": 3, "RGBA": 3, "RGBX": 3, "P": 3, "PA": 3, "CMYK": 3, "YCbCr": 3}


@dataclass(frozen=True)
class Frame:
    """What every image of a data set must be.

    Args:
        channels: 1 or 3.
        width, height: in pixels.
        first: the image that set the frame, for errors.
        convert: turn colour into grey instead of refusing it (the user gave `channels`).
        resize: scale and crop instead of refusing another size (the user gave `size`).
    """

    channels: int
    width: int
    height: int
    first: str
    convert: bool
    resize: bool


def _open(encoded: bytes | Path, where: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded)
    except UnidentifiedImageError as error:
        head = encoded if isinstance(encoded, bytes) else encoded.read_bytes()
        found = recognised(head) or ("empty" if not head else "not an image")
        raise DataError(f"{where}: {found}, expected a JPEG or PNG image. Remove or replace it.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: cannot be opened as an image ({error}). Remove or replace it.") from error


def _channels(image: Image.Image, where: str) -> int:
    if image.mode not in _CHANNELS:
        raise DataError(f"{where}: pixels of PIL mode '{image.mode}', expected 8-bit grey or colour. Convert it.")
    return _CHANNELS[image.mode]


def _decode_one(encoded: bytes | Path, where: str, frame: Frame) -> np.ndarray:
    """(C, H, W) uint8."""
    from PIL import Image, ImageOps

    size = (frame.width, frame.height)
    with _open(encoded, where) as image:
        if _channels(image, where) > frame.channels and not frame.convert:
            raise DataError(
                f"{where}: a colour image, expected grey as {frame.first} is. The option channels=3 takes "
                "all as colour, channels=1 all as grey."
            )
        if image.size != size and not frame.resize:
            raise DataError(
                f"{where}: {image.width}x{image.height} pixels, expected {frame.width}x{frame.height} as "
                f"{frame.first} has. The option size={min(size)} scales and crops all images."
            )
        try:
            decoded = image.convert(_MODES[frame.channels])
        except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
            raise DataError(f"{where}: a damaged image ({error}). Remove or replace it.") from error
    if decoded.size != size:
        decoded = ImageOps.fit(decoded, size, Image.Resampling.BICUBIC)
    return np.asarray(decoded).reshape(frame.height, frame.width, -1).transpose(2, 0, 1)


def _frame(encoded: bytes | Path, where: str, reference: Reference) -> Frame:
    """The frame that the first image and the options `size` and `channels` set."""
    side, channels = reference.integer("size"), reference.integer("channels")
    if channels not in (None, 1, 3):
        raise DataError(f"{reference.text}: channels={channels}, expected 1 (grey) or 3 (colour).")
    with _open(encoded, where) as image:
        width, height = (side, side) if side else image.size
        return Frame(channels or _channels(image, where), width, height, where, channels is not None, side is not None)


def decode_images(
    encoded: Sequence[bytes | Path],
    where: Callable[[int], str],
    reference: Reference,
    threads: int | None = None,
) -> Tensor:
    """Decode JPEG or PNG images of one size.

    Args:
        encoded: N files, as bytes or paths; N ≥ 1.
        where: name of the image at an index, for errors.
        reference: its options `size` (pixels; scale the shorter side to it and crop the middle) and
            `channels`.
        threads: number of threads; the number of processors (at most 16) where None.

    Returns:
        (N, C, H, W) uint8.

    Raises:
        DataError: an image is damaged, or of another size or colour than the first.
    """
    frame = _frame(encoded[0], where(0), reference)
    pixels = np.empty((len(encoded), frame.channels, frame.height, frame.width), np.uint8)

    def decode_chunk(start: int) -> None:
        for index in range(start, min(start + _CHUNK, len(encoded))):
            pixels[index] = _decode_one(encoded[index], where(index), frame)

    with ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1)) as pool:
        tasks = [pool.submit(decode_chunk, start) for start in range(0, len(encoded), _CHUNK)]
        try:
            for task in tasks:  # in order, so that the first bad image is the one reported
                task.result()
        finally:
            pool.shutdown(cancel_futures=True)
    return torch.from_numpy(pixels)
