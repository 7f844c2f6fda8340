"""Shuffled tangent spaces where images share them: a partner has another space, or there is no control."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from measure_support import measured, toy_world
from support import make_mixture
from tangency.autodiff import input_gradient
from tangency.evaluate.numbers import trial_numbers
from tangency.measures import ComparisonSource, MeasureConfig, control_warnings, measure
from tangency.mixtures import Mixture
from tangency.numerics import flat, unit
from tangency.score import MixtureScore
from tangency.seeding import Draw
from tangency.statistics import PairedBootstrap
from tangency.tangents import (
    FixedTangents,
    MixtureTangents,
    ShuffledTangents,
    StoredTangents,
    TangentEstimator,
    TangentSpace,
    WorldTangents,
    coincide,
    dct_tangents,
    numbered,
    store_tangents,
)
from tangency.types import LabelledImages
from tangency.worlds import drawn, make_world

SHAPE, N = (1, 6, 7), 80
CONFIG = MeasureConfig(sigmas=(0.25,), directions=1, metrics=("cosine",), epsilons=(1.0,), rho_sigmas=(0.05,))
FRACTION = "tangent_fraction.margin"


class Plain:
    """An estimator of somebody else's: it does not tell which images share a space."""

    def __init__(self, inner: MixtureTangents) -> None:
        self.inner, self.kind, self.where = inner, "plain", "somewhere"
        self.max_rank, self.card = inner.max_rank, inner.card

    def at(self, x: torch.Tensor, ids: torch.Tensor | None = None) -> TangentSpace:
        return self.inner.at(x, ids)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(42, 16), nn.SiLU(), nn.Linear(16, 3)).double()


def fractions(mixture: Mixture, data: LabelledImages) -> torch.Tensor:
    """F² of each image's gradient in the space of each component, (N, K)."""
    x = data.images().double()
    gradient = flat(unit(input_gradient(network(), x, data.labels, "margin").direction))
    return torch.einsum("nd,kdr->nkr", gradient, mixture.bases()[0]).square().sum(2)


def shuffled(mixture: Mixture, data: LabelledImages, tangents: TangentEstimator, **changes: object) -> object:
    return measured(network(), mixture, data, CONFIG, tangents=tangents, **changes)


@pytest.mark.parametrize("control", ["shuffled", "shuffled_class"])
def test_no_partner_has_the_images_own_component(control: str) -> None:
    """The control is F² in the space of another component; before, a quarter to a half was F² itself."""
    mixture, data = toy_world(SHAPE, N)
    found = shuffled(mixture, data, MixtureTangents(mixture))
    component = mixture.component(data.images().double())
    each = fractions(mixture, data)
    allowed = torch.arange(6) != component[:, None]
    if control == "shuffled_class":
        allowed &= mixture.component_class == data.labels[:, None]
    values = found[f"{FRACTION}.{control}"]
    assert values.isfinite().all()
    hit = ((each - values[:, None]).abs() < 1e-6) & allowed
    assert hit.any(1).all()
    torch.testing.assert_close(found[FRACTION], each[torch.arange(N), component])
    few = shuffled(mixture, data, MixtureTangents(mixture), at=torch.tensor([41, 3]))  # a limit, another order
    torch.testing.assert_close(few[f"{FRACTION}.{control}"], values[[41, 3]])


