"""The letter A beside real images, with masks that say where the image is."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tangency.types import LabelledImages
from tangency.worlds import letter, load_dataset, with_distractor
from worlds.world_averages import none_far


def pictures(n: int, channels: int, dtype: torch.dtype) -> LabelledImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, channels, 7, 5), generator=generator, dtype=torch.uint8)
    chosen = pixels if dtype == torch.uint8 else pixels.to(dtype) / 255
    return LabelledImages(chosen, torch.arange(n) % 3, ("a", "b", "c"), "pictures", "digest")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_real_images_are_beside_the_letter(channels: int, dtype: torch.dtype) -> None:
    data = pictures(400, channels, dtype)
    joined = with_distractor(data, 5)
    assert joined.pixels.dtype == dtype
    assert joined.pixels.shape == (400, channels, 14, 5)
    assert joined.signal.sum((1, 2)).tolist() == [35] * 400
    chosen = joined.signal[:, None].expand_as(joined.pixels)
    assert torch.equal(joined.pixels[chosen].reshape(data.pixels.shape), data.pixels)
    marks = joined.pixels[~chosen].reshape(400, channels, 7, 5)
    assert torch.equal(marks, marks[:1, :1].expand_as(marks))
    scale = 255 if dtype == torch.uint8 else 1
    assert float((marks[0, 0] / scale - letter(7, 5)).abs().max()) <= 0.5 / 255
    assert torch.equal(joined.signal, joined.signal[:, :, :1].expand(-1, -1, 5))
    none_far("upper half", joined.signal[:, 0, :1].double() - 0.5)
    assert torch.equal(joined.labels, data.labels)


def test_halves_depend_on_seed_and_index_only() -> None:
    data = pictures(60, 1, torch.uint8)
    whole, again, other = with_distractor(data, 1), with_distractor(data, 1), with_distractor(data, 2)
    assert torch.equal(whole.pixels, again.pixels)
    assert whole.digest == again.digest != other.digest
    assert not torch.equal(whole.signal, other.signal)
    first = with_distractor(data.subset(slice(0, 10)), 1)
    assert torch.equal(first.pixels, whole.pixels[:10])
    assert with_distractor(dataclasses.replace(data, digest="other"), 1).digest != whole.digest


def test_letter_is_an_a() -> None:
    drawn_letter = letter(28, 28)
    assert drawn_letter.dtype == torch.float32
    assert 0 <= float(drawn_letter.min()) < 1e-6 < 0.99 < float(drawn_letter.max()) <= 1
    torch.testing.assert_close(drawn_letter, drawn_letter.flip(1), rtol=0, atol=1e-5)
    ends, bar = drawn_letter[22] > 0.5, drawn_letter[17] > 0.5
    assert not bool(ends[14])
    assert bool(bar[14])
    assert drawn_letter.sum() < 28 * 28 / 2


def test_embedded_images_with_the_letter() -> None:
    data = load_dataset("distractor:fashion-mnist-5k")
    assert data.train.shape == (1, 56, 28)
    assert data.train.pixels.dtype == torch.uint8
    assert data.train.signal.shape == (5000, 56, 28)
    assert data.name.startswith("distractor:")
    assert data.train.digest != data.test.digest
    assert data.train.images(slice(0, 2)).max() <= 1
