"""Pixels as encoded image files."""

import io


def encode(pixels, form="PNG"):
    """The bytes of a PNG or JPEG file of (H, W) or (H, W, 3) uint8."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()
