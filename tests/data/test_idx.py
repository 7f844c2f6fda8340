"""The idx reader: what it accepts, and one sentence for each way in which a file can be broken."""

import gzip
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tangency.data.readers.idx import encode_idx, parse_idx, read_idx, to_tensors
from tangency.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
PLAIN = encode_idx(IMAGES)


def reference_idx(data: bytes) -> list:
    """Nested lists from an idx file, byte by byte."""
    count, height, width = struct.unpack(">3I", data[4:16])
    return [
        [[data[16 + (n * height + i) * width + j] for j in range(width)] for i in range(height)] for n in range(count)
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_what_is_there(tmp_path, pack):
    path = tmp_path / "images"
    path.write_bytes(pack(PLAIN))
    found = read_idx(path, 3)
    assert found.tolist() == reference_idx(PLAIN)
    np.testing.assert_array_equal(found, IMAGES)


BROKEN = {
    "truncated": (PLAIN[:-1], "declares shape (7, 5, 3), 105 bytes, but holds only 104"),
    "truncated_header": (PLAIN[:9], "ends inside its header"),
    "trailing": (PLAIN + b"\0", "but holds more"),
    "labels_for_images": (encode_idx(IMAGES[:, 0, 0]), "starts with 00000801, expected an idx file"),
    "floats": (b"\0\0\x0d\x03" + PLAIN[4:], "starts with 00000d03"),
    "empty": (b"", "the file is empty"),
    "web_page": (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
    "xml_error": (b"<?xml version='1.0'?><Error/>", "a web page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "zip": (b"PK\x03\x04rest", "a zip archive"),
    "gzip_truncated": (gzip.compress(PLAIN)[:-9], "damaged or truncated gzip"),
    "gzip_crc": (gzip.compress(PLAIN)[:-8] + bytes(8), "damaged or truncated gzip"),
    "gzip_garbage": (b"\x1f\x8b" + b"garbage" * 9, "damaged or truncated gzip"),
    "gzip_web_page": (gzip.compress(b"<html>"), "starts with 3c68746d"),
    "impossible": (struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1), "impossible shape"),
    "huge": (struct.pack(">4I", 0x803, 2**20, 28, 28), "but holds only 0"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_one_sentence_that_names_it(tmp_path, name):
    content, sentence = BROKEN[name]
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(sentence)) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_absent_file_and_folder(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_idx(tmp_path / "none", 3)
    with pytest.raises(DataError, match="this is a folder"):
        read_idx(tmp_path, 3)


def test_gzip_bomb_stays_packed():
    """A small file that declares 105 bytes and unpacks to 200 MB is refused without unpacking it."""
    import tracemalloc

    bomb = gzip.compress(PLAIN + bytes(200_000_000), 1)
    tracemalloc.start()
    with pytest.raises(DataError, match="but holds more"):
        parse_idx(bomb, 3, "bomb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([1, 3]), st.booleans())
def test_any_bytes_give_an_array_or_a_data_error(content, axes, valid_start):
    if valid_start:
        content = struct.pack(">I", 0x800 + axes) + content
    try:
        found = parse_idx(content, axes, "random")
    except DataError:
        return
    assert encode_idx(found) == content


def test_counts_must_agree():
    with pytest.raises(DataError, match="7 images but 6 labels"):
        to_tensors(IMAGES, np.zeros(6, np.uint8), "set")
    pixels, labels = to_tensors(IMAGES, np.arange(7, dtype=np.uint8), "set")
    assert pixels.shape == (7, 1, 5, 3)
    assert labels.tolist() == list(range(7))


def test_only_bytes_are_encoded():
    with pytest.raises(DataError, match="got float64"):
        encode_idx(np.zeros(3))
