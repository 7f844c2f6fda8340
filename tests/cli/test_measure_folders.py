"""`tangency measure` on folders of images: a network of ImageNet on ten of its classes, notes as warnings, mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tangency.cli import main
from tangency.cli.app import app
from tangency.data.classes import imagenet_synsets
from tangency.models import build, save_classifier

QUICK = ("--metrics", "cosine", "--epsilons", "none", "--rho-sigmas", "none", "--sigmas", "0.25", "--limit", "4")
SYNSETS = ("n01440764", "n02979186", "n03888257")
OUTPUTS = [imagenet_synsets().index(name) for name in SYNSETS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imagenette's layout with three of its classes, and networks of 1,000 and of these three classes."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("imagenette")
    generator = np.random.default_rng(0)
    for split, count in (("train", 14), ("val", 4)):
        for name in SYNSETS:
            (folder / "data" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "data" / split / name / f"{i}.png")
    (folder / "data" / "val" / SYNSETS[0] / "Thumbs.db").write_bytes(b"x")
    save_classifier(build("convnet", (3, 8, 8), 1000, seed=1), folder / "all.safetensors")
    return folder


def measure(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["measure", *QUICK, "--json", *arguments])
    return result.exit_code, result.stdout, result.output


def test_a_network_of_imagenet_on_folders_of_synsets(folder: Path) -> None:
    model, data = str(folder / "all.safetensors"), f"folder:{folder / 'data'}"
    code, printed, output = measure("--model", model, "--data", data)
    assert code == 0, output
    found = json.loads(printed)
    assert found["classes"] == list(SYNSETS)
    assert any("of its 1,000 outputs those of the data's 3 classes are kept" in said for said in found["reading"])
    assert any("1 file or folder that systems leave was skipped (Thumbs.db)" in said for said in found["warnings"])
    code, printed, output = measure("--model", model, "--data", data, "--class-map", ",".join(map(str, OUTPUTS)))
    assert code == 0, output
    mapped = json.loads(printed)
    assert mapped["model"] == f"{model}?class-map={','.join(map(str, OUTPUTS))}"
    for key, entry in found["measures"].items():
        assert mapped["measures"][key]["mean"] == pytest.approx(entry["mean"], nan_ok=True)


def test_mistakes_are_one_paragraph(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"folder:{folder / 'data'}"
    save_classifier(build("convnet", (3, 8, 8), ("cat", "dog", "eel", "fox"), seed=1), tmp_path / "four.safetensors")
    model = str(tmp_path / "four.safetensors")
    for arguments, sentence in (
        ((), "of which 3 are none of its (n01440764, n02979186, n03888257)"),
        (("--class-map", "0,1"), "names 2 outputs, the data have 3 classes"),
        (("--class-map", "0,1,7"), "names '7' for the class 'n03888257'"),
    ):
        asked = ["tangency", "measure", *QUICK, "--model", model, "--data", data, *arguments]
        monkeypatch.setattr("sys.argv", [*asked, "--out", str(tmp_path / "out")])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        printed = capsys.readouterr()
        assert sentence in printed.err
        assert printed.out == ""
        assert not (tmp_path / "out").exists()
