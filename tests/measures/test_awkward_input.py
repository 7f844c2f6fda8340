"""Measures of models, images and labels that are awkward but legitimate, and refusals of what is not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from measure_support import measured, toy_world
from tangency.errors import DataError, NumericsError
from tangency.measures import MeasureConfig, Rows
from tangency.mixtures import Mixture
from tangency.tangents import FixedTangents, MixtureTangents, TangentSpace
from tangency.types import LabelledImages

SHAPE = (1, 7, 11)
CONFIG = MeasureConfig(sigmas=(0.5,), rho_sigmas=(0.05,), epsilons=(1.0,), directions=1, metrics=("cosine",))


def world() -> tuple[Mixture, LabelledImages]:
    return toy_world(SHAPE, 19, torch.float32)


def found(model: nn.Module, mixture: Mixture, data: LabelledImages, **changes: object) -> Rows:
    return measured(model, mixture, data, **({"config": CONFIG} | changes))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(77, 13), nn.SiLU(), nn.Linear(13, 3))


def assert_same(a: Rows, b: Rows) -> None:
    for key, values in a.columns.items():
        torch.testing.assert_close(b[key], values, rtol=1e-4, atol=1e-5, equal_nan=True, msg=key)


class Overwriting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.mul_(0.5))


class Halving(Overwriting):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x * 0.5)


@pytest.mark.parametrize("label", ["true", "predicted"])
def test_a_model_that_overwrites_its_input_changes_neither_images_nor_results(label: str) -> None:
    mixture, data = world()
    images = data.images().clone()
    config = MeasureConfig(**{**vars(CONFIG), "label": label})
    rows = found(Overwriting(), mixture, data, images=images, config=config)
    assert torch.equal(images, data.images())
    assert_same(found(Halving(), mixture, data, config=config), rows)


def test_inference_mode_narrow_labels_and_memory_formats_change_nothing() -> None:
    mixture, data = world()
    model = network()
    expected = found(model, mixture, data)
    with torch.inference_mode():
        assert_same(expected, found(model, mixture, data))
        made = data.images().clone()
    narrow = LabelledImages(data.pixels, data.labels.to(torch.uint8), data.classes)
    assert_same(expected, found(model, mixture, data, images=made))
    assert_same(expected, found(model, mixture, data, labels=data.labels.int(), train_data=narrow, pool=narrow))
    strided = data.images().transpose(2, 3).contiguous().transpose(2, 3)
    assert not strided.is_contiguous()
    assert_same(expected, found(model, mixture, data, images=strided))


def test_an_image_with_nan_logits_counts_in_no_measure_of_the_model() -> None:
    mixture, data = world()
    spoiled = data.images()[4]

    class Spoiled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            near = (x - spoiled).flatten(1).abs().amax(1) < 1e-9
            return self.inner(x).masked_fill(near[:, None], torch.nan)

    rows = found(Spoiled(), mixture, data)
    clean = found(network(), mixture, data)
    for key in ("accuracy", "tangent_fraction.margin", "change_on.eps=1", "rho_all.logits.sigma=0.05"):
        assert rows[key].isnan().nonzero().flatten().tolist() == [4], key
        assert rows.degenerate()[key] == 1
        torch.testing.assert_close(rows[key][5:], clean[key][5:], rtol=1e-4, atol=1e-6)


def test_a_control_of_lower_rank_is_compared_at_the_common_rank() -> None:
    mixture, data = world()
    thin = mixture.loadings.clone()
    thin[mixture.component_class == 2, :, 1:] = 0
    uneven = Mixture(
        SHAPE, mixture.means, thin, mixture.noise, mixture.log_weights, mixture.component_class, mixture.classes
    )
    rows = found(network(), uneven, data)
    rank = rows["tangent_rank"]
    assert set(rank.tolist()) == {1, 4}
    common = rows["tangent_rank.shuffled"]
    assert (common <= rank).all()
    assert (common[rank == 4] == 1).any()
    assert not rows["tangent_fraction.margin.shuffled"].isnan().any()
    assert not rows["tangent_fraction.margin.dct"].isnan().any()


@pytest.mark.parametrize("missing", [{0, 1}, {17, 18}, set(range(19))])
def test_images_without_a_tangent_direction_leave_no_column_out(missing: set[int]) -> None:
    mixture, data = world()
    config = dataclasses.replace(CONFIG, curved=1)
    tangents = Missing(MixtureTangents(mixture), missing)
    whole, parts = (found(network(), mixture, data, config=config, tangents=tangents, batch_size=n) for n in (19, 2))
    assert whole.keys() == parts.keys()
    assert_same(whole, parts)
    assert set(whole["residual_on.eps=1"].isnan().nonzero().flatten().tolist()) == missing
    flat = FixedTangents(torch.eye(77)[:, :4], "pixels")  # knows no manifold, so no distance from it
    assert "residual_on.eps=1" not in found(network(), mixture, data, config=config, tangents=flat).columns


class Missing(MixtureTangents):
    """Tangent spaces without a dimension for some images."""

    def __init__(self, inner: MixtureTangents, ids: set[int]) -> None:
        super().__init__(inner.mixture)
        self.ids = torch.tensor(sorted(ids))

    def at(self, x: torch.Tensor, ids: torch.Tensor | None = None) -> TangentSpace:
        space = super().at(x, ids)
        gone = torch.zeros(len(x), dtype=torch.bool) if ids is None else torch.isin(ids, self.ids)
        return dataclasses.replace(space.cut(space.rank.masked_fill(gone, 0)), residual=space.residual)


def test_an_infinite_log_kappa_is_counted_and_left_out_of_the_mean() -> None:
    rows = Rows(torch.arange(3), {"log_kappa.margin": torch.tensor([1.0, torch.inf, 3.0])}, 77, 3)
    assert rows.mean() == {"log_kappa.margin": 2.0}
    assert rows.degenerate() == {"log_kappa.margin": 1}


def test_requests_that_cannot_be_met_are_named() -> None:
    mixture, data = world()
    model = network()
    with pytest.raises(NumericsError, match="got none"):
        found(model, mixture, data, images=data.images()[:0], labels=data.labels[:0])
    with pytest.raises(NumericsError, match="batch_size: got 0"):
        found(model, mixture, data, batch_size=0)
    with pytest.raises(NumericsError, match="without a pool"):
        found(model, mixture, data, ids=torch.arange(19).flip(0))
    with pytest.raises(NumericsError, match=r"ids: got torch.int64 of shape \(5,\)"):
        found(model, mixture, data, ids=torch.arange(5), pool=data)
    with pytest.raises(NumericsError, match="ids: got 1 to 19, expected indices of the pool, 0 to 18"):
        found(model, mixture, data, ids=torch.arange(19) + 1, pool=data)
    with pytest.raises(NumericsError, match="ids: got list, expected a tensor"):
        found(model, mixture, data, ids=list(range(19)), pool=data)
    bytes_as_floats = LabelledImages(data.pixels * 255, data.labels, data.classes)
    with pytest.raises(NumericsError, match=r"train_data images: values in .*expected \[0, 1\]"):
        found(model, mixture, data, train_data=bytes_as_floats)
    with pytest.raises(DataError, match="pool labels"):
        found(model, mixture, data, pool=LabelledImages(data.pixels, data.labels + 1, data.classes))
    with pytest.raises(NumericsError, match="got tuple for 2 images"):
        found(Pair(), mixture, data)


class Pair(Halving):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        return super().forward(x), x


def test_bytes_and_a_class_map_give_the_same_rows() -> None:
    mixture, data = world()
    x = (data.images() * 255).round()
    expected = found(network(), mixture, data, images=x / 255)
    assert_same(found(network(), mixture, data, images=x.to(torch.uint8)), expected)
    with pytest.raises(NumericsError, match=r"They look like bytes: divide them by 255\."):
        found(network(), mixture, data, images=x)

    class Wider(nn.Module):
        """Seven outputs, of which 5, 0 and 3 are the classes."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = self.inner(x)
            other = logits.new_full((len(x), 7), 9.0)
            return other.index_copy(1, torch.tensor([5, 0, 3]), logits)

    assert_same(found(Wider(), mixture, data, images=x / 255, class_map=[5, 0, 3]), expected)
    names = dict(zip(data.classes, (5, 0, 3), strict=True))
    for same in ("5,0,3", names, torch.tensor([5, 0, 3])):
        assert_same(found(Wider(), mixture, data, images=x / 255, class_map=same), expected)
    wrong: Any
    for wrong in ([5, 0], [5, 5, 3], [5, 0, -1], [5, 0, 7], "5,0", "a,b,c", "", 3, [None, 0, 1], {"x": 1}, object()):
        with pytest.raises(NumericsError, match="Expected 3 different indices of outputs from 0 to 6"):
            found(Wider(), mixture, data, class_map=wrong)
    with pytest.raises(NumericsError, match="class_map="):
        found(Wider(), mixture, data)
