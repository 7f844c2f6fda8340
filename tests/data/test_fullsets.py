"""The full idx sets: found in every documented place, never replaced by anything else."""

import gzip

import numpy as np
import pytest
import torch

from data.full_data import ROOT, needs
from tangency.data import load, load_split
from tangency.data.readers import published
from tangency.data.readers.idx import encode_idx
from tangency.errors import DataError

GENERATOR = np.random.default_rng(1)
PARTS = {
    "train": (GENERATOR.integers(0, 256, (23, 28, 28), dtype=np.uint8), np.arange(23, dtype=np.uint8) % 10),
    "t10k": (GENERATOR.integers(0, 256, (11, 28, 28), dtype=np.uint8), np.arange(11, dtype=np.uint8) % 10),
}


def write(folder, pack=gzip.compress, suffix=".gz", parts=PARTS):
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, (images, labels) in parts.items():
        (folder / f"{prefix}-images-idx3-ubyte{suffix}").write_bytes(pack(encode_idx(images)))
        (folder / f"{prefix}-labels-idx1-ubyte{suffix}").write_bytes(pack(encode_idx(labels)))
    return folder


@pytest.fixture(autouse=True)
def bare_machine(tmp_path, monkeypatch):
    """No data anywhere but where the test puts it."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TANGENCY_DATA", raising=False)


def check(data):
    assert torch.equal(data.train.pixels[:, 0], torch.from_numpy(PARTS["train"][0]))
    assert data.test.labels.tolist() == PARTS["t10k"][1].tolist()


@pytest.mark.parametrize(
    ("place", "reference", "variable"),
    [
        ("root/fashion-mnist", "fashion-mnist", "root"),
        ("root", "fashion-mnist", "root"),
        ("root/FashionMNIST/raw", "fashion-mnist", "root"),
        ("root/MNIST/raw", "mnist", "root"),
        ("work/data/FashionMNIST/raw", "fashion-mnist", None),
        ("home/.cache/MNIST/raw", "mnist", None),
        ("named", "mnist:../named", None),
        ("named/mnist", "mnist:../named", None),
        ("home/named", "mnist:~/named", None),
    ],
)
def test_every_place_is_searched(tmp_path, monkeypatch, place, reference, variable):
    write(tmp_path / place)
    if variable:
        monkeypatch.setenv("TANGENCY_DATA", str(tmp_path / variable))
    data = load(reference)
    check(data)
    assert data.name == reference  # another content than the published one: the name alone would not find it again


def test_plain_files_and_explicit_root(tmp_path):
    write(tmp_path / "plain", bytes, "")
    check(load("mnist", tmp_path / "plain"))
    assert load_split("mnist", root=tmp_path / "plain").digest == load("mnist", tmp_path / "plain").test.digest


def test_an_explicit_place_is_searched_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("TANGENCY_DATA", str(write(tmp_path / "elsewhere")))
    with pytest.raises(DataError, match="full data set was not found"):
        load("mnist", tmp_path / "empty")
    with pytest.raises(DataError, match="full data set was not found"):
        load("mnist:../empty")


def test_absent_set_names_every_place_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("TANGENCY_DATA", str(tmp_path / "root"))
    with pytest.raises(DataError) as caught:
        load("fashion-mnist")
    message = str(caught.value)
    for place in ("root/fashion-mnist", "root", "root/FashionMNIST/raw", "home/.cache/FashionMNIST/raw"):
        assert f"{tmp_path / place}" in message
    assert "data/FashionMNIST/raw" in message
    assert "torchvision.datasets.FashionMNIST('data', download=True)" in message
    assert "'fashion-mnist:DIR'" in message
    monkeypatch.delenv("TANGENCY_DATA")
    with pytest.raises(DataError, match="TANGENCY_DATA is not set"):
        load("fashion-mnist")


def test_a_missing_part_is_named(tmp_path):
    folder = write(tmp_path / "part")
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    assert len(load_split("mnist", "test", folder)) == 11
    with pytest.raises(DataError, match="neither train-labels-idx1-ubyte nor"):
        load("mnist", folder)


def test_inconsistent_parts(tmp_path):
    images, labels = PARTS["t10k"]
    folder = write(tmp_path / "bad", parts={"train": PARTS["train"], "t10k": (images, labels[:-1])})
    with pytest.raises(DataError, match="11 images but 10 labels"):
        load("mnist", folder)
    write(folder, parts={"t10k": (images, labels + 90)})
    with pytest.raises(DataError, match="values from 90 to 99, expected 0 to 9"):
        load("mnist", folder)
    write(folder, parts={"t10k": (images[:0], labels[:0])})
    with pytest.raises(DataError, match="holds no images"):
        load("mnist", folder)


def test_one_set_is_not_taken_for_the_other(tmp_path, monkeypatch):
    import hashlib

    folder = write(tmp_path / "set")
    labels = {hashlib.sha256(labels.tobytes()).hexdigest(): "mnist" for _, labels in PARTS.values()}
    monkeypatch.setattr(published, "LABELS", labels)
    check(load("mnist", folder))
    with pytest.raises(DataError, match="this is mnist, expected fashion-mnist"):
        load("fashion-mnist", folder)


@needs("fashion-mnist", "mnist")
def test_published_sets(monkeypatch):
    monkeypatch.setenv("TANGENCY_DATA", str(ROOT))
    for name in ("fashion-mnist", "mnist"):
        test = load_split(name, "test")
        assert test.pixels.shape == (10000, 1, 28, 28)
    assert load_split("mnist", "test").class_counts.tolist()[:3] == [980, 1135, 1032]
    with pytest.raises(DataError, match="this is mnist, expected fashion-mnist"):
        load_split(f"fashion-mnist:{ROOT / 'mnist'}")
    sample, whole = load_split("fashion-mnist-5k", "test"), load_split("fashion-mnist", "test")
    known = {image.numpy().tobytes(): int(label) for image, label in zip(whole.pixels, whole.labels, strict=True)}
    assert all(
        known[image.numpy().tobytes()] == int(label) for image, label in zip(sample.pixels, sample.labels, strict=True)
    )


def test_fewer_training_images_are_a_fixed_part_of_more(tmp_path):
    root = write(tmp_path / "root")
    few, more, whole = (load(f"fashion-mnist{tail}", root) for tail in ("?train=5", "?train=9", ""))
    assert [len(data.train) for data in (few, more, whole)] == [5, 9, 23]
    assert torch.equal(few.train.pixels, more.train.pixels[:5])
    assert few.name == "fashion-mnist?train=5"
    assert few.test.digest == whole.test.digest
    assert len({data.train.digest for data in (few, more, whole)}) == 3
    assert load_split("fashion-mnist?train=5", "train", root).digest == few.train.digest
    assert torch.equal(load(f"mnist:{root}?train=5").train.pixels, few.train.pixels)
    with pytest.raises(DataError, match="there are 23 training images"):
        load("fashion-mnist?train=24", root)
    with pytest.raises(DataError, match="positive whole number"):
        load("fashion-mnist?train=0", root)
    with pytest.raises(DataError, match="unknown option of fashion-mnist 'tain'"):
        load("fashion-mnist?tain=5", root)


def test_another_set_under_the_same_names_has_numbered_classes_and_a_warning(tmp_path):
    folder = write(tmp_path / "set")
    data = load(f"fashion-mnist:{folder}")
    assert data.train.classes == data.test.classes == tuple("0123456789")
    assert data.name == f"fashion-mnist:{folder}"
    assert all(
        f"{split} is not the published fashion-mnist" in note
        for split, note in zip(("train", "test"), data.notes, strict=True)
    )
    assert load_split(f"fashion-mnist:{folder}").notes == data.notes[1:]
    assert data.licence == ""


def test_published_labels_with_other_pixels_are_told(tmp_path, monkeypatch):
    import hashlib

    folder = write(tmp_path / "set")
    labels = {hashlib.sha256(labels.tobytes()).hexdigest(): "fashion-mnist" for _, labels in PARTS.values()}
    monkeypatch.setattr(published, "LABELS", labels)
    pixels = {hashlib.sha256(images.tobytes()).hexdigest(): "fashion-mnist" for images, _ in PARTS.values()}
    data = load("fashion-mnist", folder)
    assert data.name == "fashion-mnist"
    assert data.train.classes[0] == "T-shirt/top"
    assert "its pixels are not the published ones" in data.notes[0]
    monkeypatch.setattr(published, "PIXELS", pixels)
    assert load("fashion-mnist", folder).notes == ()


def test_kmnist_is_recognised_by_its_files(tmp_path, monkeypatch):
    import hashlib

    from torchvision.datasets import KMNIST

    known = {md5 for name, md5 in KMNIST.resources if "labels" in name}
    assert {md5 for md5, name in published.FILES.items() if name == "kmnist"} == known
    folder = write(tmp_path / "kmnist")
    files = {hashlib.md5(path.read_bytes()).hexdigest(): "kmnist" for path in folder.glob("*labels*")}
    monkeypatch.setattr(published, "FILES", files)
    with pytest.raises(
        DataError, match=r"this is kmnist, expected mnist.*idx:DIR\?classes=o,ki,su,tsu,na,ha,ma,ya,re,wo"
    ):
        load("mnist", folder)
    data = load(f"idx:{folder}?classes=o,ki,su,tsu,na,ha,ma,ya,re,wo")
    check(data)
    assert data.train.classes == tuple(KMNIST.classes)


def test_idx_files_of_any_set(tmp_path):
    """EMNIST's letters: a prefix, 27 classes, `test` instead of `t10k`."""
    folder = tmp_path / "emnist"
    folder.mkdir()
    for split, (images, labels) in zip(("train", "test"), PARTS.values(), strict=True):
        start = f"emnist-letters-{split}"
        (folder / f"{start}-images-idx3-ubyte.gz").write_bytes(gzip.compress(encode_idx(images)))
        (folder / f"{start}-labels-idx1-ubyte").write_bytes(encode_idx(labels + 17))
    data = load(f"idx:{folder}?train=7")
    assert data.train.classes == tuple(map(str, range(27)))
    assert len(data.train) == 7
    assert torch.equal(data.test.pixels[:, 0], torch.from_numpy(PARTS["t10k"][0]))
    assert data.test.labels.tolist() == (PARTS["t10k"][1] + 17).tolist()
    (folder / "emnist-digits-train-images-idx3-ubyte.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="emnist-digits-train, emnist-letters-train, expected one set"):
        load(f"idx:{folder}")
    with pytest.raises(DataError, match="no such folder"):
        load(f"idx:{tmp_path}/none")


@needs("fashion-mnist", "mnist")
def test_published_sets_are_recognised():
    for name in ("fashion-mnist", "mnist"):
        data = load(name, ROOT / name)
        assert (data.name, data.notes) == (name, ())