def test_a_class_of_one_component_has_no_control_of_its_class_and_n_says_so() -> None:
    mixture, data = toy_world(SHAPE, N)
    weights = mixture.log_weights.exp() * torch.tensor([1, 0, 1, 1, 1, 1])  # the first class is left one component
    mixture = dataclasses.replace(mixture, log_weights=(weights / weights.sum()).log())
    x, y = mixture.sample(N, 3)
    data = LabelledImages(x.clamp(0, 1), y, ("a", "b", "c"))
    found = shuffled(mixture, data, MixtureTangents(mixture))
    component = mixture.component(data.images())
    alone = data.labels == 0
    assert (component[alone] == 0).all()
    assert torch.equal(found[f"{FRACTION}.shuffled_class"].isnan(), alone)
    assert found[f"{FRACTION}.shuffled"].isfinite().all()
    columns = {key: values.numpy() for key, values in found.columns.items()}
    numbers = trial_numbers(columns, PairedBootstrap(N, 50), 42, 3)
    told = numbers.estimates[f"{FRACTION}.shuffled_class"]
    assert (told.n, told.degenerate) == (N - int(alone.sum()), int(alone.sum()))
    (said,) = control_warnings(found.columns)
    assert said.startswith(f"{FRACTION}.shuffled_class: rests on {told.n} of {N} images.")
    scores = found["alignment_cosine.margin.bayes_gradient.sigma=0.25.shuffled_class"]
    assert scores.isfinite().all()  # a score is the image's own, whatever its component


def test_an_image_in_another_classs_component_stands_in_for_none_of_its_class() -> None:
    """With one component a class it would be the only partner there is, and its space that of another class."""
    mixture, data = toy_world(SHAPE, N)
    labels = data.labels.clone()
    labels[:3] = (labels[:3] + 1) % 3
    wrong = dataclasses.replace(data, labels=labels)
    estimator = MixtureTangents(mixture)
    source = ComparisonSource(MixtureScore(mixture), {"": estimator}, wrong, wrong, CONFIG)
    (frame,) = source.frames
    partner, usable = frame.partners.of_class(torch.arange(N), labels)
    assert usable.all()
    component = mixture.component(data.images().double())
    assert torch.equal(mixture.component_class[component[partner]], labels)
    assert torch.equal(labels[partner], labels)


def test_one_component_a_class_leaves_the_control_of_the_class_out() -> None:
    mixture = make_mixture(SHAPE, 3, 1, 4, noise=0.003)
    x, y = mixture.sample(N, 0)
    data = LabelledImages(x.clamp(0, 1), y, ("a", "b", "c"))
    found = shuffled(mixture, data, MixtureTangents(mixture))
    assert found[f"{FRACTION}.shuffled_class"].isnan().all()
    assert found[f"{FRACTION}.shuffled"].isfinite().all()
    columns = {key: values.numpy() for key, values in found.columns.items()}
    excess = trial_numbers(columns, PairedBootstrap(N, 50), 42, 3).excess[FRACTION]
    assert set(excess.controls) == {"shuffled", "dct", "pca", "phase"}
    assert excess.estimate.n == N


@pytest.mark.parametrize("components", ["equal", "one"])
def test_components_of_one_span_are_one_space(components: str) -> None:
    """Loadings of a class that span the same, in another basis, are no other tangent space."""
    mixture, data = toy_world(SHAPE, N)
    loadings = mixture.loadings.clone()
    if components == "equal":
        turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
        loadings[1] = 3 * loadings[0] @ turn
    mixture = dataclasses.replace(mixture, loadings=loadings)
    expected = [0, 0, 2, 3, 4, 5] if components == "equal" else list(range(6))
    assert numbered([mixture.bases()[0]]).tolist() == expected
    found = shuffled(mixture, data, MixtureTangents(mixture))
    own = mixture.component(data.images().double()) < 2
    alone = (data.labels == 0) & own if components == "equal" else torch.zeros(N, dtype=torch.bool)
    assert torch.equal(found[f"{FRACTION}.shuffled_class"].isnan(), alone)


def test_an_estimator_that_does_not_tell_has_no_control_where_the_space_is_the_same(tmp_path: Path) -> None:
    mixture, data = toy_world(SHAPE, N, torch.float32)
    inner = MixtureTangents(mixture)
    stored = store_tangents(inner, data, tmp_path)
    assert isinstance(stored, StoredTangents)
    for estimator in (Plain(inner), stored):
        source = ComparisonSource(MixtureScore(mixture), {"": estimator}, data, data, CONFIG)
        ids = torch.arange(N)
        (frame,) = source.at(data.images(), data.labels, ids).frames
        component = mixture.component(data.images())
        for name, (partner, _) in (
            ("shuffled", source.partners.any(ids)),
            ("shuffled_class", source.partners.of_class(ids, data.labels)),
        ):
            same = component[partner] == component
            assert 0 < int(same.sum()) < N
            assert torch.equal(frame.controls[name].basis.isnan().any((1, 2)), same)


