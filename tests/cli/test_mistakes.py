"""The usual mistakes, as a newcomer makes them with `tangency measure`: each has a message that names the way out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from study_support import write_data
from tangency.cli import main
from tangency.cli.app import app
from tangency.models import build, save_classifier

QUICK = ("--metrics", "cosine", "--epsilons", "none", "--rho-sigmas", "none", "--sigmas", "0.25")
# A network that is right wherever red is as bright as its class says; it wants what `low`, `high` and `order` say.
NETWORK = """
import torch
from torch import nn
class Brightness(nn.Module):
    def __init__(self, low=0.0, high=1.0, order=(0, 1, 2)):
        super().__init__()
        self.levels = nn.Parameter((low + (high - low) * (0.2 + 0.3 * torch.arange(3.0)))[list(order)])
    def forward(self, x):
        return -((x[:, 0].mean((1, 2))[:, None] - self.levels) ** 2) / self.levels.std() ** 2
def right():
    return Brightness()
def bytes():
    return Brightness(0, 255)
def signed():
    return Brightness(-1, 1)
def shifted():
    return Brightness(order=(1, 2, 0))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.npz with a classifier of it, a network that wants colour, and bright.npz with networks of code."""
    folder = tmp_path_factory.mktemp("mistakes")
    write_data(folder)
    for name, channels in (("net", 1), ("colour", 3)):
        save_classifier(build("convnet", (channels, 8, 8), 3, channels=(2, 2, 2)), folder / f"{name}.safetensors")
    (folder / "bright.py").write_text(NETWORK)
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 3
    pixels = (0.2 + 0.3 * labels)[:, None, None] + 0.04 * rng.standard_normal((180, 8, 8))
    np.savez(folder / "bright.npz", images=pixels.clip(0, 1), labels=labels)
    return folder


def arrays(folder: Path, **changes: Callable[[np.ndarray], np.ndarray]) -> Path:
    """tiny.npz with some of its arrays changed."""
    with np.load(folder / "tiny.npz") as held:
        changed = {name: changes.get(name, np.asarray)(held[name]) for name in held}
    np.savez(folder / "changed.npz", **changed)
    return folder / "changed.npz"


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *options: object) -> tuple[int, str]:
    """Exit code of the command, and what it says on standard error."""
    monkeypatch.setattr("sys.argv", ["tangency", "measure", *map(str, options), *QUICK])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0), " ".join(capsys.readouterr().err.split())


def both(change: Callable[[np.ndarray], np.ndarray], what: str) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    return {f"train_{what}": change, f"test_{what}": change}


def lit(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32)


MISTAKES = {
    "bytes as floats": (both(lit, "images"), "net", "They look like bytes: divide them by 255"),
    "signed images": (both(lambda x: lit(x) / 127.5 - 1, "images"), "net", "images in [-1, 1]: (x + 1) / 2"),
    "normalised images": (both(lambda x: (lit(x) / 255 - 0.5) / 0.1, "images"), "net", "Undo the normalisation"),
    "missing pixels": (both(lambda x: np.where(x > 250, np.nan, lit(x) / 255), "images"), "net", "NaN or infinite"),
    "grey for colour": ({}, "colour", "grey images do not fit a network for colour"),
    "one class": (both(np.zeros_like, "labels"), "net", "has one class, '0', expected at least 2"),
    "off by one": (both(lambda y: y + 1, "labels"), "net", "likely labels that are off by one. Take 1 off them"),
    "negative labels": (both(lambda y: y - 1, "labels"), "net", "values from -1 to"),
    "other classes": (both(lambda y: y % 2, "labels"), "net", "its 3 classes are 0, 1, 2, the 2 of"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_awkward_data_are_one_paragraph_and_code_two(
    folder: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    changes, model, words = MISTAKES[case]
    data = arrays(folder, **changes)
    code, text = said(monkeypatch, capsys, "--model", folder / f"{model}.safetensors", "--data", f"npz:{data}")
    assert code == 2
    assert text.startswith("error: ")
    assert words in text
    assert "Traceback" not in text


def test_a_single_image(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    model = ("--model", folder / "net.safetensors")
    code, text = said(monkeypatch, capsys, *model, "--data", f"npz:{folder / 'tiny.npz'}", "--limit", 1)
    assert (code, "limit: got 1, expected at least 2 images" in text) == (2, True)
    data = arrays(folder, test_images=lambda x: x[:1], test_labels=lambda y: y[:1])
    code, text = said(monkeypatch, capsys, *model, "--data", f"npz:{data}")
    assert code == 2
    assert "has one test image, expected at least 2" in text


def test_a_small_split_that_lacks_a_class_is_measured(folder: Path) -> None:
    """Numbered classes are those of both splits together."""
    data = arrays(folder, test_images=lambda x: x[:4], test_labels=lambda y: 0 * y[:4])
    options = ("--model", str(folder / "net.safetensors"), "--data", f"npz:{data}", *QUICK, "--json")
    found = CliRunner().invoke(app, ["measure", *options])
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["classes"] == ["0", "1", "2"]
    assert any("4 images are few" in sentence for sentence in told["warnings"])


def test_few_training_images_of_a_class_take_a_smaller_mixture(folder: Path) -> None:
    """Twelve training images: four of each class at most."""
    data = arrays(folder, train_images=lambda x: x[:12], train_labels=lambda y: np.arange(12) % 3)
    options = ("--model", str(folder / "net.safetensors"), "--data", f"npz:{data}", *QUICK, "--json")
    found = CliRunner().invoke(app, ["measure", *options])
    assert found.exit_code == 0, found.output
    warnings = json.loads(found.stdout)["warnings"]
    assert any("'0' has 4 training images" in said and "2 instead of 4 components" in said for said in warnings)


def test_a_class_without_training_images_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    data = arrays(folder, train_labels=lambda y: y.clip(max=1))
    code, text = said(monkeypatch, capsys, "--model", folder / "net.safetensors", "--data", f"npz:{data}")
    assert code == 2
    assert "class '2' has no training images, expected at least 1" in text


def test_weights_from_a_gpu_are_measured_on_a_cpu(folder: Path) -> None:
    net = build("convnet", (1, 8, 8), 3, channels=(2, 2, 2))
    torch.save(net.module.state_dict(), folder / "cpu.pt")
    with zipfile.ZipFile(folder / "cpu.pt") as old, zipfile.ZipFile(folder / "gpu.pt", "w") as new:
        for info in old.infolist():
            held = old.read(info)
            new.writestr(info.filename, held.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    assert b"cuda:0" in (folder / "gpu.pt").read_bytes()
    reference = f"{folder / 'gpu.pt'}?arch=convnet&channels=2,2,2&range=0,1&mean=none"
    options = ("--data", f"npz:{folder / 'tiny.npz'}", "--limit", "10", *QUICK, "--device", "cpu", "--json")
    found = CliRunner().invoke(app, ["measure", "--model", reference, *options])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["measured"] == 10


DOUBTS = {
    "bytes": "likely a wrong range or normalisation. Try ?range=0,255&mean=none",
    "signed": "likely a wrong range or normalisation. Try ?range=-1,1&mean=none",
    "shifted": "likely labels that are off by one",
}


@pytest.mark.parametrize("function", DOUBTS)
def test_a_network_that_is_fed_otherwise_is_measured_with_a_warning(folder: Path, function: str) -> None:
    reference = f"py:{folder / 'bright.py'}:{function}?range=0,1&mean=none"
    options = ("--data", f"npz:{folder / 'bright.npz'}", "--limit", "10", *QUICK, "--trust-code")
    found = CliRunner().invoke(app, ["measure", "--model", reference, *options])
    assert found.exit_code == 0, found.output
    text = " ".join(found.output.split())
    assert "Warning: it is right for 100% of the images when" in text
    assert DOUBTS[function] in text
    fed = CliRunner().invoke(app, ["measure", "--model", reference.replace(function, "right"), *options])
    assert "likely" not in fed.output
