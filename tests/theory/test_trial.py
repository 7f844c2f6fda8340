"""Trials of estimators whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tangency.errors import NumericsError, TangencyError
from tangency.theory import SCORES, TANGENTS, TrialConfig, principal_angles, trial
from tangency.theory.kinds import Material, make_score, make_tangents
from tangency.worlds import drawn, make_world

QUICK = TrialConfig(train=400, images=40, population=200, datasets=20, n=50, sigmas=(0.05, 0.2))


@pytest.fixture(scope="module")
def exact() -> dict:
    return trial("linear?shape=1x6x6&rank=3&classes=3", "exact", "exact", QUICK).to_json()


def test_the_exact_estimator_has_no_error(exact: dict) -> None:
    angles = exact["tangents"]
    assert angles["largest_angle_degrees"]["high"] < 1e-6
    assert angles["leakage_worst"]["high"] < 1e-12
    assert angles["overlap"]["mean"] == pytest.approx(1)
    assert angles["overlap_chance"]["mean"] == pytest.approx(3 / 36)
    for entry in exact["score"]:
        assert entry["score_error"] == 0
        assert entry["mse"]["mean"] == pytest.approx(entry["least_mse"]["mean"])
        assert entry["bayes_cosine"]["mean"] == pytest.approx(1)
    assert all(entry["bias"]["mean"] == pytest.approx(0, abs=1e-12) for entry in exact["measures"].values())
    assert np.mean([entry["coverage"] for entry in exact["measures"].values()]) > 0.85


def test_one_global_subspace_is_off_by_the_angle_that_was_built_in() -> None:
    """Two subspaces turned by θ: the leading principal directions lie between them, at sin² = ½ sin² θ from each."""
    config = TrialConfig(train=3000, images=40, population=200, datasets=20, n=50, sigmas=(0.1,))
    found = trial("rotated?shape=1x8x8&rank=2&classes=2&angle=20", "pca", "exact", config).to_json()["tangents"]
    share = math.sin(math.radians(20)) ** 2 / 2
    assert found["mean_angle_degrees"]["mean"] == pytest.approx(math.degrees(math.asin(math.sqrt(share))), abs=0.5)
    assert found["leakage_random"]["mean"] == pytest.approx(share, abs=0.005)


def test_a_fitted_mixture_finds_the_subspace_and_falls_short_of_the_exact_score() -> None:
    result = trial("linear?shape=1x6x6&rank=3&classes=2&components=1", "mfa?components=1", "mfa?components=1", QUICK)
    found = result.to_json()
    assert found["tangents"]["largest_angle_degrees"]["mean"] < 5
    for entry in found["score"]:
        assert entry["mse"]["mean"] < entry["identity"]
        assert 0 < entry["score_error"] < 0.5
        assert entry["mse"]["mean"] >= entry["least_mse"]["mean"] * 0.98
    assert found["measures"]["alignment_cosine.margin.bayes_gradient.sigma=0.2"]["bias"]["mean"] < 0


def test_angles_equal_scipys_and_keep_what_an_arccosine_loses() -> None:
    from scipy.linalg import subspace_angles

    generator = torch.Generator().manual_seed(0)
    a = torch.linalg.qr(torch.randn(4, 9, 3, generator=generator, dtype=torch.float64)).Q
    b = torch.linalg.qr(torch.randn(4, 9, 5, generator=generator, dtype=torch.float64)).Q
    found = principal_angles(a, b)
    for i in range(4):
        assert found[i].numpy() == pytest.approx(subspace_angles(a[i].numpy(), b[i].numpy()), abs=1e-12)
    tiny = 1e-11
    u = torch.eye(4, dtype=torch.float64)[None, :, :1]
    v = torch.tensor([[[1.0], [tiny], [0], [0]]], dtype=torch.float64)
    assert float(principal_angles(u, v)[0, 0]) == pytest.approx(tiny, rel=1e-9)
    assert float(torch.arccos((u * v).sum().clamp(max=1))) == 0


@pytest.mark.parametrize(
    "kind", [*TANGENTS, "local-pca?rank=3", "denoiser?rank=3", "denoiser-differences?rank=3", "random?rank=3"]
)
def test_every_tangent_estimator_keeps_its_contract(kind: str) -> None:
    world = make_world("sphere?shape=1x6x6&rank=3")
    data = drawn(world, 200, 0)
    estimator = make_tangents(kind, Material(world, data))
    x, ids = data.images(slice(0, 7)), torch.arange(7)  # which estimators that draw at random need
    space = estimator.at(x, ids)
    assert estimator.kind == kind.partition("?")[0]
    assert space.basis.dtype == x.dtype
    assert int(space.rank.max()) <= estimator.max_rank == space.basis.shape[2]
    gram = space.basis.mT @ space.basis
    assert torch.allclose(gram, torch.eye(gram.shape[1]).expand_as(gram), atol=1e-5)
    assert torch.allclose(estimator.at(x[2:3], ids[2:3]).project(x[2:3]), space.project(x)[2:3], atol=1e-6)


@pytest.mark.parametrize("kind", SCORES)
def test_every_score_keeps_its_contract(kind: str) -> None:
    world = make_world("linear?shape=1x6x6&rank=3")
    data = drawn(world, 200, 0)
    score = make_score(kind, Material(world, data))
    x, y = data.images(slice(0, 5)), data.labels[:5]
    assert score.kind == kind
    assert torch.allclose(score.denoise(x, 0.2), x + 0.04 * score.score(x, 0.2), atol=1e-6)
    assert score.bayes_direction(x, y, 0.2).direction.shape == x.shape


@pytest.mark.parametrize(
    ("tangents", "score", "words"),
    [
        ("mfaa", "exact", "Did you mean 'mfa'"),
        ("mfa?component=3", "exact", "Did you mean 'components'"),
        ("mfa?components=two", "exact", "expected a whole number"),
        ("exact?rank=3", "exact", "takes no options"),
        ("exact", "edm", "kind of score"),
        ("mfa?rank=2&rank=3", "exact", "given twice"),
        ("pca?rank=36", "exact", "expected 1 to 35"),
    ],
)
def test_unknown_kinds_and_options(tangents: str, score: str, words: str) -> None:
    with pytest.raises(TangencyError, match=words):
        trial("linear?shape=1x6x6&rank=3", tangents, score, QUICK)


def test_a_trial_needs_images() -> None:
    with pytest.raises(NumericsError, match="images: got 3"):
        TrialConfig(images=3)
    with pytest.raises(NumericsError, match="positive numbers"):
        TrialConfig(sigmas=(0.0,))
