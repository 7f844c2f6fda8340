"""Pictures as pixels: photographs, signed gradients, and PNG data URIs that read on a light and on a dark page."""

from __future__ import annotations

import base64
import io

import numpy as np

QUANTILE = 0.999  # of |gradient| in a picture: the value drawn at full colour
POSITIVE, NEGATIVE = (178, 24, 43), (33, 102, 172)  # red and blue that colour-blind readers can tell apart


def photograph(image: np.ndarray) -> np.ndarray:
    """(C, H, W) in [0, 1] to (H, W, 3) bytes; other channel counts than 3 are averaged to grey."""
    pixels = image if len(image) == 3 else np.repeat(image.mean(0, keepdims=True), 3, axis=0)
    whole: np.ndarray = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return whole.transpose(1, 2, 0)


def scale_of(values: np.ndarray) -> float:
    """The 99.9th percentile of |values|; the maximum where that is zero."""
    size = np.abs(values)
    return float(np.quantile(size, QUANTILE)) or float(size.max())


def signed(gradient: np.ndarray) -> np.ndarray:
    """(C, H, W) to (H, W, 4) bytes: red above zero, blue below, opacity |g| / scale, so zero is the page itself.

    Channels are averaged; the scale is symmetric, the 99.9th percentile of |g| of this picture.
    """
    values = gradient.mean(0)
    if not values.any():
        return np.zeros((*values.shape, 4), np.uint8)
    values = np.clip(values / scale_of(values), -1, 1)
    colour = np.where(values[..., None] > 0, np.array(POSITIVE), np.array(NEGATIVE))
    return np.concatenate([colour, np.round(np.abs(values) * 255)[..., None]], axis=-1).astype(np.uint8)


def signed_colour(gradient: np.ndarray) -> np.ndarray:
    """(3, H, W) to (H, W, 3) bytes: mid-grey is zero, channels keep their colours, same scale rule."""
    values = np.clip(gradient / scale_of(gradient), -1, 1)
    return np.round(127.5 + 127.5 * values).astype(np.uint8).transpose(1, 2, 0)


def data_uri(pixels: np.ndarray, limit: int) -> str:
    """(H, W, 3 or 4) bytes to a PNG data URI, shrunk so that no side exceeds `limit`."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    if max(picture.size) > limit:
        picture.thumbnail((limit, limit), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def shrunk(pictures: np.ndarray, factor: int) -> np.ndarray:
    """(S, C, H, W) with means over squares of factor² pixels; what is left over at the lower right is cut off."""
    if factor <= 1:
        return pictures
    count, channels, height, width = pictures.shape
    rows, columns = max(1, height // factor), max(1, width // factor)
    fit = pictures[:, :, : rows * factor, : columns * factor]
    means: np.ndarray = fit.reshape(count, channels, rows, fit.shape[2] // rows, columns, -1).mean((3, 5))
    return means
