"""What Hugging Face's `datasets` writes, beside what it decodes itself: pixels and labels equal, or a clear refusal."""

import io
import re
import shutil

import numpy as np
import pytest

from tangency.data import load, load_split
from tangency.errors import DataError

hub = pytest.importorskip("datasets", reason="needs the package datasets, the owner of the format")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
N, NAMES = 12, ["cat", "dog", "emu"]
GENERATOR = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    # its fingerprint hashes with dill, which does not know every version of pyarrow
    monkeypatch.setattr("datasets.arrow_dataset.generate_fingerprint", lambda *a, **k: "0" * 16)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    hub.disable_progress_bars()


def picture(height=12, width=12):
    from PIL import Image

    small = Image.fromarray(GENERATOR.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return small.resize((width, height))


def oriented(image, orientation, form="JPEG"):
    from PIL import Image

    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x112] = orientation
    image.save(buffer, form, quality=100, exif=exif)
    return {"bytes": buffer.getvalue(), "path": None}


def features(**more):
    return hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=NAMES), **more})


def dataset(images=None, labels=None, count=N, described=None):
    images = [picture() for _ in range(count)] if images is None else images
    labels = [i % 3 for i in range(len(images))] if labels is None else labels
    return hub.Dataset.from_dict({"image": images, "label": labels}, features=described or features())


def own(rows):
    """Pixels (N, 3, H, W) and labels as datasets decodes them."""
    pixels = [np.asarray(row["image"].convert("RGB")).transpose(2, 0, 1) for row in rows]
    return np.stack(pixels), [row["label"] for row in rows]


def same(found, rows):
    pixels, labels = own(rows)
    assert found.pixels.shape == pixels.shape
    np.testing.assert_array_equal(found.pixels.numpy(), pixels)
    assert found.labels.tolist() == labels
    assert found.classes == tuple(NAMES)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_images_are_turned_as_their_orientation_says(tmp_path, form):
    upright = {o: picture(12, 16) if o >= 5 else picture(16, 12) for o in range(1, 9)}
    rows = dataset([oriented(upright[1 + i % 8], 1 + i % 8, form) for i in range(16)])
    rows.to_parquet(tmp_path / "a.parquet")
    found = load_split(f"parquet:{tmp_path / 'a.parquet'}")
    same(found, rows)
    assert found.shape == (3, 16, 12)
    if form != "TIFF":  # which PIL itself turns
        assert any("14 images were turned as their EXIF orientation says" in note for note in found.notes)


def test_row_groups_palettes_and_a_declared_mode(tmp_path):
    rows = dataset([picture().quantize(8) for _ in range(N)])
    rows.to_parquet(tmp_path / "a.parquet", batch_size=5)
    same(load_split(f"parquet:{tmp_path / 'a.parquet'}"), rows)
    grey = dataset([picture() for _ in range(N)], described=features(image=hub.Image(mode="L")))
    grey.to_parquet(tmp_path / "b.parquet")
    found = load_split(f"parquet:{tmp_path / 'b.parquet'}")
    assert found.shape == (1, 12, 12)
    np.testing.assert_array_equal(found.pixels[:, 0].numpy(), np.stack([np.asarray(row["image"]) for row in grey]))


@pytest.fixture
def repository(tmp_path):
    """A Hub repository as cloned: two shards of train, one of validation and of test."""
    folder = tmp_path / "repo"
    (folder / "data").mkdir(parents=True)
    parts = {}
    for split, count in (("train", 2), ("validation", 1), ("test", 1)):
        for i in range(count):
            rows = dataset()
            rows.to_parquet(folder / "data" / f"{split}-{i:05d}-of-{count:05d}.parquet")
            parts.setdefault(split, []).extend(rows)
    return folder, parts


@pytest.mark.parametrize("tail", ["", "/data"])
def test_shards_of_a_repository(repository, tail):
    folder, parts = repository
    data = load(f"parquet:{folder}{tail}")
    same(data.train, parts["train"])
    same(data.test, parts["test"])
    assert any("not used: validation" in note for note in data.notes)
    same(load_split(f"parquet:{folder}{tail}?test=validation", "test"), parts["validation"])
    same(load_split(f"parquet:{folder}{tail}"), parts["test"])


def test_patterns_and_single_shards(repository):
    folder, parts = repository
    every = load_split(f"parquet:{folder}/data/train-*.parquet")
    same(every, parts["train"])
    one = load_split(f"parquet:{folder}/data/train-00000-of-00002.parquet")
    same(one, parts["train"][:N])
    assert "is one of 2 shards; train-* takes them all" in one.notes[0]
    pair = load(f"parquet:{folder}/data/train-*?test={folder}/data/test-00000-of-00001.parquet")
    same(pair.train, parts["train"])
    same(pair.test, parts["test"])


def test_a_missing_shard_is_refused(repository):
    folder, _ = repository
    (folder / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"1 of the 2 shards of 'train' are there, train-00001-of-00002 is missing"):
        load(f"parquet:{folder}")
    with pytest.raises(DataError, match=r"unknown split or file 'valdation'.*Did you mean 'validation'"):
        load(f"parquet:{folder}/data/t*-*?test=valdation".replace("t*-*", "*[nt]-*"))


CARD = """---
configs:
- config_name: small
  data_files:
  - {split: train, path: data/validation-*}
  - split: test
    path: [data/test-*]
- config_name: default
  data_files:
  - {split: train, path: data/train-*}
  - {split: test, path: 'data/test-*'}
---
# A set
"""


