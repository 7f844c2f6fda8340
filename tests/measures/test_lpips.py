"""LPIPS-Alex: the authors' published numbers, and two other implementations with the same weights."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from data.full_data import needs
from tangency.errors import ModelError, NumericsError
from tangency.measures.similarity.metrics import pair_metric
from tangency.perceptual import LPIPS
from tangency.perceptual.lpips import embedding_distance
from tangency.perceptual.pictures import max_normalised

LAYERS = (0, 3, 6, 8, 10)


def pictures(n: int = 5, channels: int = 3, side: int = 64, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(n, channels, side // 8, side // 8, generator=torch.Generator().manual_seed(seed))
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return (2 * smooth - 1).clamp(-1, 1)


@needs("lpips")
@pytest.mark.parametrize(("name", "expected"), [("ex_p0", 0.722), ("ex_p1", 0.138)])
def test_the_authors_published_values(data_root: Path, name: str, expected: float) -> None:
    from PIL import Image

    def read(stem: str) -> torch.Tensor:
        array = np.asarray(Image.open(data_root / "lpips" / f"{stem}.png").convert("RGB"), dtype=np.float32)
        return torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1

    assert float(LPIPS()(read("ex_ref"), read(name))) == pytest.approx(expected, abs=1e-3)


def alexnet(ours: LPIPS) -> nn.Module:
    """torchvision's AlexNet with our convolutions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchvision.models import AlexNet

    net = AlexNet()
    for index in LAYERS:
        net.features[index].weight.data = ours.layers[index].weight.clone()
        net.features[index].bias.data = ours.layers[index].bias.clone()
    return net


def test_equals_the_lpips_package_with_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips
        from lpips import pretrained_networks

        ours = LPIPS()
        monkeypatch.setattr(pretrained_networks.tv, "alexnet", lambda **_: alexnet(ours))
        theirs = lpips.LPIPS(net="alex", pretrained=True, verbose=False).eval()
    for layer, linear in enumerate(theirs.lins):
        linear.model[-1].weight.data = getattr(ours, f"linear{layer}").square().reshape(1, -1, 1, 1)
    a, b = pictures(seed=1), pictures(seed=2)
    with torch.no_grad():
        expected = theirs(a, b).flatten()
    torch.testing.assert_close(ours(a, b), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [32, 31, 64])
def test_without_upsampling_equals_the_lpips_package_as_published(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """Metric "lpips_pags": gradients of any size, scaled by their largest magnitude, at their own size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips
        from lpips import pretrained_networks

        ours = LPIPS(upsample=False)
        monkeypatch.setattr(pretrained_networks.tv, "alexnet", lambda **_: alexnet(ours))
        theirs = lpips.LPIPS(net="alex", pretrained=True, verbose=False).eval()
    monkeypatch.undo()  # `pair_metric` makes an LPIPS of its own
    for layer, linear in enumerate(theirs.lins):
        linear.model[-1].weight.data = getattr(ours, f"linear{layer}").square().reshape(1, -1, 1, 1)
    g = torch.Generator().manual_seed(0)
    gradients = torch.randn(4, 3, side, side, generator=g) * torch.tensor([1e-4, 1.0, 30.0, 0.1])[:, None, None, None]
    scores = 50 * torch.randn(4, 3, side, side, generator=g)
    with torch.no_grad():
        expected = torch.stack(
            [
                1 - theirs(a[None] / a.abs().max(), b[None] / b.abs().max()).flatten()[0]
                for a, b in zip(gradients, scores, strict=True)
            ]
        )
    metric = pair_metric("lpips_pags", (3, side, side))
    prepared = [metric.prepare(max_normalised(signal)) for signal in (gradients, scores)]
    torch.testing.assert_close(metric.compare(*prepared)[:, 0].float(), expected, rtol=0, atol=1e-5)
    upsampled = pair_metric("lpips", (3, side, side))
    other = upsampled.compare(*(upsampled.prepare(max_normalised(signal)) for signal in (gradients, scores)))
    assert (float((other[:, 0] - expected).abs().max()) > 0.05) == (side < 64)


def test_small_pictures_without_upsampling_are_refused() -> None:
    with pytest.raises(NumericsError, match="28×31"):
        LPIPS(upsample=False).embed(torch.zeros(1, 3, 28, 31))
    with pytest.raises(NumericsError, match="'alex' only"):
        LPIPS(network="vgg", upsample=False)


def test_equals_torchmetrics_with_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchvision.models
        from torchmetrics.functional.image import lpips as functional

    ours = LPIPS()
    monkeypatch.setattr(torchvision.models, "alexnet", lambda **_: alexnet(ours))
    theirs = functional._LPIPS(pretrained=True, net="alex", eval_mode=True)
    for layer in range(5):
        head = getattr(theirs, f"lin{layer}")
        head.model[-1].weight.data = getattr(ours, f"linear{layer}").square().reshape(1, -1, 1, 1)
    a, b = pictures(seed=1), pictures(seed=2)
    with torch.no_grad():
        expected = theirs(a, b).flatten()
    torch.testing.assert_close(ours(a, b), expected, rtol=0, atol=1e-5)


def test_shipped_linear_weights_are_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.find_spec("lpips")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "weights" / "v0.1" / "alex.pth"
    published = torch.load(path, weights_only=True, map_location="cpu")
    for layer in range(5):
        expected = published[f"lin{layer}.model.1.weight"].flatten()
        torch.testing.assert_close(getattr(LPIPS(), f"linear{layer}").square(), expected, rtol=1e-3, atol=1e-6)


def test_small_and_grey_pictures_equal_upsampled_repeated_ones() -> None:
    ours = LPIPS()
    a, b = pictures(3, 1, 32, 1)[:, :, :28, :28], pictures(3, 1, 32, 2)[:, :, :28, :28]
    wide = [
        nn.functional.interpolate(p, size=(64, 64), mode="bilinear", align_corners=False).repeat(1, 3, 1, 1)
        for p in (a, b)
    ]
    torch.testing.assert_close(ours(a, b), ours(*wide), rtol=1e-5, atol=1e-6)
    assert LPIPS().embed(torch.zeros(1, 1, 30, 61)).isfinite().all()


def test_distance_is_zero_for_equal_symmetric_and_per_image() -> None:
    ours = LPIPS()
    a, b = pictures(7, seed=1), pictures(7, seed=2)
    assert float(ours(a, a).abs().max()) == 0
    torch.testing.assert_close(ours(a, b), ours(b, a))
    embedded = ours.embed(a), ours.embed(b)
    for i in range(7):
        torch.testing.assert_close(
            ours(a[i : i + 1], b[i : i + 1])[0], embedding_distance(*embedded)[i], rtol=1e-4, atol=1e-6
        )


def test_a_zero_gradient_is_nan_for_that_image_only() -> None:
    g = pictures(3, 1, 32)
    g[1] = 0
    normalised = max_normalised(g)
    assert normalised[1].isnan().all()
    assert float(normalised[0].abs().max()) == 1
    distances = LPIPS()(normalised, pictures(3, 1, 32, 1))
    assert distances.isnan().tolist() == [False, True, False]


def test_unreadable_weights_and_wrong_channels_are_named(tmp_path: Path) -> None:
    (tmp_path / "page.safetensors").write_text("<html>not found</html>")
    with pytest.raises(ModelError, match=r"page\.safetensors.*unreadable"):
        LPIPS(tmp_path / "page.safetensors")
    with pytest.raises(NumericsError, match=r"\(2, 2, 64, 64\)"):
        LPIPS().embed(torch.zeros(2, 2, 64, 64))
