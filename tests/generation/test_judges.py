"""Judges against the libraries that own them, and against what is known of equal and of disjoint sets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tangency.errors import ModelError, NumericsError
from tangency.generation.judges import (
    diversity,
    frechet_distance,
    judged,
    last_features,
    nearest_distance,
    precision_recall,
    psnr,
)
from tangency.perceptual.structural import ssim
from tangency.types import LabelledImages


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (2, 3, 32, 20)])
def test_psnr_and_ssim_are_those_of_torchmetrics(shape: tuple[int, ...]) -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    a = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    b = (a + 0.2 * normal(*shape).float()).clamp(0, 1)
    theirs = structural_similarity_index_measure(b, a, data_range=1.0, reduction="none")
    assert torch.allclose(ssim(b, a, value_range=1.0).float(), theirs, atol=1e-5)
    each = torch.stack([peak_signal_noise_ratio(b[i], a[i], data_range=1.0) for i in range(len(a))])
    assert torch.allclose(psnr(b, a), each, atol=1e-4)
    assert torch.allclose(ssim(a, a, value_range=1.0), torch.ones(len(a), dtype=torch.float64))
    assert psnr(a, a).isinf().all()


def test_noise_has_the_psnr_of_its_variance() -> None:
    found = psnr(0.25 * normal(50, 1, 64, 64), torch.zeros(50, 1, 64, 64, dtype=torch.float64))
    assert float(found.mean()) == pytest.approx(12.04, abs=0.05)


def test_frechet_distance_of_gaussians_and_its_refusal() -> None:
    from torchmetrics.image.fid import _compute_fid

    a, b = normal(4000, 4), 2 * normal(4000, 4, seed=1) + 1
    theirs = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert frechet_distance(a, b) == pytest.approx(float(theirs), rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(4 * 1 + 4 * (2 - 1) ** 2, rel=0.05)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    with pytest.raises(NumericsError, match="at least 40 a side"):
        frechet_distance(a[:39], b)


def test_precision_and_recall() -> None:
    a, b = normal(300, 3), normal(200, 3, seed=1)
    precision, recall = precision_recall(a, a)
    assert precision.mean() == recall.mean() == 1
    precision, recall = precision_recall(a, b + 100)
    assert precision.mean() == recall.mean() == 0
    collapsed = 0.01 * a  # among the real ones, but none of the real ones among them
    precision, recall = precision_recall(collapsed, b)
    assert precision.mean() == 1
    assert recall.mean() < 0.05
    assert precision.shape == (300,)
    assert recall.shape == (200,)
    with pytest.raises(NumericsError, match="more than 3"):
        precision_recall(a[:3], b)


def test_a_judge_is_asked_and_left_alone() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Dropout(0.9), nn.ReLU(), nn.Linear(5, 2)).train()
    x, y = torch.rand(7, 1, 2, 2), torch.tensor([0, 1, 0, 1, 0, 1, 1])
    found = judged(net, x, y, batch=3)
    with torch.no_grad():
        logits = net.eval()(x)
        features = net[:4](x)
    net.train()
    assert torch.equal(found["accuracy"], (logits.argmax(1) == y).double())
    assert torch.allclose(found["confidence"].float(), logits.softmax(1).gather(1, y[:, None]).squeeze(1))
    assert torch.allclose(last_features(net, x, batch=4).float(), features)
    assert net.training
    assert not net[4]._forward_pre_hooks
    with pytest.raises(ModelError, match="is Conv2d of an input"):
        last_features(nn.Conv2d(1, 1, 1), x)


def test_distances_between_pictures() -> None:
    train = LabelledImages(torch.rand(30, 1, 2, 2), torch.zeros(30, dtype=torch.int64), ("a", "b"))
    x = train.images(torch.tensor([4, 9])) + 0.001
    assert nearest_distance(x, train).tolist() == pytest.approx([0.002, 0.002], abs=1e-6)
    three = torch.tensor([0.0, 3.0, 4.0, 9.0]).reshape(4, 1, 1, 1)
    spread = diversity(three, torch.tensor([0, 0, 0, 1]))
    assert spread[:3].tolist() == [3.5, 2.0, 2.5]
    assert spread[3].isnan()
