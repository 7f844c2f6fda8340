"""Scores by reference, and what a reference cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tangency.data import load
from tangency.errors import ModelError, SpecError, TangencyError
from tangency.mixtures import fit_mixture, save_mixture
from tangency.score import ScoreCard, build_network, load_score, save_score
from tangency.score.quality import nearest
from tangency.score.references import fingerprint
from tangency.types import Dataset, LabelledImages
from tangency.worlds import load_dataset

WORLD = "world:linear?rank=3&classes=2&shape=1x8x8&train=100&test=20"


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset(WORLD)


def network(path: Path, classes: tuple[str, ...], shape: tuple[int, int, int] = (1, 8, 8)) -> str:
    options = {"channels": shape[0], "classes": len(classes), "size": "tiny"}
    save_score(build_network(ScoreCard("unet", "edm", shape, options, classes=classes)), path)
    return str(path)


@pytest.mark.parametrize("reference", ["mfa", "mfa?components=1&rank=2&seed=3", "gaussian", "empirical", "exact"])
def test_closed_forms(data: Dataset, reference: str) -> None:
    score = load_score(reference, data)
    assert score.kind == reference.partition("?")[0]
    assert (score.shape, score.classes, score.data_range) == ((1, 8, 8), 2, (0.0, 1.0))
    assert score.card["kind"] == score.kind
    assert score.denoise(data.test.images(), 0.1).shape == data.test.images().shape


def test_files_of_networks_and_of_mixtures(data: Dataset, tmp_path: Path) -> None:
    path = network(tmp_path / "net.safetensors", data.train.classes)
    assert load_score(path, data).kind == "net"
    mixture, _ = fit_mixture(data.train, 1, 2)
    save_mixture(mixture, tmp_path / "mixture.safetensors", {"card": {"made": "here"}})
    found = load_score(str(tmp_path / "mixture.safetensors"), data)
    assert (found.kind, found.card["made"]) == ("mfa", "here")


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("mfa?rang=3", SpecError, "did you mean 'rank'|rank"),
        ("mfa?rank=x", SpecError, "whole number"),
        ("gaussian?rank=3", SpecError, "takes no options"),
        ("gausian", SpecError, "gaussian"),
        ("diffusers:nowhere", ModelError, r"no config\.json"),
        ("diffusers:nowhere?sise=32", TangencyError, "size"),
        ("edm:nowhere.pkl", TangencyError, "nowhere"),
        ("nowhere.safetensors", ModelError, "no such file"),
    ],
)
def test_bad_references(data: Dataset, reference: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_score(reference, data)


def test_closed_forms_need_data_and_exact_ones_a_world() -> None:
    with pytest.raises(SpecError, match="--data"):
        load_score("mfa")
    with pytest.raises(SpecError, match="not drawn from a world"):
        load_score("exact", load("fashion-mnist-5k"))


def test_scores_of_other_images_are_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="takes images of"):
        load_score(network(tmp_path / "a.safetensors", data.train.classes, (1, 8, 9)), data)
    with pytest.raises(ModelError, match="knows 3 classes"):
        load_score(network(tmp_path / "b.safetensors", ("a", "b", "c")), data)
    with pytest.raises(ModelError, match="in the same order"):
        load_score(network(tmp_path / "c.safetensors", tuple(reversed(data.train.classes))), data)
    assert load_score(network(tmp_path / "d.safetensors", ("0", "1")), data).classes == 2  # numbers are no names
    assert load_score(network(tmp_path / "e.safetensors", ()), data).classes == 0


def test_a_fingerprint_is_of_the_bytes(data: Dataset, tmp_path: Path) -> None:
    path = network(tmp_path / "net.safetensors", data.train.classes)
    before = fingerprint(path)
    assert before == fingerprint(path)
    assert before != fingerprint(network(tmp_path / "net.safetensors", ("x", "y")))
    with pytest.raises(SpecError, match="closed form"):
        fingerprint("mfa")
    with pytest.raises(ModelError, match="cannot be read"):
        fingerprint("nowhere.safetensors")


def test_the_nearest_image_is_that_of_a_plain_search() -> None:
    generator = torch.Generator().manual_seed(0)
    images = LabelledImages(torch.rand(5000, 1, 3, 3, generator=generator), torch.zeros(5000).long(), ("a",))
    pictures = torch.cat([torch.rand(7, 1, 3, 3, generator=generator), images.pixels[4321:4322]])
    found = nearest(pictures, images)
    distance = torch.cdist(pictures.flatten(1).double(), images.pixels.flatten(1).double())
    torch.testing.assert_close(found.distance, distance.min(1).values)
    assert torch.equal(found.index, distance.argmin(1))
    assert found.distance[7] == 0
