"""Each case: two ways to the same numbers, checked to agree, ours and the other's."""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor, nn

from benchmarks.case import Case
from tangency.attacks import pgd
from tangency.autodiff import input_gradients
from tangency.data import load
from tangency.mixtures import Mixture, fit_mixture
from tangency.models import build
from tangency.perceptual import LPIPS
from tangency.perceptual.lpips import embedding_distance
from tangency.perceptual.pictures import max_normalised
from tangency.seeding import Draw
from tangency.tangents import MixtureTangents
from tangency.types import Dataset
from tangency.worlds import World, make_world

SCALARS = ("logp_y", "logit_y", "sum_logits")


@cache
def _data() -> Dataset:
    return load("fashion-mnist-5k")


@cache
def _mixture() -> Mixture:
    return fit_mixture(_data().train)[0]


def _network() -> nn.Module:
    return build("convnet", (1, 28, 28), _data().train.classes, seed=0).eval()


def gradients() -> Case:
    """Three input gradients of 200 images: batched, against a loop over images and scalars."""
    x, y, model = _data().test.images()[:200], _data().test.labels[:200], _network()

    def ours() -> Tensor:
        gradients = input_gradients(model, x, y, SCALARS)
        return torch.stack([gradients[name].direction for name in SCALARS[1:]])

    def other() -> Tensor:
        rows = []
        for name in SCALARS:
            for image, label in zip(x, y, strict=True):
                one = image[None].clone().requires_grad_(True)
                logits = model(one)[0]
                values = {"logp_y": logits.log_softmax(0)[label], "logit_y": logits[label], "sum_logits": logits.sum()}
                rows.append(torch.autograd.grad(values[name], one)[0][0])
        return torch.stack(rows).reshape(3, *x.shape)[1:]

    return Case("3 gradients of 200 images of 28×28, convnet: batched / loop over images", ours, other, 1e-5)


