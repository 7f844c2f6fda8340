"""The search for the best filter against a slow loop, and on cases whose answer is known."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from support import make_mixture
from tangency.autodiff import input_gradient
from tangency.data.partners import Partners
from tangency.errors import NumericsError
from tangency.evaluate.filters import (
    Filtered,
    FilterSearch,
    InputFilter,
    SeparableFilter,
    best_filter,
    filter_bank,
    filter_named,
)
from tangency.evaluate.filters import bank as bank_module
from tangency.measures.working import WorkingSize
from tangency.numerics import cosine
from tangency.score import MixtureScore
from tangency.types import LabelledImages

SHAPE = (1, 3, 5)


def drawn(n: int = 40, classes: int = 3, seed: int = 0) -> LabelledImages:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(n, *SHAPE, generator=generator)
    return LabelledImages(pixels, torch.arange(n) % classes, tuple("abc"), digest=f"drawn {n}")


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(15, 20), nn.Tanh(), nn.BatchNorm1d(20), nn.Linear(20, 3))


def random_directions(n: int, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(n, *SHAPE, generator=generator) for name in ("one", "two")}


def slow_row(
    net: nn.Module, one: InputFilter, images: LabelledImages, direction: Tensor
) -> tuple[list[float], list[bool]]:
    """cos(g, b) − cos(g, b′) and whether it is right, image by image."""
    partner, _ = Partners(images, 0).any(torch.arange(len(images)))
    excess, right = [], []
    for i in range(len(images)):
        x, y = images.images(torch.tensor([i])).requires_grad_(True), int(images.labels[i])
        logits = net(one(x))[0]
        others = torch.cat([logits[:y], logits[y + 1 :]])
        (g,) = torch.autograd.grad(logits[y] - others.max(), x)
        b, c = direction[i].flatten(), direction[int(partner[i])].flatten()
        g = g.flatten()
        excess.append(float(g @ b / (g.norm() * b.norm()) - g @ c / (g.norm() * c.norm())))
        right.append(int(logits.argmax()) == y)
    return excess, right


def test_it_equals_a_slow_loop_and_does_not_depend_on_the_batch() -> None:
    images, net = drawn(), network().train()
    directions = random_directions(len(images))
    bank = filter_bank(images)
    best = best_filter(net, bank, images, directions)
    assert all(part.training for part in net.modules())
    net.eval()
    plain = np.array(slow_row(net, bank[0], images, directions["one"])[1], dtype=float)
    rows = {}
    each: dict[str, dict[str, np.ndarray]] = {name: {} for name in directions}
    for one, candidate in zip(bank, best.candidates, strict=True):
        assert candidate.name == one.name
        for name, direction in directions.items():
            excess, right = slow_row(net, one, images, direction)
            assert candidate.alignment[name] == pytest.approx(np.mean(excess), abs=1e-5)
            each[name][one.name] = np.array(excess)
        d = np.array(right, dtype=float) - plain
        half = 1.6448536269514722 * d.std(ddof=1) / math.sqrt(len(d))
        assert candidate.accuracy == pytest.approx(np.mean(right))
        assert candidate.accuracy_low == pytest.approx(d.mean() - half, abs=1e-12)
        assert candidate.accuracy_high == pytest.approx(d.mean() + half, abs=1e-12)
        rows[one.name] = (candidate.alignment, d.mean() + half)
    for name in directions:
        fit = [key for key, (_, high) in rows.items() if high > -0.05]
        assert best.chosen[name] == max(fit, key=lambda key: rows[key][0][name])
        apart = [each[name][key] - each[name][best.chosen[name]] for key in fit]
        bounds = [d.mean() + 1.6448536269514722 * d.std(ddof=1) / math.sqrt(len(d)) for d in apart]
        assert best.slack[name] == pytest.approx(max(bounds), abs=1e-5)
        assert best.slack[name] > 0
    for size in (1, 7):
        other = best_filter(net, bank, images, directions, batch_size=size)
        assert other.chosen == best.chosen
        for a, b in zip(other.candidates, best.candidates, strict=True):
            assert a.alignment == pytest.approx(b.alignment, abs=1e-6)
            assert a.accuracy == b.accuracy


def test_each_filter_and_image_costs_one_forward_pass() -> None:
    seen = []

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            logits: Tensor = self.net(x)
            return logits

    images = drawn()
    bank = filter_bank(images)
    best_filter(Counted(), bank, images, random_directions(len(images)), batch_size=16)
    assert sum(seen) == len(bank) * len(images)


class HighAndLow(nn.Module):
    """Two classes by the mean, with a gradient along the fastest cosine that decides nothing at these images."""

    def __init__(self) -> None:
        super().__init__()
        self.checks = torch.tensor([[1.0, -1, 1, -1, 1], [-1, 1, -1, 1, -1], [1, -1, 1, -1, 1]])

    def forward(self, x: Tensor) -> Tensor:
        value = (x - 0.5).mean((1, 2, 3)) + 0.2 * (self.checks * x).mean((1, 2, 3))
        return torch.stack([value, -value], 1)


def flat_images(n: int = 30) -> tuple[LabelledImages, Tensor]:
    """Grey images, dark and bright, and as Bayes direction the mean's sign."""
    level = torch.linspace(0.1, 0.45, n) + 0.5 * (torch.arange(n) % 2)
    labels = (level < 0.5).long()
    images = LabelledImages(level[:, None, None, None].expand(n, *SHAPE).contiguous(), labels, ("bright", "dark"))
    return images, torch.ones(n, *SHAPE) * (1 - 2 * labels[:, None, None, None])


