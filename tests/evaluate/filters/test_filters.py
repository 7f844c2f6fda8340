"""Filters against dense matrices, scipy and definitions; networks behind them against the chain rule."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from tangency.autodiff import input_gradient
from tangency.errors import SpecError
from tangency.evaluate.filters import Filtered, FilterSource, InputFilter, SpectralFilter, filter_bank, filter_named
from tangency.evaluate.filters.bank import bank_names
from tangency.models import build
from tangency.numerics import dct_basis
from tangency.types import LabelledImages

NAMES = (
    "identity",
    "pca-5",
    "dct-3x4",
    "blur-0.7",
    "blur-3",
    "wiener-0.003",
    "blur-0.7^2",
    "wiener-0.003^2",
    "pca-5^2",
)
SHAPES = [(1, 6, 7), (3, 6, 7)]


def images(shape: tuple[int, int, int], n: int = 60, seed: int = 0) -> LabelledImages:
    """Images with a spectrum that falls along the pixels' cosines."""
    generator = torch.Generator().manual_seed(seed)
    d = math.prod(shape)
    waves = dct_basis(shape, d - 1)
    z = torch.randn(n, d - 1, generator=generator, dtype=torch.float64) * torch.linspace(0, -4, d - 1).exp()
    pixels = (0.5 + 0.1 * z @ waves.mT).float().reshape(n, *shape)
    return LabelledImages(pixels, torch.arange(n) % 3, ("a", "b", "c"), digest="some", unit_range=False)


