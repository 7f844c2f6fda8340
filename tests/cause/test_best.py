"""own − best sham: coverage, false claims and power on networks whose truth is known."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from tangency.cause.best import SEED_SDS, OverBest, over_best, seed_sd, smallest_found
from tangency.errors import NumericsError
from tangency.statistics import crossed_difference, crossed_log_ratio

S, N, DRAWS = 5, 100, 2000
EQUAL, UNEQUAL = (0.004, 0.004, 0.004, 0.004), (0.004, 0.001, 0.004, 0.016)


def networks(rng: np.random.Generator, levels: tuple[float, ...], sds: tuple[float, ...]) -> list[np.ndarray]:
    """(S, N) of each arm: level + seed + network + image + arm × image + noise, the first two shared by the arms."""
    seeds, images = 0.003 * rng.normal(size=(S, 1)), 0.3 * rng.normal(size=N)
    return [
        level
        + seeds
        + sd * rng.normal(size=(S, 1))
        + images
        + 0.03 * rng.normal(size=N)
        + 0.05 * rng.normal(size=(S, N))
        for level, sd in zip(levels, sds, strict=True)
    ]


def compared(rng: np.random.Generator, levels: tuple[float, ...], sds: tuple[float, ...]) -> tuple[OverBest, float]:
    own, *others = networks(rng, levels, sds)
    shams = {str(j): values for j, values in enumerate(others)}
    result = over_best(own, shams, crossed_difference)
    return result, seed_sd(own.mean(1), shams[result.best].mean(1))


def shown(result: OverBest, sd: float) -> bool:
    return result.low > 0 and result.mean >= SEED_SDS * sd


def test_the_ends_are_those_of_the_closest_sham() -> None:
    own, near, far = networks(np.random.default_rng(0), (0.5, 0.4, 0.1), EQUAL[:3])
    result = over_best(own, {"near": near, "far": far}, crossed_difference)
    slow = {name: crossed_difference(own, sham) for name, sham in (("near", near), ("far", far))}
    assert result.best == "near"
    assert dict(result.each) == slow
    assert (result.mean, result.low) == (slow["near"].mean, slow["near"].low)
    assert result.high == crossed_difference(own, near, level=0.975).high > slow["near"].high
    assert over_best(own, {"far": far}, crossed_difference).high == slow["far"].high  # one sham needs no correction
    logs = over_best(own, {"near": near}, partial(crossed_log_ratio, floor=1e-3))
    assert logs.mean == pytest.approx(np.log(own.mean(1) / near.mean(1)).mean())


def test_one_network_and_no_sham_allow_no_claim() -> None:
    own, sham = (values[:1] for values in networks(np.random.default_rng(0), (0.5, 0.1), EQUAL[:2]))
    result = over_best(own, {"sham": sham}, crossed_difference)
    assert result.mean == pytest.approx(0.4, abs=0.05)
    assert math.isnan(result.low)
    assert math.isnan(result.high)
    assert math.isnan(seed_sd(own.mean(1), sham.mean(1)))
    with pytest.raises(NumericsError, match="got no shams"):
        over_best(own, {}, crossed_difference)


def test_the_seed_sd_is_that_of_levels_not_of_differences() -> None:
    together = np.array([0.1, 0.2, 0.3])
    assert seed_sd(together, together) == pytest.approx(0.1)  # though they do not differ at all


@pytest.mark.slow
@pytest.mark.parametrize("sds", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize(
    "levels", [(0.0,) * 4, (0.0, 0.0, -0.01, -0.02), (0.02, 0.0, 0.0, 0.0), (0.0, 0.03, 0.0, 0.0)], ids=str
)
def test_the_interval_holds_own_minus_the_best_sham(levels: tuple[float, ...], sds: tuple[float, ...]) -> None:
    rng, truth = np.random.default_rng([7, *np.float64(levels + sds).view(np.uint32)]), levels[0] - max(levels[1:])
    inside = false = 0
    for _ in range(DRAWS):
        result, sd = compared(rng, levels, sds)
        inside += result.low <= truth <= result.high
        false += truth <= 0 and shown(result, sd)
    assert inside / DRAWS >= 0.94
    assert false / DRAWS <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.004, 0.02], ids=["images", "seeds"])
@pytest.mark.parametrize("shams", [1, 3])
def test_the_smallest_difference_is_found_as_often_as_it_says(sd: float, shams: int) -> None:
    """With the mean of the printed differences as the truth, to each of several shams."""
    rng = np.random.default_rng([11, shams, int(1000 * sd)])
    printed, sds = [], (sd,) * (1 + shams)
    for _ in range(300):
        result, own_sd = compared(rng, (0.0,) * (1 + shams), sds)
        printed.append(smallest_found(result.each[result.best], own_sd, shams))
    at = float(np.mean(printed))
    found = np.mean([shown(*compared(rng, (at, *(0.0,) * shams), sds)) for _ in range(DRAWS)])
    assert 0.72 <= found <= 0.93
    less = np.mean([shown(*compared(rng, (at / 2, *(0.0,) * shams), sds)) for _ in range(500)])
    assert less < 0.5