def test_worlds_of_flat_pieces_and_one_space_for_all() -> None:
    world = make_world("linear?rank=3&classes=2&shape=1x6x7")
    data = drawn(world, 40, 0)
    assert WorldTangents(world).which(data.images()).tolist() == [0] * 40
    sphere = make_world("sphere?rank=3")
    assert WorldTangents(sphere).which(sphere.sample(2, 0).x) is None
    for estimator in (WorldTangents(world), dct_tangents(SHAPE, 3)):
        partner = ShuffledTangents(estimator, data).at(data.images(), torch.arange(40))
        assert partner.basis.isnan().all()
    assert isinstance(dct_tangents(SHAPE, 3), FixedTangents)


def test_coincide_tells_angles() -> None:
    basis = torch.linalg.qr(torch.randn(5, 30, 4, dtype=torch.float64)).Q
    rank = torch.full((5,), 4)
    turned = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    near = basis.clone()
    near[3] = torch.linalg.qr(basis[3] + 0.05 * torch.randn(30, 4, dtype=torch.float64)).Q
    near[4] = math.nan
    found = coincide(TangentSpace(basis, rank), TangentSpace(near @ turned, rank))
    assert found.tolist() == [True, True, True, False, False]


class Uneven:
    """A space of its own at each image, of rank 1 to 5, uniform among those of its rank."""

    kind, max_rank, where = "uneven", 5, "anywhere"

    def at(self, x: torch.Tensor, ids: torch.Tensor | None = None) -> TangentSpace:
        assert ids is not None
        drawn_bases = Draw(7, ids, "bases").normal((flat(x).shape[1], self.max_rank), torch.float64)
        return TangentSpace(torch.linalg.qr(drawn_bases).Q.to(x), 1 + ids % 5).cut(1 + ids % 5)


def test_of_random_gradients_own_and_other_spaces_hold_as_much_whatever_their_ranks() -> None:
    """E[F²] is k/d of isotropic gradients in k dimensions of d, so only as many as are common may differ."""
    n = 3000
    noise = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    labels = (torch.arange(n) // 7) % 3
    data = LabelledImages(torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(4)), labels, ("a", "b", "c"))
    config = dataclasses.replace(CONFIG, alignments=(), epsilons=(), rho_sigmas=(), tangent_scalars=("map(noise)",))
    model = nn.Sequential(nn.Flatten(), nn.Linear(42, 3))
    rows = measure(
        model, data.images(), labels, train_data=data, score="none", tangents=Uneven(), config=config,
        attributions={"noise": noise},
    )  # fmt: skip
    own, d = rows["tangent_fraction.map(noise)"], math.prod(SHAPE)
    rank = 1 + torch.arange(n) % 5
    for k in range(1, 6):
        mean, error = float(own[rank == k].mean()), float(own[rank == k].std()) / math.sqrt(n / 5)
        assert abs(mean - k / d) < 4 * error
    for control in ("shuffled", "shuffled_class"):
        difference = own - rows[f"tangent_fraction.map(noise).{control}"]
        common = rows[f"tangent_rank.{control}"]
        assert difference.isfinite().all()
        assert bool((common <= rank).all())
        assert 0.2 < float((common < rank).double().mean()) < 0.6
        for chosen in (rank > 0, rank == 1, rank == 5, common < rank):
            part = difference[chosen]
            assert float(part.std()) > 0
            assert abs(float(part.mean())) < 4 * float(part.std()) / math.sqrt(len(part)), control
