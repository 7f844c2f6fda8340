"""The U-Nets of Karras et al. (2022) against those of deepinv, which were written by others."""

from __future__ import annotations

import pytest
import torch
from deepinv.models import ADMUNet, NCSNpp
from torch import Tensor, nn
from torch.nn import functional as F

from score.edm_fixture import adm_oracle, fill_randomly, ncsn_oracle
from tangency.errors import SpecError
from tangency.score import ScoreCard, build_network
from tangency.score.edm.unet_options import DhariwalOptions, SongOptions
from tangency.score.edm.unets import DhariwalUNet, SongUNet
from tangency.score.networks.parametrisation import coefficients

NCSN = {
    "embedding_type": "fourier",
    "channel_mult_noise": 2,
    "encoder_type": "residual",
    "resample_filter": (1, 3, 3, 1),
}
SHAPE = {"img_resolution": 8, "in_channels": 3, "out_channels": 3, "num_blocks": 1}


def song(oracle: NCSNpp, **options: object) -> SongUNet:
    net = SongUNet(SongOptions(**{**SHAPE, **options}))
    net.load_state_dict(oracle.state_dict())
    return net.eval()


def adm(oracle: ADMUNet, **options: object) -> DhariwalUNet:
    net = DhariwalUNet(DhariwalOptions(**{**SHAPE, **options}))
    net.load_state_dict(oracle.state_dict())
    return net.eval()


def compare(net: nn.Module, oracle: nn.Module, classes: int, channels: int = 3) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, channels, 8, 8, generator=generator)
    time = torch.tensor([-1.2, 0.3, 1.1])
    for y in (torch.tensor([0, classes - 1, 1]), None) if classes else (None,):
        label = F.one_hot(y, classes).float() if y is not None else torch.zeros(3, classes)
        with torch.no_grad():
            expected = oracle.forward_unet(x, time, label if classes else None)
            found = net(x, time, y)
        assert float((found - expected).norm() / expected.norm()) < 1e-5
        assert 0.01 < float(expected.std()) < 100
        rest = expected.flatten(1) - expected.flatten(1)[[1, 2, 0]]
        assert float(rest.norm(dim=1).min()) > 0.1  # the oracle tells the images apart


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("width", [32, 128])
def test_ddpm_is_that_of_deepinv(classes: int, width: int) -> None:
    options = {"label_dim": classes, "augment_dim": 4, "model_channels": width, "channel_mult": (1, 2)}
    oracle = ncsn_oracle("ddpm", **SHAPE, **options, attn_resolutions=(8,))
    compare(song(oracle, **options, attn_resolutions=(8,)), oracle, classes)


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("width", [32, 128])
def test_ncsn_is_that_of_deepinv(classes: int, width: int) -> None:
    options = {"label_dim": classes, "augment_dim": 0, "model_channels": width, "channel_mult": (2, 1, 2)}
    oracle = ncsn_oracle("ncsn", **SHAPE, **options, attn_resolutions=(4,))
    compare(song(oracle, **options, **NCSN, attn_resolutions=(4,)), oracle, classes)


@pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1)])
def test_skips_of_the_image_are_those_of_deepinv(taps: tuple[int, ...]) -> None:
    """deepinv builds neither, but its `forward` knows the layers by name."""
    options = {"model_channels": 32, "channel_mult": (1, 2, 1), "augment_dim": 0}
    oracle = ncsn_oracle("ddpm", **SHAPE, **options, taps=taps, skips=True)
    compare(song(oracle, **options, encoder_type="skip", decoder_type="skip", resample_filter=taps), oracle, classes=0)


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("width", [64, 128])
def test_adm_is_that_of_deepinv(classes: int, width: int) -> None:
    options = {"label_dim": classes, "augment_dim": 4, "model_channels": width, "channel_mult": (1, 2)}
    oracle = adm_oracle(**SHAPE, **options, attn_resolutions=(8,))
    assert sum(isinstance(each, nn.Conv2d) or hasattr(each, "qkv") for each in oracle.modules()) == 4
    compare(adm(oracle, **options, attn_resolutions=(8,)), oracle, classes)


def test_a_learned_variance_comes_behind_the_image() -> None:
    options = {"model_channels": 32, "channel_mult": (1,), "attn_resolutions": (), "out_channels": 6}
    oracle = adm_oracle(**{**SHAPE, **options})
    net = adm(oracle, **options)
    assert net(torch.rand(2, 3, 8, 8), torch.zeros(2)).shape == (2, 6, 8, 8)
    compare(net, oracle, classes=0)


