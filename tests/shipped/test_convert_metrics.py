"""The script that makes the weights of LPIPS-VGG, LPIPS-Squeeze and DISTS, on the authors' own linear layers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

import perceptual_weights
from tangency.errors import DataError
from tangency.perceptual.dists import DISTS
from tangency.perceptual.lpips import LPIPS

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_lpips", ROOT / "scripts" / "convert_lpips.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inside(package: str, *parts: str) -> Path:
    """A file of an installed package, found without importing it."""
    return Path(importlib.util.find_spec(package).origin).parent.joinpath(*parts)


@pytest.mark.parametrize("network", ["squeeze", "vgg", "dists"])
def test_published_files_become_one(
    network: str, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = perceptual_weights.backbone("squeeze" if network == "squeeze" else "vgg")
    features, made = tmp_path / "features.pth", tmp_path / "made.safetensors"
    torch.save(net.state_dict(), features)
    if network == "dists":
        head = inside("torchmetrics", "functional", "image", "dists_models", "weights.pt")
    else:
        head = inside("lpips", "weights", "v0.1", f"{network}.pth")
    monkeypatch.setattr("sys.argv", ["convert_lpips", "--network", network, str(features), str(head), str(made)])
    script.main()
    published = torch.load(head, weights_only=True, map_location="cpu")
    if network == "dists":
        total = published["alpha"].sum() + published["beta"].sum()
        torch.testing.assert_close(DISTS(made).alpha, (published["alpha"] / total).flatten().detach())
        assert float(published["alpha"].min()) >= 0  # so that 1 − DISTS stays within [−1, 1]
        assert float(published["beta"].min()) >= 0
    else:
        found = LPIPS(made, network)
        assert found.network == network
        torch.testing.assert_close(found.linear4.square(), published["lin4.model.1.weight"].flatten())
        with pytest.raises(DataError, match="no tensor features"):
            script.published(network, head, head)
    with pytest.raises(DataError, match="expected"):
        script.published(network, features, features)
