"""The score network in the package: its errors against its card and against what it must reach, its size, its speed."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch

from data.full_data import needs
from tangency.autodiff import double_backward
from tangency.data import load
from tangency.perceptual.kid import alexnet_features, kid
from tangency.perceptual.lpips import LPIPS
from tangency.score import NetworkScore, Sampler, bayes_gradient, denoising_error, load_score
from tangency.score.quality import noised

NAME = "edm-fashion-mnist"
LIMITS = {0.125: 0.00245, 0.25: 0.0060, 0.5: 0.0115}  # mean squared error in squared [0, 1] pixels


@pytest.fixture(scope="module")
def score() -> NetworkScore:
    found = load_score(NAME, load("fashion-mnist-5k"))
    assert isinstance(found, NetworkScore)
    return found


@pytest.mark.parametrize("sigma", [pytest.param(s, marks=[] if s == 0.25 else pytest.mark.slow) for s in LIMITS])
def test_errors_on_500_test_images_are_those_of_the_card_and_within_the_limits(
    score: NetworkScore, sigma: float
) -> None:
    told = score.settings.provenance["embedded"]
    held = load(told["data"]).test.subset(slice(0, told["images"]))
    error = float(denoising_error(score, held, sigma).mean())
    assert len(held) == 500
    assert error == pytest.approx(told["mse"][f"{sigma:g}"], rel=1e-3)
    assert error <= LIMITS[sigma]
    assert float(denoising_error(score, held, sigma, conditional=True).mean()) < error  # a label helps


def test_the_card_says_what_it_is_and_how_good(score: NetworkScore) -> None:
    card = score.settings
    assert (card.classes, card.unconditional, card.licence) == (load("fashion-mnist-5k").train.classes, True, "MIT")
    assert card.provenance["training"]["data"]["images"] == 60_000
    examined = card.provenance["examination"]
    assert examined["verdict"]["better_at"] == [0.05, 0.125, 0.25, 0.5, 1.0]
    assert examined["samples"]["copies"]["share"] < 0.1
    assert examined["samples"]["kid"]["counts"] == [1000, 1000]
    for level in examined["noise_levels"]:
        if level["sigma"] in LIMITS:
            assert level["mse"]["mean"] <= LIMITS[level["sigma"]]


def test_the_file_is_small() -> None:
    file = resources.files("tangency.score") / "weights" / f"{NAME}.safetensors"
    assert len(file.read_bytes()) <= 2_500_000


@needs("fashion-mnist")
def test_on_the_full_test_set_it_keeps_its_errors(score: NetworkScore, data_root: Path) -> None:
    held = load("fashion-mnist", data_root).test.subset(slice(0, 500))
    for sigma, limit in LIMITS.items():
        assert float(denoising_error(score, held, sigma).mean()) <= limit


@pytest.mark.slow
def test_a_class_is_seen_at_large_noise(score: NetworkScore) -> None:
    """The class-conditional answer of the true class is nearer to the image than those of the others."""
    held = load("fashion-mnist-5k").test.subset(slice(0, 100))
    clean, noisy = held.images(), noised(held.images(), torch.arange(100), 0.5, 0)
    with torch.no_grad():
        answers = torch.stack([score.denoise(noisy, 0.5, torch.full((100,), c)) for c in range(10)], 1)
    error = (answers - clean[:, None]).flatten(2).square().sum(2)
    assert float((error.argmin(1) == held.labels).double().mean()) > 0.3  # chance 0.1; of 100
    found = bayes_gradient(score, noisy, held.labels, 0.5)
    assert float(found.signal_to_noise.median()) > 1


@pytest.mark.slow
def test_samples_look_like_the_data_and_take_few_evaluations(score: NetworkScore) -> None:
    ids = torch.arange(64)
    calls: list[int] = []
    handle = score.module.register_forward_hook(lambda *_: calls.append(1))
    drawn = Sampler(18).sample(score, ids, ids % 10)
    handle.remove()
    assert len(calls) <= 2 * 18 - 1  # Heun's method: two evaluations a step but the last; benchmarks/ has the seconds
    assert drawn.shape == (64, 1, 28, 28)
    assert -0.3 < float(drawn.min()) < float(drawn.max()) < 1.4
    alone = Sampler(18).sample(score, ids[17:18], ids[17:18] % 10)
    torch.testing.assert_close(alone, drawn[17:18], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_kid_of_a_thousand_samples(score: NetworkScore) -> None:
    data, lpips, ids = load("fashion-mnist-5k"), LPIPS(), torch.arange(1000)
    drawn = alexnet_features(Sampler(18).sample(score, ids, ids % 10), lpips)
    held = alexnet_features(data.test.images(), lpips)
    found = kid(drawn, held, "alexnet-lpips")
    noise = kid(alexnet_features(torch.rand(1000, 1, 28, 28), lpips), held, "alexnet-lpips")
    told = score.settings.provenance["examination"]["samples"]["kid"]
    assert found.value < 0.02 * noise.value
    assert found.value == pytest.approx(told["value"], abs=6 * told["standard_error"])


def test_forward_mode_and_double_backward_through_its_attention(score: NetworkScore) -> None:
    x = load("fashion-mnist-5k").test.images(slice(0, 1))
    with double_backward():
        forward = torch.func.jvp(lambda x: score.denoise(x, 0.25), (x,), (torch.ones_like(x),))[1]
        leaf = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(score.denoise(leaf, 0.25).square().sum(), leaf, create_graph=True)
        (twice,) = torch.autograd.grad(gradient.square().sum(), leaf)
    assert float(forward.abs().max()) > 0
    assert float(twice.abs().max()) > 0
