"""Estimators of the tangent space against the truth: the table of docs/tangents.md.

    python scripts/tangent_table.py [world …]

Trains an autoencoder for each world, so it takes about half an hour on two cores; rows are printed as they are done.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from tangency.errors import TangencyError
from tangency.evaluate.fitting.tangents import fitted_tangents
from tangency.tangents import Ground, WorldTangents, space_agreement
from tangency.worlds import load_dataset, make_world

IMAGES, SIGMA = 50, 0.02


@dataclass(frozen=True)
class Row:
    """A world, the dimension of its manifold, the autoencoder that learns it (no options for none), training images."""

    world: str
    rank: int
    autoencoder: str = ""
    train: int = 20_000


_PLAIN = "latent={}&width=16&epochs=10&learning_rate=0.003"
# Flat off the manifold, which a plain one need not be; √β is about a sixth of a circle's radius.
_VAE = "latent={}&width={}&epochs={}&learning_rate={}&beta={}"
ROWS = {
    "sphere-2": Row("sphere?shape=1x4x8&rank=2", 2),
    "torus-2": Row("torus?shape=1x8x8&contrast=0.2&rank=2", 2, _VAE.format(4, 32, 35, 0.003, 0.03)),
    "torus-4": Row("torus?shape=1x8x8&contrast=0.2&rank=4", 4, _VAE.format(8, 64, 30, 0.002, 0.015)),
    "torus-8": Row(
        "torus?shape=1x8x8&contrast=0.2&rank=8", 8, _VAE.format(16, 64, 12, 0.003, 0.005) + "&batch_size=128", 200_000
    ),
    "sphere-7": Row("sphere?shape=1x8x8&contrast=0.2&rank=7", 7, _VAE.format(16, 32, 35, 0.003, 0.03)),
    "linear-16": Row("linear?shape=1x28x28&rank=16", 16, _PLAIN.format(16)),
    "fitted-12": Row("fitted?components=4&rank=12", 12, _PLAIN.format(32)),
    "linear-64": Row("linear?shape=3x32x32&rank=64", 64),
}


def references(row: Row) -> list[str]:
    """Estimators at the true rank, then those that estimate it."""
    k, near = row.rank, max(20, 2 * row.rank)
    names = ["exact", f"denoiser?rank={k}&sigma={SIGMA}", f"mfa?rank={k}", f"local-pca?rank={k}&neighbours={near}"]
    names += [f"autoencoder?{row.autoencoder}&rank={k}"] if row.autoencoder else []
    names += [f"denoiser-differences?rank={k}&sigma={SIGMA}{more}" for more in ("", "&central=true")]
    names += [f"score-svd?rank={k}&sigma={SIGMA}"] if row.world.startswith(("torus", "sphere")) else []
    names += [f"pca?rank={k}", f"dct?rank={k}", f"random?rank={k}"]
    names += [f"denoiser?rank=drop&most={2 * k}&sigma={SIGMA}", f"local-pca?rank=drop&most={2 * k}&neighbours={near}"]
    return names


def show(name: str, row: Row, folder: Path) -> None:
    """Print the rows of one world."""
    data = load_dataset(f"world:{row.world}&train={row.train}&test={IMAGES}")
    world = make_world(row.world)
    ground = Ground(data, score=world)
    x, ids = data.test.images().double(), torch.arange(IMAGES)
    truth = WorldTangents(world).at(x)
    for reference in references(row):
        started = time.perf_counter()
        try:
            space = fitted_tangents(reference, ground, folder).at(x, ids)
        except TangencyError as error:
            print(f"| {name} | `{reference}` | {error} |", flush=True)
            continue
        angles, taken = space_agreement(space, truth), time.perf_counter() - started
        rank = f"{space.rank.min()}–{space.rank.max()}" if space.rank.unique().numel() > 1 else f"{space.rank[0]}"
        print(
            f"| {name} | {world.dimension} | `{reference}` | {rank} | {angles.mean.nanmean():.2f} | "
            f"{angles.largest.nanmean():.2f} | {1 - angles.overlap.nanmean():.2g} | {taken:.1f} |",
            flush=True,
        )


def main() -> None:
    """Print the table of the worlds that are named, or of all."""
    print("| world, k | d | estimator | rank | mean angle, ° | largest, ° | leakage | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or list(ROWS):
            show(name, ROWS[name], Path(folder))


if __name__ == "__main__":
    main()