def dense(one: InputFilter, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """A (d, d) and the constant of x ↦ A x + constant, from the images of the unit vectors."""
    d = math.prod(shape)
    constant = one(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
    return (one(torch.eye(d, dtype=torch.float64).reshape(d, *shape)).reshape(d, d) - constant).mT, constant


def covariance(train: LabelledImages) -> tuple[Tensor, Tensor]:
    rows = train.images().flatten(1).double()
    return rows.mean(0), (rows - rows.mean(0)).mT @ (rows - rows.mean(0)) / len(rows)


def mirrored_blur(height: int, width: int, sigma: float) -> Tensor:
    """The dense matrix of scipy's Gaussian filter of one channel."""
    pictures = np.eye(height * width).reshape(-1, height, width)
    return torch.tensor(np.stack([gaussian_filter(one, sigma).ravel() for one in pictures], 1))


@pytest.mark.parametrize("shape", SHAPES)
def test_wiener_is_its_dense_matrix_with_c_in_squared_pixel_units(shape: tuple[int, int, int]) -> None:
    train = images(shape)
    mean, c = covariance(train)
    d = len(mean)
    matrix = c @ torch.linalg.inv(c + 0.003 * torch.eye(d))
    for name, wanted in (("wiener-0.003", matrix), ("wiener-0.003^2", matrix @ matrix)):
        a, constant = dense(filter_named(name, train), shape)
        torch.testing.assert_close(a, wanted, rtol=0, atol=1e-6)
        torch.testing.assert_close(constant, mean - wanted @ mean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_pca_projects_on_the_leading_right_singular_vectors_of_centred_images(shape: tuple[int, int, int]) -> None:
    train = images(shape)
    mean, _ = covariance(train)
    vectors = torch.linalg.svd(train.images().flatten(1).double() - mean, full_matrices=False).Vh[:5]
    a, constant = dense(filter_named("pca-5", train), shape)
    torch.testing.assert_close(a, vectors.mT @ vectors, rtol=0, atol=1e-6)
    torch.testing.assert_close(constant, mean - a @ mean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_dct_projects_each_channel_on_its_lowest_cosines(shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    a, constant = dense(filter_named("dct-3x4", images(shape)), shape)
    i, j = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    waves = [
        torch.outer(torch.cos(torch.pi * u * i / height), torch.cos(torch.pi * v * j / width)).flatten().double()
        for u in range(3)
        for v in range(4)
    ]
    one = sum((torch.outer(w, w) / (w @ w) for w in waves), torch.zeros(height * width, height * width).double())
    torch.testing.assert_close(a, torch.block_diag(*[one] * channels), rtol=0, atol=1e-6)
    assert float(constant.abs().max()) == 0
    assert round(float(a.trace())) == 12 * channels


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.25, 0.5, 1, 3])
def test_blur_is_that_of_scipy(shape: tuple[int, int, int], sigma: float) -> None:
    channels, height, width = shape
    a, constant = dense(filter_named(f"blur-{sigma}", images(shape)), shape)
    wanted = torch.block_diag(*[mirrored_blur(height, width, sigma)] * channels)
    torch.testing.assert_close(a, wanted, rtol=0, atol=1e-6)
    assert float(constant.abs().max()) == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_filters_are_affine_symmetric_and_their_squares_are_twice_the_filter(
    name: str, shape: tuple[int, int, int]
) -> None:
    train = images(shape)
    one = filter_named(name, train)
    x, y = images(shape, 4, seed=1).images(), images(shape, 4, seed=2).images()
    torch.testing.assert_close(one(0.3 * x + 0.7 * y), 0.3 * one(x) + 0.7 * one(y), rtol=0, atol=1e-6)
    a, constant = dense(one, shape)
    torch.testing.assert_close(a, a.mT, rtol=0, atol=1e-6)
    torch.testing.assert_close(one(x).flatten(1).double(), x.flatten(1).double() @ a.mT + constant, rtol=0, atol=1e-6)
    assert float(torch.linalg.eigvalsh((a + a.mT) / 2).max()) < 1 + 1e-5  # nothing is amplified
    if not name.endswith("^2"):
        torch.testing.assert_close(filter_named(name + "^2", train)(x), one(one(x)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_behind_a_filter_is_its_matrix_times_the_gradient_at_the_filtered_image(name: str) -> None:
    shape = (3, 6, 7)
    train = images(shape)
    net = nn.Sequential(nn.Flatten(), nn.Linear(126, 9), nn.Tanh(), nn.Linear(9, 3)).double()
    one, x, y = filter_named(name, train), images(shape, 5, seed=3).images().double(), torch.tensor([0, 1, 2, 0, 1])
    filtered = Filtered(one, net)
    torch.testing.assert_close(filtered(x), net(one(x)))
    plain = input_gradient(net, one(x), y, "margin").direction.flatten(1)
    behind = input_gradient(filtered, x, y, "margin").direction.flatten(1)
    torch.testing.assert_close(behind, plain @ dense(one, shape)[0], rtol=1e-6, atol=1e-9)


def test_the_bank_holds_every_kind_and_rebuilds_each_filter_from_its_name() -> None:
    train = images((3, 6, 7))
    bank = filter_bank(train)
    names = [one.name for one in bank]
    assert len(set(names)) == len(names)
    assert names[0] == "identity"
    assert {name.split("-")[0] for name in names} == {"identity", "pca", "dct", "blur", "wiener"}
    assert {name.removesuffix("^2") for name in names if name.endswith("^2")} == {
        name for name in names if name.startswith(("blur", "wiener")) and not name.endswith("^2")
    }
    x = images((3, 6, 7), 2, seed=5).images()
    for one in bank:
        rebuilt = filter_named(one.name, train)
        assert rebuilt.name == one.name
        assert torch.equal(rebuilt(x), one(x))
    spectral = [one for one in bank if isinstance(one, SpectralFilter)]
    assert len({one.vectors.untyped_storage().data_ptr() for one in spectral}) == 1  # of all filters one basis


@pytest.mark.parametrize(
    ("shape", "largest"), [((1, 28, 28), 784), ((3, 32, 32), 3072), ((3, 64, 96), 256), ((1, 2, 2), 3), ((1, 1, 9), 8)]
)
def test_grids_are_log_spaced_within_the_images(shape: tuple[int, int, int], largest: int) -> None:
    names = bank_names(shape, largest)
    ranks = [int(name[4:]) for name in names if name.startswith("pca-")]
    sides = [tuple(map(int, name[4:].split("x"))) for name in names if name.startswith("dct-")]
    assert ranks[-1] <= max(1, math.prod(shape) // 4)
    assert ranks == sorted(set(ranks))
    assert all(1 <= r <= shape[1] and 1 <= c <= shape[2] for r, c in sides)
    if len(ranks) > 3:
        ratios = [b / a for a, b in itertools.pairwise(ranks)]
        assert max(ratios) < 2


@pytest.mark.parametrize(
    "name", ["", "pca", "pca-0", "pca-99", "dct-8", "dct-0x3", "dct-7x7", "blur-0", "blur-x", "wiener--1", "median-3"]
)
def test_other_names_are_refused_with_a_way_out(name: str) -> None:
    with pytest.raises(SpecError, match=r"filter: got '.*', expected"):
        filter_named(name, images((1, 6, 7)))


def test_constant_images_leave_every_filter_finite() -> None:
    train = LabelledImages(torch.full((5, 1, 4, 4), 0.25), torch.zeros(5, dtype=torch.int64), ("a", "b"))
    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        filter_named("wiener-0.003", train)(x), torch.full_like(x, 0.25)
    )  # the mean is all it knows
    assert all(bool(one(x).isfinite().all()) for one in filter_bank(train))


def test_large_images_have_a_basis_of_bounded_size_and_an_even_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (3, 20, 20)
    train = images(shape, 90)
    mean, c = covariance(train)
    values, vectors = (t.flip(-1) for t in torch.linalg.eigh(c))
    monkeypatch.setattr("tangency.evaluate.filters.bank._FULL", 100)
    monkeypatch.setattr("tangency.tangents.principal._DENSE", 100)
    monkeypatch.setattr("tangency.evaluate.filters.bank._LEADING", 20)
    source = FilterSource(train)
    assert source.axes.vectors.shape == (1200, 20)
    tail = float(values[20:].clamp(min=0).sum()) / 1180
    gains = (values / (values + 0.003)).where(torch.arange(1200) < 20, tail / (tail + 0.003))
    wanted = vectors @ torch.diag(gains) @ vectors.mT
    a, constant = dense(source.named("wiener-0.003"), shape)
    torch.testing.assert_close(a, wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(constant, mean - a @ mean, rtol=0, atol=1e-4)
    assert max(int(one.name[4:]) for one in source.bank() if one.name.startswith("pca-")) == 20
    with pytest.raises(SpecError, match="1 to 20 principal directions"):
        source.named("pca-21")


def test_a_filtered_classifier_has_its_card_and_follows_its_mode() -> None:
    train = images((1, 8, 8))
    net = build("convnet", (1, 8, 8), 3)
    net.eval()
    filtered = Filtered(filter_named("blur-0.5", train), net)
    assert not any(part.training for part in filtered.modules())
    assert filtered.card is not None
    assert filtered.card.provenance["filter"] == "blur-0.5"
    assert "filter" not in net.card.provenance
    assert filtered.card.classes == net.card.classes
    assert all(part.training for part in filtered.train().modules())
    assert net.training
    assert set(filtered.state_dict()) == {f"net.{key}" for key in net.state_dict()}
    assert Filtered(InputFilter("identity"), nn.Flatten()).card is None


def test_names_do_not_depend_on_how_numbers_are_written() -> None:
    names: Sequence[str] = bank_names((1, 28, 28), 784)
    assert {"blur-0.5", "blur-1", "wiener-0.3", "wiener-1", "wiener-0.03^2"} <= set(names)
