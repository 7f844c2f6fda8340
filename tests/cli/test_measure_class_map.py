"""`tangency measure` with a class map: for whom it is, what is said of it, and of networks that chance plays in."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.test_foreign import images
from study_support import write_data
from tangency.cli.app import app
from tangency.data import load
from tangency.errors import ModelError, SpecError
from tangency.evaluate import measure as driver
from tangency.evaluate.baseline import _doubts
from tangency.evaluate.classifiers.saved import check_fits
from tangency.evaluate.compare import _averaged_alone
from tangency.models import build, load_model, save_classifier
from tangency.models.independence import averaged_note
from tangency.study import load_spec
from tangency.types import Card

QUICK = ("--limit", "10", "--tangents", "pca?rank=3", "--metrics", "cosine", "--sigmas", "0.5", "--rho-sigmas", "none")


def measure(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["measure", *QUICK, "--json", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the digits 0 to 2; one of twelve outputs, three of which are those of the first; a file mapped."""
    folder = tmp_path_factory.mktemp("map")
    data = load(f"npz:{write_data(folder)}")
    save_classifier(build("convnet", (1, 8, 8), data.train.classes, seed=0), folder / "base.safetensors")
    save_classifier(build("convnet", (1, 8, 8), 12, seed=1), folder / "twelve.safetensors")
    mapped = load_model(f"{folder / 'twelve.safetensors'}?class-map=11,3,5", data)
    save_classifier(mapped, folder / "mapped.safetensors")
    return folder


def test_a_map_is_for_the_models_that_need_it_and_never_for_the_baseline(folder: Path) -> None:
    twelve, mapped, base = (str(folder / f"{name}.safetensors") for name in ("twelve", "mapped", "base"))
    shared = ("--data", f"npz:{folder / 'tiny.npz'}", "--epsilons", "2")
    both = measure("--model", twelve, "--model", mapped, "--baseline", base, *shared, "--class-map", "11,3,5")["models"]
    assert [one["model"] for one in both] == [f"{twelve}?class-map=11,3,5", mapped]
    assert both[0]["measures"] == both[1]["measures"]
    assert "the class map '11,3,5' is not applied" in both[1]["reading"][-1]
    turned = measure("--model", base, *shared, "--class-map", "2,0,1")
    assert turned["measures"] == measure("--model", base, *shared)["measures"]
    assert "not applied" in turned["reading"][-1]
    for model, said in ((base, "names output 11, it has 3"), (f"{mapped}?class-map=2,0,1", "leave class-map out")):
        asked = ["measure", *QUICK, "--model", model, *shared, "--class-map", "11,3,5"]
        with pytest.raises(ModelError, match=said):
            CliRunner().invoke(app, asked, catch_exceptions=False)


def test_the_baseline_is_measured_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map of the models is none of the baseline's; one behind its own reference is."""
    asked = []
    found = driver.find_classifier
    monkeypatch.setattr(driver, "find_classifier", lambda name, *rest: asked.append(name) or found(name, *rest))
    twelve, base = str(folder / "twelve.safetensors"), str(folder / "base.safetensors")
    for baseline in (base, f"{base}?class-map=2,0,1"):
        shared = ("--data", f"npz:{folder / 'tiny.npz'}", "--epsilons", "2", "--class-map", "11,3,5")
        told = measure("--model", twelve, "--baseline", baseline, *shared)
        assert told["regime"]["baseline"] == asked.pop() == baseline


def test_random_networks_are_told_of_the_baseline_and_of_one_side() -> None:
    data = images((1, 8, 8), ("a", "b"))
    card = Card("custom", (1, 8, 8), ("a", "b"), provenance={"reading": [averaged_note()], "warnings": ["odd."]})
    assert _doubts(card, data) == ["The baseline: odd.", f"The baseline: {averaged_note()}."]
    assert _doubts(dataclasses.replace(card, provenance={}), data) == []
    told = {"reading": [averaged_note()]}
    assert _averaged_alone(told, told) == _averaged_alone({}, {}) == []
    assert _averaged_alone({}, told)[0].startswith("B: it is random")


def test_data_of_one_class_name_options_that_exist() -> None:
    data = images((1, 8, 8), ("a",))
    card = Card("custom", (1, 8, 8), ("a", "b"))
    for reference, known in (("npz:a.npz", True), ("a.npz?train=3", True), ("folder:a", False), ("", False)):
        with pytest.raises(ModelError, match=r"has one class.*Add images of another class") as caught:
            check_fits(card, data, "model", reference)
        assert ("?classes=a,b,c" in str(caught.value)) == known


def test_a_spec_is_named_by_a_path() -> None:
    for wrong in (3, None, {"name": "x"}):
        with pytest.raises(SpecError, match="expected the path of a YAML file"):
            load_spec(wrong)  # type: ignore[arg-type]
