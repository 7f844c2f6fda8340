"""References, the registry, digests and the five-to-one split."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangency.data import KINDS, load, load_split
from tangency.data.build import digest, labelled, numbered_classes
from tangency.data.splits import five_to_one, held_out
from tangency.errors import DataError
from tangency.references import parse
from tangency.types import LabelledImages


def test_parse():
    assert parse("mnist").kind == "mnist"
    found = parse("parquet:a?b/c.parquet?label=fine_label&image=x%20y")
    assert (found.kind, found.location) == ("parquet", "a?b/c.parquet")
    assert found.options == {"label": "fine_label", "image": "x y"}


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("fasion-mnist", "unknown data set 'fasion-mnist'. Did you mean 'fashion-mnist'?"),
        (
            "imagenet:somewhere",
            "and 2 more. References: fashion-mnist-5k, fashion-mnist:[DIR], mnist:[DIR], cifar10:[DIR], parquet:FILE, "
            "folder:DIR, npz:FILE, idx:DIR, imagenet64:DIR, imagenet32:DIR, imagenet16:DIR, imagenet8:DIR.",
        ),
        ("", "unknown data set ''"),
        ("parquet", "no location, expected parquet:FILE"),
        ("folder:", "no location, expected folder:DIR"),
        ("fashion-mnist-5k:here", "takes no location"),
        ("npz:a.npz?lable=x", "unknown option of npz 'lable'"),
        ("parquet:a?imge=x", "Did you mean 'image'?"),
        ("mnist:DIR?size=3", "unknown option of mnist 'size'"),
        ("npz:a.npz?layout", "is not of the form ?key=value"),
        ("npz:a.npz?layout=NHW&layout=NHW", "given twice"),
        ("folder:.?size=0", "expected a positive whole number"),
        ("npz:absent.npz", "there is no such file"),
        ("parquet:absent.parquet", "there is no such file"),
        ("folder:absent", "absent, expected a folder"),
    ],
)
def test_bad_reference_is_one_clear_sentence(reference, sentence, tmp_path):
    if reference.startswith("folder:."):
        from PIL import Image

        (tmp_path / "a").mkdir()
        Image.new("L", (2, 2)).save(tmp_path / "a" / "0.png")
    with pytest.raises(DataError, match=re.escape(sentence)):
        load(reference, tmp_path)


def test_unknown_split():
    with pytest.raises(DataError, match=r"unknown split 'tset'\. Did you mean 'test'\?"):
        load_split("fashion-mnist-5k", "tset")


def test_every_kind_is_in_the_help_of_load():
    assert all(kind in load.__doc__ for kind in KINDS)


def test_labelled_checks_its_input():
    pixels = torch.zeros(5, 1, 2, 3, dtype=torch.uint8)
    with pytest.raises(DataError, match=r"got shape \(4,\) for 5 images"):
        labelled(pixels, torch.zeros(4, dtype=torch.int64), ("a",), "set")
    with pytest.raises(DataError, match="values from 0 to 2, expected 0 to 1"):
        labelled(pixels, torch.tensor([0, 1, 2, 0, 1]), ("a", "b"), "set")
    with pytest.raises(DataError, match="values from -1 to 1"):
        labelled(pixels, torch.tensor([0, 1, -1, 0, 1]), ("a", "b"), "set")
    with pytest.raises(DataError, match=r"got torch.float32, expected integers"):
        labelled(pixels, torch.zeros(5), ("a", "b"), "set")
    with pytest.raises(DataError, match="'a' appears twice"):
        labelled(pixels, torch.zeros(5, dtype=torch.int64), ("a", "b", "a"), "set")
    with pytest.raises(DataError, match="highest label is 70000 for 2 images"):
        numbered_classes(torch.tensor([0, 70000]), "", "set")


def test_digest_sees_every_part():
    pixels = torch.arange(2 * 3 * 5 * 7, dtype=torch.uint8).reshape(2, 3, 5, 7)
    labels, classes = torch.tensor([0, 1]), ("a", "b")
    changed = pixels.clone()
    changed[1, 2, 4, 6] += 1
    variants = [
        (pixels, labels, classes),
        (changed, labels, classes),
        (pixels.reshape(2, 3, 7, 5), labels, classes),
        (pixels, labels.flip(0), classes),
        (pixels, labels, ("a", "c")),
        (pixels, labels, ("a", "b", "c")),
        (pixels.float(), labels, classes),
    ]
    digests = [digest(*variant) for variant in variants]
    assert len(set(digests)) == len(variants)
    assert digest(pixels.clone(), labels.clone(), classes) == digests[0]
    # A view in another memory order is the same data.
    assert digest(pixels.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), labels, classes) == digests[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.integers(0, 1000))
def test_split_is_balanced_disjoint_and_deterministic(counts, seed):
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    pixels = torch.arange(len(labels))[:, None, None, None].to(torch.float32) / 1000
    whole = labelled(pixels, labels, [str(i) for i in range(len(counts))], "set")
    train, test = five_to_one(whole)
    assert test.class_counts.tolist() == [max(1, count // 6) for count in counts]
    assert (train.class_counts + test.class_counts).tolist() == counts
    ids = torch.cat([train.pixels, test.pixels]).flatten()
    assert torch.equal(ids.sort().values, pixels.flatten())
    again = five_to_one(whole)
    assert (again[0].digest, again[1].digest) == (train.digest, test.digest)
    assert "5 of 6" in train.name
    assert "1 of 6" in test.name


def test_split_is_not_the_first_images():
    mask = held_out(torch.zeros(600, dtype=torch.int64), ("a",), "set")
    assert 20 < int(mask[:300].sum()) < 80


def test_a_class_of_one_image_cannot_be_split(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 5, 7), np.uint8), labels=[0, 0, 1])
    with pytest.raises(DataError, match="class '1' has 1 images, expected at least 2"):
        load("npz:a.npz", tmp_path)
    assert len(load_split("npz:a.npz", root=tmp_path)) == 3


def test_every_set_takes_numbers_of_images(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", images=rng.integers(0, 255, (60, 5, 7), np.uint8), labels=np.arange(60) % 2)
    for reference, name in (
        ("fashion-mnist-5k?train=40&test=9", "fashion-mnist-5k?train=40&test=9"),
        ("npz:a.npz?train=40&test=9", "npz:a.npz?train=40&test=9 [split 5:1]"),
    ):
        data = load(reference, tmp_path)
        assert (len(data.train), len(data.test), data.name) == (40, 9, name)
        assert load_split(reference, "train", tmp_path).digest == data.train.digest
        more = load(reference.replace("40", "41"), tmp_path)
        assert torch.equal(more.train.pixels[:40], data.train.pixels)
    assert len(load_split("npz:a.npz?test=9", root=tmp_path)) == 9
    with pytest.raises(DataError, match="test=61, there are 10 test images"):
        load("npz:a.npz?test=61", tmp_path)
    with pytest.raises(DataError, match="train=few, expected a positive whole number"):
        load("fashion-mnist-5k?train=few", tmp_path)


def test_images_of_a_wrong_layout_are_refused():
    labels = torch.zeros(4, dtype=torch.int64)
    for shape, sentence in (
        ((4, 32, 32, 3), r"look like \(N, H, W, C\).*pixels.permute\(0, 3, 1, 2\)"),
        ((4, 28, 28, 1), "look like"),
        ((4, 28, 28), r"pixels\[:, None\] adds"),
        ((4, 784), r"expected \(N, C, H, W\)"),
    ):
        with pytest.raises(DataError, match=sentence):
            LabelledImages(torch.zeros(*shape), labels, ("a",))
    for shape in ((4, 1, 28, 28), (4, 3, 32, 3), (4, 1, 5, 1), (4, 2, 5, 7), (4, 9, 8, 8)):
        assert LabelledImages(torch.zeros(*shape), labels, ("a",)).shape == shape[1:]
    assert LabelledImages(torch.zeros(4, 5, 7, 3), labels, ("a",), unit_range=False).shape == (5, 7, 3)