def lpips_controls() -> Case:
    """100 gradients against a score and 4 controls: cached embeddings, against the lpips package's pairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips
        from lpips import pretrained_networks
        from torchvision.models import AlexNet

    mine = LPIPS()
    network = AlexNet()
    for index in (0, 3, 6, 8, 10):
        network.features[index].weight.data = mine.layers[index].weight.clone()
        network.features[index].bias.data = mine.layers[index].bias.clone()
    original, pretrained_networks.tv.alexnet = pretrained_networks.tv.alexnet, lambda **_: network
    theirs = lpips.LPIPS(net="alex", pretrained=True, verbose=False).eval()
    pretrained_networks.tv.alexnet = original
    for layer, linear in enumerate(theirs.lins):
        linear.model[-1].weight.data = getattr(mine, f"linear{layer}").square().reshape(1, -1, 1, 1)
    ids = torch.arange(100)
    signals = [max_normalised(Draw(0, ids, f"signal {i}").normal((1, 28, 28))) for i in range(6)]

    def ours() -> Tensor:
        embedded = [mine.embed(signal) for signal in signals]
        return torch.stack([embedding_distance(embedded[0], target) for target in embedded[1:]])

    def other() -> Tensor:
        wide = [
            nn.functional.interpolate(s, size=(64, 64), mode="bilinear", align_corners=False).repeat(1, 3, 1, 1)
            for s in signals
        ]
        with torch.no_grad():
            return torch.stack([theirs(wide[0], target).flatten() for target in wide[1:]])

    return Case("LPIPS of 100 gradients with a score and 4 controls: cached / lpips 0.1.4 by pairs", ours, other, 1e-5)


def bayes_direction() -> Case:
    """Bayes directions of 10 images: low-rank closed form, against automatic differentiation of dense Gaussians."""
    x, y = _data().test.images()[:10].double(), _data().test.labels[:10]
    mixture, sigma = _mixture(), 0.5

    def ours() -> Tensor:
        return mixture.bayes_direction(x, y, sigma).direction

    def other() -> Tensor:
        d = mixture.dimension
        covariance = mixture.loadings @ mixture.loadings.mT + torch.diag_embed(mixture.noise)
        covariance = covariance + sigma**2 * torch.eye(d, dtype=torch.float64)
        dense = torch.distributions.MultivariateNormal(mixture.means, covariance)
        inputs = x.flatten(1).clone().requires_grad_(True)
        joint = mixture.log_weights + dense.log_prob(inputs[:, None])
        own = mixture.component_class == y[:, None]
        odds = joint.masked_fill(~own, -torch.inf).logsumexp(1) - joint.masked_fill(own, -torch.inf).logsumexp(1)
        return torch.autograd.grad(odds.sum(), inputs)[0].reshape(x.shape)

    return Case("Bayes direction of 10 images, 40 components, d = 784: low-rank / dense autograd", ours, other, 1e-6)


def tangent_fractions() -> Case:
    """F² of 5 networks on 60 images: one basis shared by all, against an SVD an image for every network."""
    x = _data().test.images()[:60]
    mixture = _mixture()
    tangents = MixtureTangents(mixture)
    gradients = [Draw(0, torch.arange(60), f"network {i}").normal((1, 28, 28)) for i in range(5)]

    def ours() -> Tensor:
        space = tangents.at(x)
        return torch.stack([space.fraction(g) for g in gradients])

    def other() -> Tensor:
        component = mixture.component(x)
        rows = []
        for g in gradients:
            for j, one in zip(component, g, strict=True):
                u = torch.linalg.svd(mixture.loadings[j].float(), full_matrices=False)[0]
                v = one.flatten()
                rows.append((u @ (u.T @ v)).square().sum() / v.square().sum())
        return torch.stack(rows).reshape(5, 60)

    return Case("F² of 5 networks on 60 images: shared bases / SVD an image for every network", ours, other, 1e-5)


def attack() -> Case:
    """PGD-10 on 100 images: batched with per-image budgets, against one image at a time."""
    x, y, model = _data().test.images()[:100], _data().test.labels[:100], _network()
    ids = torch.arange(100)

    def run(part: slice) -> Tensor:
        return pgd(model, x[part], y[part], 1.0, draw=Draw(0, ids[part], "attack")).images

    def other() -> Tensor:
        return torch.cat([run(slice(i, i + 1)) for i in range(100)])

    return Case(
        "PGD-10 (l2) of 100 images: per-image budgets in one batch / one image at a time",
        lambda: run(slice(100)),
        other,
        1e-3,
    )


@cache
def _fitted() -> tuple[World, Tensor, Tensor]:
    """W3 with 40 components of rank 12, and 10,000 of its images."""
    world = make_world("fitted")
    sample = world.sample(10_000, 0)
    return world, sample.x.float(), sample.y


def _answers(world: World, x: Tensor, y: Tensor) -> Tensor:
    """Score, Bayes direction and tangent bases, summed up to a few numbers an image."""
    score, bayes = world.score(x, 0.1).flatten(1), world.bayes_direction(x, y, 0.1).direction.flatten(1)
    basis = world.tangent_basis(x)[0]
    return torch.stack([score[:, 0], bayes[:, 0], basis[:, 300].square().sum(1)], 1)


def world() -> Case:
    """Everything that a world of 40 components says of 10,000 images: at once, against a thousand at a time."""
    law, x, y = _fitted()

    def other() -> Tensor:
        parts = zip(x.split(1000), y.split(1000), strict=True)
        return torch.cat([_answers(law, part, labels) for part, labels in parts])

    return Case(
        "10,000 images of a world at once, against a thousand at a time", lambda: _answers(law, x, y), other, 1e-4
    )


CASES = {
    "gradients": gradients,
    "lpips_controls": lpips_controls,
    "bayes_direction": bayes_direction,
    "tangent_fractions": tangent_fractions,
    "attack": attack,
    "world": world,
}
