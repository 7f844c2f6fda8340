"""Sham spaces: of equal rank, of another place; refused where they are the own space."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from objective_support import OwnSpaces
from tangency.errors import NumericsError, SpecError
from tangency.seeding import Draw
from tangency.tangents import (
    SHAMS,
    StepwiseTangents,
    TangentEstimator,
    open_tangents,
    refuse_own_space,
    sham_tangents,
    space_agreement,
)
from tangency.tangents.references import Ground
from tangency.types import LabelledImages
from tangency.worlds import load_dataset

SHAPE, CLASSES = (1, 6, 7), ("a", "b", "c")
POOL = LabelledImages(
    torch.rand(60, *SHAPE, generator=torch.Generator().manual_seed(1)), torch.arange(60) % 3, CLASSES, digest="pool"
)
IDS = torch.arange(20, 32)
X = POOL.images(IDS)
NOISE = torch.randn(12, *SHAPE, generator=torch.Generator().manual_seed(2))
CONTROLS = [sham for sham in SHAMS if sham != "none"]


def overlap(a, b):
    return float(space_agreement(a, b).overlap.mean())


@pytest.mark.parametrize("sham", CONTROLS)
def test_a_sham_is_an_orthonormal_basis_of_the_own_rank_and_another_space(sham):
    own = OwnSpaces()
    made = sham_tangents(own, sham, POOL)
    assert isinstance(made, TangentEstimator)
    space, reference = made.at(X, IDS), own.at(X, IDS)
    if sham.startswith("other"):  # of another image, whose rank may be lower
        assert bool((space.rank <= reference.rank).all())
    else:
        assert torch.equal(space.rank, reference.rank)
    gram = space.basis.mT @ space.basis
    wanted = torch.diag_embed((torch.arange(3) < space.rank[:, None]).float())
    torch.testing.assert_close(gram, wanted, rtol=0, atol=1e-5)
    assert refuse_own_space(own, made, POOL) < 0.5
    assert made.card["kind"] == made.kind != own.kind
    torch.testing.assert_close(made.at(X[3:5], IDS[3:5]).basis, space.basis[3:5], rtol=0, atol=1e-6)


@pytest.mark.parametrize("sham", CONTROLS)
def test_a_sham_has_the_weights_of_the_own_space(sham):
    class Soft(OwnSpaces):
        def at(self, x, ids=None):
            space = super().at(x, ids)
            return dataclasses.replace(space, weights=torch.tensor([1.0, 0.5, 0.25]).expand(len(x), 3))

    space = sham_tangents(Soft(), sham, POOL).at(X, IDS)
    assert space.weights[0].tolist() == [1.0, 0.5, 0.25]
    inside = (space.basis.mT @ NOISE.flatten(1)[:, :, None])[:, :, 0] * space.weights
    torch.testing.assert_close(space.project(NOISE).flatten(1), (space.basis @ inside[:, :, None])[:, :, 0])


def test_another_image_is_the_one_that_the_shuffled_control_of_measures_takes():
    own = OwnSpaces()
    other = sham_tangents(own, "other", POOL, seed=4)
    partner, usable = other.others.partners.any(IDS)
    assert bool(usable.all() and (partner != IDS).all())
    theirs = own.at(POOL.images(partner), partner).cut(own.at(X, IDS).rank)
    assert torch.equal(other.at(X, IDS).basis, theirs.basis)
    same = sham_tangents(own, "other_class", POOL, seed=4)
    partner = same.others.partners.of_class(IDS, POOL.labels[IDS])[0]
    assert torch.equal(POOL.labels[partner], POOL.labels[IDS])
    assert torch.equal(same.at(X, IDS).basis, own.at(POOL.images(partner), partner).cut(own.at(X, IDS).rank).basis)


def test_a_fixed_random_space_stays_and_a_fresh_one_changes_with_image_and_step():
    own = OwnSpaces()
    fixed, fresh = sham_tangents(own, "random", POOL, seed=1), sham_tangents(own, "fresh", POOL, seed=1)
    assert not isinstance(fixed, StepwiseTangents)
    assert isinstance(fresh, StepwiseTangents)
    even = IDS[::2]  # of equal rank
    bases = fixed.at(X[::2], even).basis
    assert bool((bases == bases[0]).all())
    one, again = (fresh.of_step(Draw(0, IDS, "epoch 1")).at(X, IDS) for _ in range(2))
    next_one, other_seed = fresh.of_step(Draw(0, IDS, "epoch 2")).at(X, IDS), fresh.of_step(Draw(1, IDS, "epoch 1"))
    assert torch.equal(one.basis, again.basis)
    for different in (next_one.basis, other_seed.at(X, IDS).basis, one.basis.roll(2, 0)):
        assert not bool(torch.isclose(one.basis, different).flatten(1).all(1).any())
    assert not torch.equal(sham_tangents(own, "random", POOL, seed=2).at(X, IDS).basis, fixed.at(X, IDS).basis)


def test_random_shams_have_the_energy_of_chance():
    """E ‖P v‖²/‖v‖² = k/d for a uniformly random P: Beta(k/2, (d − k)/2), whose standard deviation is known."""
    own, d = OwnSpaces(), 42
    ids = torch.arange(0, 4000, 2)  # rank 2
    x = torch.ones(2000, *SHAPE)
    spread = (2 * 2 * (d - 2) / (d**2 * (d + 2))) ** 0.5
    fresh = sham_tangents(own, "fresh", POOL).at(x, ids).fraction(x)
    assert float(fresh.mean()) == pytest.approx(2 / d, abs=4 * spread / 2000**0.5)
    assert float(fresh.std()) == pytest.approx(spread, rel=0.1)
    fixed = [float(sham_tangents(own, "random", POOL, seed=s).at(x[:1], ids[:1]).fraction(x[:1])) for s in range(300)]
    assert sum(fixed) / 300 == pytest.approx(2 / d, abs=4 * spread / 300**0.5)


def test_own_spaces_without_a_dimension_are_refused_in_words():
    class Nowhere(OwnSpaces):
        def at(self, x, ids):
            space = super().at(x, ids)
            return space.cut(torch.zeros_like(space.rank))

    own = Nowhere()
    with pytest.raises(SpecError, match=r"the own spaces of '.*' have no dimension at any of \d+ images"):
        refuse_own_space(own, sham_tangents(own, "random", POOL), POOL)


def test_on_the_linear_world_another_image_and_pca_are_the_own_space_and_refused():
    data = load_dataset("world:linear?rank=4&classes=2&shape=1x8x8&train=300&test=10")
    exact = open_tangents("exact", Ground(data))
    with pytest.raises(SpecError, match="300 of 300 images have no other image with another space under 'exact'"):
        sham_tangents(exact, "other", data.train)
    pca = sham_tangents(exact, "pca", data.train)
    with pytest.raises(SpecError, match=r"overlap the own ones of 'exact' by 1\.000 of .* it is the own space and no"):
        refuse_own_space(exact, pca, data.train)
    fitted = open_tangents("local-pca?rank=4&neighbours=30", Ground(data))  # does not know that images share a space
    with pytest.raises(SpecError, match=r"expected less than 0\.95"):
        refuse_own_space(fitted, sham_tangents(fitted, "other", data.train), data.train)
    for sham in ("dct", "random", "fresh"):
        assert refuse_own_space(exact, sham_tangents(exact, sham, data.train), data.train) < 0.3


def test_on_the_fitted_world_another_image_has_another_space():
    data = load_dataset("world:fitted?train=300&test=10")
    exact = open_tangents("exact", Ground(data))
    assert refuse_own_space(exact, sham_tangents(exact, "other", data.train), data.train) < 0.6


def test_what_a_sham_needs_is_named():
    own = OwnSpaces()
    assert sham_tangents(own, "none") is own
    for sham in ("other", "pca", "dct", "random"):
        with pytest.raises(SpecError, match=f"sham {sham}: got no images, expected the training images"):
            sham_tangents(own, sham)
    with pytest.raises(SpecError, match="expected one of none, other"):
        sham_tangents(own, "shuffled", POOL)
    with pytest.raises(NumericsError, match="got no ids"):
        sham_tangents(own, "fresh").at(X)
