"""Folders of images as people have them: split names, Tiny-ImageNet, what systems leave, EXIF as torchvision has it."""

import io
import re

import numpy as np
import pytest
import torch

from tangency.data import load, load_split
from tangency.errors import DataError
from tangency.seeding import permutation

H, W = 5, 7


def save(path, value, orientation=None, size=(H, W)):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x112] = orientation
    image = Image.fromarray(np.full((*size, 3), value, np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if path.suffix == ".png" else "JPEG", exif=exif)
    path.write_bytes(buffer.getvalue())


def fill(folder, classes=("ant", "bee"), count=3, start=0):
    for label, name in enumerate(classes):
        for i in range(count):
            save(folder / name / f"{i}.png", start + 10 * label + i)


@pytest.mark.parametrize("train", ["train", "Training"])
@pytest.mark.parametrize("test", ["test", "testing", "val", "valid", "Validation", "TEST"])
def test_names_of_splits(tmp_path, train, test):
    fill(tmp_path / train, count=4)
    fill(tmp_path / test, count=2, start=100)
    data = load(f"folder:{tmp_path}")
    assert (data.train.classes, len(data.train), len(data.test)) == (("ant", "bee"), 8, 4)
    assert data.test.pixels[:, 0, 0, 0].tolist() == [100, 101, 110, 111]


def test_test_goes_before_validation_and_an_unlabelled_one_is_passed_over(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "val", start=100)
    fill(tmp_path / "test", start=200)
    data = load(f"folder:{tmp_path}")
    assert data.test.pixels.min() == 200
    assert "test images are those of 'test'; not used: val" in data.notes
    for path in (tmp_path / "test").rglob("*.png"):
        path.rename(tmp_path / "test" / f"{path.parent.name}{path.name}")
    for name in ("ant", "bee"):
        (tmp_path / "test" / name).rmdir()
    data = load(f"folder:{tmp_path}")
    assert data.test.pixels.min() == 100
    assert "test images are those of 'val'; not used: test" in data.notes


def test_train_alone_is_split_and_said(tmp_path):
    fill(tmp_path / "train", count=6)
    (tmp_path / "notes.txt").write_text("about these images")
    data = load(f"folder:{tmp_path}")
    assert (len(data.train), len(data.test)) == (10, 2)
    assert "5:1" in data.name
    assert any("only 'train' holds labelled images" in note for note in data.notes)
    save(tmp_path / "test" / "0.png", 9)
    data = load(f"folder:{tmp_path}")
    assert any("as test has no class folders: they are split five to one" in note for note in data.notes)


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, ("plane", "train"), count=6)
    assert load_split(f"folder:{tmp_path}").classes == ("plane", "train")


def test_what_systems_leave_is_skipped_and_said(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test")
    clean = load(f"folder:{tmp_path}")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.png"):
        (tmp_path / "train" / "ant" / name).write_bytes(b"\0\1")
    (tmp_path / "train" / "__MACOSX" / "ant").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "train").mkdir(parents=True)
    data = load(f"folder:{tmp_path}")
    assert (data.train.digest, data.test.digest) == (clean.train.digest, clean.test.digest)
    assert clean.notes == ()
    (note,) = data.notes
    assert "5 files or folders that systems leave were skipped (.DS_Store, ._0.png, Thumbs.db and 2 more)" in note


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_exif_orientation_is_left_alone_as_in_torchvision(tmp_path, form):
    from torchvision.datasets import ImageFolder

    for i in range(8):
        save(tmp_path / "ant" / f"{i}.{form}", 10 * i, i + 1)
        save(tmp_path / "bee" / f"{i}.{form}", 9 * i)
    found, own = load_split(f"folder:{tmp_path}"), ImageFolder(str(tmp_path))
    assert found.classes == tuple(own.classes)
    for pixels, label, (image, target) in zip(found.pixels, found.labels, own, strict=True):
        np.testing.assert_array_equal(pixels.numpy(), np.asarray(image).transpose(2, 0, 1))
        assert int(label) == target
    (note,) = found.notes
    assert "7 of 16 images carry an EXIF orientation, which is not applied" in note


WNIDS = ("n02124075", "n01443537", "n04067472")


@pytest.fixture
def tiny(tmp_path):
    """Tiny-ImageNet as distributed, with three classes."""
    folder = tmp_path / "tiny-imagenet-200"
    boxes = "{0}_{1}.JPEG\t0\t0\t62\t62\n"
    for label, wnid in enumerate(WNIDS):
        for i in range(4):
            save(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 40 * label + i, size=(64, 64))
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("".join(boxes.format(wnid, i) for i in range(4)))
    lines = []
    for i in range(6):
        save(folder / "val" / "images" / f"val_{i}.JPEG", 40 * (i % 3), size=(64, 64))
        lines.append(f"val_{i}.JPEG\t{WNIDS[i % 3]}\t0\t32\t44\t62\n")
        save(folder / "test" / "images" / f"test_{i}.JPEG", 7, size=(64, 64))
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join(WNIDS))
    (folder / "words.txt").write_text("n02124075\tEgyptian cat\nn01443537\tgoldfish, Carassius auratus\n")
    return folder


