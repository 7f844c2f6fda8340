"""The working size: closed forms of the map, and a classifier at its own size beside scores at another."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from measure_support import toy_world
from tangency.errors import NumericsError, SpecError
from tangency.measures import MeasureConfig, Rows, WorkingSize, measure, parse_working
from tangency.score import MixtureScore
from tangency.tangents import MixtureTangents
from tangency.types import LabelledImages

FILTERS = ("area", "bilinear", "bicubic")


def dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [(4, 6), (5, 7), (3, 12)])
def test_gradients_are_resized_by_the_adjoint_of_lifted_steps(name: str, size: tuple[int, int]) -> None:
    working, g, step = WorkingSize((3, 8, 12), size, name), normal(2, 3, 8, 12), normal(2, 3, *size, seed=1)
    torch.testing.assert_close(dot(working.gradient(g), step), dot(g, working.lift(step)))
    constant = torch.full((1, 3, 8, 12), 0.7, dtype=torch.float64)
    torch.testing.assert_close(working.reduce(constant), torch.full((1, 3, *size), 0.7, dtype=torch.float64))


@pytest.mark.parametrize("name", FILTERS)
def test_the_derivative_along_a_lifted_step_is_the_resized_gradient(name: str) -> None:
    working, weights = WorkingSize((1, 6, 9), (4, 5), name), normal(1, 1, 6, 9)
    x, step = normal(2, 1, 6, 9, seed=1), torch.zeros(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    own = x.clone().requires_grad_(True)
    (found,) = torch.autograd.grad((weights * (x + working.lift(step))).sin().sum(), step)
    (gradient,) = torch.autograd.grad((weights * own).sin().sum(), own)
    torch.testing.assert_close(found, working.gradient(gradient))


def test_area_at_whole_ratios_averages_blocks_and_repeats_pixels() -> None:
    working, x, step = WorkingSize((2, 6, 8), (3, 2)), normal(2, 2, 6, 8), normal(2, 2, 3, 2, seed=1)
    torch.testing.assert_close(working.reduce(x), F.avg_pool2d(x, (2, 4)))
    torch.testing.assert_close(working.gradient(x), F.avg_pool2d(x, (2, 4), divisor_override=1))
    torch.testing.assert_close(working.lift(step), step.repeat_interleave(2, 2).repeat_interleave(4, 3))
    torch.testing.assert_close(working.reduce(working.lift(step)), step)
    torch.testing.assert_close(dot(working.noise(step), working.noise(step)), dot(step, step))


def test_area_at_other_ratios_is_the_integral_over_each_block() -> None:
    x = normal(1, 1, 7, 7)
    fine = x.repeat_interleave(4, 2).repeat_interleave(4, 3)  # 28 = 4 × 7 pixels, 7 in each of four blocks
    torch.testing.assert_close(WorkingSize((1, 7, 7), (4, 4)).reduce(x), F.avg_pool2d(fine, 7))


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_interpolation_is_that_of_torch(name: str) -> None:
    x = normal(2, 3, 12, 10)
    wanted = F.interpolate(x, (5, 4), mode=name, antialias=True)
    torch.testing.assert_close(WorkingSize((3, 12, 10), (5, 4), name).reduce(x), wanted)


@pytest.mark.parametrize("name", FILTERS)
def test_the_share_that_is_kept(name: str) -> None:
    working = WorkingSize((2, 9, 9), (4, 3), name)
    lifted = working.lift(normal(5, 2, 4, 3))
    torch.testing.assert_close(working.kept(1e-30 * lifted), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(working.inside(lifted), lifted)
    x = normal(5, 2, 9, 9)
    torch.testing.assert_close(working.kept(x - working.inside(x)), torch.zeros(5, dtype=torch.float64))
    many = working.kept(normal(4000, 2, 9, 9, seed=2))
    assert abs(float(many.mean()) - working.share) < 4 * float(many.std()) / math.sqrt(4000)
    assert bool(working.kept(torch.zeros(1, 2, 9, 9)).isnan())


def test_the_images_own_size_hands_back_what_it_is_given() -> None:
    working, x = WorkingSize((1, 4, 4), (4, 4)), normal(1, 1, 4, 4)
    for found in (working.reduce(x), working.gradient(x), working.lift(x), working.direction(x), working.noise(x)):
        assert found is x


def test_images_beyond_a_gigabyte_are_made_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    data = LabelledImages(torch.randint(0, 256, (7, 1, 6, 6), dtype=torch.uint8), torch.arange(7), tuple("abcdefg"))
    working = WorkingSize(data.shape, (3, 3))
    held = working.images(data)
    monkeypatch.setattr("tangency.measures.working.HELD_REDUCED", 100)
    drawn = working.images(data)
    assert len(held.pixels) == 7
    assert len(drawn.pixels) == 0
    assert drawn.shape == held.shape == (1, 3, 3)
    index = torch.tensor([4, 1])
    torch.testing.assert_close(drawn.images(index), held.images(index))
    torch.testing.assert_close(held.images(), F.avg_pool2d(data.images(), 2))


class OfBlocks(nn.Module):
    """A classifier that sees block means only: what another one is that takes them as its images."""

    def __init__(self, inner: nn.Module, block: int) -> None:
        super().__init__()
        self.inner, self.block = inner, block

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(F.avg_pool2d(x, self.block) if self.block > 1 else x)
        return found


def both(config: MeasureConfig, **more: object) -> tuple[Rows, Rows]:
    """Rows at a working size of 4 × 4 of images of 12 × 12 that repeat pixels, and of those of 4 × 4 themselves."""
    mixture, small = toy_world((1, 4, 4), 24)
    large = dataclasses.replace(small, pixels=small.pixels.repeat_interleave(3, 2).repeat_interleave(3, 3))
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Softplus(), nn.Linear(8, 3)).double()
    given = {"score": MixtureScore(mixture), "tangents": MixtureTangents(mixture), "config": config}
    rows = []
    for data, block in ((large, 3), (small, 1)):
        lengths = tuple(length * block / 3 for length in config.epsilons)
        own = dataclasses.replace(config, working_size=4 if block > 1 else None, epsilons=lengths)
        arguments = given | {"config": own, "train_data": data} | more
        rows.append(measure(OfBlocks(inner, block), data.images(), data.labels, **arguments))  # type: ignore[arg-type]
    return rows[0], rows[1]


def test_a_classifier_of_block_means_is_measured_as_the_one_of_small_images() -> None:
    # a step of length ε at 12 × 12 is one of ε/3 at 4 × 4: images whose pixels repeat 3 × 3 times are 3 times as long
    config = MeasureConfig(directions=2, metrics=("cosine", "retrieval", "cka"), epsilons=(0.3, 0.75), curved=1)
    found, wanted = both(config)
    same = ("tangent_", "log_kappa", "alignment_", "cka_", "accuracy")
    keys = [key for key in wanted.columns if key.startswith(same) and "noise" not in key]
    assert len(keys) > 60
    for key in keys:
        torch.testing.assert_close(found[key], wanted[key], msg=key, equal_nan=True, rtol=1e-6, atol=1e-8)
    for side in ("change_on", "change_off", "change_curved", "kl_on", "logit_change_off", "outside_on"):
        torch.testing.assert_close(found[f"{side}.eps=0.75"], wanted[f"{side}.eps=0.25"], rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(found["working_share.margin"], torch.ones(24, dtype=torch.float64))
    assert found.dimension == 16
    assert any("at 4x4 of 12x12 by area" in note for note in found.notes)
    assert not any("working" in key for key in wanted.columns)
    assert not wanted.notes


def test_noise_of_a_linear_classifier_answers_to_one_less_the_tangent_fraction() -> None:
    mixture, small = toy_world((1, 4, 4), 16)
    large = dataclasses.replace(small, pixels=small.pixels.repeat_interleave(3, 2).repeat_interleave(3, 3))
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 2, bias=False)).double()
    with torch.no_grad():
        model[1].weight[0].zero_()
    config = MeasureConfig(
        directions=400, rho_sigmas=(0.1,), epsilons=(), metrics=("cosine",), sigmas=(0.5,), working_size=4
    )
    data = dataclasses.replace(large, labels=torch.ones(16, dtype=torch.int64), classes=("a", "b"))
    rows = measure(
        model,
        data.images(),
        data.labels,
        train_data=data,
        score=MixtureScore(mixture),
        tangents=MixtureTangents(mixture),
        config=dataclasses.replace(config, alignments=()),
    )
    ratio = rows["rho_off.logits.sigma=0.1"].sum() / rows["rho_all.logits.sigma=0.1"].sum()
    assert float(ratio) == pytest.approx(1 - float(rows["tangent_fraction.margin"].mean()), abs=0.06)
    # accuracy under noise is of isotropic noise at the images' own size, whose part that is kept has the energy g·R
    gradient = model[1].weight[1].detach().reshape(1, 1, 12, 12)
    kept = WorkingSize((1, 12, 12), (4, 4)).kept(gradient)
    torch.testing.assert_close(rows["working_share.margin"], kept.expand(16))
    energy = 0.01 * kept * gradient.square().sum()
    assert float(rows["rho_all.logits.sigma=0.1"].mean()) == pytest.approx(float(energy), rel=0.1)


@pytest.mark.parametrize("name", FILTERS)
def test_worst_cases_stay_in_lifted_spaces_and_within_their_budget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tangency.measures import RobustnessConfig

    monkeypatch.setattr("tangency.measures.run.likely_mistake", lambda *_: [])  # which feeds images otherwise
    seen: list[Tensor] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(100, 3).double()

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            found: Tensor = self.inner(x.flatten(1)).tanh()
            return found

    mixture, small = toy_world((1, 4, 4), 12)
    large = dataclasses.replace(small, pixels=F.interpolate(small.pixels, (10, 10), mode="bilinear"))
    config = MeasureConfig(
        working_size=4,
        working_filter=name,
        epsilons=(0.5,),
        rho_sigmas=(),
        alignments=(),
        directions=1,
        robustness=RobustnessConfig(attacks=("worst_case",), steps=4),
    )
    x, working = large.images(), WorkingSize((1, 10, 10), (4, 4), name)
    arguments = {"score": MixtureScore(mixture), "tangents": MixtureTangents(mixture), "config": config}
    rows = measure(Watched(), x, large.labels, train_data=large, **arguments)  # type: ignore[arg-type]
    assert bool((rows["worst_on.eps=0.5"] > 0).all())
    assert bool((rows["worst_off.eps=0.5"] > 0).all())
    for at in (one for one in seen if one.shape == x.shape):
        step = at - x
        assert float(dot(step, step).sqrt().max()) <= 0.5 + 1e-6
        torch.testing.assert_close(working.inside(step), step, atol=1e-8, rtol=0)


def test_large_images_have_a_working_size_by_default() -> None:
    assert MeasureConfig().working((3, 224, 224)).size == (64, 64)
    assert MeasureConfig(working_size="own").working((3, 224, 224)).whole
    assert MeasureConfig(working_size=64).working((3, 64, 64)).whole
    assert MeasureConfig(working_size=32).working((3, 64, 96)).size == (32, 48)
    for shape in ((1, 28, 28), (3, 128, 128), (1, 1, 40000)):
        assert MeasureConfig().working(shape).whole


def test_the_identity_of_rows_holds_a_working_size_only_where_there_is_one() -> None:
    plain = MeasureConfig()
    assert "working_size" not in plain.plain
    for shape in ((3, 32, 32), (3, 224, 224)):
        assert plain.at_size(shape).at_size(shape) == plain.at_size(shape)
    assert plain.at_size((3, 32, 32)).digest() == plain.digest() != plain.at_size((3, 224, 224)).digest()
    assert MeasureConfig(working_size="own").digest() == plain.digest()
    assert MeasureConfig(working_size=32).at_size((3, 32, 32)).digest() == plain.digest()
    other = MeasureConfig(working_size=16, working_filter="bicubic")
    assert other.at_size((3, 32, 32)).digest() != MeasureConfig(working_size=16).at_size((3, 32, 32)).digest()


def test_bad_working_sizes_are_refused() -> None:
    with pytest.raises(NumericsError, match=r"got 8x9 for images of 8x8 pixels.*never enlarged"):
        WorkingSize((1, 8, 8), (8, 9))
    with pytest.raises(SpecError, match=r"never enlarged"):
        MeasureConfig(working_size=9).working((1, 8, 8))
    with pytest.raises(NumericsError, match=r"unknown filter of the working size 'aera'. Did you mean 'area'"):
        WorkingSize((1, 8, 8), (4, 4), "aera")
    bad: tuple[object, ...] = (0, -3, (4, 0), (4, 4, 4), "big")
    for size in bad:
        with pytest.raises(SpecError, match=r"working_size: got"):
            MeasureConfig(working_size=size)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"working_filter 'lanczos'"):
        MeasureConfig(working_filter="lanczos")
    for text in ("64x", "x", "0", "1.5", "own:area", "4x4x4", "٣"):
        with pytest.raises(SpecError, match=r"--working-size"):
            parse_working(text)
