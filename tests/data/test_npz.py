"""NumPy archives: layouts, ranges, and arrays that would run code."""

import os
import re

import numpy as np
import pytest
import torch

from tangency.data import load, load_split
from tangency.errors import DataError

N, C, H, W = 11, 3, 5, 7
PIXELS = np.random.default_rng(2).integers(0, 256, (N, C, H, W), dtype=np.uint8)
LABELS = np.arange(N) % 2


def save(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return load_split("npz:a.npz" + arrays.pop("query", ""), root=folder)


def test_nchw_nhwc_and_nhw_are_the_same_pixels(tmp_path):
    chw = save(tmp_path, images=PIXELS, labels=LABELS)
    hwc = save(tmp_path, images=PIXELS.transpose(0, 2, 3, 1), labels=LABELS)
    assert torch.equal(chw.pixels, torch.from_numpy(PIXELS))
    assert chw.digest == hwc.digest
    grey = save(tmp_path, images=PIXELS[:, 0], labels=LABELS)
    assert torch.equal(grey.pixels, torch.from_numpy(PIXELS[:, :1].copy()))
    assert grey.classes == ("0", "1")


def test_floats_column_labels_and_class_names(tmp_path):
    found = save(tmp_path, images=PIXELS / 255.0, labels=LABELS[:, None], classes=np.array(["cat", "dog"]))
    assert found.pixels.dtype == torch.float32
    torch.testing.assert_close(found.images(), torch.from_numpy(PIXELS).float() / 255)
    assert found.classes == ("cat", "dog")
    np.savez(tmp_path / "b.npz", images=PIXELS, labels=LABELS)
    assert load_split("npz:b.npz?classes=x,y,z", root=tmp_path).classes == ("x", "y", "z")


@pytest.mark.parametrize("names", ["{}_images {}_labels", "x_{} y_{}"])
def test_two_splits(tmp_path, names):
    arrays = {}
    for split, part in (("train", slice(0, 7)), ("test", slice(7, N))):
        images, labels = names.format(split, split).split()
        arrays |= {images: PIXELS[part], labels: LABELS[part]}
    np.savez(tmp_path / "a.npz", **arrays)
    data = load("npz:a.npz", tmp_path)
    assert (len(data.train), len(data.test)) == (7, 4)
    assert torch.equal(data.test.pixels, torch.from_numpy(PIXELS[7:]))
    assert load_split("npz:a.npz", root=tmp_path).digest == data.test.digest
    assert "5:1" not in data.name


def test_splits_must_agree(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        train_images=PIXELS,
        train_labels=LABELS,
        test_images=PIXELS[:, :1],
        test_labels=LABELS,
    )
    with pytest.raises(DataError, match=r"train has shape \(3, 5, 7\) and 2 classes, test \(1, 5, 7\)"):
        load("npz:a.npz", tmp_path)


def test_ambiguous_layout_needs_a_word(tmp_path):
    both = np.zeros((5, 3, 7, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=both, labels=LABELS[:5])
    with pytest.raises(DataError, match="may be NHWC or NCHW"):
        load_split("npz:a.npz", root=tmp_path)
    assert load_split("npz:a.npz?layout=NHWC", root=tmp_path).shape == (3, 3, 7)
    assert load_split("npz:a.npz?layout=nchw", root=tmp_path).shape == (3, 7, 3)


BAD = {
    "no_axis": (
        {"images": np.zeros((5, 4, 7, 9), np.uint8), "labels": LABELS[:5]},
        "no axis of 1 or 3 channels",
    ),
    "axes": ({"images": np.zeros((5, 4), np.uint8), "labels": LABELS[:5]}, "shape (5, 4), expected (N, H, W)"),
    "dtype": ({"images": PIXELS.astype(np.int64), "labels": LABELS}, "got int64, expected uint8 in [0, 255]"),
    "range": ({"images": PIXELS.astype(np.float32), "labels": LABELS}, "expected [0, 1]"),
    "nan": ({"images": np.full((5, 3, 7), np.nan), "labels": LABELS[:5]}, "NaN or infinite"),
    "count": ({"images": PIXELS, "labels": LABELS[:-1]}, "got shape (10,) for 11 images"),
    "negative": ({"images": PIXELS, "labels": LABELS - 1}, "values from -1 to 0"),
    "float_labels": ({"images": PIXELS, "labels": LABELS * 1.5}, "expected integers"),
    "text_labels": ({"images": PIXELS, "labels": LABELS.astype(str)}, "expected class numbers"),
    "keys": ({"pictures": PIXELS, "labels": LABELS}, "holds pictures, labels; expected"),
    "out_of_range": ({"images": PIXELS, "labels": LABELS, "classes": np.array(["one"])}, "values from 0 to 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_content(tmp_path, name):
    arrays, sentence = BAD[name]
    with pytest.raises(DataError, match=re.escape(sentence)) as caught:
        save(tmp_path, **arrays)
    assert "a.npz" in str(caught.value)


class Canary:
    def __reduce__(self):
        return os.mkdir, ("canary",)


def test_object_arrays_are_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objects = np.array([Canary(), None], dtype=object)
    for arrays in ({"images": objects, "labels": LABELS[:2]}, {"images": PIXELS, "labels": objects}):
        with pytest.raises(DataError, match="holds Python objects"):
            save(tmp_path, **arrays)
    assert not (tmp_path / "canary").exists()


def test_damaged_archives(tmp_path):
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=LABELS)
    whole = (tmp_path / "a.npz").read_bytes()
    for content, sentence in (
        (whole[:-40], "not a readable archive"),
        (whole.replace(PIXELS[3].tobytes(), PIXELS[4].tobytes()), "cannot be read"),
        (whole.replace(b"(11, 3, 5, 7)", b"(99999999999)"), "cannot be read"),
        (b"<html>", "a web page"),
        (b"", "the file is empty"),
    ):
        assert content != whole
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(DataError, match=sentence):
            load_split("npz:b.npz", root=tmp_path)


def test_a_damaged_directory(tmp_path):
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=LABELS)
    whole = (tmp_path / "a.npz").read_bytes()
    place = whole.rindex(b"PK\x01\x02")
    spoiled = {
        "version": whole[: place + 6] + b"\xff" + whole[place + 7 :],
        "method": whole[: place + 10] + b"\x63" + whole[place + 11 :],
        "encrypted": whole[: place + 8] + b"\x01" + whole[place + 9 :],
        "offset": whole[: place + 42] + b"\xff\xff\x00\x00" + whole[place + 46 :],
    }
    for name, content in spoiled.items():
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"b\.npz"):
            load_split("npz:b.npz", root=tmp_path)
        assert content != whole, name


def test_an_archive_that_only_numpy_refuses(tmp_path):
    """zipfile looks for the directory at the end, NumPy for "PK" at the start, and takes all else for a pickle."""
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=LABELS)
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (b"\xff" + whole[1:], b"four" + whole):
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"b\.npz: cannot be read"):
            load_split("npz:b.npz", root=tmp_path)


def test_what_is_no_array_of_numpys(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images", b"hello")
        archive.writestr("labels", b"hello")
    with pytest.raises(DataError, match="the member 'images' is no array"):
        load_split("npz:a.npz", root=tmp_path)


def test_test_images_in_a_file_apart(tmp_path):
    np.savez(tmp_path / "train.npz", images=PIXELS[:7], labels=LABELS[:7])
    np.savez(tmp_path / "test.npz", x=PIXELS[7:], y=LABELS[7:])
    data = load("npz:train.npz?test=test.npz", tmp_path)
    assert (len(data.train), len(data.test)) == (7, 4)
    assert torch.equal(data.test.pixels, torch.from_numpy(PIXELS[7:]))
    assert "5:1" not in data.name
    assert len(load_split("npz:train.npz?test=test.npz&train=3", "train", tmp_path)) == 3
    with pytest.raises(DataError, match=r"tset\.npz: there is no such file"):
        load("npz:train.npz?test=tset.npz", tmp_path)
