"""Counter-based random numbers: known answers, independence of the batch, distribution."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from tangency.seeding import Draw, derive_seed, permutation, philox


def words(*values: int) -> list[torch.Tensor]:
    return [torch.tensor([v]) for v in values]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known answers that the generator's authors publish for philox4x32 with 10 rounds
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter: tuple, key: tuple, expected: tuple) -> None:
    assert tuple(int(w) for w in philox(words(*counter), key)) == expected


def test_a_draw_depends_on_its_image_only(device: str) -> None:
    ids = torch.tensor([3, 17, 2**40, 5], device=device)
    together = Draw(1, ids, "x").normal((2, 7))
    for i in range(4):
        assert torch.equal(Draw(1, ids[i : i + 1], "x").normal((2, 7))[0], together[i])
    assert torch.equal(Draw(1, ids.cpu(), "x").uniform((3,)), Draw(1, ids, "x").uniform((3,)).cpu())


def test_seed_purpose_and_image_each_give_other_numbers() -> None:
    ids = torch.arange(2)
    base = Draw(1, ids, "a").normal((5,))
    for other in (Draw(2, ids, "a"), Draw(1, ids, "b"), Draw(1, ids + 2, "a"), Draw(1, ids, "a").of("b")):
        assert not torch.isclose(other.normal((5,)), base).any()
    assert not torch.isclose(base[0], base[1]).any()


def test_normal_and_uniform_have_their_distributions() -> None:
    draw = Draw(0, torch.arange(500), "test")
    assert stats.kstest(draw.normal((101,), torch.float64).flatten().numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(draw.uniform((101,), torch.float64).flatten().numpy(), "uniform").pvalue > 1e-3
    neighbours = draw.normal((2,), torch.float64)
    assert abs(float(torch.corrcoef(neighbours.T)[0, 1])) < 0.15


def test_integers_reach_every_value_and_no_other() -> None:
    draw = Draw(0, torch.arange(1000)).integers(7)
    assert set(draw.tolist()) == set(range(7))
    bounds = torch.tensor([1, 5] * 500)
    assert int(Draw(0, torch.arange(1000)).integers(bounds)[::2].max()) == 0


def test_seeds_and_orders_are_the_same_everywhere() -> None:
    assert derive_seed(0, "order", 3) == 7969273670047146399
    assert permutation(5, 0, "order", 1).tolist() == [1, 2, 3, 0, 4]
    assert sorted(permutation(11, 0, "a").tolist()) == list(range(11))
    assert permutation(11, 0, "a").tolist() != permutation(11, 0, "b").tolist()


def test_uniform_numbers_stay_below_one_in_every_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Draw, "_words", lambda self, count: torch.full((3, 4, count), 2**32 - 1))
    for dtype in (torch.float32, torch.float64):
        assert float(Draw(0, torch.arange(3)).uniform((5,), dtype).max()) < 1
