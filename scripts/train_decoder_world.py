"""Train the decoders of `world:decoder` on the embedded Fashion-MNIST, and put them into the package.

    python scripts/train_decoder_world.py

One small variational autoencoder for each latent dimension; of it the decoder is kept, and for each class a mixture of
Gaussians fitted to the codes of its images. About two minutes of one core; the same weights to rounding at every run.
"""

from __future__ import annotations

import argparse
import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from tangency.data import load
from tangency.tensors import write_tensors
from tangency.types import LabelledImages

WEIGHTS = Path(__file__).parent.parent / "src" / "tangency" / "worlds" / "weights" / "decoder-fashion-mnist.safetensors"
LATENTS, WIDTHS = (1, 2, 3), (48, 48, 24)
EPOCHS, BATCH, RATE = 30, 128, 5e-3
NOISE = 0.2  # variance of a pixel in the likelihood: large, so that the decoder is smooth
STEEPEST, WIDE = 8.0, 2.5  # slope beyond which is penalised, at codes of this standard deviation
STEP, PENALTY = 0.05, 100.0
COMPONENTS, ROUNDS = 6, 100  # of a class's codes
NARROWEST, WIDEST = 0.15, 0.3  # standard deviation of a component in any direction


def network(latent: int) -> nn.Sequential:
    """Codes (N, latent) to pixels (N, 784), linear in its last hidden layer."""
    sizes = (latent, *WIDTHS)
    hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.SiLU())]
    return nn.Sequential(*hidden, nn.Linear(WIDTHS[-1], 784))


def trained(data: LabelledImages, latent: int) -> tuple[nn.Sequential, Tensor]:
    """The decoder of a VAE, and the posterior means of all images, (N, latent)."""
    torch.manual_seed(latent)
    encoder = nn.Sequential(nn.Linear(784, 256), nn.SiLU(), nn.Linear(256, 64), nn.SiLU(), nn.Linear(64, 2 * latent))
    decoder, x = network(latent), data.images().flatten(1)
    steps = EPOCHS * (len(x) // BATCH)
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    for _ in range(steps):
        batch = x[torch.randint(len(x), (BATCH,))]
        mean, log_variance = encoder(batch).chunk(2, 1)
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        steep = steepness(decoder, latent)
        loss = steep + ((decoder(code) - batch).square().sum(1) / (2 * NOISE) + divergence).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return decoder, encoder(x)[:, :latent].double()


def steepness(decoder: nn.Sequential, latent: int) -> Tensor:
    """A penalty on slopes above the steepest allowed, also where there are no codes: spacing follows the largest."""
    code = WIDE * torch.randn(BATCH, latent)
    along = torch.eye(latent)[torch.randint(latent, (BATCH,))]
    slopes = (decoder(code + STEP * along) - decoder(code - STEP * along)).square().sum(1) / (2 * STEP) ** 2
    return (slopes / STEEPEST**2 - 1).relu().mean() * PENALTY


def fitted(codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means (J, k), Cholesky factors (J, k, k) and log weights (J,) of a mixture of Gaussians, by EM."""
    n, k = codes.shape
    centres = codes[:: n // COMPONENTS][:COMPONENTS]
    share = nn.functional.one_hot(torch.cdist(codes, centres).argmin(1), COMPONENTS).double()
    for _ in range(ROUNDS):
        total = share.sum(0)
        means = share.T @ codes / total[:, None]
        away = codes[:, None] - means
        covariances = torch.einsum("nj,nja,njb->jab", share, away, away) / total[:, None, None]
        values, vectors = torch.linalg.eigh(covariances)
        covariances = vectors @ torch.diag_embed(values.clamp(NARROWEST**2, WIDEST**2)) @ vectors.mT
        factors = torch.linalg.cholesky(covariances)
        scaled = torch.linalg.solve_triangular(factors, away.permute(1, 2, 0), upper=False).square().sum(1).T
        log_size = factors.diagonal(dim1=1, dim2=2).log().sum(1) + k / 2 * math.log(2 * math.pi)
        log_weights = (total / n).log()
        share = (log_weights - log_size - scaled / 2).softmax(1)
    return means, factors, log_weights


def main() -> None:
    """Train, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    data = load("fashion-mnist-5k").train
    tensors: dict[str, Tensor] = {}
    for latent in LATENTS:
        decoder, codes = trained(data, latent)
        layers = [part for part in decoder if isinstance(part, nn.Linear)]
        for i, layer in enumerate(layers):
            tensors |= {f"{latent}.weight.{i}": layer.weight, f"{latent}.bias.{i}": layer.bias}
        parts = zip(*(fitted(codes[data.labels == c]) for c in range(len(data.classes))), strict=True)
        names = ("means", "factors", "log_weights")
        tensors |= {f"{latent}.{name}": torch.stack(part) for name, part in zip(names, parts, strict=True)}
    header = {"classes": list(data.classes), "data": "fashion-mnist-5k", "data_digest": data.digest, "licence": "MIT"}
    write_tensors(out, {name: tensor.detach().float() for name, tensor in tensors.items()}, header)
    print(f"{out.name}: {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