def test_the_card_of_a_repository_says_which_files(repository):
    folder, parts = repository
    (folder / "README.md").write_text(CARD)
    same(load(f"parquet:{folder}").train, parts["train"])
    small = load(f"parquet:{folder}?config=small")
    same(small.train, parts["validation"])
    assert any("configuration 'small' of small, default" in note for note in small.notes)
    with pytest.raises(DataError, match="unknown configuration 'smal'"):
        load(f"parquet:{folder}?config=smal")
    (folder / "README.md").write_text("---\nconfigs:\n- data_files: '../*.parquet'\n---\n")
    with pytest.raises(DataError, match="no such file"):
        load(f"parquet:{folder}")


def test_class_names_of_the_card_where_the_files_have_none(tmp_path):
    import polars as pl

    rows = dataset()
    rows.to_parquet(tmp_path / "a.parquet")
    folder = tmp_path / "repo"
    folder.mkdir()
    pl.read_parquet(tmp_path / "a.parquet").write_parquet(folder / "all.parquet")
    names = "".join(f"          '{i}': {name}\n" for i, name in enumerate(NAMES))
    head = "dataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n"
    (folder / "README.md").write_text(f"---\n{head}      class_label:\n        names:\n{names}---\n")
    same(load_split(f"parquet:{folder}"), rows)


def test_save_to_disk(tmp_path):
    rows, others = dataset(), dataset()
    rows.save_to_disk(tmp_path / "one")
    same(load_split(f"parquet:{tmp_path / 'one'}"), rows)
    rows.save_to_disk(tmp_path / "shards", num_shards=3)
    same(load_split(f"parquet:{tmp_path / 'shards'}"), rows)
    both = hub.DatasetDict({"train": rows, "test": others})
    both.save_to_disk(tmp_path / "two")
    data = load(f"parquet:{tmp_path / 'two'}")
    same(data.train, rows)
    same(data.test, others)
    (tmp_path / "two" / "dataset_dict.json").write_text('{"splits": ["train", "../one"]}')
    with pytest.raises(DataError, match="lists no splits"):
        load(f"parquet:{tmp_path / 'two'}")
    shutil.rmtree(tmp_path / "two" / "test")
    (tmp_path / "two" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match="only train are there"):
        load(f"parquet:{tmp_path / 'two'}")


def test_folders_of_two_sets_are_refused(tmp_path):
    for name in ("full", "small"):
        (tmp_path / "repo" / name).mkdir(parents=True)
        dataset().to_parquet(tmp_path / "repo" / name / "train-00000-of-00001.parquet")
    with pytest.raises(DataError, match="2 folders hold the split train"):
        load(f"parquet:{tmp_path / 'repo'}")


LABELS = {
    "bool": (lambda i: bool(i % 2), ("False", "True"), [i % 2 for i in range(N)]),
    "int8": (lambda i: i % 3, ("0", "1", "2"), [i % 3 for i in range(N)]),
    "uint64": (lambda i: i % 3, ("0", "1", "2"), [i % 3 for i in range(N)]),
    "string": (lambda i: NAMES[2 - i % 3], tuple(NAMES), [2 - i % 3 for i in range(N)]),
}


@pytest.mark.parametrize("kind", LABELS)
def test_kinds_of_labels(tmp_path, kind):
    value, classes, labels = LABELS[kind]
    dataset(labels=[value(i) for i in range(N)], described=features(label=hub.Value(kind))).to_parquet(
        tmp_path / "a.parquet"
    )
    found = load_split(f"parquet:{tmp_path / 'a.parquet'}")
    assert (found.classes, found.labels.tolist()) == (classes, labels)


def test_labels_as_text_in_another_order(tmp_path):
    described = features(label=hub.Value("string"))
    for name, count in (("train", 9), ("test", 2)):
        rows = dataset(labels=[NAMES[2 - i % 3] for i in range(count)], count=count, described=described)
        rows.to_parquet(tmp_path / f"{name}.parquet")
    reference = f"parquet:{tmp_path}/train.parquet?test={tmp_path}/test.parquet"
    data = load(reference)  # the test images lack "cat"
    assert data.test.classes == data.train.classes == tuple(NAMES)
    assert data.test.labels.tolist() == [2, 1]
    assert any("by name" in note for note in data.notes)
    assert load(f"{reference}&classes=emu,cat,dog").test.labels.tolist() == [0, 2]
    with pytest.raises(DataError, match="lacks the labels cat"):
        load(f"{reference}&classes=emu,dog")


REFUSED = {
    "float": (hub.Value("float32"), lambda i: i % 3, "holds Float32, expected class numbers"),
    "unlabelled": (hub.ClassLabel(names=NAMES), lambda i: -1, "each label is -1"),
    "multi": (hub.List(hub.ClassLabel(names=NAMES)), lambda i: [0, 2], "holds List(Int64)"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_labels_that_are_refused(tmp_path, kind):
    described, value, sentence = REFUSED[kind]
    rows = dataset(labels=[value(i) for i in range(N)], described=features(label=described))
    rows.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=re.escape(sentence)):
        load_split(f"parquet:{tmp_path / 'a.parquet'}")


def test_arrays_of_pixels_are_refused(tmp_path):
    rows = dataset(
        [np.asarray(picture()) for _ in range(N)], described=features(image=hub.Array3D((12, 12, 3), "uint8"))
    )
    rows.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"expected encoded images .* are read from \.npz"):
        load_split(f"parquet:{tmp_path / 'a.parquet'}")