def test_a_low_pass_is_chosen_where_the_truth_is_smooth_and_the_rise_is_the_cosine() -> None:
    images, direction = flat_images()
    net = HighAndLow()
    bank = [filter_named(name, images) for name in ("dct-1x1", "dct-3x5", "blur-0.5")]
    best = best_filter(net, bank, images, {"smooth": direction})
    assert best.chosen["smooth"] == "dct-1x1"
    by_name = {one.name: one for one in best.candidates}
    partner, _ = Partners(images, 0).any(torch.arange(len(images)))
    apart = 2 * float((images.labels != images.labels[partner]).double().mean())
    checks = net.checks / 15
    between = (1 / 15 + 0.2 * float(checks.mean())) / float((1 / 15 + 0.2 * checks).square().mean().sqrt())
    assert by_name["dct-1x1"].alignment["smooth"] == pytest.approx(apart, abs=1e-5)
    for name in ("identity", "dct-3x5"):  # the whole space is no filter
        assert by_name[name].alignment["smooth"] == pytest.approx(apart * between, abs=1e-5)
    assert by_name["identity"].alignment["smooth"] < by_name["blur-0.5"].alignment["smooth"] < apart


def test_a_filter_that_costs_accuracy_is_never_chosen() -> None:
    images, direction = flat_images()
    black = SeparableFilter("black", torch.zeros(3, 3) + 1e-3, torch.full((5, 5), 1e-3))  # all images are dark
    best = best_filter(HighAndLow(), [black], images, {"smooth": direction})
    table = {one.name: one for one in best.candidates}
    assert table["black"].alignment["smooth"] > table["identity"].alignment["smooth"]
    assert table["black"].accuracy == pytest.approx(0.5)
    assert table["black"].accuracy_low < table["black"].accuracy_high < -0.05
    assert best.chosen["smooth"] == "identity"
    for margin in (0.9, None):
        wide = best_filter(HighAndLow(), [black], images, {"smooth": direction}, margin=margin)
        assert wide.chosen["smooth"] == "black"


def test_the_identity_is_a_candidate_of_every_bank_and_is_chosen_where_nothing_has_a_value() -> None:
    images = drawn(1)
    best = best_filter(network(), [], images, {"one": torch.ones(1, *SHAPE)})
    assert [one.name for one in best.candidates] == ["identity"]
    assert math.isnan(best.candidates[0].alignment["one"])  # there is no other image
    assert best.chosen["one"] == "identity"
    assert best.slack["one"] == math.inf  # not 0, which would be the lowest bar
    several = drawn(12)
    none = best_filter(network(), filter_bank(several), several, {"one": torch.zeros(12, *SHAPE)})
    assert none.chosen["one"] == "identity"
    assert none.slack["one"] == math.inf
    assert none.to_json()["slack"]["one"] is None


def test_images_without_a_direction_are_left_out() -> None:
    images, net = drawn(), network()
    direction = random_directions(len(images))["one"]
    direction[3] = 0
    net.eval()
    partner, _ = Partners(images, 0).any(torch.arange(len(images)))
    kept = [i for i in range(len(images)) if i != 3 and int(partner[i]) != 3]
    excess, _ = slow_row(net, InputFilter("identity"), images, direction)
    best = best_filter(net, [], images, {"one": direction})
    assert best.candidates[0].alignment["one"] == pytest.approx(np.mean(np.array(excess)[kept]), abs=1e-5)


