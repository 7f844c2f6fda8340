"""What ships beside the code: weights, vendored script, licences, citation, changelog."""

import importlib.util
import json
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from data.full_data import ROOT as DATA
from data.full_data import needs
from tangency.errors import DataError

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tangency"
WEIGHTS = PACKAGE / "perceptual" / "weights"
FEATURES = DATA / "lpips" / "alexnet_features.safetensors"
CHANNELS = (64, 192, 384, 256, 256)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("convert_lpips", ROOT / "scripts" / "convert_lpips.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def linear_layers():
    """The file inside the package `lpips`, found without importing it."""
    spec = importlib.util.find_spec("lpips")
    return Path(spec.submodule_search_locations[0]) / "weights" / "v0.1" / "alex.pth" if spec else None


def test_lpips_weights_are_small_half_precision_and_say_what_they_are():
    path = WEIGHTS / "lpips_alex.safetensors"
    assert path.stat().st_size < 5_100_000
    with safe_open(path, "pt") as weights:
        card = json.loads(weights.metadata()["card"])
        tensors = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
    assert card["version"] == "0.1"
    assert (card["features"]["licence"], card["linear"]["licence"]) == ("BSD-3-Clause", "BSD-2-Clause")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.float16"}
    assert [tuple(tensors[f"linear.{i}"].shape) for i in range(5)] == [(c,) for c in CHANNELS]
    assert [len(tensors[f"features.{i}.bias"]) for i in (0, 3, 6, 8, 10)] == list(CHANNELS)
    assert all(bool((tensors[f"linear.{i}"] >= 0).all()) for i in range(5))


@needs("lpips/alexnet_features.safetensors")
@pytest.mark.skipif(linear_layers() is None, reason="the package lpips is not installed")
def test_converting_again_gives_the_same_bytes(script, tmp_path, monkeypatch):
    again = tmp_path / "again.safetensors"
    monkeypatch.setattr("sys.argv", ["convert_lpips", str(FEATURES), str(linear_layers()), str(again)])
    script.main()
    assert again.read_bytes() == (WEIGHTS / "lpips_alex.safetensors").read_bytes()


def test_conversion_refuses_other_features(script):
    with pytest.raises(DataError, match=r"lpips_alex\.safetensors: keys .* expected"):
        script.features(WEIGHTS / "lpips_alex.safetensors")


@pytest.mark.parametrize(
    ("path", "phrases"),
    [
        (WEIGHTS / "NOTICE", ["Soumith Chintala", "Neither the name", "Richard Zhang", "version 0.1"]),
        (PACKAGE / "data" / "embedded" / "NOTICE", ["Zalando SE", "Permission is hereby granted"]),
        (PACKAGE / "report" / "page" / "bundle" / "NOTICE-explorer.txt", ["@observablehq/plot 0.6", "d3-array", "ISC"]),
        (ROOT / "LICENSE", ["MIT License", "The tangency authors", "WITHOUT WARRANTY"]),
        (ROOT / "CHANGELOG.md", ["Keep a Changelog", "## [Unreleased]"]),
    ],
)
def test_notices_hold_the_licence_texts(path, phrases):
    text = path.read_text()
    assert [phrase for phrase in phrases if phrase not in text] == []


def test_citation_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["license"] == "MIT"
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Srinivas", "Bordt", "Lakkaraju"]
    assert paper["identifiers"][0]["value"] == "arXiv:2305.19101"
    assert paper["year"] == 2023
