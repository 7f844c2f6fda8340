"""LPIPS-VGG, LPIPS-Squeeze and DISTS against the packages that own them, with the same random backbone in both."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import perceptual_weights
from tangency.errors import ModelError, NumericsError
from tangency.measures.similarity.metrics import external_weights
from tangency.perceptual.dists import DISTS
from tangency.perceptual.dreamsim import DreamSim
from tangency.perceptual.lpips import LPIPS
from tangency.perceptual.weights_files import external_digests


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, nn.Module]]:
    folder = tmp_path_factory.mktemp("weights")
    return folder, perceptual_weights.write(folder)


def pictures(seed: int, n: int = 3, channels: int = 3, side: int = 64) -> Tensor:
    return 2 * torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.mark.parametrize("network", ["vgg", "squeeze"])
def test_lpips_equals_the_lpips_package(
    network: str, weights: tuple[Path, dict[str, nn.Module]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, nets = weights
    ours = LPIPS(folder / f"lpips_{network}.safetensors", network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips
        from lpips import pretrained_networks

        name = "vgg16" if network == "vgg" else "squeezenet1_1"
        monkeypatch.setattr(pretrained_networks.tv, name, lambda **_: nets[network])
        theirs = lpips.LPIPS(net=network, pretrained=True, verbose=False).eval()
    for layer, linear in enumerate(theirs.lins):
        linear.model[-1].weight.data = getattr(ours, f"linear{layer}").square().reshape(1, -1, 1, 1)
    a, b = pictures(1), pictures(2)
    with torch.no_grad():
        expected = theirs(a, b).flatten()
    torch.testing.assert_close(ours(a, b), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [32, 37])
def test_dists_equals_torchmetrics(
    side: int, weights: tuple[Path, dict[str, nn.Module]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchmetrics' module is the authors' own, line for line; only its weights are replaced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmetrics.functional.image import dists as functional

    folder, nets = weights
    ours = DISTS(folder / "dists.safetensors")
    monkeypatch.setattr(functional, "vgg16", lambda **_: nets["vgg"])
    theirs = functional.DISTSNetwork(load_weights=False)
    theirs.alpha.data = ours.alpha.reshape(1, -1, 1, 1)
    theirs.beta.data = ours.beta.reshape(1, -1, 1, 1)
    a, b = pictures(1, side=side), pictures(2, side=side)
    expected = theirs((a + 1) / 2, (b + 1) / 2).detach()
    torch.testing.assert_close(ours(a, b), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours(a, a), torch.zeros(3), rtol=0, atol=1e-5)
    single = torch.cat([ours(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(single, ours(a, b), rtol=1e-4, atol=1e-5)


def test_grey_pictures_are_repeated_and_nan_stays_where_it_is(weights: tuple[Path, dict[str, nn.Module]]) -> None:
    ours, (a, b) = DISTS(weights[0] / "dists.safetensors"), (pictures(s, channels=1, side=28) for s in (1, 2))
    torch.testing.assert_close(ours(a, b), ours(a.repeat(1, 3, 1, 1), b.repeat(1, 3, 1, 1)), rtol=1e-5, atol=1e-6)
    a[1] = torch.nan
    assert ours(a, b).isnan().tolist() == [False, True, False]
    with pytest.raises(NumericsError, match="DISTS: got shape"):
        ours.embed(torch.zeros(1, 2, 28, 28))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LPIPS(network="vgg"), r"vgg16-397923af\.pth.*weights/v0\.1/vgg\.pth.*--network vgg"),
        (lambda: LPIPS(network="squeeze"), r"squeezenet1_1-b8a52dc0\.pth.*--network squeeze"),
        (DISTS, r"weights\.pt of the package DISTS_pytorch.*--network dists"),
    ],
)
def test_missing_weights_say_what_to_fetch_and_where_to_put_it(
    make: object, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANGENCY_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TANGENCY_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=rf"not found in {tmp_path}.*{words}.*TANGENCY_WEIGHTS.*path="):
        make()


def test_weights_are_found_by_the_variables_and_named_by_their_hash(
    weights: tuple[Path, dict[str, nn.Module]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANGENCY_WEIGHTS", str(weights[0]))
    assert LPIPS(network="squeeze").network == "squeeze"
    assert list(external_digests(external_weights(("cosine", "lpips", "lpips_squeeze")))) == [
        "lpips_squeeze.safetensors"
    ]
    monkeypatch.delenv("TANGENCY_WEIGHTS")
    monkeypatch.setenv("TANGENCY_DATA", str(tmp_path))
    (tmp_path / "weights").symlink_to(weights[0])
    assert LPIPS(network="squeeze").network == "squeeze"


def test_weights_of_another_network_are_refused(weights: tuple[Path, dict[str, nn.Module]]) -> None:
    with pytest.raises(ModelError, match=r"no tensor features\.10\.bias"):
        LPIPS(weights[0] / "lpips_squeeze.safetensors", "vgg")
    with pytest.raises(NumericsError, match="Did you mean 'squeeze'"):
        LPIPS(network="squeez")


def test_dreamsim_is_asked_for_pictures_of_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Model(nn.Module):
        def embed(self, x: Tensor) -> Tensor:
            seen.append(x)
            return torch.nn.functional.adaptive_avg_pool2d(x - 0.5, 4).flatten(1)

    module = types.ModuleType("dreamsim")
    module.dreamsim = lambda pretrained, cache_dir, device: (Model(), None)
    monkeypatch.setitem(sys.modules, "dreamsim", module)
    a = pictures(1, channels=1, side=28)
    a[1] = torch.nan
    found = DreamSim().embed(a)
    assert seen[0].shape == (3, 3, 224, 224)
    assert float(seen[0].min()) >= 0
    assert float(seen[0].max()) <= 1
    assert found.isnan().all(1).tolist() == [False, True, False]
    torch.testing.assert_close(found[0].norm(), torch.tensor(1.0))


def test_dreamsim_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    with pytest.raises(ModelError, match=r"pip install 'tangency\[dreamsim\]'"):
        DreamSim()
