"""The margin and what stands beside it: the same for logits times any number, radius, phases, overlaps, directions."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import Tensor, nn

from measure_support import measured, toy_world
from tangency.autodiff import scalar
from tangency.data import load
from tangency.evaluate import estimates
from tangency.measures import NETWORK_ALIGNMENTS, MeasureConfig, Rows, describe, measure, unidentified
from tangency.measures.comparison.frames import Frame
from tangency.measures.keys import ALIGNMENT, FRACTION, KAPPA, RADIUS, TANGENT_CONTROLS, Key
from tangency.measures.similarity.spectral import phase_randomised
from tangency.models import build
from tangency.numerics import cosine
from tangency.score import MixtureScore
from tangency.seeding import Draw
from tangency.study import SHIPPED, shipped_spec
from tangency.tangents import MixtureTangents, TangentSpace
from tangency.types import LabelledImages

SHAPE, N = (1, 6, 7), 30
CONFIG = MeasureConfig(sigmas=(0.25,), directions=1, metrics=("cosine",), epsilons=(1.0,), rho_sigmas=(0.05,))


class Scaled(nn.Module):
    """c times the logits of a network: the same decisions."""

    def __init__(self, net: nn.Module, c: float) -> None:
        super().__init__()
        self.net, self.c = net, c

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.c * self.net(x)
        return logits


@functools.cache
def convnet() -> nn.Module:
    """A convnet in float32 that has seen 1,000 images twice."""
    train = load("fashion-mnist-5k").train.subset(slice(0, 1000))
    net = build("convnet", train.shape, train.classes)
    steps = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(2):
        for part in torch.split(torch.arange(1000), 50):
            loss = nn.functional.cross_entropy(net(train.images(part)), train.labels[part])
            steps.zero_grad()
            loss.backward()
            steps.step()
    return net.eval()


@functools.cache
def rows_of_convnet(c: float) -> Rows:
    data = load("fashion-mnist-5k")
    config = MeasureConfig(
        ("margin",),
        (("margin", "bayes_gradient"),),
        sigmas=(0.5,),
        rho_sigmas=(),
        epsilons=(),
        directions=1,
        metrics=("cosine", "band", "retrieval", "cka"),
        candidates=10,
    )
    x, y = data.test.images()[:40], data.test.labels[:40]
    few = data.train.subset(slice(0, None, 9))
    return measure(Scaled(convnet(), c), x, y, train_data=few, score="mfa?components=2&rank=8", config=config)


@pytest.mark.parametrize("c", [0.03, 0.1, 0.3, 3.0, 10.0, 30.0])
def test_logits_times_a_number_move_no_row_of_the_margin_in_single_precision(c: float) -> None:
    plain, scaled = rows_of_convnet(1.0), rows_of_convnet(c)
    assert plain.keys() == scaled.keys()
    assert {FRACTION, f"{FRACTION}.phase", f"{ALIGNMENT}.sigma=0.5", RADIUS, "tangent_rank"} <= set(plain.keys())
    for key in plain.columns:
        torch.testing.assert_close(scaled[key], plain[key], rtol=0, atol=1e-6, equal_nan=True, msg=key)
    numbers = [estimates(rows, 20).measures for rows in (plain, scaled)]
    for key in (KAPPA, RADIUS, FRACTION):
        assert numbers[1][key].mean == pytest.approx(numbers[0][key].mean, abs=1e-6), key


def test_logits_times_a_number_move_the_rows_of_logp_y() -> None:
    """So that the test above can fail: 3 classes at least, and a temperature that mixes or parts the runners-up."""
    mixture, data = toy_world(SHAPE, N)
    net = network(4.0)
    config = MeasureConfig(("logp_y",), (), sigmas=(0.25,), epsilons=(), rho_sigmas=())
    cold, warm = (measured(Scaled(net, c), mixture, data, config)["tangent_fraction.logp_y"] for c in (1.0, 0.03))
    assert float((cold - warm).abs().max()) > 0.01


def network(scale: float = 1.0, classes: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(42, 16), nn.SiLU(), nn.Linear(16, classes)).double()
    with torch.no_grad():
        net[3].weight *= scale
    return net


def test_the_radius_is_the_margin_over_the_length_of_its_gradient_image_by_image() -> None:
    mixture, data = toy_world(SHAPE, N)
    net, config = network(), MeasureConfig(("logp_y",), (), sigmas=(0.25,), epsilons=(), rho_sigmas=())
    found = measured(net, mixture, data, config)  # also where the margin is no quantity that is measured
    expected = []
    for x, y in zip(data.images(), data.labels.tolist(), strict=True):
        one = x[None].clone().requires_grad_(True)
        f = net(one)[0]
        margin = f[y] - max(f[j] for j in range(3) if j != y)
        (gradient,) = torch.autograd.grad(margin, one)
        expected.append(float(margin.detach()) / float(gradient.norm()))
    assert found[RADIUS].tolist() == pytest.approx(expected, rel=1e-9)
    assert torch.equal(found[RADIUS] > 0, found["accuracy"] == 1)
    summary = estimates(found, 200).measures[RADIUS]
    assert summary.mean == pytest.approx(float(found[RADIUS].quantile(0.5)))  # its middle, not its mean
    assert summary.low < summary.mean < summary.high
    assert describe(RADIUS).aggregate == "median"


def test_no_gradient_and_no_finite_logit_have_no_radius() -> None:
    mixture, data = toy_world(SHAPE, N)
    net, first = network(), data.images()[0]

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            marked = ((x - first).flatten(1).abs().amax(1) < 1e-9).double()[:, None]
            return net(x) * (1 - marked)

    found = measured(Odd(), mixture, data, CONFIG)
    assert found[RADIUS].isnan().nonzero().flatten().tolist() == [0]


def test_the_phase_control_is_the_gradient_with_the_power_of_its_own_and_other_phases() -> None:
    mixture, data = toy_world(SHAPE, N)
    found = measured(network(), mixture, data, CONFIG)
    one = data.images().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(scalar("margin", network()(one), data.labels).sum(), one)
    phased = phase_randomised(gradient, Draw(0, torch.arange(N), "phase"))
    space = MixtureTangents(mixture).at(data.images())
    torch.testing.assert_close(found[f"{FRACTION}.phase"], space.fraction(phased))
    excess = estimates(found, 50).excess[FRACTION]
    assert set(excess.controls) == {*TANGENT_CONTROLS, "phase"}
    known = torch.stack([found[f"{FRACTION}.{name}"] for name in excess.controls]).isfinite().all(0)
    over = (found[FRACTION] - found[f"{FRACTION}.phase"])[known].mean()
    assert excess.controls["phase"].mean == pytest.approx(float(over))


def random_space(n: int, d: int, k: int, seed: int, soft: bool = False) -> TangentSpace:
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(n, d, k, generator=generator, dtype=torch.float64)).Q
    weights = torch.rand(n, k, generator=generator, dtype=torch.float64).sort(1, descending=True).values
    return TangentSpace(basis, torch.full((n,), k), weights=weights if soft else None)


@pytest.mark.parametrize("soft", [False, True])
def test_an_overlap_is_the_trace_of_the_product_of_the_projectors(soft: bool) -> None:
    own, other = random_space(4, 9, 3, 0, soft), random_space(4, 9, 3, 1)
    control = TangentSpace(other.basis, other.rank, weights=own.weights)
    nothing = torch.zeros(1, 4, 9)
    frame = Frame("", own, {"pca": control, "dct": own, "shuffled": control}, {}, nothing, nothing)
    eye = torch.eye(9, dtype=torch.float64)
    for i in range(4):
        p, q = (torch.stack([s.project(e[None].expand(4, 9))[i] for e in eye]) for s in (own, control))
        assert float(frame.overlaps["pca"][i]) == pytest.approx(float((p @ q).trace() / (p @ p).trace()), abs=1e-12)
        assert soft or float((p @ p).trace()) == pytest.approx(3)
    torch.testing.assert_close(frame.overlaps["dct"], torch.ones(4, dtype=torch.float64))


def test_the_overlap_of_a_lower_rank_is_of_the_directions_that_are_not_the_images_own() -> None:
    """One direction at a right angle among 40: with 39 of the image's own it would lie in its space to 97.5 %."""
    eye, rank = torch.eye(50, dtype=torch.float64)[None], torch.tensor([40])
    own = TangentSpace(eye[:, :, :40], rank)
    filled = TangentSpace(torch.cat([eye[:, :, 49:], eye[:, :, 1:40]], 2), rank)
    nothing = torch.zeros(1, 1, 50)
    half = TangentSpace(filled.basis.clone(), rank)
    half.basis[0, :, 0] = (eye[0, :, 0] + eye[0, :, 49]) / 2**0.5
    ones = {"shuffled": torch.ones(1, dtype=torch.float64), "shuffled_class": torch.ones(1, dtype=torch.float64)}
    frame = Frame("", own, {"shuffled": filled, "shuffled_class": half, "pca": filled}, ones, nothing, nothing)
    overlaps = {name: float(each) for name, each in frame.overlaps.items()}
    assert overlaps == {"shuffled": 0.0, "shuffled_class": pytest.approx(0.5), "pca": pytest.approx(39 / 40)}
    assert {name: float(each) for name, each in frame.common.items()} == {"shuffled": 1.0, "shuffled_class": 1.0}


