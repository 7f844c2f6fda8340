"""Encoded images: Parquet files and folders, decoded in threads, with the odd one named."""

import io
import json
import re

import numpy as np
import polars as pl
import pytest
import torch

from data.full_data import ROOT, needs
from data.pictures import encode
from tangency.data import load, load_split
from tangency.data.readers.decode import decode_images
from tangency.errors import DataError
from tangency.references import parse

N, H, W = 13, 5, 7
PIXELS = np.random.default_rng(3).integers(0, 256, (N, H, W, 3), dtype=np.uint8)
LABELS = [i % 3 for i in range(N)]


def rows(pixels=PIXELS, column="img", labels=LABELS, label="label"):
    images = [{"bytes": encode(one), "path": None} for one in pixels]
    return pl.DataFrame({column: images, label: labels})


def split_of(folder, table, query="", **kwargs):
    table.write_parquet(folder / "a.parquet", **kwargs)
    return load_split(f"parquet:a.parquet{query}", root=folder)


def test_png_pixels_come_back_exactly(tmp_path):
    found = split_of(tmp_path, rows())
    assert torch.equal(found.pixels, torch.from_numpy(PIXELS).permute(0, 3, 1, 2))
    assert found.labels.tolist() == LABELS
    assert found.classes == ("0", "1", "2")
    grey = split_of(tmp_path, rows(PIXELS[..., 0], "image", label="labels"))
    assert torch.equal(grey.pixels[:, 0], torch.from_numpy(PIXELS[..., 0].copy()))


def test_any_number_of_threads_gives_the_same():
    """More images than a task holds, in another order of completion."""
    encoded = [encode(np.full((2, 3), i % 251, np.uint8)) for i in range(601)]
    one, many = (decode_images(encoded, str, parse("x"), threads)[0] for threads in (1, 5))
    assert torch.equal(one, many)
    assert one[:, 0, 1, 2].tolist() == [i % 251 for i in range(601)]


def test_columns_bytes_and_labels_as_names(tmp_path):
    table = pl.DataFrame(
        {"picture": [encode(p) for p in PIXELS], "animal": ["dog", "ant", "cat", *(["cat"] * (N - 3))]}
    )
    found = split_of(tmp_path, table, "?image=picture&label=animal")
    assert found.classes == ("ant", "cat", "dog")
    assert found.labels.tolist() == [2, 0, *([1] * (N - 2))]


def test_class_names_from_metadata_or_option(tmp_path):
    info = {"info": {"features": {"fine_label": {"names": ["x", "y", "z"], "_type": "ClassLabel"}}}}
    table = rows(label="fine_label")
    assert split_of(tmp_path, table, metadata={"huggingface": json.dumps(info)}).classes == ("x", "y", "z")
    assert split_of(tmp_path, table, "?classes=p, q, r, s").classes == ("p", "q", "r", "s")
    for other in ("not json", "{}", "[1]"):
        assert split_of(tmp_path, table, metadata={"huggingface": other}).classes == ("0", "1", "2")


def test_one_file_is_split_where_two_are_needed(tmp_path):
    rows().write_parquet(tmp_path / "a.parquet")
    data = load("parquet:a.parquet", tmp_path)
    assert (len(data.train), len(data.test)) == (10, 3)
    assert "5:1" in data.name
    assert load_split("parquet:a.parquet", "test", tmp_path).digest == data.test.digest
    assert load_split("parquet:a.parquet", "train", tmp_path).digest == data.train.digest
    assert len(load_split("parquet:a.parquet", root=tmp_path)) == N


def damaged(row, content):
    table = rows().to_dict(as_series=False)
    table["img"][row]["bytes"] = content
    return pl.DataFrame(table, schema=rows().schema)


