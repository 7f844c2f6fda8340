"""Twelve networks trained for tests of rankings, the standard ones also behind fixed input filters, all measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import tangency
from tangency.measures import ComparisonSource, MeasureConfig, Rows, Subject
from tangency.measures.driver import Driver
from tangency.mixtures import fit_affordable
from tangency.models import Classifier, build
from tangency.numerics import dct_basis
from tangency.score import MixtureScore
from tangency.score.references import load_score
from tangency.tangents import LocalPCATangents, MixtureTangents
from tangency.training import TrainConfig, train
from tangency.types import LabelledImages

SCALAR = "margin"
CONFIG = MeasureConfig(
    tangent_scalars=(SCALAR,),
    alignments=((SCALAR, "bayes_gradient"), (SCALAR, "network_bayes_gradient")),
    sigmas=(0.5,),
    rho_sigmas=(),
    epsilons=(),
    directions=1,
    metrics=("cosine",),
)
# architecture to its training, and the strengths of the robust objectives that it is trained with
ARCHITECTURES: dict[str, tuple[TrainConfig, dict[str, float]]] = {
    "convnet": (TrainConfig(epochs=8), {"gradient_norm": 1.0, "pgd_l2": 1.0, "noise_augmentation": 0.3}),
    "pooled": (TrainConfig(epochs=8), {"gradient_norm": 0.3, "pgd_l2": 1.0, "noise_augmentation": 0.3}),
}
STANDARD_SEEDS = (0, 1, 2)
OPTIONS: dict[str, dict[str, int]] = {"pgd_l2": {"steps": 3}}


def architecture(kind: str, data: LabelledImages, seed: int) -> Classifier:
    """The package's convnet (smooth, no pooling), or a network of ReLU and max pooling."""
    if kind == "convnet":
        return build(kind, data.shape, len(data.classes), seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = [nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(2)]
        second = [nn.Conv2d(16, 48, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)]
        net = nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(48 * 9, 10))
    return Classifier.wrap(net, data.shape, data.classes)


class Affine(nn.Module):
    """x -> net(m + A (x − m)), with a fixed matrix A of flat images."""

    matrix: Tensor
    centre: Tensor

    def __init__(self, net: nn.Module, matrix: Tensor, centre: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("matrix", matrix.float())
        self.register_buffer("centre", centre.float())

    def forward(self, x: Tensor) -> Tensor:
        return self.net(((x.flatten(1) - self.centre) @ self.matrix.T + self.centre).reshape(x.shape))


def filters(train: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, (d, d) matrix and (d,) centre of the fixed linear filters that no ranking may reward."""
    flat = train.flatten(1).double()
    mean = flat.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((flat - mean).T))
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    nothing = torch.zeros_like(mean)
    for k in (25, 50, 100):
        yield f"pca-{k}", vectors[:, :k] @ vectors[:, :k].T, mean
    side = train.shape[-1]
    waves = dct_basis((1, side, 1), 14)  # of one dimension, (side, 14)
    for k in (8, 14):
        low = waves[:, :k] @ waves[:, :k].T
        yield f"dct-{k}x{k}", torch.kron(low, low), nothing
    place = torch.arange(side, dtype=torch.float64)
    for sigma in (0.5, 1.0, 2.0):
        kernel = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
        blur = kernel / kernel.sum(1, keepdim=True)
        yield f"blur-{sigma:g}", torch.kron(blur, blur), nothing
    for c in (0.03, 0.1, 0.3, 1.0):
        yield f"wiener-{c:g}", vectors @ torch.diag(values / (values + c)) @ vectors.T, mean


def networks(folder: Path) -> dict[str, nn.Module]:
    """Name to network; trained in the folder, or taken from it where it was trained before."""
    data = tangency.load_data("fashion-mnist-5k")
    made: dict[str, nn.Module] = {}
    for kind, (config, robust) in ARCHITECTURES.items():
        trained = [("standard", 0.0, seed) for seed in STANDARD_SEEDS]
        trained += [(objective, strength, 0) for objective, strength in robust.items()]
        for objective, strength, seed in trained:
            name = f"{kind}-{objective}-{seed}"
            net = architecture(kind, data.train, seed)
            own = tangency.objective(objective, strength, **OPTIONS.get(objective, {}))
            result = train(net, data.train, own, dataclasses.replace(config, seed=seed), folder / name)
            made[name] = result.classifier
            print(name, result.outcome, f"{result.seconds:.0f} s, accuracy", result.history[-1:], flush=True)
    return made


def measured(nets: dict[str, nn.Module], images: int) -> dict[str, Rows]:
    """Rows of the networks, and of the standard ones behind each filter ("NETWORK+FILTER")."""
    data = tangency.load_data("fashion-mnist-5k")
    subjects = dict(nets)
    for label, matrix, centre in filters(data.train.images()):
        subjects |= {f"{name}+{label}": Affine(net, matrix, centre) for name, net in nets.items() if "standard" in name}
    mixture = fit_affordable(data.train, components=4, rank=12)[0]
    tangents = {"": MixtureTangents(mixture), "local-pca": LocalPCATangents(data.train, 60, 12)}
    score, network = MixtureScore(mixture), load_score("edm-fashion-mnist")
    source = ComparisonSource(score, tangents, data.test, data.train, CONFIG, torch.device("cpu"), network)
    order = [Subject(net.eval()) for net in subjects.values()]
    driver = Driver.fitting(source, CONFIG, order, 125)
    parts: list[list[Rows]] = []
    for rows in driver.rows(order, source.order(torch.arange(images))):
        parts.append(rows)
        print(f"{sum(len(each[0].ids) for each in parts)} images", flush=True)
    return {name: Rows.concatenate(own) for name, own in zip(subjects, zip(*parts, strict=True), strict=True)}


def main(folder: Path, images: int = 500) -> None:
    """Train and measure; the rows go to FOLDER/NAME.npz."""
    for name, rows in measured(networks(folder), images).items():
        np.savez(folder / f"{name}.npz", **{key: value.numpy() for key, value in rows.columns.items()})