def test_tiny_imagenet_as_distributed(tiny):
    data = load(f"folder:{tiny}")
    assert data.train.classes == data.test.classes == tuple(sorted(WNIDS))
    assert (len(data.train), len(data.test), data.test.shape) == (12, 6, (3, 64, 64))
    place = sorted(WNIDS)
    assert data.test.labels.tolist() == [place.index(WNIDS[i % 3]) for i in range(6)]
    close = (data.test.pixels[:, 0, 32, 32].int() - torch.tensor([40 * (i % 3) for i in range(6)])).abs()
    assert int(close.max()) <= 1  # JPEG
    assert any("not in that of wnids.txt" in note for note in data.notes)
    assert any("'val'; not used: test" in note for note in data.notes)


def test_tiny_imagenet_with_its_validation_images_in_class_folders(tiny):
    expected = load(f"folder:{tiny}").test
    for i in range(6):
        path = tiny / "val" / "images" / f"val_{i}.JPEG"
        (tiny / "val" / WNIDS[i % 3] / "images").mkdir(parents=True, exist_ok=True)
        path.rename(tiny / "val" / WNIDS[i % 3] / "images" / path.name)
    (tiny / "val" / "images").rmdir()
    found = load(f"folder:{tiny}").test
    assert found.class_counts.tolist() == expected.class_counts.tolist()
    assert found.classes == expected.classes


def test_damaged_tiny_imagenet(tiny):
    annotations = (tiny / "val" / "val_annotations.txt").read_text()

    def refused(sentence, text):
        (tiny / "val" / "val_annotations.txt").write_text(text)
        with pytest.raises(DataError, match=re.escape(sentence)):
            load(f"folder:{tiny}")

    refused("does not name its class", annotations.partition("\n")[2])
    refused("names 'val_9.JPEG', which is not in", annotations + f"val_9.JPEG\t{WNIDS[0]}\t0\t0\t1\t1\n")
    refused("is of class 'n99999999', which has no folder", annotations.replace(WNIDS[0], "n99999999"))


def test_test_images_in_a_folder_apart(tmp_path):
    fill(tmp_path / "one", count=4)
    fill(tmp_path / "other", ("bee",), count=2, start=100)
    data = load(f"folder:{tmp_path}/one?test={tmp_path}/other")
    assert data.test.labels.tolist() == [1, 1]
    assert data.train.classes == data.test.classes == ("ant", "bee")
    with pytest.raises(DataError, match="absent, expected a folder"):
        load(f"folder:{tmp_path}/one?test={tmp_path}/none")


def test_limits_decode_the_chosen_files_only(tmp_path):
    fill(tmp_path / "train", count=8)
    fill(tmp_path / "test", count=6, start=100)
    whole = load(f"folder:{tmp_path}")
    few = load(f"folder:{tmp_path}?train=5&test=3")
    for part, count in (("train", 5), ("test", 3)):
        own, all_of_it = getattr(few, part), getattr(whole, part)
        kind = "training" if part == "train" else "test"
        order = permutation(len(all_of_it), 0, f"{kind} images")[:count]
        assert torch.equal(own.pixels, all_of_it.pixels[order])
        assert torch.equal(own.labels, all_of_it.labels[order])
    chosen = permutation(16, 0, "training images")[:5].tolist()
    unread = next(i for i in range(1, 16) if i not in chosen)
    (tmp_path / "train" / ("ant", "bee")[unread // 8] / f"{unread % 8}.png").write_bytes(b"no image")
    assert torch.equal(load(f"folder:{tmp_path}?train=5").train.pixels, few.train.pixels)
    with pytest.raises(DataError, match="there are 12 test images"):
        load(f"folder:{tmp_path}?train=5&test=13")


def test_limits_of_a_folder_without_splits_decode_the_chosen_files_only(tmp_path):
    fill(tmp_path, count=12)
    whole = load(f"folder:{tmp_path}")
    few = load(f"folder:{tmp_path}?train=5&test=3")
    assert few.name.endswith("?train=5&test=3 [split 5:1]")
    for part, count in (("train", 5), ("test", 3)):
        own, all_of_it = getattr(few, part), getattr(whole, part)
        kind = "training" if part == "train" else "test"
        order = permutation(len(all_of_it), 0, f"{kind} images")[:count]
        assert torch.equal(own.pixels, all_of_it.pixels[order])
        assert torch.equal(own.labels, all_of_it.labels[order])
        assert own.name.startswith(f"{few.train.name.partition(' [')[0]} [{part}: ")
    values = {*few.train.pixels[:, 0, 0, 0].tolist(), *few.test.pixels[:, 0, 0, 0].tolist()}
    unread = next(i for i in range(1, 12) if i not in values)  # the first file says what all must be like
    (tmp_path / "ant" / f"{unread}.png").write_bytes(b"no image")
    again = load(f"folder:{tmp_path}?train=5&test=3")
    assert (again.train.digest, again.test.digest) == (few.train.digest, few.test.digest)
    with pytest.raises(DataError, match=r"ant/\d+\.png: not an image"):
        load(f"folder:{tmp_path}")
    with pytest.raises(DataError, match="test=13, there are 4 test images"):
        load(f"folder:{tmp_path}?train=5&test=13")
    (tmp_path / "cat").mkdir()
    save(tmp_path / "cat" / "0.png", 200)
    with pytest.raises(DataError, match="class 'cat' has 1 images, expected at least 2 to split"):
        load(f"folder:{tmp_path}?train=5&test=3")
    with pytest.raises(DataError, match="train=five, expected a positive whole number"):
        load(f"folder:{tmp_path}?train=five")
