"""`tangency measure --scalars calibrated_logp_y` on saved classifiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tangency.cli.show.measure import print_measured
from tangency.errors import ModelError, SpecError
from tangency.evaluate import MeasureRequest, measure_models
from tangency.models import build, save_classifier

SCALARS = ("margin", "calibrated_logp_y")
QUICK = {"sigmas": (0.5,), "epsilons": (), "rho_sigmas": (), "metrics": ("cosine",), "score": "gaussian"}
CLASSES = ("0", "1", "2")
TEMPERATURE = 2.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose temperature on the test images is known, one with logits × 10, and one that knows no class."""
    folder = tmp_path_factory.mktemp("calibrated")
    generator = torch.Generator().manual_seed(0)
    pixels = (255 * torch.rand(520, 1, 8, 8, generator=generator)).byte()
    net = build("convnet", (1, 8, 8), CLASSES).eval()
    last = [part for part in net.modules() if isinstance(part, torch.nn.Linear)][-1]
    with torch.no_grad():
        logits = net(pixels.float() / 255)
        factor = 6 / logits.std(0).mean()
        last.weight.mul_(factor)
        last.bias.copy_(factor * (last.bias - logits.mean(0)))
        logits = net(pixels.float() / 255)
    labels = torch.multinomial((logits / TEMPERATURE).softmax(1), 1, generator=generator)[:, 0]
    np.savez(
        folder / "noise.npz",
        train_images=pixels[:120, 0].numpy(),
        train_labels=labels[:120].numpy(),
        test_images=pixels[120:, 0].numpy(),
        test_labels=labels[120:].numpy(),
    )
    save_classifier(net, folder / "net.safetensors")
    with torch.no_grad():
        last.weight.mul_(10)
        last.bias.mul_(10)
    save_classifier(net, folder / "sharp.safetensors")
    save_classifier(build("convnet", (1, 8, 8), CLASSES, seed=5), folder / "untrained.safetensors")
    return folder


def measured(place: Path, *models: str, **more: Any) -> list[dict[str, Any]]:
    named = tuple(str(place / f"{name}.safetensors") for name in models)
    request = MeasureRequest(named, f"npz:{place / 'noise.npz'}", **(QUICK | {"scalars": SCALARS, "limit": 20} | more))
    return [one.to_json() for one in measure_models(request)]


def test_the_temperature_is_reported_and_the_scale_of_logits_changes_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, sharp = measured(place, "net", "sharp")
    temperature = own["temperature"]
    assert temperature["low"] < TEMPERATURE < temperature["high"]
    assert temperature["images"] == 200
    assert sharp["temperature"]["value"] == pytest.approx(10 * temperature["value"], rel=1e-4)
    keys = [key for key in own["measures"] if "calibrated_logp_y" in key]
    assert keys
    for key in keys:
        assert sharp["measures"][key]["mean"] == pytest.approx(own["measures"][key]["mean"], rel=1e-4, abs=1e-6), key
    print_measured([own], everything=True)
    assert f"calibrated_logp_y: temperature {temperature['value']:.4g}" in capsys.readouterr().out


def test_a_larger_limit_goes_on_from_a_smaller_one_with_the_same_temperature(place: Path, tmp_path: Path) -> None:
    (few,) = measured(place, "net", out=tmp_path / "m")
    (more,) = measured(place, "net", out=tmp_path / "m", limit=30)
    assert more["temperature"] == few["temperature"]
    assert (few["measured"], more["measured"]) == (20, 30)
    assert json.loads((tmp_path / "m" / "summary.json").read_text())["temperature"] == few["temperature"]


def test_what_has_no_temperature_is_refused_by_name(place: Path) -> None:
    with pytest.raises(ModelError, match=r"model '.*untrained.safetensors': calibrated_logp_y: got .* use margin"):
        measured(place, "untrained")
    with pytest.raises(SpecError, match=r"limit: got 201 of 400 test images .* expected at most 200"):
        measured(place, "net", limit=201)
    (without,) = measured(place, "untrained", scalars=("margin",), limit=20)
    assert "temperature" not in without


def test_a_baseline_without_a_temperature_withholds_nothing(place: Path) -> None:
    (own,) = measured(place, "net", baseline=str(place / "untrained.safetensors"))
    (plain,) = measured(place, "net", baseline=str(place / "untrained.safetensors"), scalars=("margin",))
    assert own["regime"]["verdict"] == plain["regime"]["verdict"]