JPEG = encode(np.random.default_rng(4).integers(0, 256, (H, W, 3), dtype=np.uint8), "JPEG")
BAD = {
    "no_image": (rows(column="pixels"), "", "no image column img or image; the columns are pixels, label"),
    "no_label": (rows(label="target"), "", "no label column label or labels or fine_label"),
    "option": (rows(), "?label=fine", "no label column 'fine'"),
    "not_images": (rows().with_columns(img=pl.lit(1.5)), "", "the column 'img' holds Float64"),
    "float_labels": (rows(labels=[0.5] * N), "", "holds Float64, expected class numbers"),
    "null_label": (rows(labels=[None, *LABELS[1:]]), "", "row 0 has no label"),
    "negative": (rows(labels=[-1, *LABELS[1:]]), "", "values from -1 to 2, expected 0 to 2"),
    "few_classes": (rows(), "?classes=a,b", "values from 0 to 2, expected 0 to 1 (2 classes)"),
    "empty": (rows().head(0), "", "has no rows"),
    "paths_only": (damaged(4, None), "", "row 4 holds no image bytes"),
    "truncated_jpeg": (damaged(6, JPEG[:-25]), "", "row 6: a damaged image"),
    "jpeg_header": (damaged(6, JPEG[:-150]), "", "row 6: cannot be opened as an image"),
    "truncated_png": (damaged(6, encode(PIXELS[0])[:-60]), "", "row 6: a damaged image"),
    "png_chunk": (damaged(6, encode(PIXELS[0])[:33] + bytes(40)), "", "row 6: "),
    "text": (damaged(9, b"hello"), "", "row 9: not an image, expected a JPEG or PNG"),
    "web_page": (damaged(0, b"<html>"), "", "row 0: a web page"),
    "no_bytes": (damaged(2, b""), "", "row 2: empty, expected a JPEG or PNG"),
    "other_size": (damaged(5, encode(PIXELS[0, :, :6])), "", "row 5: 6x5 pixels, expected 7x5 as"),
    "colour": (rows([PIXELS[0, ..., 0], *PIXELS[1:]]), "", "row 1: a colour image, expected grey as"),
    "deep": (damaged(3, encode(np.full((H, W), 300, np.uint16))), "", "row 3: pixels of PIL mode 'I;16'"),
    "channels": (rows(), "?channels=2", "channels=2, expected 1 (grey) or 3 (colour)"),
    "size": (rows(), "?size=big", "size=big, expected a positive whole number"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_parquet_is_one_clear_sentence(tmp_path, name):
    table, query, sentence = BAD[name]
    with pytest.raises(DataError, match=re.escape(sentence)) as caught:
        split_of(tmp_path, table, query)
    assert "a.parquet" in str(caught.value)


def test_the_first_bad_row_is_reported(tmp_path):
    images = [encode(PIXELS[0])] * 700
    images[650], images[300] = b"second", b"first"
    table = pl.DataFrame({"img": images, "label": [0] * 700})
    with pytest.raises(DataError, match="row 300: not an image"):
        split_of(tmp_path, table)


def test_files_that_are_not_parquet(tmp_path):
    rows().write_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    for content, sentence in (
        (b"<!doctype html>", "a web page"),
        (b"", "the file is empty"),
        (b"hello world", "cannot be read as Parquet"),
        (whole[: len(whole) // 2], "cannot be read as Parquet"),
    ):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(DataError, match=sentence):
            load_split("parquet:a.parquet", root=tmp_path)


def test_channels_and_size_options(tmp_path):
    table = rows([PIXELS[0, ..., 0], *PIXELS[1:]])
    assert split_of(tmp_path, table, "?channels=3").shape == (3, H, W)
    assert split_of(tmp_path, table, "?channels=1").shape == (1, H, W)
    resized = split_of(tmp_path, rows(), "?size=3")
    assert resized.shape == (3, 3, 3)
    # A constant image stays constant, and the middle of the longer side is what remains.
    striped = np.zeros((4, 12), np.uint8)
    striped[:, 4:8] = 200
    cropped = split_of(tmp_path, rows([striped] * N), "?size=4")
    assert cropped.pixels.unique().tolist() == [200]


def fill(folder, classes=("ant", "bee"), count=3, size=(H, W)):
    from PIL import Image

    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.full(size, 10 * label + i, np.uint8)).save(folder / name / f"{i}.png")


def test_folder_with_train_and_test(tmp_path):
    fill(tmp_path / "train", count=4)
    fill(tmp_path / "test", count=2)
    (tmp_path / "train" / ".hidden").mkdir()
    (tmp_path / "train" / "ant" / ".DS_Store").write_bytes(b"x")
    data = load(f"folder:{tmp_path}")
    assert data.train.classes == ("ant", "bee")
    assert data.train.pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 10, 11, 12, 13]
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    (tmp_path / "test").rename(tmp_path / "val")
    assert load(f"folder:{tmp_path}").test.digest == data.test.digest


def test_folder_of_classes_is_split(tmp_path):
    fill(tmp_path, count=12)
    data = load("folder:.", tmp_path)
    assert (len(data.train), len(data.test)) == (20, 4)
    assert load_split("folder:.?size=2", root=tmp_path).shape == (1, 2, 2)


def test_bad_folders(tmp_path):
    def refused(sentence, reference="folder:."):
        with pytest.raises(DataError, match=re.escape(sentence)):
            load(reference, tmp_path)

    refused("no class folders")
    (tmp_path / "ant").mkdir()
    refused("1 empty folder,")
    fill(tmp_path / "set")
    (tmp_path / "set" / "cat").mkdir()
    refused("the class folder 'cat' is empty", "folder:set")
    (tmp_path / "set" / "cat" / "notes.txt").write_text("not an image")
    refused("notes.txt: not an image, expected a JPEG or PNG", "folder:set")
    (tmp_path / "set" / "cat" / "notes.txt").unlink()
    (tmp_path / "set" / "cat" / "inner").mkdir()
    refused("inner: a folder inside a class folder", "folder:set")
    (tmp_path / "set" / "cat" / "inner").rmdir()
    (tmp_path / "set" / "cat" / "wide.png").write_bytes(encode(PIXELS[0, :3, :, 0]))
    refused("wide.png: 7x3 pixels, expected 7x5 as", "folder:set")
    (tmp_path / "file").write_text("x")
    refused("a file, expected a folder", "folder:file")
    fill(tmp_path / "two" / "train")
    fill(tmp_path / "two" / "test", ("ant", "cow"))
    refused("only it has the class folder 'bee'", "folder:two")


@needs("cifar10-test.parquet")
def test_published_parquet_decodes_as_pil_does():
    from PIL import Image

    path = ROOT / "cifar10-test.parquet"
    found = load_split(f"parquet:{path}")
    assert found.pixels.shape == (10000, 3, 32, 32)
    assert found.class_counts.tolist() == [1000] * 10
    assert found.classes[9] == "truck"
    images = pl.read_parquet(path, columns=["img"])["img"]
    for row in (0, 4999, 9999):
        slow = np.asarray(Image.open(io.BytesIO(images[row]["bytes"])))
        assert torch.equal(found.pixels[row], torch.from_numpy(slow.copy()).permute(2, 0, 1))
    assert load_split("cifar10", root=ROOT).labels.tolist() == found.labels.tolist()


def test_a_damaged_png_is_told_though_it_has_no_exif(tmp_path):
    """PIL looks for EXIF behind the pixels, so that asking for it loads them."""
    folder = tmp_path / "set" / "a"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(3):
        (folder / f"{number}.png").write_bytes(encode(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)))
    whole = (folder / "1.png").read_bytes()
    at = whole.index(b"IDAT") + 40
    (folder / "1.png").write_bytes(whole[:at] + bytes(8) + whole[at + 8 :])
    with pytest.raises(DataError, match=r"1\.png: a damaged image"):
        load_split("folder:set", root=tmp_path)