def test_overlaps_of_a_world_stand_beside_their_controls_and_are_no_matter_of_the_classifier() -> None:
    mixture, data = toy_world(SHAPE, N)
    found, other = (measured(network(scale), mixture, data, CONFIG) for scale in (1.0, 5.0))
    space = MixtureTangents(mixture).at(data.images())
    for control in TANGENT_CONTROLS:
        key = f"tangent_overlap.{control}"
        assert torch.equal(found[key].isnan(), found[f"{FRACTION}.{control}"].isnan())
        torch.testing.assert_close(found[key], other[key], rtol=0, atol=0, equal_nan=True)
        known = found[key][found[key].isfinite()]
        assert bool(((known >= 0) & (known <= 1)).all())
        assert describe(key).fixed
        assert Key.parse(key).control == control
    summary = estimates(found, 20).measures["tangent_overlap.dct"]
    assert summary.chance == pytest.approx(float(space.rank.double().mean()) / 42)


def test_a_space_without_directions_or_with_all_of_them_has_no_overlap() -> None:
    own = random_space(2, 5, 5, 0)
    nothing = torch.zeros(1, 2, 5)
    empty = TangentSpace(torch.zeros(2, 5, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.int64))
    for space in (own, empty):
        frame = Frame("", space, {"pca": space}, {}, nothing, nothing)
        assert bool(frame.overlaps["pca"].isnan().all())


