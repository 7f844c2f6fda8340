"""Pickles of protocol 2 as Python 2's cPickle wrote them, put together opcode by opcode."""

import struct


def text(value: bytes) -> bytes:
    """A Python 2 `str`."""
    if len(value) < 256:
        return b"U" + bytes([len(value)]) + value
    return b"T" + struct.pack("<i", len(value)) + value


def integer(value: int) -> bytes:
    """A Python 2 `int`."""
    return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)


def array(pixels) -> bytes:
    """A NumPy array of bytes, in C order."""
    shape = b"(" + b"".join(map(integer, pixels.shape)) + b"t"
    empty = b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\x09U\x01bq\x0a\x87q\x0bRq\x0c"
    dtype = b"cnumpy\ndtype\nq\x0dU\x02u1q\x0eK\x00K\x01\x87q\x0fRq\x10(K\x03U\x01|q\x11NNN"
    dtype += integer(-1) + integer(-1) + b"K\x00tq\x12b"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + text(pixels.tobytes()) + b"tq\x13b"


def batch(pixels, labels, extra=b"") -> bytes:
    """A CIFAR-10 batch of pixels (N, 3072) and labels; `extra` is put behind the other entries."""
    names = b"]q\x05(" + b"".join(text(b"%d.png" % i) for i in range(len(labels))) + b"e"
    entries = text(b"batch_label") + b"q\x02" + text(b"training batch 1 of 5")
    entries += text(b"labels") + b"q\x03]q\x04(" + b"".join(map(integer, labels)) + b"e"
    entries += text(b"data") + b"q\x06" + array(pixels) + text(b"filenames") + names
    return b"\x80\x02}q\x01(" + entries + extra + b"u."
