"""An autoencoder's tangent spaces on a torus that it learnt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tangency.study.fit_tangents import fitted_tangents
from tangency.tangents import Ground, WorldTangents, agreement
from tangency.worlds import load_dataset, make_world

TORUS = "torus?shape=1x8x8&contrast=0.2&rank=2"


@pytest.mark.slow
def test_a_vae_of_a_torus_finds_its_tangent_spaces_and_their_rank(tmp_path: Path) -> None:
    data = load_dataset(f"world:{TORUS}&train=20000&test=100")
    x = data.test.images()
    truth = WorldTangents(make_world(TORUS)).at(x.double())
    learnt = "autoencoder?latent=4&beta=0.03&epochs=35&learning_rate=0.003"
    space = fitted_tangents(f"{learnt}&rank=2", Ground(data), tmp_path).at(x)
    found = agreement(space, truth)
    print(f"mean angle {found.mean.mean():.2f}°, largest {found.largest.mean():.2f}°")
    assert float(found.mean.mean()) <= 6
    assert float(space.residual.mean()) < 0.2
    ranks = fitted_tangents(f"{learnt}&rank=drop", Ground(data), tmp_path).at(x).rank
    assert float((ranks - 2).abs().double().mean()) < 0.2
    assert int((ranks - 2).abs().max()) <= 1
