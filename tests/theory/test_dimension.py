"""Worlds of several dimensions: references, rows against closed forms of a linear function."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tangency.data.build import digest
from tangency.errors import SpecError
from tangency.theory.check import steps
from tangency.theory.dimension import dimension_rows
from tangency.types import LabelledImages
from tangency.worlds import World, drawn, family, make_world


class TwoLogits(nn.Module):
    """Logits ± ⟨w, x⟩, so that the margin's gradient is ±2w."""

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = x.flatten(1) @ self.w
        return torch.stack([inner, -inner], 1)


def two_classes(world: World, n: int) -> LabelledImages:
    images = drawn(world, n)
    labels = images.labels % 2
    return LabelledImages(
        images.pixels,
        labels,
        ("even", "odd"),
        "images",
        digest(images.pixels, labels, ("even", "odd")),
        unit_range=False,
    )


def test_a_reference_with_alternatives_is_a_family() -> None:
    assert family("world:linear?rank=2|4&shape=1x4x4") == [
        "world:linear?rank=2&shape=1x4x4",
        "world:linear?rank=4&shape=1x4x4",
    ]
    assert family("sphere") == ["sphere"]
    assert family("fitted?data=npz:a%26b.npz&rank=1|2")[1] == "fitted?data=npz:a%26b.npz&rank=2"
    assert [make_world(member).intrinsic_dimension for member in family("sphere?rank=2|3|5")] == [2, 3, 5]
    for wrong in ("linear?rank=2|4&classes=2|3", "linear?rank=2||4", "linear?rank=|2"):
        with pytest.raises(SpecError, match="expected those of one option"):
            family(wrong)


def test_a_family_is_checked_member_by_member() -> None:
    titles = [title for title, _ in steps("linear?shape=1x4x4&classes=2&rank=2|3")]
    assert len(titles) == 6
    assert sum("rank=2" in title for title in titles) == 3


def test_members_fitted_to_one_image_set_share_its_images() -> None:
    few, many = (make_world(r) for r in family("fitted?size=7&components=1&images=300&rank=1|3"))
    assert few.identity != many.identity
    assert few.identity.rpartition(",")[2] == many.identity.rpartition(",")[2]  # the digest of the images
    torch.testing.assert_close(few.core.mixture.means, many.core.mixture.means, rtol=1e-4, atol=1e-6)


def test_rows_of_a_linear_function_are_the_closed_forms() -> None:
    """F² = ‖Pw‖²/‖w‖², κ = (1 − F²)/F² · k/(d − k), E on² = ε²4‖Pw‖²/k, E off² = ε²4‖(I − P)w‖²/(d − k)."""
    worlds = [make_world(r) for r in family("linear?shape=1x6x6&classes=2&rank=2|4")]
    data = two_classes(worlds[0], 500)
    w = torch.randn(36, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for world, row in zip(worlds, dimension_rows(worlds, TwoLogits(w), data, data), strict=True):
        k, basis = world.intrinsic_dimension, world.tangent_basis(data.images(slice(1)).double())[0][0]
        inside, outside = float((basis.T @ w).square().sum()), float((w - basis @ basis.T @ w).square().sum())
        share = inside / (inside + outside)
        assert (row.rank, row.dimension) == (k, 36)
        torch.testing.assert_close(row.fraction, torch.full_like(row.fraction, share), rtol=1e-9, atol=0)
        assert row.kappa == pytest.approx((1 - share) / share * k / (36 - k), rel=1e-9)
        assert float(row.chance.mean()) == pytest.approx(k / 36, abs=4.5 * float(row.chance.std()) / 500**0.5)
        for found, energy, size in ((row.on, inside, k), (row.off, outside, 36 - k)):
            expected = 0.25 * 4 * energy / size
            assert float(found.mean()) == pytest.approx(expected, abs=4.5 * float(found.std()) / 500**0.5)
        assert bool(torch.isnan(row.controls["shuffled"]).all())  # one space for all images: there is no other
        assert float(row.controls["pca"].min()) > 0.9 * share
