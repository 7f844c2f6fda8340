"""Numbers and pictures as compressed text inside a page, which its script decodes when they are first looked at.

A block is base64 of gzip of bytes. Numbers are float32 with mantissas of 12 bits, a relative error of 2⁻¹³ at most, in
four planes: the first byte of every number, then the second of each, and so on. Pictures and tangent spaces have a
head, its length in 4 bytes and then JSON; then a byte for each value. All is little-endian.
"""

from __future__ import annotations

import base64
import gzip
import json

import numpy as np

_DROPPED = 11  # of the 23 bits of a mantissa
_NOTHING = 0x7FC00000  # the NaN that stands for all


def number_block(values: np.ndarray) -> str:
    """Numbers (trials, images), trial by trial; NaN where nothing was measured.

    Example:
        >>> number_block(np.array([[1.0, np.nan]]))[:4]
        'H4sI'
    """
    largest = np.finfo(np.float32).max
    flat = np.clip(values, -largest, largest).astype("<f4").reshape(-1)
    bits = flat.view("<u4")
    half, kept = np.uint32((1 << (_DROPPED - 1)) - 1), np.uint32(0xFFFFFFFF ^ ((1 << _DROPPED) - 1))
    rounded = (bits + half + ((bits >> np.uint32(_DROPPED)) & np.uint32(1))) & kept  # to the nearest, ties to even
    rounded = np.where(np.isinf(rounded.view("<f4")), bits & kept, rounded)  # the largest number has none above it
    whole = np.where(np.isnan(flat), np.uint32(_NOTHING), rounded).astype("<u4")
    return _packed(whole.view(np.uint8).reshape(-1, 4).T.tobytes())


def photograph_block(images: np.ndarray) -> str:
    """Images (S, C, H, W) in [0, 1] as bytes, value = byte/255."""
    whole = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return _with_head({"shape": list(images.shape), "scales": [1.0] * len(images)}, whole)


def picture_block(pictures: np.ndarray) -> str:
    """Signed pictures (S, C, H, W) as int8, value = byte/127 · scale; the scale is 0 where there is no gradient."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    usable = np.isfinite(flat.min(1)) & np.isfinite(flat.max(1))  # NaN and infinity are both an end
    flat = np.where(usable[:, None], flat, 0.0)
    scale = np.abs(flat).max(1, initial=0.0)
    shares = flat / np.where(scale > 0, scale, 1.0)[:, None]
    return _with_head(_head(pictures.shape, scale), np.round(127 * shares).astype(np.int8))


def tangent_block(rows: np.ndarray, scales: np.ndarray) -> str:
    """Directions of tangent spaces (S, k, d) int8, value = byte/127 · scale, the scales (S, k) row by row."""
    return _with_head(_head(rows.shape, scales.reshape(-1)), rows)


def _head(shape: tuple[int, ...], scales: np.ndarray) -> dict[str, list[float]]:
    return {"shape": list(shape), "scales": [float(f"{scale:.6g}") for scale in scales]}


def _with_head(head: dict[str, list[float]], values: np.ndarray) -> str:
    text = json.dumps(head, separators=(",", ":")).encode()
    return _packed(len(text).to_bytes(4, "little") + text + values.tobytes())


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()