def test_the_two_bayes_directions_are_compared_where_both_are_targets() -> None:
    mixture, data = toy_world(SHAPE, N)
    score = MixtureScore(mixture)
    pairs = (("margin", "bayes_gradient"), ("margin", "network_bayes_gradient"))
    config = MeasureConfig(alignments=pairs, sigmas=(0.1, 0.5), epsilons=(), rho_sigmas=(), metrics=("cosine",))

    class Turned:
        """A trained score whose classes are those of the closed form, in another order."""

        kind, classes, shape, card = "turned", 3, SHAPE, {}

        def score(self, x: Tensor, sigma: float, y: Tensor | None = None) -> Tensor:
            return score.score(x, sigma, None if y is None else (y + 1) % 3)

        def bayes_direction(self, x: Tensor, y: Tensor, sigma: float) -> object:
            return score.bayes_direction(x, (y + 1) % 3, sigma)

    found = measured(network(), mixture, data, config, network=Turned())
    for sigma in (0.1, 0.5):
        x, y = data.images(), data.labels
        own, other = (score.bayes_direction(x, labels, sigma).direction for labels in (y, (y + 1) % 3))
        torch.testing.assert_close(found[f"direction_agreement.sigma={sigma}"], cosine(own, other))
    same = measured(network(), mixture, data, config, network=score)
    torch.testing.assert_close(same["direction_agreement.sigma=0.5"], torch.ones(N, dtype=torch.float64))
    assert not [key for key in measured(network(), mixture, data, CONFIG).columns if "agreement" in key]


def test_predicted_labels_give_the_radius_of_the_predicted_class() -> None:
    mixture, data = toy_world(SHAPE, N)
    wrong = LabelledImages(data.pixels, (data.labels + 1) % 3, data.classes)
    config = MeasureConfig(sigmas=(0.25,), directions=1, metrics=("cosine",), label="predicted")
    assert float(measured(network(), mixture, wrong, config)[RADIUS].min()) >= 0
    assert math.isfinite(float(measured(network(), mixture, wrong, CONFIG)[RADIUS].min()))


@pytest.mark.parametrize("name", SHIPPED)
def test_no_default_and_no_shipped_study_measures_an_unidentified_scalar(name: str) -> None:
    shipped = shipped_spec(name).measures
    for config in (MeasureConfig(), *([] if shipped.legacy else [shipped])):  # the published pair is one, by its name
        assert unidentified(config.quantities) == []
        assert "margin" in config.tangent_scalars
    assert unidentified(scalar for scalar, _ in NETWORK_ALIGNMENTS) == []
