"""Downsampled ImageNet: pickles as its publishers' script writes them, and the .npz form."""

import pickle
import re

import numpy as np
import pytest

from tangency.data import load, load_split
from tangency.data.classes import imagenet_synsets
from tangency.errors import DataError

N, SIDE = 4, 8
PIXELS = np.random.default_rng(6).integers(0, 256, (11, N, 3 * SIDE**2), dtype=np.uint8)
LABELS = np.random.default_rng(7).integers(1, 1001, (11, N))
FILES = [*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data"]


def batch(number):
    """As image2numpy_imagenet_train.py of PatrykChrabaszcz/Imagenet32_Scripts makes them."""
    found = {"data": PIXELS[number], "labels": LABELS[number].tolist()}
    return found if number == 10 else {**found, "mean": np.mean(PIXELS[:10].reshape(-1, 3 * SIDE**2), axis=0)}


@pytest.fixture(params=["pickle", "npz"])
def folder(request, tmp_path):
    for number, name in enumerate(FILES):
        if request.param == "pickle":
            (tmp_path / name).write_bytes(pickle.dumps(batch(number)))
        else:
            np.savez(tmp_path / f"{name}.npz", **batch(number))
    return tmp_path


def test_batches(folder):
    data = load(f"imagenet8:{folder}")
    assert data.train.shape == (3, SIDE, SIDE)
    np.testing.assert_array_equal(data.train.pixels.numpy().reshape(-1, 3 * SIDE**2), PIXELS[:10].reshape(-1, 192))
    assert data.train.labels.tolist() == (LABELS[:10].flatten() - 1).tolist()
    assert data.test.labels.tolist() == (LABELS[10] - 1).tolist()
    assert data.test.classes[:2] == ("clsloc 1", "clsloc 2")
    assert any("not the order of the outputs of torchvision's networks" in note for note in data.notes)


def test_classes_have_the_names_of_their_synsets_where_the_map_lies_beside(folder):
    order = [imagenet_synsets()[i] for i in np.random.default_rng(8).permutation(1000)]
    lines = [f"{synset} {number} name_{number}" for number, synset in enumerate(order, 1)]
    (folder / "map_clsloc.txt").write_text("\n".join(lines) + "\n")
    found = load_split(f"imagenet8:{folder}")
    assert (found.classes, found.notes) == (tuple(order), ())
    ordered = load_split(f"imagenet8:{folder}?order=synsets")
    assert ordered.classes == imagenet_synsets()
    names = [[split.classes[label] for label in split.labels.tolist()] for split in (found, ordered)]
    assert names[0] == names[1]
    np.testing.assert_array_equal(found.pixels.numpy(), ordered.pixels.numpy())
    with pytest.raises(DataError, match="expected order=synsets"):
        load_split(f"imagenet8:{folder}?order=torchvision")
    (folder / "map_clsloc.txt").write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="999 classes, expected 1000 lines"):
        load_split(f"imagenet8:{folder}")


def test_few_images_are_a_part_of_more(folder):
    few, more = (load(f"imagenet8:{folder}?train={n}&test=3") for n in (5, 12))
    rows = [{image.numpy().tobytes() for image in data.train.pixels} for data in (few, more)]
    assert (len(few.train), len(more.train), len(few.test)) == (5, 12, 3)
    assert rows[0] < rows[1]
    known = dict(zip((p.tobytes() for p in PIXELS[:10].reshape(-1, 192)), LABELS[:10].flatten() - 1, strict=True))
    for image, label in zip(more.train.pixels, more.train.labels, strict=True):
        assert known[image.numpy().tobytes()] == int(label)
    with pytest.raises(DataError, match="train=41, there are 40 training images"):
        load(f"imagenet8:{folder}?train=41")


BAD = {
    "side": ({"data": PIXELS[0][:, :48], "labels": [1] * N}, "48 values an image, images of 8 pixels have 192"),
    "size": ({"data": np.zeros((1, 3 * 32**2), np.uint8), "labels": [1]}, "these are of imagenet32:DIR"),
    "floats": ({"data": PIXELS[0] / 255, "labels": [1] * N}, "'data' is float64"),
    "zero": ({"data": PIXELS[0], "labels": [0] * N}, "labels from 0 to 0, expected 1 to 1000"),
    "count": ({"data": PIXELS[0], "labels": [1]}, "'labels' are not 4 whole numbers"),
    "text": ({"data": PIXELS[0], "labels": ["a", [1]]}, "'labels' are not 4 whole numbers"),
    "list": ([1], "holds a list, expected a batch of downsampled ImageNet"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_batches(tmp_path, name):
    content, sentence = BAD[name]
    (tmp_path / "val_data").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=re.escape(sentence)):
        load_split(f"imagenet8:{tmp_path}")


def test_absent_parts_are_named(tmp_path):
    with pytest.raises(DataError, match="val_data: there is no such file"):
        load_split(f"imagenet64:{tmp_path}")
    with pytest.raises(DataError, match="no such folder"):
        load(f"imagenet64:{tmp_path}/none")
