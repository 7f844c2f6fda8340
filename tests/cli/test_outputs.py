"""The same network as files of its logits, softmax and sigmoid; in training mode; with its dropout on."""

from __future__ import annotations

import copy
import json
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from study_support import write_data
from tangency.cli.app import app
from tangency.data import load
from tangency.errors import ModelError
from tangency.types import Dataset

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
RAW = "range=0,1&mean=none"


def trained(data: Dataset) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, len(data.train.classes))
        )
        optimiser = torch.optim.Adam(net.parameters(), 0.02)
        for _ in range(20):
            loss = nn.functional.cross_entropy(net(data.train.images()), data.train.labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("outputs")
    data = load(f"npz:{write_data(place)}")
    net = trained(data)
    x = data.train.images()[:4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, last in {"logits": None, "softmax": nn.Softmax(1), "sigmoid": nn.Sigmoid()}.items():
            torch.jit.script(net if last is None else nn.Sequential(net, last)).save(str(place / f"{name}.pt"))
        training = copy.deepcopy(net).train()
        torch.jit.trace(training, x, check_trace=False).save(str(place / "training.pt"))
        batch = ({0: torch.export.Dim("n", min=2)},)
        torch.export.save(torch.export.export(training, (x,), dynamic_shapes=batch), place / "training.pt2")
        dropping = nn.Sequential(nn.Dropout(0.3), net)
        dropping[0].train()
        torch.jit.trace(dropping, x, check_trace=False).save(str(place / "dropping.pt"))
    return place


def measured(folder: Path, name: str, *options: str, command: str = "measure") -> Result:
    kind = "export" if name.endswith(".pt2") else "torchscript"
    model = f"{kind}:{folder / name}?{RAW}"
    data = next(folder.glob("*.npz"))
    return CliRunner().invoke(app, [command, "--model", model, "--data", f"npz:{data}", "--trust-code", *options])


def numbers(found: Result) -> dict[str, float]:
    """Means, NaN where every image is degenerate."""
    assert found.exit_code == 0, found.output
    means = {key: value["mean"] for key, value in json.loads(found.stdout)["measures"].items()}
    return {key: math.nan if mean is None else mean for key, mean in means.items()}


OPTIONS = ("--limit", "12", "--tangents", "pca?rank=3", "--metrics", "cosine", "--attacks", "pgd_l2:0.5", "--json")


def test_logits_softmax_and_sigmoid_give_the_same_measures(folder: Path) -> None:
    wanted = numbers(measured(folder, "logits.pt", *OPTIONS))
    assert len(wanted) > 50
    for name in ("softmax", "sigmoid"):
        found = measured(folder, f"{name}.pt", *OPTIONS)
        assert numbers(found) == pytest.approx(wanted, rel=1e-4, abs=1e-5, nan_ok=True)
        assert f"its last {name} is taken off" in " ".join(json.loads(found.stdout)["reading"])


@pytest.mark.parametrize("name", ["training.pt", "training.pt2"])
@pytest.mark.parametrize("command", ["measure", "generate"])
def test_training_mode_is_refused_with_the_reason(folder: Path, tmp_path: Path, name: str, command: str) -> None:
    out = tmp_path / "out"
    more = ["--allow-random"] if command == "measure" else []
    found = measured(folder, name, "--out", str(out), *more, command=command)
    assert isinstance(found.exception, ModelError)  # exit code 2 with its paragraph, at the door of the program
    assert "depends on the other images of the batch" in str(found.exception)
    assert "batch_norm in training mode" in str(found.exception)
    assert not out.exists()


def test_dropout_is_refused_or_averaged(folder: Path) -> None:
    refused = measured(folder, "dropping.pt", *OPTIONS)
    assert isinstance(refused.exception, ModelError)
    assert "its dropout is on in eval mode" in str(refused.exception)
    assert "--allow-random" in str(refused.exception)
    options = ("--limit", "6", "--tangents", "pca?rank=3", "--metrics", "cosine", "--epsilons", "none", "--json")
    first = measured(folder, "dropping.pt", *options, "--allow-random")
    assert first.exit_code == 0, str(first.exception)
    assert "16 passes" in " ".join(json.loads(first.stdout)["reading"])
    assert numbers(measured(folder, "dropping.pt", *options, "--allow-random")) == numbers(first)
