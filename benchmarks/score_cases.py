"""Cases of score networks: training against a bare loop, sampling against one image at a time."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.case import Case, timed
from tangency.data import load
from tangency.score import EDMLoss, NetworkScore, Sampler, ScoreCard, build_network, load_score
from tangency.training import SCORE_CONFIG, train_score
from tangency.types import LabelledImages

BATCH, STEPS = 64, 40


def _images() -> LabelledImages:
    return load("fashion-mnist-5k").train.subset(slice(0, BATCH * STEPS))


def _network(data: LabelledImages) -> NetworkScore:
    options = {"channels": 1, "classes": len(data.classes), "size": "small"}
    return build_network(ScoreCard("unet", "edm", data.shape, options, classes=data.classes))


def _bare_loop(data: LabelledImages) -> float:
    """The least that a training can be: fresh noise, loss, backward, clip, AdamW; mean loss."""
    net = _network(data).module.requires_grad_(True).train()
    optimiser, total = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0), 0.0
    for ids in torch.arange(len(data)).split(BATCH):
        u, y = 2 * data.images(ids) - 1, data.labels[ids]
        sigma = (-1.2 + 1.2 * torch.randn(len(u))).exp()[:, None, None, None]
        scale = (sigma**2 + 0.25).rsqrt()
        noisy = u + sigma * torch.randn_like(u)
        target = (u - 0.25 * scale**2 * noisy) / (0.5 * sigma * scale)
        loss = F.mse_loss(net(scale * noisy, sigma.flatten().log() / 4, y), target)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        total += float(loss.detach()) / STEPS
    return total


def training() -> Case:
    """Training of the shipped network's size: with EMA, exact resume and per-image draws, against a bare loop."""
    data = _images()
    config = dataclasses.replace(SCORE_CONFIG, epochs=1, learning_rate=1e-3, validation_fraction=0.0)

    def ours() -> Tensor:
        with tempfile.TemporaryDirectory() as folder:
            result = train_score(_network(data), data, EDMLoss(), config, folder)
        return torch.tensor(float(result.history[0]["train_loss"] or 0))

    def other() -> Tensor:
        return torch.tensor(_bare_loop(data))

    return Case("training a U-Net, images per second of a bare loop", ours, other, 0.3, lambda s: _flops(data, s))


def _flops(data: LabelledImages, seconds: float) -> dict[str, float]:
    """Arithmetic achieved by training, and that of one large convolution on this machine, in FLOP/s."""
    net = _network(data).module.requires_grad_(True)
    u, y = data.images(slice(0, BATCH)), data.labels[:BATCH]
    with FlopCounterMode(display=False) as counter:
        net(u, torch.zeros(BATCH), y).square().mean().backward()
    achieved = counter.get_total_flops() * STEPS / seconds
    x = torch.randn(BATCH, 64, 28, 28, requires_grad=True)
    conv = nn.Conv2d(64, 64, 3, padding=1)

    def work() -> None:
        conv(x).square().mean().backward()

    with FlopCounterMode(display=False) as counter:
        work()
    floor = counter.get_total_flops() / min(timed(work) for _ in range(5))
    return {"flops_per_s": achieved, "convolution_flops_per_s": floor, "share": achieved / floor}


def sampling() -> Case:
    """64 images in 18 Heun steps from the shipped network in one batch, against one image at a time."""
    score, sampler = load_score("edm-fashion-mnist"), Sampler(18)
    ids = torch.arange(64)
    y = ids % 10

    def ours() -> Tensor:
        return sampler.sample(score, ids, y)

    def other() -> Tensor:
        return torch.cat([sampler.sample(score, ids[i : i + 1], y[i : i + 1]) for i in range(64)])

    return Case("64 samples in 18 Heun steps, an image at a time", ours, other, 1e-2)


CASES: dict[str, Callable[[], Case]] = {"score-training": training, "score-sampling": sampling}