def test_one_class_and_logits_times_a_constant() -> None:
    images = drawn(24, classes=1)
    net = network().eval()
    directions = random_directions(24)
    bank = filter_bank(images)
    best = best_filter(net, bank, images, directions)
    for factor in (0.03, 30.0):
        scaled = best_filter(nn.Sequential(net, Times(factor)), bank, images, directions)
        assert scaled.chosen == best.chosen
        for a, b in zip(scaled.candidates, best.candidates, strict=True):
            assert a.alignment == pytest.approx(b.alignment, abs=1e-6)
            assert (a.accuracy, a.accuracy_low, a.accuracy_high) == (b.accuracy, b.accuracy_low, b.accuracy_high)


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def test_choosing_takes_a_fixed_subset_and_the_directions_of_the_scores() -> None:
    score = MixtureScore(make_mixture(SHAPE))
    train, net = drawn(50), network()
    best = FilterSearch.prepared({"bayes_gradient": score}, train, 0.5, count=20).best(net)
    assert len(best.images) == 20 == len(set(best.images))
    assert best.data == train.digest
    assert best.margin is None  # on images that it may know by heart accuracy says nothing
    subset = train.subset(torch.tensor(best.images))
    x, y = subset.images(), subset.labels
    direction = score.bayes_direction(x, y, 0.5).direction
    direct = best_filter(net, filter_bank(train), subset, {"bayes_gradient": direction}, margin=None)
    assert direct.candidates == best.candidates
    assert direct.chosen == best.chosen
    others = drawn(60, seed=9)
    other = FilterSearch.prepared({"bayes_gradient": score}, train, 0.5, images=others, count=20, seed=1).best(net)
    assert other.data == "drawn 60"
    assert other.margin == 0.05
    assert other.images != best.images


def test_the_axes_of_training_images_are_made_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every seed's search and of the networks behind the chosen filters, with the same filters to the bit."""
    made: list[int] = []
    axes = bank_module.principal_axes
    monkeypatch.setattr(bank_module, "principal_axes", lambda *given: made.append(1) or axes(*given))
    train = drawn(50)
    x = train.images()
    first, second = filter_bank(train), filter_bank(train)
    assert len(made) == 1
    named = [filter_named(one.name, train) for one in first]
    fresh = filter_bank(drawn(50))  # equal images that are other ones
    assert len(made) == 2
    for several in (second, named, fresh):
        assert all(torch.equal(one(x), other(x)) for one, other in zip(first, several, strict=True))


def test_directions_of_a_working_size_are_compared_with_gradients_brought_to_it() -> None:
    images, working = drawn(30), WorkingSize(SHAPE, (1, 5))
    score = MixtureScore(make_mixture((1, 1, 5)))
    search = FilterSearch.prepared({"b": score}, images, 0.5, count=30, working=working)
    row = search.best(network().eval()).candidates[0]
    x, y = images.images(), images.labels
    g = input_gradient(network().eval(), x, y, "margin").direction.sum(2, keepdim=True)
    b = score.bayes_direction(x.mean(2, keepdim=True), y, 0.5).direction
    partner, _ = Partners(images, 0).any(torch.arange(30))
    assert row.alignment["b"] == pytest.approx(float((cosine(g, b) - cosine(g, b[partner])).mean()), abs=1e-5)


def test_the_result_is_strict_json() -> None:
    best = best_filter(network(), [], drawn(1), {"one": torch.ones(1, *SHAPE)})
    written = json.loads(json.dumps(best.to_json(), allow_nan=False))
    assert set(written) == {field.name for field in dataclasses.fields(best)}
    assert written["chosen"] == {"one": "identity"}
    assert written["candidates"] == [
        {
            "name": "identity",
            "alignment": {"one": None},
            "accuracy": best.candidates[0].accuracy,
            "accuracy_low": 0.0,
            "accuracy_high": 0.0,
        }
    ]


def test_mistakes_are_named() -> None:
    with pytest.raises(NumericsError, match="direction 'one': got shape"):
        best_filter(network(), [], drawn(4), {"one": torch.ones(3, *SHAPE)})

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 3)

    with pytest.raises(NumericsError, match="do not depend on the images"):
        best_filter(Constant(), [], drawn(4), {"one": torch.ones(4, *SHAPE)})
    assert Filtered(InputFilter("identity"), Constant())(torch.rand(2, *SHAPE)).shape == (2, 3)
