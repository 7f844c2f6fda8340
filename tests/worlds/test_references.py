"""Worlds and data sets by reference."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tangency.data import load
from tangency.data.build import digest
from tangency.errors import DataError, SpecError
from tangency.worlds import WORLDS, World, drawn, load_dataset, make_world, world_of
from tangency.worlds.registry import describe_worlds

SMALL = "world:linear?rank=3&classes=2&shape=1x4x5&train=30&test=12"


@pytest.mark.parametrize("name", [name for name in WORLDS if name != "fitted"])
def test_every_world_has_defaults(name: str) -> None:
    world = make_world(name)
    assert isinstance(world, World)
    assert world.name == name
    assert world.kind == "exact"
    assert len(world.class_names) == world.classes >= 2
    assert world.sample(2, 0).x.shape == (2, *world.shape)
    assert 1 <= world.intrinsic_dimension < world.dimension
    assert make_world(f"world:{name}").name == name


def test_options_reach_the_world() -> None:
    world = make_world(
        "torus?shape=3x4x5&rank=4&classes=5&components=3&concentration=7&noise=0.002&contrast=0.2&seed=9"
    )
    assert world.shape == (3, 4, 5)
    assert (world.classes, world.intrinsic_dimension, world.dimension) == (5, 4, 60)
    assert world.core.kappa.unique().tolist() == [7.0]
    assert world.core.means.shape == (15, 4, 2)
    assert world.embedding.noise == 0.002
    assert world.embedding.scale == pytest.approx(0.2 * (60 / 4) ** 0.5)
    assert (
        world.name == "torus?shape=3x4x5&rank=4&classes=5&components=3&concentration=7&noise=0.002&contrast=0.2&seed=9"
    )


def test_seeds_and_embeddings_make_other_worlds() -> None:
    first, again = make_world("sphere?seed=1"), make_world("sphere?seed=1")
    other, spread = make_world("sphere?seed=2"), make_world("sphere?seed=1&embedding=orthogonal")
    assert torch.equal(first.embedding.basis, again.embedding.basis)
    assert torch.equal(first.core.means, again.core.means)
    assert not torch.equal(first.embedding.basis, other.embedding.basis)
    assert not torch.equal(first.core.means, other.core.means)
    assert torch.equal(first.core.means, spread.core.means)
    for world in (first, spread):
        eye = torch.eye(8, dtype=torch.float64)
        torch.testing.assert_close(world.embedding.basis.T @ world.embedding.basis, eye)

    def roughness(world: World) -> float:
        patterns = world.embedding.basis.T.reshape(8, 16, 16)
        return float((patterns[:, 1:] - patterns[:, :-1]).square().sum())

    assert roughness(first) < 0.3 * roughness(spread)


def test_a_world_of_another_device_is_the_same(device: str) -> None:
    for name in ("linear", "torus?noise=0.01", "distractor"):
        world = make_world(name)
        found = world.sample(3, 0)
        moved = world.to(device)
        assert moved.name == world.name
        on_device = moved.score(found.x.to(device), 0.1, found.y.to(device)).cpu()
        torch.testing.assert_close(on_device, world.score(found.x, 0.1, found.y))


def test_drawn_data_set() -> None:
    data = load_dataset(SMALL)
    world = make_world(SMALL)
    assert (len(data.train), len(data.test), data.name) == (30, 12, SMALL)
    assert data.train.pixels.dtype == torch.float32
    assert not data.train.unit_range
    assert data.train.classes == world.class_names == ("class 0", "class 1")
    whole = world.sample(42, 0)
    assert torch.equal(data.train.pixels, whole.x[:30].float())
    assert torch.equal(data.test.pixels, whole.x[30:].float())
    assert torch.equal(torch.cat([data.train.labels, data.test.labels]), whole.y)
    assert data.train.name.endswith("train")
    assert data.test.name.endswith("test")


def test_draws_are_other_images_of_the_same_world() -> None:
    first, second = load_dataset(SMALL), load_dataset(SMALL + "&draw=1")
    assert not torch.equal(first.train.pixels, second.train.pixels)
    assert torch.equal(make_world(SMALL).embedding.basis, make_world(SMALL + "&draw=1").embedding.basis)
    more = load_dataset(SMALL.replace("train=30", "train=40"))
    assert torch.equal(more.train.pixels[:30], first.train.pixels)
    assert torch.equal(more.train.pixels[30:], first.test.pixels[:10])
    images = torch.cat([first.train.pixels, first.test.pixels, second.train.pixels, second.test.pixels]).flatten(1)
    assert len(images.unique(dim=0)) == 84


def test_digests_name_the_images() -> None:
    data, again, other = load_dataset(SMALL), load_dataset(SMALL), load_dataset(SMALL + "&draw=1")
    assert data.train.digest == again.train.digest
    assert len({data.train.digest, data.test.digest, other.train.digest, other.test.digest}) == 4
    assert drawn(make_world(SMALL), 30).digest == data.train.digest
    assert len(data.train.digest) == 64


@pytest.mark.parametrize(
    "same",
    [
        "world:linear?shape=1x4x5&classes=2&rank=3&test=12&train=30",
        SMALL + "&seed=0&noise=0.0001&embedding=smooth",
        SMALL.replace("rank=3", "rank=03"),
    ],
)
def test_the_same_law_has_the_same_digest_however_it_is_spelled(same: str) -> None:
    data, again = load_dataset(SMALL), load_dataset(same)
    assert data.train.digest == again.train.digest
    assert data.test.digest == again.test.digest
    assert torch.equal(data.train.pixels, again.train.pixels)


@pytest.mark.parametrize(
    "other", ["&seed=1", "&noise=0.0002", "&separation=0.9", "&embedding=orthogonal", "&contrast=0.2", "&components=1"]
)
def test_another_law_has_another_digest(other: str) -> None:
    assert load_dataset(SMALL).train.digest != load_dataset(SMALL + other).train.digest


def test_worlds_made_by_hand_are_known_by_their_pixels() -> None:
    world = dataclasses.replace(make_world(SMALL), name="by hand")  # a replaced world has no identity
    images = drawn(world, 30)
    assert images.digest == digest(images.pixels, images.labels, images.classes)
    assert images.digest != drawn(make_world(SMALL), 30).digest
    assert images.name == f"world:{world.name}"


def test_every_world_is_described() -> None:
    described = {entry.name: entry for entry in describe_worlds()}
    assert list(described) == list(WORLDS)
    assert described["linear"].options["shape"] == "1x16x16"
    assert described["sphere"].options["concentration"] == 4.0
    assert described["linear"].undefined == {}
    assert "posterior, Bayes direction" in described["rotated"].undefined
    assert list(described["torus"].undefined) == ["density, score, denoiser"]
    assert all(entry.title.startswith("W") for entry in described.values())


def test_default_sizes() -> None:
    data = load_dataset("world:offset?shape=1x4x4&rank=2&classes=2")
    assert (len(data.train), len(data.test)) == (5000, 1000)


def test_real_references_are_passed_on() -> None:
    assert load_dataset("fashion-mnist-5k").train.digest == load("fashion-mnist-5k").train.digest
    assert world_of("fashion-mnist-5k") is None
    assert world_of("distractor:fashion-mnist-5k") is None
    assert world_of(SMALL).dimension == 20


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("lineal", ["unknown world 'lineal'", "Did you mean 'linear'", "Known"]),
        ("world:", ["unknown world ''"]),
        ("linear?ranks=3", ["unknown option of world linear 'ranks'", "Did you mean 'rank'"]),
        ("sphere?separation=1", ["unknown option", "separation"]),
        ("linear?rank=three", ["rank=three", "a whole number", "rank=8"]),
        ("linear?rank=3.5", ["rank=3.5", "a whole number"]),
        ("linear?noise=much", ["noise=much", "a number", "noise=0.0001"]),
        ("linear?shape=8x8", ["shape=8x8", "CxHxW", "shape=1x16x16"]),
        ("linear?shape=1x0x8", ["shape=1x0x8", "CxHxW"]),
        ("linear?shape=1xax8", ["shape=1xax8", "CxHxW"]),
        ("linear?rank=", ["rank=", "a whole number"]),
    ],
)
def test_bad_references_are_explained(reference: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        make_world(reference)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "error", "words"),
    [
        ("world:linear?rank=2&rank=3", DataError, ["twice"]),
        ("world:linear?rank", DataError, ["?key=value"]),
        (SMALL.replace("train=30", "train=0"), DataError, ["train=0", "at least 1"]),
        (SMALL.replace("test=12", "test=-1"), DataError, ["test=-1", "at least 1"]),
        (SMALL.replace("test=12", "test=many"), SpecError, ["test=many", "a whole number"]),
        (SMALL + "&draw=x", SpecError, ["draw=x", "a whole number"]),
        (SMALL + "&trains=3", SpecError, ["trains", "Did you mean 'train'"]),
        ("world:nowhere", SpecError, ["unknown world 'nowhere'"]),
        ("distractor:nothing", DataError, ["unknown data set 'nothing'"]),
        ("distractor:", DataError, ["unknown data set ''"]),
        ("nothing", DataError, ["unknown data set 'nothing'"]),
    ],
)
def test_bad_data_references_are_explained(reference: str, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        load_dataset(reference)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.slow
def test_many_images_are_drawn_when_asked_for_and_equal_those_that_are_held() -> None:
    few = load_dataset("world:sphere?shape=1x8x8&train=10&test=300")
    many = load_dataset("world:sphere?shape=1x8x8&train=10&test=200000")
    assert few.test.drawn is None
    assert many.test.pixels.shape == (0, 1, 8, 8)
    assert (len(many.test), many.test.shape) == (200_000, (1, 8, 8))
    assert torch.equal(many.test.labels[:300], few.test.labels)
    ids = torch.tensor([7, 299, 0])
    assert torch.equal(many.test.images(ids), few.test.images(ids))
    assert torch.equal(many.test.images(slice(5, 9)), few.test.images(slice(5, 9)))
    assert many.test.digest != few.test.digest
    part = many.test.subset(torch.arange(300))
    assert torch.equal(part.pixels, few.test.pixels)
    assert part.drawn is None