def small(kind: str) -> nn.Module:
    shared = {**SHAPE, "label_dim": 3, "channel_mult": (1, 2), "attn_resolutions": (8,)}
    if kind == "adm":
        return fill_randomly(DhariwalUNet(DhariwalOptions(**shared, model_channels=64)).double().eval())
    extra = NCSN if kind == "ncsn" else {}
    return fill_randomly(SongUNet(SongOptions(**shared, **extra, model_channels=8)).double().eval())


@pytest.mark.parametrize("kind", ["ddpm", "ncsn", "adm"])
def test_derivatives_forwards_backwards_and_twice(kind: str) -> None:
    net, generator = small(kind), torch.Generator().manual_seed(2)
    x, v, w = (torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    time, y = torch.tensor([-0.4, 0.8], dtype=torch.float64), torch.tensor([2, 0])

    def at(u: Tensor) -> Tensor:
        return net(u, time, y)

    _, along = torch.func.jvp(at, (x,), (v,))
    step = 1e-5
    torch.testing.assert_close(along, (at(x + step * v) - at(x - step * v)) / (2 * step), rtol=1e-5, atol=1e-7)
    x.requires_grad_(True)
    gradient = torch.autograd.grad((w * at(x)).sum(), x, create_graph=True)[0]
    torch.testing.assert_close((gradient * v).sum(), (w * along).sum())
    twice = torch.autograd.grad((gradient * v).sum(), x)[0]
    _, second = torch.func.jvp(lambda u: torch.func.vjp(at, u)[1](w)[0], (x.detach(),), (v,))
    torch.testing.assert_close(twice, second)
    assert float(twice.norm()) > 1e-3


@pytest.mark.parametrize("kind", ["ddpm", "ncsn", "adm"])
def test_an_answer_does_not_depend_on_the_batch(kind: str) -> None:
    net = small(kind)
    x, time, y = torch.randn(3, 3, 8, 8).double(), torch.tensor([-1.0, 0.0, 1.0]).double(), torch.tensor([0, 1, 2])
    torch.testing.assert_close(net(x, time, y)[1:2], net(x[1:2], time[1:2], y[1:2]))


BAD = {
    "img_resolution": [0, -8, 10**9, 8.0, True, float("nan"), None, "8", 9],
    "in_channels": [0, 10**6],
    "label_dim": [-1, 10**9],
    "model_channels": [10**9, 3, 33, 0, float("inf"), (8,)],
    "channel_mult": [(), (1,) * 99, (10**9,), (0,), 1, (1.5,), "12"],
    "channel_mult_emb": [0, 10**9],
    "channel_mult_noise": [10**9],
    "num_blocks": [0, 10**6],
    "attn_resolutions": [(1,) * 99, (-1,), 16],
    "dropout": [1, -0.1, float("nan"), "0", True],
    "label_dropout": [float("inf")],
    "embedding_type": ["sine", 3, None],
    "encoder_type": ["Skip"],
    "decoder_type": ["residual"],
    "resample_filter": [(1,), (1, 2, 1), (1, -1), (float("nan"), 1), (1,) * 98, 2, ("1", "1")],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_options_out_of_bounds_are_named(name: str, value: object) -> None:
    with pytest.raises(SpecError, match=name) as caught:
        SongOptions(**{**SHAPE, name: value})
    assert len(str(caught.value)) < 300


def test_discrete_times_are_the_nearest_levels() -> None:
    """iDDPM knows no time between its levels: the nearest in σ counts, where other networks take fractions."""
    card = ScoreCard("dhariwal", "iddpm", (3, 8, 8), levels=(0.1, 1.0, 2.0, 8.0))
    sigma = torch.tensor([0.001, 0.54, 0.56, 1.4, 1.6, 4.9, 5.1, 90.0], dtype=torch.float64)
    found = coefficients(card, sigma)
    assert found.time.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    torch.testing.assert_close(found.out, -sigma)


def test_a_card_builds_them() -> None:
    options = {**SHAPE, "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1}
    for name in ("songunet", "dhariwal"):
        score = build_network(ScoreCard(name, "edm", (3, 8, 8), options))
        assert score.denoise(torch.rand(2, 3, 8, 8), 0.3).shape == (2, 3, 8, 8)
