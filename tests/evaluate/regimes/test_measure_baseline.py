"""`tangency measure --baseline`: what stands in the way of a regime is said, and nothing breaks on it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from study_support import write_data
from tangency.evaluate import MeasureRequest, measure, measure_models
from tangency.evaluate.regimes import chosen
from tangency.evaluate.regimes.chosen import ChosenFilters, FilterSetting, chosen_filters
from tangency.measures import WorkingSize
from tangency.models import build, save_classifier
from tangency.score import ScoreCard, build_network, save_score
from tangency.types import LabelledImages
from tangency.worlds import load_dataset, make_world

QUICK = {"sigmas": (0.5,), "epsilons": (), "rho_sigmas": (), "metrics": ("cosine",), "limit": 20}
TINY = "linear?rank=3&classes=2&shape=1x8x8"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks of one architecture, one of another, and a trained score without classes."""
    folder = tmp_path_factory.mktemp("baseline")
    data = load_dataset(f"npz:{write_data(folder)}")
    for name, options in (("net", {}), ("base", {"seed": 1}), ("other", {"channels": [4, 4, 4]})):
        save_classifier(
            build("convnet", data.train.shape, data.train.classes, **options), folder / f"{name}.safetensors"
        )
    card = ScoreCard("unet", "edm", data.train.shape, {"channels": 1, "classes": 0, "size": "tiny"})
    save_score(build_network(card), folder / "score.safetensors")
    return folder


def measured(place: Path, *models: str, baseline: str = "base", **more: Any) -> list[dict[str, Any]]:
    named = tuple(str(place / f"{name}.safetensors") for name in models)
    base = str(place / f"{baseline}.safetensors")
    request = MeasureRequest(named, f"npz:{place / 'tiny.npz'}", baseline=base, **(QUICK | more))
    return [one.to_json() for one in measure_models(request)]


@pytest.mark.parametrize("score", ["none", "network"])
def test_without_a_bayes_direction_the_regime_says_so(place: Path, score: str) -> None:
    reference = f"network:{place / 'score.safetensors'}" if score == "network" else score
    (own,) = measured(place, "net", score=reference)
    regime = own["regime"]
    assert regime["regime"] in ("collapsed", "undetermined")
    assert regime["filters"]["names"] == {}
    assert "No Bayes direction is measured" in regime["warnings"][-1]
    assert regime["verdict"]["missing"][0] == "L under any Bayes direction"


def test_models_share_the_filters_of_their_baseline(place: Path, tmp_path: Path) -> None:
    parts: list[str] = []
    named = tuple(str(place / f"{name}.safetensors") for name in ("net", "other"))
    request = MeasureRequest(
        named, f"npz:{place / 'tiny.npz'}", baseline=str(place / "base.safetensors"), out=tmp_path / "m", **QUICK
    )
    one, two = (each.to_json() for each in measure_models(request, lambda part, share: parts.append(part)))
    assert one["regime"]["filters"] == two["regime"]["filters"]
    assert set(one["regime"]["filters"]["names"]) == {"bayes_gradient"}
    assert len(list((tmp_path / "m" / "shards").glob("filters-*.json"))) == 1
    assert "another architecture" in two["warnings"][-1]
    assert any(part.startswith("filters before the baseline, ") for part in parts)
    alone = measured(place, "net")[0]["regime"]
    assert alone["verdict"] == one["regime"]["verdict"]


def test_a_working_size_is_that_of_the_directions(place: Path) -> None:
    (own,) = measured(place, "net", working_size=(4, 4))
    assert own["regime"]["verdict"]["aligned"]["bayes_gradient"]["over_filter"] is not None


def test_in_a_world_the_exact_direction_is_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset(f"world:{TINY}&train=100&test=40")
    save_classifier(build("convnet", data.train.shape, data.train.classes), tmp_path / "net.safetensors")
    taken: list[bool] = []
    against = measure.regime_against
    monkeypatch.setattr(measure, "regime_against", lambda *given: taken.append(given[-1]) or against(*given))
    for score in ("exact", "mfa?components=1&rank=3"):
        named = str(tmp_path / "net.safetensors")
        measure_models(MeasureRequest(named, f"world:{TINY}&train=100&test=40", score=score, baseline=named, **QUICK))
    assert taken == [True, False]


def test_filters_of_large_images_and_of_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(TINY)
    drawn = world.sample(150, seed=0)
    train = LabelledImages(drawn.x.float(), drawn.y, ("a", "b"), unit_range=False)
    net, whole = build("convnet", train.shape, train.classes), WorkingSize(train.shape, train.shape[1:])

    def choose(images: LabelledImages) -> ChosenFilters:
        setting = FilterSetting(images, {"bayes_gradient": world}, 0.2, whole, "cpu")
        return chosen_filters(net, setting, tmp_path, "net", None)

    assert (choose(train).images, choose(train).note) == (150, "")
    monkeypatch.setattr(chosen, "LARGE", 16)
    large = choose(train)
    assert large.images == 100
    assert "chosen on 100 training images only" in large.note
    assert choose(train) == large  # as it was kept
    single = choose(train.subset(slice(0, 1)))
    assert (single.names, "fewer than 2 training images" in single.note) == ({}, True)
    two = choose(train.subset(torch.tensor([int(drawn.y.argmin()), int(drawn.y.argmax())])))
    assert two.images == 2
    assert all(value >= 0 and not math.isnan(value) for value in two.slack.values())
    assert choose(train.subset(torch.tensor([int(drawn.y.argmin()), int(drawn.y.argmax())]))) == two
