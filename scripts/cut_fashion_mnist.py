"""Cut the embedded sample from the full Fashion-MNIST: 500 training and 100 test images of each class.

    python scripts/cut_fashion_mnist.py SOURCE DESTINATION

SOURCE holds the four published .gz files, whose SHA-256 is checked. DESTINATION gets four files of the same
names (in the repository: src/tangency/data/embedded). The choice is deterministic and the files are equal
byte for byte with the same zlib; their SHA-256 is printed, for tangency/data/embedded.py.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
from pathlib import Path

import numpy as np
import torch

from tangency.data.readers.idx import encode_idx, parse_idx
from tangency.errors import DataError
from tangency.files import atomic
from tangency.seeding import permutation

SOURCES = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
PER_CLASS = {"train": 500, "t10k": 100}
CLASSES = 10


def read_source(folder: Path, name: str) -> bytes:
    """One published file, checked against its SHA-256."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise DataError(f"{folder / name}: cannot be read ({error.strerror}), expected the published file.") from error
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != SOURCES[name]:
        raise DataError(f"{folder / name}: SHA-256 {checksum}, expected {SOURCES[name]} (the published file).")
    return content


def choose(labels: np.ndarray, per_class: int, split: str) -> np.ndarray:
    """Indices of `per_class` images of each class, in the order of the source."""
    chosen = []
    for label in range(CLASSES):
        members = torch.from_numpy((labels == label).nonzero()[0])
        chosen.append(members[permutation(len(members), 0, "fashion-mnist-5k", split, label)[:per_class]])
    return torch.cat(chosen).sort().values.numpy()


def pack(content: bytes) -> bytes:
    """Gzip without time and name, so that equal content gives equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, buffer, mtime=0) as packed:
        packed.write(content)
    return buffer.getvalue()


def cut(source: Path) -> dict[str, bytes]:
    """The four files of the sample, by name."""
    files = {}
    for split, per_class in PER_CLASS.items():
        names = f"{split}-images-idx3-ubyte.gz", f"{split}-labels-idx1-ubyte.gz"
        images, labels = (
            parse_idx(read_source(source, name), axes, name) for name, axes in zip(names, (3, 1), strict=True)
        )
        index = choose(labels, per_class, split)
        for name, array in zip(names, (images, labels), strict=True):
            files[name] = pack(encode_idx(array[index]))
    return files


def main() -> None:
    """Cut, write and print the checksums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with the four published .gz files")
    parser.add_argument("destination", type=Path, help="folder that gets the sample")
    arguments = parser.parse_args()
    for name, content in cut(arguments.source).items():
        with atomic(arguments.destination / name) as temporary:
            temporary.write_bytes(content)
        print(f'    "{name}": "{hashlib.sha256(content).hexdigest()}",  # {len(content)} bytes')


if __name__ == "__main__":
    main()
