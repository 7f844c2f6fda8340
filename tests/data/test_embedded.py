"""The sample in the package: whole, balanced, byte-reproducible, and part of the published files."""

import gzip
import hashlib
import importlib.util
import zlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from data.full_data import ROOT, needs
from tangency.data import embedded, load, load_split
from tangency.data.embedded import CHECKSUMS
from tangency.errors import DataError

SCRIPT = Path(__file__).parents[2] / "scripts" / "cut_fashion_mnist.py"
FOLDER = resources.files("tangency.data") / "embedded"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("cut_fashion_mnist", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sample_is_balanced_and_small():
    data = load("fashion-mnist-5k")
    assert data.name == "fashion-mnist-5k"
    assert "MIT" in data.licence
    for part, per_class in ((data.train, 500), (data.test, 100)):
        assert part.pixels.shape == (10 * per_class, 1, 28, 28)
        assert part.pixels.dtype == torch.uint8
        assert part.class_counts.tolist() == [per_class] * 10
        assert part.classes[0] == "T-shirt/top"
        assert part.classes[9] == "Ankle boot"
        images = part.images()
        assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    assert data.train.digest != data.test.digest
    assert load_split("fashion-mnist-5k", "test").digest == data.test.digest
    assert load_split("fashion-mnist-5k").digest == data.test.digest
    assert load_split("fashion-mnist-5k", "train").digest == data.train.digest
    assert sum(len((FOLDER / name).read_bytes()) for name in CHECKSUMS) < 4_000_000


def test_no_test_image_is_a_training_image():
    data = load("fashion-mnist-5k")
    train, test = ({image.numpy().tobytes() for image in part.pixels} for part in (data.train, data.test))
    assert len(train & test) == 0


def test_notice_is_beside_the_files():
    notice = (FOLDER / "NOTICE").read_text()
    assert "Copyright © 2017 Zalando SE" in notice
    assert "Permission is hereby granted" in notice


def test_damaged_and_missing_files_are_errors(tmp_path, monkeypatch):
    (tmp_path / "embedded").mkdir()
    for name in CHECKSUMS:
        (tmp_path / "embedded" / name).write_bytes((FOLDER / name).read_bytes())
    monkeypatch.setattr(embedded.resources, "files", lambda package: tmp_path)
    assert len(load("fashion-mnist-5k").test) == 1000

    damaged = tmp_path / "embedded" / "t10k-images-idx3-ubyte.gz"
    content = bytearray(damaged.read_bytes())
    content[1000] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte.gz has SHA-256 .* expected f3626f31"):
        load("fashion-mnist-5k")
    damaged.unlink()
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is missing"):
        load("fashion-mnist-5k")


def test_choice_is_balanced_sorted_and_differs_between_splits(script):
    labels = np.arange(970) % 10
    first, again, other = (script.choose(labels, 7, split) for split in ("train", "train", "t10k"))
    assert np.bincount(labels[first]).tolist() == [7] * 10
    assert (np.diff(first) > 0).all()
    assert (first == again).all()
    assert not np.array_equal(first, other)


def test_script_refuses_other_sources(script, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        script.cut(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"expected b0564c3e.* \(the published file\)"):
        script.cut(tmp_path)


@needs("fashion-mnist")
def test_cutting_again_gives_the_same_bytes(script):
    files = script.cut(ROOT / "fashion-mnist")
    assert set(files) == set(CHECKSUMS)
    for name, content in files.items():
        shipped = (FOLDER / name).read_bytes()
        assert gzip.decompress(content) == gzip.decompress(shipped), name
        if zlib.ZLIB_RUNTIME_VERSION == "1.2.13":  # other versions may pack the same content otherwise
            assert content == shipped, name
            assert hashlib.sha256(content).hexdigest() == CHECKSUMS[name]
