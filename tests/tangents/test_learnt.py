"""An autoencoder's tangent spaces on a torus that it learnt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tangency.evaluate.fitting.tangents import fitted_tangents
from tangency.tangents import Ground, WorldTangents, space_agreement
from tangency.worlds import load_dataset, make_world

# circles, training images, how its autoencoder is trained (√β is about a sixth of a circle's radius)
LEARNT = [
    (2, 20_000, "latent=4&beta=0.03&epochs=35&learning_rate=0.003"),
    (4, 20_000, "latent=8&width=64&beta=0.015&epochs=30"),
    (8, 200_000, "latent=16&width=64&beta=0.005&epochs=12&learning_rate=0.003&batch_size=128"),
]
# σ_m/σ_{m+1} of a decoder's Jacobian from which on there is a gap: others of its ratios are smaller
GAP = 1.75


@pytest.mark.slow
@pytest.mark.parametrize(("circles", "train", "options"), LEARNT)
def test_a_vae_of_a_torus_finds_its_tangent_spaces_and_their_rank(
    circles: int, train: int, options: str, tmp_path: Path
) -> None:
    torus = f"torus?shape=1x8x8&contrast=0.2&rank={circles}"
    data = load_dataset(f"world:{torus}&train={train}&test=1000")
    x = data.test.images()
    truth = WorldTangents(make_world(torus)).at(x.double())
    learnt = f"autoencoder?{options}"
    space = fitted_tangents(f"{learnt}&rank={circles}", Ground(data), tmp_path).at(x)
    found = space_agreement(space, truth)
    print(f"mean angle {found.mean.mean():.2f}°, largest {found.largest.mean():.2f}°")
    assert float(found.mean.mean()) <= 6
    assert float(space.residual.mean()) < 0.2
    found = fitted_tangents(f"{learnt}&rank=damped&tolerance=0.5", Ground(data), tmp_path).at(x)
    near = (found.rank - circles).abs() <= 1
    assert found.spectrum is not None
    exists = found.spectrum[:, circles - 1] >= GAP * found.spectrum[:, circles]
    print(f"a gap in {exists.double().mean():.1%} of the images; rank within one in {near.double().mean():.1%}")
    assert bool(near[exists].all())
    assert float(exists.double().mean()) > 0.85
    assert float(near.double().mean()) > 0.98
