"""What every score keeps to, whatever gives it; mistakes that were once made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tangency.errors import ModelError, NumericsError, TangencyError
from tangency.evaluate.samples import sampler_for
from tangency.score import (
    ClassifierFreeGuided,
    ClassifierGuided,
    Denoiser,
    EmpiricalScore,
    FunctionScore,
    GaussianScore,
    Sampler,
    ScoreCard,
    build_network,
    diagnose,
    load_network,
    load_score,
    noise_averaged_score,
    save_score,
)
from tangency.score.diagnostics import Draws
from tangency.score.networks import unet as unet_module
from tangency.score.networks.unet import Preset
from tangency.score.quality import nearest
from tangency.seeding import Draw
from tangency.types import LabelledImages
from tangency.worlds import load_dataset

DATA = load_dataset("world:linear?rank=3&classes=2&shape=1x6x6&train=100&test=20")


def unet(**changes: Any) -> Any:
    options = {"channels": 1, "classes": 2, "size": "tiny"}
    return build_network(ScoreCard("unet", "edm", (1, 6, 6), options, classes=DATA.train.classes, **changes))


def scores() -> dict[str, Denoiser]:
    world = load_score("exact", DATA)
    return {
        **{name: load_score(name, DATA) for name in ("mfa?components=1&rank=2", "gaussian", "empirical", "exact")},
        "network": unet(),
        "guided": ClassifierFreeGuided(unet(), 2.0),
        "function": FunctionScore(lambda u, s, y: 0.5 * u, (1, 6, 6), classes=2),
        "by a classifier": ClassifierGuided(world, nn.Sequential(nn.Flatten(), nn.Linear(36, 2)), 1.0),
    }


@pytest.mark.parametrize("name", scores())
def test_every_score_keeps_the_contract(name: str) -> None:
    score = scores()[name]
    assert isinstance(score, Denoiser)
    assert score.card["kind"] == score.kind
    x, y = DATA.test.images(slice(0, 4)), DATA.test.labels[:4]
    levels = torch.tensor([0.1, 0.3, 0.1, 0.5])
    for given in (None, y):
        together = score.denoise(x, levels, given)
        assert together.dtype == x.dtype
        for i in range(4):
            alone = score.denoise(x[i : i + 1], float(levels[i]), None if given is None else given[i : i + 1])
            torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)
        score_ = score.score(x.double(), levels, given)
        wanted = (score.denoise(x.double(), levels, given) - x.double()) / levels.double()[:, None, None, None] ** 2
        torch.testing.assert_close(score_, wanted, rtol=1e-6, atol=1e-6)
    if name != "exact":
        assert score.denoise(x[:0], levels[:0]).shape == (0, 1, 6, 6)


@pytest.mark.parametrize("name", ["network", "guided", "function", "by a classifier"])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.rand(2, 1, 5, 6), None, "expected \\(N, 1, 6, 6\\)"),
        (torch.rand(2, 1, 6, 6).half(), None, "float32 or float64"),
        (torch.rand(2, 1, 6, 6), torch.tensor([0]), "for 2 images"),
        (torch.rand(2, 1, 6, 6), torch.tensor([0, 2]), "expected 0 to 1"),
        (torch.rand(2, 1, 6, 6), torch.tensor([0.0, 1.0]), "integers"),
    ],
)
def test_bad_questions_are_refused_by_all(name: str, x: Tensor, y: Tensor | None, message: str) -> None:
    score = scores()[name] if name != "by a classifier" else ClassifierGuided(unet(), nn.Identity(), 1.0)
    with pytest.raises(TangencyError, match=message):
        score.denoise(x, 0.1, y)


def test_answers_that_are_not_finite_are_an_error() -> None:
    broken = unet()
    next(iter(broken.module.parameters())).data.fill_(float("nan"))
    with pytest.raises(NumericsError, match="NaN or infinite"):
        broken.denoise(DATA.test.images(), 0.1)


def test_a_guided_score_knows_the_limits_of_its_network() -> None:
    base = unet(sigma_range=(0.001, 8.0))
    guided = ClassifierFreeGuided(base, 2.0)
    assert sampler_for(guided, 4).sigma_max == 8.0
    assert sampler_for(guided, 4).sample(guided, torch.arange(2), torch.tensor([0, 1])).shape == (2, 1, 6, 6)


@pytest.mark.parametrize("how", ["no_grad", "detach", "numpy"])
def test_a_function_that_cannot_be_differentiated_is_noticed(how: str) -> None:
    def plain(u: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        return 0.5 * u

    spoilt = {
        "no_grad": torch.no_grad()(plain),
        "detach": lambda u, levels, y: plain(u, levels, y).detach(),
        "numpy": lambda u, levels, y: torch.from_numpy(0.5 * u.numpy().astype(np.float64)).to(u.dtype),
    }[how]
    score = FunctionScore(spoilt, (1, 6, 6), data_range=(0.0, 1.0))
    assert not score.differentiable
    assert FunctionScore(plain, (1, 6, 6)).differentiable
    found = diagnose(score, DATA.test, 0.2, draws=Draws(probes=2))
    wanted = diagnose(FunctionScore(plain, (1, 6, 6), data_range=(0.0, 1.0)), DATA.test, 0.2, draws=Draws(probes=2))
    torch.testing.assert_close(found.sure, wanted.sure, rtol=1e-5, atol=1e-8)
    assert bool(found.asymmetry.isnan().all())


def test_absent_classes_do_not_spoil_what_is_there() -> None:
    lone = LabelledImages(torch.rand(10, 1, 4, 4), torch.zeros(10).long(), ("a", "b"))
    x = torch.rand(3, 1, 4, 4)
    for score in (EmpiricalScore(lone), GaussianScore(lone)):
        assert bool(torch.isfinite(score.denoise(x, 0.1)).all())
        with pytest.raises(NumericsError, match="at least 2 classes"):
            score.bayes_direction(x, torch.zeros(3).long(), 0.1)


def test_a_file_does_not_depend_on_what_a_size_means_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score, x = unet(), torch.rand(2, 1, 6, 6)
    save_score(score, tmp_path / "net.safetensors")
    monkeypatch.setitem(unet_module.PRESETS, "tiny", Preset((8, 8), 1, ()))
    assert torch.equal(load_network(tmp_path / "net.safetensors").denoise(x, 0.2), score.denoise(x, 0.2))


def test_half_precision_that_overflows_is_refused(tmp_path: Path) -> None:
    score = unet()
    next(iter(score.module.parameters())).data.fill_(1e30)
    with pytest.raises(ModelError, match="half precision cannot hold"):
        save_score(score, tmp_path / "net.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_nearest_images_are_found_where_single_precision_cancels() -> None:
    tight = 0.8 + 1e-4 * torch.randn(500, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images = LabelledImages(tight, torch.zeros(500).long(), ("a",))
    found = nearest(tight[:100], images)
    assert torch.equal(found.index, torch.arange(100))
    assert float(found.distance.max()) == 0


@pytest.mark.parametrize(
    ("ids", "y", "message"),
    [
        (torch.arange(3).float(), None, "whole numbers"),
        (torch.arange(4).reshape(2, 2), None, "whole numbers"),
        (torch.arange(3), torch.tensor([0, 1, 0, 1]), "for 3 images"),
        (torch.arange(3), torch.tensor([0, 1, 2]), "expected 0 to 1"),
    ],
)
def test_a_sampler_refuses_what_does_not_fit(ids: Tensor, y: Tensor | None, message: str) -> None:
    with pytest.raises(TangencyError, match=message):
        Sampler(2).sample(load_score("exact", DATA), ids, y)


def test_one_identity_for_many_images_is_refused() -> None:
    with pytest.raises(NumericsError, match="one each"):
        noise_averaged_score(load_score("exact", DATA), DATA.test.images(), 0.1, Draw(0, torch.arange(1), "n"))
    with pytest.raises(NumericsError, match="at least 1"):
        diagnose(load_score("exact", DATA), DATA.test, 0.1, draws=Draws(probes=0))


@pytest.mark.parametrize(
    ("names", "labelled"),
    [
        (("score",), [False]),
        (("score_y",), [True]),
        (("score_y", "bayes_gradient"), [False, True]),
        (("bayes_gradient", "score", "score_y"), [False, True]),
    ],
)
@pytest.mark.parametrize("sigma", [0.3, torch.tensor([0.1, 0.4, 0.7])], ids=["one", "each"])
def test_targets_together_are_those_one_by_one(names: tuple[str, ...], labelled: list[bool], sigma: Any) -> None:
    """With one value of D(x; σ) and one of D(x; σ, y), whatever needs them."""
    x, y = torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 0])
    calls: list[bool] = []

    def denoise(x: Tensor, sigma: Tensor, y: Tensor | None) -> Tensor:
        calls.append(y is not None)
        return torch.tanh(x) * (1 if y is None else 1 + y.view(-1, 1, 1, 1)) / (1 + sigma.view(-1, 1, 1, 1))

    score = FunctionScore(denoise, (1, 4, 4), 2, data_range=(0.0, 1.0))
    made = score.targets(x, y, sigma, names)
    assert sorted(calls) == labelled
    expected = {
        "score": score.score(x, sigma),
        "score_y": score.score(x, sigma, y),
        "bayes_gradient": score.bayes_direction(x, y, sigma).direction,
    }
    assert list(made) == list(names)
    for name in names:
        assert torch.equal(made[name], expected[name])
