"""An autoencoder's tangent spaces on a torus that it learnt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tangency.study.fit_tangents import fitted_tangents
from tangency.tangents import Ground, WorldTangents, agreement
from tangency.worlds import load_dataset, make_world

# circles, training images, how its autoencoder is trained (√β is about a sixth of a circle's radius)
LEARNT = [
    (2, 20_000, "latent=4&beta=0.03&epochs=35&learning_rate=0.003"),
    (4, 20_000, "latent=8&width=64&beta=0.015&epochs=30"),
    (8, 200_000, "latent=16&width=64&beta=0.005&epochs=12&learning_rate=0.003&batch_size=128"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("circles", "train", "options"), LEARNT)
def test_a_vae_of_a_torus_finds_its_tangent_spaces_and_their_rank(
    circles: int, train: int, options: str, tmp_path: Path
) -> None:
    torus = f"torus?shape=1x8x8&contrast=0.2&rank={circles}"
    data = load_dataset(f"world:{torus}&train={train}&test=100")
    x = data.test.images()
    truth = WorldTangents(make_world(torus)).at(x.double())
    learnt = f"autoencoder?{options}"
    space = fitted_tangents(f"{learnt}&rank={circles}", Ground(data), tmp_path).at(x)
    found = agreement(space, truth)
    print(f"mean angle {found.mean.mean():.2f}°, largest {found.largest.mean():.2f}°")
    assert float(found.mean.mean()) <= 6
    assert float(space.residual.mean()) < 0.2
    ranks = fitted_tangents(f"{learnt}&rank=drop", Ground(data), tmp_path).at(x).rank
    near = ((ranks - circles).abs() <= 1).double().mean()
    print(f"rank within one of {circles} in {float(near):.0%} of the images")
    assert float(near) >= (1.0 if circles < 8 else 0.9)  # the largest drop of an image may stand elsewhere
