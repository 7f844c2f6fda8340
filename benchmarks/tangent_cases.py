"""Cases of tangent spaces: bases of a decoder against the published loop, eigenvectors against a score SVD."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.case import Case, interleaved, timed
from tangency.data import load
from tangency.numerics import project
from tangency.score import load_score
from tangency.tangents import (
    AutoencoderTangents,
    DenoiserTangents,
    KrylovOptions,
    ScoreSVDTangents,
    WorldTangents,
    agreement,
)
from tangency.tangents.spectrum import orthonormal
from tangency.worlds import make_world

LATENT, SHAPE, MANY = 128, (3, 32, 32), 256


class Published(nn.Module):
    """Latent 128 to 3×32×32 through three transposed convolutions; images are encoded by their first numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 256 * 16),
            nn.Unflatten(1, (256, 4, 4)),
            nn.SiLU(),
            nn.ConvTranspose2d(256, 128, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(128, 64, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(64, 3, 4, 2, 1),
            nn.Sigmoid(),
        )

    def encode(self, x: Tensor) -> Tensor:
        return 4 * x.flatten(1)[:, :LATENT] - 2

    def decode(self, z: Tensor) -> Tensor:
        images: Tensor = self.decoder(z)
        return images


def _images(n: int) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


def _projected(bases: list[np.ndarray]) -> Tensor:
    """P v of a fixed v: equal bases of one space give the same."""
    v = torch.randn(int(np.prod(SHAPE)), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wide = [torch.from_numpy(basis).double() for basis in bases]
    return torch.stack([basis @ (basis.T @ v) for basis in wide])


def _loop(frozen: bool) -> Callable[[], Tensor]:
    """A backward pass for each pixel of the output, then scipy's orth, an image at a time."""
    from scipy.linalg import orth

    net, x = Published().eval().requires_grad_(not frozen), _images(1)

    def work() -> Tensor:
        bases = []
        for code in net.encode(x):
            z = code[None].clone().requires_grad_(True)
            out = net.decode(z).flatten()
            rows = []
            for pixel in out:
                z.grad = None
                net.zero_grad()
                pixel.backward(retain_graph=True)
                assert z.grad is not None
                rows.append(z.grad[0].clone())
            bases.append(orth(torch.stack(rows).numpy()))
        return _projected(bases)

    return work


def _ours(n: int) -> Tensor:
    estimator = AutoencoderTangents(Published(), SHAPE, rank="relative", tolerance=0.0)
    return _projected([basis.numpy() for basis in estimator.at(_images(n)).basis])


def _large(seconds: float) -> dict[str, float]:
    """An image of 256, and that over 128 bare forwards of the decoder plus the factorisation."""
    net, x = Published().eval().requires_grad_(False), _images(MANY)
    estimator = AutoencoderTangents(net, SHAPE)
    estimator.at(x[:4])
    ours = timed(lambda: estimator.at(x)) / MANY
    bare, factor = [], []
    for some in x[:16].split(4):
        codes = net.encode(some).repeat_interleave(LATENT, 0)
        columns = torch.randn(len(some), int(np.prod(SHAPE)), LATENT)
        with torch.no_grad():
            bare.append(timed(partial(net.decode, codes)) / len(some))
        factor.append(timed(partial(orthonormal, columns)) / len(some))
    floor = float(np.median(bare) + np.median(factor))
    return {"seconds_of_one_in_256": ours, "over_bare_forwards_and_factorisation": ours / floor}


def decoder_published() -> Case:
    """As published: parameters take gradients, too."""
    what = "bases of a decoder, against a backward pass a pixel as published"
    return Case(what, lambda: _ours(1), _loop(frozen=False), 1e-3, _large)


def decoder_frozen() -> Case:
    """The same loop with frozen parameters."""
    what = "bases of a decoder, against a backward pass a pixel, frozen"
    return Case(what, lambda: _ours(1), _loop(frozen=True), 1e-3)


def denoiser_tangents() -> Case:
    """The mean angle to the true tangent spaces of a world of real images, and the time, against a score SVD."""
    world = make_world("fitted?components=2&rank=8")
    x = world.sample(4, seed=0).x
    truth = WorldTangents(world).at(x)

    def angle(estimator: DenoiserTangents | ScoreSVDTangents) -> Tensor:
        return agreement(estimator.at(x), truth).mean.mean()[None]

    fast = DenoiserTangents(world, KrylovOptions(sigma=0.02, rank=8))
    slow = ScoreSVDTangents(world, sigma=0.02, rank=8)
    evaluations = {"evaluations": float(2 * fast.products * 4), "evaluations_of_score_svd": 4.0 * 784}
    return Case(
        "eigenvectors of a denoiser, against a score SVD",
        lambda: angle(fast),
        lambda: angle(slow),
        90.0,
        lambda s: evaluations | {"mean_angle": float(angle(fast)), "mean_angle_of_score_svd": float(angle(slow))},
    )


def denoiser_network() -> Case:
    """32 eigenvectors of the shipped network at two images, against its dense Jacobian, a backward pass a pixel."""
    data = load("fashion-mnist-5k")
    score, x = load_score("edm-fashion-mnist", data), data.test.images(slice(0, 2))
    estimator = DenoiserTangents(score, KrylovOptions(sigma=0.1, rank=32))

    def ours() -> Tensor:
        spectrum = estimator.at(x).spectrum
        assert spectrum is not None
        return spectrum[:, :4]

    def dense() -> Tensor:
        leaf = x.clone().requires_grad_(True)
        out = score.denoise(leaf, 0.1).flatten(1)
        rows = [
            torch.autograd.grad(out[:, i].sum(), leaf, retain_graph=True)[0].flatten(1) for i in range(out.shape[1])
        ]
        jacobian = torch.stack(rows, 1).double()
        return torch.linalg.eigvalsh((jacobian + jacobian.mT) / 2).flip(1)[:, :4]

    def hundred(seconds: float) -> dict[str, float]:
        many = data.test.images(slice(0, 100))
        torch.set_num_threads(2)
        taken = timed(lambda: estimator.at(many))
        torch.set_num_threads(1)
        return {"seconds_for_100_images_on_two_cores": taken}

    return Case("32 eigenvectors of a network, against its dense Jacobian", ours, dense, 0.05, hundred)


def projection() -> Case:
    """U Uᵀ x of 128 images of 784 pixels in bases of rank 12, sixteen times."""
    made = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(128, 784, 12, generator=made, dtype=torch.float64)).Q
    x = torch.randn(128, 784, generator=made, dtype=torch.float64)

    def often(work: Callable[[Tensor, Tensor], Tensor], kind: torch.dtype) -> Callable[[], Tensor]:
        own, images = basis.to(kind), x.to(kind)
        return lambda: torch.stack([work(own, images) for _ in range(16)])[0]

    def sums(own: Tensor, images: Tensor) -> Tensor:
        return torch.einsum("ndk,nk->nd", own, torch.einsum("ndk,nd->nk", own, images))

    def single(_: float) -> dict[str, float]:
        seconds = interleaved({"ours": often(project, torch.float32), "other": often(sums, torch.float32)})
        return {"ratio in float32": seconds["other"] / seconds["ours"]}

    what = "projections as matrix products, against sums by einsum"
    return Case(what, often(project, torch.float64), often(sums, torch.float64), 1e-12, single)


CASES = {
    "decoder_published": decoder_published,
    "decoder_frozen": decoder_frozen,
    "denoiser_tangents": denoiser_tangents,
    "denoiser_network": denoiser_network,
    "projection": projection,
}
