"""Many encoded images into one uint8 tensor, decoded in parallel threads (PIL lets go of the lock)."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tangency.errors import DataError, quoted
from tangency.formats.opening import recognised
from tangency.references import Reference

if TYPE_CHECKING:
    from PIL import Image

_CHUNK = 256  # images a task: large against the cost of a task, small against a data set
_ORIENTATION = 0x0112
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, struct.error)
_MODES = {1: "L", 3: "RGB"}
_CHANNELS = {"L": 1, "LA": 1, "1": 1, "RGB": 3, "RGBA": 3, "RGBX": 3, "P": 3, "PA": 3, "CMYK": 3, "YCbCr": 3}


@dataclass(frozen=True)
class ImageFormat:
    """What every image of a data set must be.

    Args:
        channels: 1 or 3.
        width, height: in pixels.
        first: the image that set the format, for errors.
        convert: turn colour into grey instead of refusing it (the user gave `channels`).
        resize: scale and crop instead of refusing another size (the user gave `size`).
        upright: turn and mirror as the EXIF orientation says.
    """

    channels: int
    width: int
    height: int
    first: str
    convert: bool
    resize: bool
    upright: bool


def _open(encoded: bytes | Path, where: str) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded)
    except UnidentifiedImageError as error:
        head = encoded if isinstance(encoded, bytes) else encoded.read_bytes()
        content = recognised(head) or ("empty" if not head else "not an image")
        raise DataError(f"{where}: {content}, expected a JPEG or PNG image. Remove or replace it.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: cannot be opened as an image ({quoted(error)}). Remove or replace it.") from error


def _channels(image: Image.Image, where: str) -> int:
    if image.mode not in _CHANNELS:
        raise DataError(f"{where}: pixels of PIL mode '{image.mode}', expected 8-bit grey or colour. Convert it.")
    return _CHANNELS[image.mode]


@contextmanager
def _undamaged(where: str, what: str = "a damaged image") -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise DataError(f"{where}: {what} ({quoted(error)}). Remove or replace it.") from error


def _upright(image: Image.Image, where: str, turn: bool) -> tuple[Image.Image, bool]:
    """The image, turned where that is wanted, and whether it has an orientation other than the usual."""
    from PIL import ImageOps

    if image.format == "TIFF":  # PIL itself turns these while loading them
        return image, False
    orientation = 1
    # damage to the EXIF block matters only where its orientation is used
    with _undamaged(where, "a damaged image or EXIF block") if turn else suppress(*_DAMAGED):
        orientation = int(image.getexif().get(_ORIENTATION) or 1)
    turned = 2 <= orientation <= 8
    if turned and turn:
        with _undamaged(where):
            image = ImageOps.exif_transpose(image)
    return image, turned


def _decode_one(encoded: bytes | Path, where: str, form: ImageFormat) -> tuple[np.ndarray, bool]:
    """(C, H, W) uint8, and whether the image has an EXIF orientation other than the usual."""
    from PIL import Image, ImageOps

    size = (form.width, form.height)
    with _open(encoded, where) as opened:
        with _undamaged(where):
            opened.load()  # before EXIF is read, which would load it too, and hide damage
        image, turned = _upright(opened, where, form.upright)
        if _channels(image, where) > form.channels and not form.convert:
            raise DataError(
                f"{where}: a colour image, expected grey as {form.first} is. The option channels=3 takes all as "
                "colour, channels=1 all as grey."
            )
        if image.size != size and not form.resize:
            raise DataError(
                f"{where}: {image.width}x{image.height} pixels, expected {form.width}x{form.height} as {form.first} "
                f"has. The option size={min(size)} scales and crops all images."
            )
        with _undamaged(where):
            decoded = image.convert(_MODES[form.channels])
    if decoded.size != size:
        decoded = ImageOps.fit(decoded, size, Image.Resampling.BICUBIC)
    return np.asarray(decoded).reshape(form.height, form.width, -1).transpose(2, 0, 1), turned


def _format_of(
    encoded: bytes | Path, where: str, reference: Reference, upright: bool, channels: int | None
) -> ImageFormat:
    """The format that the first image and the options `size` and `channels` set."""
    side, channels = reference.integer("size"), reference.integer("channels") or channels
    if channels not in (None, 1, 3):
        raise DataError(f"{reference.text}: channels={channels}, expected 1 (grey) or 3 (colour).")
    with _open(encoded, where) as opened:
        image = _upright(opened, where, upright)[0] if upright else opened
        width, height = (side, side) if side else image.size
        kept = channels or _channels(image, where)
        return ImageFormat(kept, width, height, where, channels is not None, side is not None, upright)


def decode_images(
    encoded: Sequence[bytes | Path],
    where: Callable[[int], str],
    reference: Reference,
    threads: int | None = None,
    upright: bool = False,
    channels: int | None = None,
    first: Path | None = None,
) -> tuple[Tensor, int]:
    """Decode JPEG or PNG images of one size.

    Args:
        encoded: N files, as bytes or paths; N ≥ 1.
        where: name of the image at an index, for errors.
        reference: its options `size` (pixels; scale the shorter side to it and crop the middle) and
            `channels`.
        threads: number of threads; the number of processors (at most 16) where None.
        upright: turn and mirror images as their EXIF orientation says, as `datasets` does and torchvision does not.
        channels: 1 or 3 where the data declare them; the option goes before it.
        first: the image whose size and colour all must have; that at index 0 by default.

    Returns:
        (N, C, H, W) uint8, and how many images have an EXIF orientation other than 1.

    Raises:
        DataError: an image is damaged, or of another size or colour than the first.
    """
    head, name = (encoded[0], where(0)) if first is None else (first, str(first))
    form = _format_of(head, name, reference, upright, channels)
    pixels = np.empty((len(encoded), form.channels, form.height, form.width), np.uint8)

    def decode_chunk(start: int) -> int:
        turned = 0
        for index in range(start, min(start + _CHUNK, len(encoded))):
            pixels[index], oriented = _decode_one(encoded[index], where(index), form)
            turned += oriented
        return turned

    with ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1)) as pool:
        tasks = [pool.submit(decode_chunk, start) for start in range(0, len(encoded), _CHUNK)]
        try:
            # in order, so that the first bad image is the one reported
            turned = sum(task.result() for task in tasks)
        finally:
            pool.shutdown(cancel_futures=True)
    return torch.from_numpy(pixels), turned
