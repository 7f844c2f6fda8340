"""The data set in the package: 5,000 + 1,000 images of Fashion-MNIST, as many of each class."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from tangency.data.build import Source, labelled
from tangency.data.classes import FASHION_MNIST
from tangency.data.readers.idx import parse_idx, to_tensors
from tangency.errors import DataError
from tangency.references import Reference
from tangency.types import LabelledImages

NAME = "fashion-mnist-5k"

# Printed by scripts/cut_fashion_mnist.py, which makes the files.
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "590e24b441a3488e3af79c8e485a1dad128368b0535b5a167b0f8bd06e8f9a12",
    "train-labels-idx1-ubyte.gz": "261d3d5eca7983dc5304ce59ec7c9ddff22356c23f904c12167ed47223e3b892",
    "t10k-images-idx3-ubyte.gz": "f3626f31962d15117879c0e2dd3d2598d2fc5e8cd28357a7b70ed5f3a5ffef65",
    "t10k-labels-idx1-ubyte.gz": "f0e173c61458004ca05937c76adf76a19f1127df42dee9b94e3f8741add85591",
}


def _read(name: str) -> bytes:
    """One embedded file, checked against its SHA-256."""
    try:
        content = resources.files("tangency.data").joinpath("embedded", name).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{NAME}: the embedded file {name} is missing. Install the package again.") from error
    own = hashlib.sha256(content).hexdigest()
    if own != CHECKSUMS[name]:
        raise DataError(
            f"{NAME}: the embedded file {name} has SHA-256 {own}, expected {CHECKSUMS[name]}. It was "
            "changed or damaged: install the package again."
        )
    return content


def _split(split: str, prefix: str) -> LabelledImages:
    """Read one split; `prefix` is that of its two files."""
    images, labels = (
        parse_idx(_read(name), axes, name)
        for name, axes in ((f"{prefix}-images-idx3-ubyte.gz", 3), (f"{prefix}-labels-idx1-ubyte.gz", 1))
    )
    pixels, targets = to_tensors(images, labels, f"{NAME} {split}")
    return labelled(pixels, targets, FASHION_MNIST, f"{NAME} {split}")


def open_embedded(reference: Reference, root: Path | None) -> Source:
    """The embedded sample; `root` plays no part, as the files are in the package."""
    return Source(
        NAME,
        {"train": lambda: _split("train", "train"), "test": lambda: _split("test", "t10k")},
        "MIT, Zalando SE 2017",
    )
