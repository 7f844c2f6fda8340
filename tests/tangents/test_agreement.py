"""Principal angles, overlap and reach, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from tangency.errors import NumericsError
from tangency.tangents import TangentSpace, random_tangents, reach, space_agreement


def spaces(d: int, ranks: tuple[int, ...], seed: int) -> TangentSpace:
    """Random subspaces of these ranks, in bases as wide as the largest."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(ranks), d, max(ranks), generator=generator, dtype=torch.float64)).Q
    return TangentSpace(basis, torch.tensor([max(ranks)] * len(ranks))).cut(torch.tensor(ranks))


def test_angles_are_scipys_whatever_the_ranks() -> None:
    first, second = spaces(20, (3, 5, 2, 4), 0), spaces(20, (4, 2, 2, 1), 1)
    found = space_agreement(first, second)
    for i in range(4):
        a, b = (s.basis[i, :, : int(s.rank[i])].numpy() for s in (first, second))
        expected = np.sort(np.rad2deg(scipy.linalg.subspace_angles(a, b)))
        own = found.angles[i][~found.angles[i].isnan()].numpy()
        np.testing.assert_allclose(own, expected, atol=1e-6)
        assert found.largest[i].item() == pytest.approx(expected[-1], abs=1e-6)
        assert found.mean[i].item() == pytest.approx(expected.mean(), abs=1e-6)
        share = np.square(np.cos(np.deg2rad(expected))).sum() / min(a.shape[1], b.shape[1])
        assert found.overlap[i].item() == pytest.approx(share)
        assert found.chance[i].item() == pytest.approx(max(a.shape[1], b.shape[1]) / 20)


def test_equal_spaces_are_at_zero_and_small_angles_are_exact() -> None:
    same = spaces(30, (6,), 0)
    turn = spaces(6, (6,), 3).basis
    turned = TangentSpace(same.basis @ turn, same.rank)
    assert float(space_agreement(same, turned).largest) < 1e-6
    angle = 1e-5
    one = torch.eye(4, dtype=torch.float64)[None, :, :1]
    other = torch.tensor([[[math.cos(angle)], [math.sin(angle)], [0.0], [0.0]]], dtype=torch.float64)
    found = space_agreement(TangentSpace(one, torch.tensor([1])), TangentSpace(other, torch.tensor([1])))
    assert math.radians(found.largest.item()) == pytest.approx(angle, rel=1e-3)


def test_random_spaces_overlap_by_chance() -> None:
    found = [space_agreement(lone(4, 2 * n), lone(7, 2 * n + 1)) for n in range(300)]
    overlap = torch.cat([f.overlap for f in found])
    assert overlap.mean().item() == pytest.approx(7 / 25, abs=4 * overlap.std().item() / math.sqrt(300))


def lone(rank: int, seed: int) -> TangentSpace:
    """One random subspace of 25 dimensions."""
    return random_tangents((1, 5, 5), rank, seed).at(torch.zeros(1, 1, 5, 5, dtype=torch.float64))


def test_a_space_of_rank_zero_agrees_with_nothing() -> None:
    none = spaces(6, (2, 1), 0).cut(torch.tensor([0, 1]))
    found = space_agreement(none, spaces(6, (2, 2), 1))
    assert found.overlap.isnan().tolist() == [True, False]
    assert found.largest.isnan().tolist() == [True, False]


def test_spaces_of_other_dimensions_are_refused() -> None:
    with pytest.raises(NumericsError, match="expected as many in the same"):
        space_agreement(spaces(6, (2,), 0), spaces(7, (2,), 0))


def test_the_reach_of_a_sphere_is_its_radius() -> None:
    radius = 0.7
    normal = torch.randn(200, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = torch.nn.functional.normalize(normal, dim=1) * radius
    x, others = points[:1].reshape(1, 1, 1, 5), points[1:].reshape(1, -1, 1, 1, 5)
    tangent = torch.linalg.svd(points[:1], full_matrices=True).Vh[1:].T[None]
    found = reach(TangentSpace(tangent, torch.tensor([4])), x, others)
    assert found.item() == pytest.approx(radius)
