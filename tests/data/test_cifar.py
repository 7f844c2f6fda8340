"""CIFAR-10 in both of its forms; a hostile batch is refused and not run."""

import json
import pickle
import re

import numpy as np
import polars as pl
import pytest
import torch

from data import python2
from data.full_data import ROOT, needs
from data.pictures import encode
from tangency.data import load, load_split
from tangency.data.readers.cifar import read_batch
from tangency.errors import DataError

N = 7
PIXELS = np.random.default_rng(5).integers(0, 256, (6, N, 3072), dtype=np.uint8)
LABELS = [[(3 * i + j) % 10 for j in range(N)] for i in range(6)]
FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


@pytest.fixture(autouse=True)
def bare_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TANGENCY_DATA", raising=False)


def write_batches(folder):
    folder.mkdir(parents=True)
    for name, pixels, labels in zip(FILES, PIXELS, LABELS, strict=True):
        (folder / name).write_bytes(python2.batch(pixels, labels))


def test_the_test_helper_writes_what_python_reads():
    found = pickle.loads(python2.batch(PIXELS[0], LABELS[0]), encoding="bytes")
    assert found[b"labels"] == LABELS[0]
    np.testing.assert_array_equal(found[b"data"], PIXELS[0])


@pytest.mark.parametrize("place", ["data/cifar-10-batches-py", "home/.cache/cifar-10-batches-py", "data/cifar10"])
def test_original_batches(tmp_path, place):
    write_batches(tmp_path / place)
    data = load("cifar10")
    assert torch.equal(data.train.pixels.reshape(-1, 3072), torch.from_numpy(PIXELS[:5].reshape(-1, 3072)))
    assert data.train.labels.tolist() == [label for labels in LABELS[:5] for label in labels]
    assert data.test.labels.tolist() == LABELS[5]
    assert data.test.classes[0] == "airplane"
    assert load("cifar10:" + place).test.digest == data.test.digest


def test_parquet_pair(tmp_path):
    for split, count in (("train", 31), ("test", 11)):
        images = PIXELS.reshape(-1, 32, 32, 3)[:count]
        table = {"img": [{"bytes": encode(one), "path": ""} for one in images], "label": [0] * count}
        pl.DataFrame(table).write_parquet(tmp_path / f"cifar10-{split}.parquet")
    data = load("cifar10", tmp_path)
    assert (len(data.train), len(data.test)) == (31, 11)
    assert len(data.test.classes) == 10
    table = pl.DataFrame({"img": [encode(np.zeros((5, 7, 3), np.uint8))], "label": [0]})
    table.write_parquet(tmp_path / "cifar10-test.parquet")
    with pytest.raises(DataError, match=r"images of shape \(3, 5, 7\), expected \(3, 32, 32\)"):
        load_split("cifar10", root=tmp_path)


def test_absent():
    with pytest.raises(DataError, match=r"torchvision\.datasets\.CIFAR10"):
        load("cifar10")


def test_a_missing_batch_is_named(tmp_path):
    write_batches(tmp_path / "data")
    (tmp_path / "data" / "data_batch_3").unlink()
    with pytest.raises(DataError, match="data_batch_3: there is no such file"):
        load("cifar10")


SMALL = np.zeros((2, 3072), np.uint8)
BAD = {
    "list": ([1, 2], "holds a list, expected a CIFAR-10 batch"),
    "no_data": ({"labels": [1]}, "'data' is NoneType"),
    "shape": ({"data": SMALL[:, :5], "labels": [1, 2]}, "5 values an image, images of 32 pixels have 3072"),
    "dtype": ({"data": SMALL.astype(float), "labels": [1, 2]}, "'data' is float64"),
    "labels": ({"data": SMALL, "labels": [1, "x"]}, "'labels' are not 2 whole numbers"),
    "count": ({"data": SMALL, "labels": [1]}, "'labels' are not 2 whole numbers"),
    "range": ({"data": SMALL, "labels": [1, 10]}, "labels from 1 to 10, expected 0 to 9"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_batch(tmp_path, name):
    content, sentence = BAD[name]
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=re.escape(sentence)):
        read_batch(tmp_path / "test_batch")


def test_hostile_batch_is_refused_and_not_run(tmp_path):
    extra = python2.text(b"x") + b"cos\nmkdir\nU\x06canary\x85R"
    hostile = python2.batch(SMALL, [0, 1], extra)
    (tmp_path / "test_batch").write_bytes(hostile)
    with pytest.raises(DataError, match=r"test_batch: the pickle asks for or holds the global os\.mkdir"):
        load_split("cifar10", root=tmp_path)
    assert not (tmp_path / "canary").exists()
    pickle.loads(hostile, encoding="bytes")
    assert (tmp_path / "canary").exists(), "the batch is not hostile, so the test proves nothing"


@needs("cifar10-test.parquet")
def test_published_files():
    test = load_split("cifar10", root=ROOT)
    assert test.pixels.shape == (10000, 3, 32, 32)
    assert test.class_counts.tolist() == [1000] * 10


def test_other_data_under_cifars_file_names(tmp_path):
    write_batches(tmp_path / "data")
    data = load("cifar10?train=9&test=3")
    assert (len(data.train), len(data.test), data.name) == (9, 3, "cifar10?train=9&test=3")
    assert all("are not the published ones of cifar10" in note for note in data.notes)
    meta = {"label_names": ["fork", *data.test.classes[1:]], "num_vis": 3072}
    (tmp_path / "data" / "batches.meta").write_bytes(pickle.dumps(meta))
    with pytest.raises(DataError, match=r"names the classes fork, automobile.*expected those of CIFAR-10"):
        load("cifar10")
    meta["label_names"][0] = "airplane"
    (tmp_path / "data" / "batches.meta").write_bytes(pickle.dumps(meta))
    assert load("cifar10?train=9&test=3").test.digest == data.test.digest


def test_parquet_that_names_other_classes(tmp_path):
    names = [*"abcdefghij"]
    info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pl.DataFrame({"img": [encode(np.zeros((32, 32, 3), np.uint8))] * 3, "label": [0, 1, 2]})
    table.write_parquet(tmp_path / "cifar10-test.parquet", metadata={"huggingface": json.dumps(info)})
    with pytest.raises(DataError, match=r"names the classes a, b, c.*other data under this name"):
        load_split("cifar10", root=tmp_path)
