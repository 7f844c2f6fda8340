"""Slow: coverage of crossed intervals over shared image variance, network spread and few networks, and who fails."""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np
import pytest
from scipy.special import ndtr

from crossed_worlds import Cell, Kind, Z, coverage, draws
from tangency.statistics import CrossedDraws, PairedBootstrap, crossed_sets

pytestmark = pytest.mark.slow
REPETITIONS = 2000
KINDS: tuple[Kind, ...] = ("levels", "differences", "log ratios")
GRID = list(product((0.0, 0.5, 0.9), (0.0, 2.0, 6.0), (3, 5, 10)))
SPREAD = [cell for cell in GRID if cell[1] >= 2]
COVERED = pytest.approx(0.955, abs=0.025)  # .93 to .98


@cache
def measured(cell: Cell) -> dict[str, float]:
    shares = coverage(cell, 3 * REPETITIONS if cell.skewed else REPETITIONS)
    print(cell, shares)
    return shares


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("share", "ratio", "networks"), GRID)
def test_crossed_intervals_cover(kind: Kind, share: float, ratio: float, networks: int) -> None:
    assert measured(Cell(kind, share, ratio, networks))["crossed"] == COVERED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.0, 2.0, 6.0])
@pytest.mark.parametrize("networks", [3, 5, 10])
def test_crossed_intervals_cover_with_skewed_images(kind: Kind, ratio: float, networks: int) -> None:
    """200 log-normal images of skewness 6.2; uncorrected, those of levels would cover .92 at S = 10, ratio 0."""
    assert measured(Cell(kind, 0.9, ratio, networks, skewed=True))["crossed"] == COVERED


def test_crossed_intervals_cover_with_few_images() -> None:
    """With z for t of N − 1 degrees of freedom it would be .937 to .940."""
    assert measured(Cell("levels", 0.9, 0.0, 5, images=20))["crossed"] == COVERED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.0, 2.0])
@pytest.mark.parametrize("networks", [3, 5, 10])
def test_plain_t_over_networks_misses_the_shared_images(kind: Kind, ratio: float, networks: int) -> None:
    """P(|t_{S−1}| ≤ t/√(1 + image part/network part)): .92 at ratio 2 and S = 3, below .9 in the other cells."""
    highest = 0.93 if (ratio, networks) == (2, 3) else 0.9
    assert measured(Cell(kind, 0.9, ratio, networks))["plain t"] < highest


def parts(share: float, ratio: float, networks: int) -> tuple[float, float]:
    """Variance of the networks' mean by images and by networks, in units of one network's image variance."""
    return share + (1 - share) / networks, ratio**2 / networks


@pytest.mark.parametrize(("share", "ratio", "networks"), SPREAD)
def test_the_image_interval_of_the_networks_mean_misses_their_spread(share: float, ratio: float, networks: int) -> None:
    """Images are the sample and networks are taken as fixed, as a bootstrap of the images does: .90 at best."""
    images, spread = parts(share, ratio, networks)
    covered = measured(Cell("levels", share, ratio, networks))["image interval of the mean"]
    assert covered == pytest.approx(2 * ndtr(Z * math.sqrt(images / (images + spread))) - 1, abs=0.025)
    assert covered < 0.93


@pytest.mark.parametrize(("share", "ratio", "networks"), SPREAD)
def test_the_mean_of_image_intervals_has_the_width_of_one_network(share: float, ratio: float, networks: int) -> None:
    """The networks' image intervals, averaged: their width does not know S, and is right by chance or not at all.

    At ratio 2 it covers .95 with share 0, S = 5, .99 with share 0, S = 10, and .96 with share .5, S = 10. It misses in
    the other cells: .81 to .91 at ratio 2, .41 to .69 at ratio 6.
    """
    covered = measured(Cell("levels", share, ratio, networks))["mean of image intervals"]
    assert covered == pytest.approx(2 * ndtr(Z / math.sqrt(sum(parts(share, ratio, networks)))) - 1, abs=0.025)
    if (share, ratio, networks) not in ((0, 2, 5), (0, 2, 10), (0.5, 2, 10)):
        assert covered < 0.93


@pytest.mark.parametrize("ratio", [2.0, 6.0])
def test_the_seed_bootstrap_misses_with_three_networks(ratio: float) -> None:
    """Replicate b is the mean over three seeds, drawn with replacement, of what each has on images drawn anew."""
    cell = Cell("levels", 0.5, ratio, 3)
    images, drawn = PairedBootstrap(cell.images, 1000), np.random.default_rng(0).integers(3, size=(1000, 3))
    covered = 0
    for _, truth, table in draws(cell, REPETITIONS):
        each = images.mean(table)
        resamples = [each[seeds, 1 + b].mean() for b, seeds in enumerate(drawn)]
        low, high = np.quantile(resamples, [0.025, 0.975])
        covered += low <= truth <= high
    print(cell, "seed bootstrap", covered / REPETITIONS)
    assert 0.7 < covered / REPETITIONS < 0.92


@pytest.mark.parametrize(("share", "ratio", "networks"), GRID)
def test_draws_of_networks_and_images_cover_as_often(share: float, ratio: float, networks: int) -> None:
    """Percentiles of `CrossedDraws`; those of `crossed_sets` cover at least as often, whatever the networks share."""
    cell = Cell("levels", share, ratio, networks)
    images, by_draws, by_sets = PairedBootstrap(cell.images, 500), 0, 0
    for number, (_, truth, table) in enumerate(draws(cell, REPETITIONS)):
        made = CrossedDraws(networks, 500, number).of(images.mean(table), table - table.mean(1, keepdims=True))
        low, high = np.quantile(made[1:], [0.025, 0.975])
        by_draws += low <= truth <= high
        whole = crossed_sets(table.mean(1), table.std(1, ddof=1) / cell.images**0.5, cell.images)
        by_sets += whole.low <= truth <= whole.high
    assert by_draws / REPETITIONS == pytest.approx(0.955, abs=0.03)
    assert by_sets / REPETITIONS > 0.935
