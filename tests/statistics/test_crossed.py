"""Crossed intervals: closed forms, a table by hand, what degenerates, what is refused, coverage in short."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from crossed_worlds import Cell, coverage
from tangency.errors import NumericsError
from tangency.statistics import crossed, crossed_difference, crossed_log_ratio, crossed_mean
from tangency.statistics.crossed import CrossedEstimate
from tangency.statistics.resamples import Array

T2, T3 = stats.t.ppf(0.975, 2), stats.t.ppf(0.975, 3)
TABLE = np.array([[1.0, 2.0, 4.0, 5.0], [2.0, 4.0, 6.0, 8.0], [3.0, 3.0, 8.0, 10.0]])
Halves = tuple[float, float]


def halves(estimate: CrossedEstimate) -> Halves:
    return estimate.mean - estimate.low, estimate.high - estimate.mean


def slow_ends(values: Array, level: float = 0.95) -> Halves:
    """Roots of Hall's cubic, in standard errors: below and above the mean of skewed values."""
    n, t = len(values), stats.t.ppf((1 + level) / 2, len(values) - 1)
    most = brentq(lambda a: 6 * a * (t + a) - 0.9, 0, 1)
    g = 6 * np.clip(stats.skew(values) / np.sqrt(n) / 6, -most, most)

    def cubic(x: float, end: float) -> float:
        return float(x + g * x**2 / 3 + g**2 * x**3 / 27 + g / 6 - end)

    return brentq(cubic, -1e3, 1e3, args=(t,)), -brentq(cubic, -1e3, 1e3, args=(-t,))


def slow_halves(table: Array, level: float = 0.95) -> Halves:
    """The formula of a mean, cell by cell, from the sums of squares of a two-way table."""
    networks, images = table.shape
    grand = table.mean()
    net = images * sum((table[s].mean() - grand) ** 2 for s in range(networks)) / (networks - 1)
    image = sum((table[:, i].mean() - grand) ** 2 for i in range(images)) / (images - 1)
    error = 0.0
    for s in range(networks):
        for i in range(images):
            error += (table[s, i] - table[s].mean() - table[:, i].mean() + grand) ** 2
    error /= (networks - 1) * (images - 1)
    cells = networks * images
    t = stats.t.ppf((1 + level) / 2, networks - 1)
    part = max(0.0, image / images - error / cells)
    below, above = (np.sqrt(t**2 * net / cells + end**2 * part) for end in slow_ends(table.mean(0), level))
    return float(below), float(above)


def test_a_table_by_hand() -> None:
    """Rows have means 3, 5, 6, columns 2, 3, 6, 23/3 of skewness .123; MS_net = 28/3, s²_image = 62/9, MSE = 1."""
    found = crossed_mean(TABLE)
    assert (found.mean, found.each, found.networks, found.unit, found.images) == (14 / 3, (3, 5, 6), 3, "networks", 4)
    a = 156 / 108 / (186 / 36) ** 1.5 / 6 / 2  # below .045, its limit with three degrees of freedom
    below, above = ((np.cbrt(1 + 6 * a * (t - a)) - 1) / (2 * a) for t in (T3, -T3))
    wanted = [np.sqrt(T2**2 * (28 / 3) / 12 + end**2 * (62 / 9 / 4 - 1 / 12)) for end in (below, above)]
    assert halves(found) == pytest.approx(wanted)


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_the_slow_formula_on_random_tables(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(2 + seed, 7)) + 2 * rng.normal(size=7) + rng.normal(size=(2 + seed, 1))
    assert halves(crossed_mean(table)) == pytest.approx(slow_halves(table))
    assert halves(crossed_mean(table, level=0.8)) == pytest.approx(slow_halves(table, 0.8))
    other = rng.exponential(size=table.shape)
    assert halves(crossed_difference(table, other)) == pytest.approx(slow_halves(table - other))


def test_the_interval_of_skewed_values_reaches_further_to_their_tail() -> None:
    """Symmetric values have Student's t; mirrored ones a mirrored interval; rare ones nearly that of a proportion."""
    symmetric = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
    found = crossed_mean(symmetric)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 4, 0, stats.sem(symmetric)))
    assert halves(crossed_mean(-TABLE)) == pytest.approx(halves(crossed_mean(TABLE))[::-1])
    for count in (2, 3, 5, 15):  # of 500; by z the upper end for 2 would be .0095, not .0144
        found, exact = crossed_mean(np.repeat([1.0, 0.0], [count, 500 - count])), stats.binomtest(count, 500)
        assert found.high == pytest.approx(exact.proportion_ci().high, rel=0.14)
        assert found.low == pytest.approx(exact.proportion_ci().low, abs=0.001)


@pytest.mark.parametrize("values", [TABLE[0], TABLE[:1]])
def test_one_network_has_the_interval_of_its_images_and_says_so(values: Array) -> None:
    found = crossed_mean(values)
    assert (found.unit, found.networks, found.each) == ("images", 1, (3.0,))
    assert halves(found) == pytest.approx((T3 * TABLE[0].std(ddof=1) / 2,) * 2)


def test_without_image_effects_it_is_students_t_over_networks() -> None:
    """Rows that differ by a constant only; and rows whose images cancel, where the image part is below zero: cut."""
    levels = np.array([1.0, 2.0, 4.0])
    flat = np.repeat(levels[:, None], 6, axis=1)
    opposite = np.tile([1.0, -1.0], 3) * np.array([[1.0], [-1.0], [0.0]])
    for table in (flat, flat + opposite):
        interval = stats.t.interval(0.95, 2, levels.mean(), levels.std(ddof=1) / np.sqrt(3))
        found = crossed_mean(table)
        assert (found.low, found.high) == pytest.approx(interval)


def test_a_fixed_network_stands_for_all_seeds_and_keeps_its_image_part() -> None:
    fixed = TABLE[2]
    repeated = crossed_mean(np.broadcast_to(fixed, (5, 4)))
    assert (repeated.networks, repeated.unit) == (5, "networks")
    assert halves(repeated) == pytest.approx([end * fixed.std(ddof=1) / 2 for end in slow_ends(fixed)])
    assert crossed_difference(TABLE, fixed) == crossed_difference(TABLE, np.broadcast_to(fixed, TABLE.shape))
    assert crossed_difference(fixed, TABLE).mean == -crossed_difference(TABLE, fixed).mean
    of_two = crossed_difference(TABLE[0], TABLE[1])
    assert (of_two.unit, of_two.networks) == ("images", 1)
    assert halves(of_two) == pytest.approx((T3 * (TABLE[0] - TABLE[1]).std(ddof=1) / 2,) * 2)


def test_a_log_ratio_is_the_mean_of_the_networks_logs_with_a_delta_method_image_part() -> None:
    a, b = TABLE, np.array([[2.0, 1.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0], [5.0, 4.0, 4.0, 3.0]])
    found = crossed_log_ratio(a, b, floor=0.01)
    logs = np.log(a.mean(1) / b.mean(1))
    assert found.each == pytest.approx(tuple(logs))
    linear = np.array([[np.log(a[s].mean() / b[s].mean()) + a[s, i] / a[s].mean() - b[s, i] / b[s].mean()
                        for i in range(4)] for s in range(3)])  # fmt: skip
    assert halves(found) == pytest.approx(slow_halves(linear))
    scaled = crossed_log_ratio(1000 * a, b, floor=0.01)
    assert (scaled.mean, *halves(scaled)) == pytest.approx((found.mean + np.log(1000), *halves(found)))


def test_a_floored_mean_is_the_floor_and_its_interval_no_narrower() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, 50))
    noise -= noise.mean(1, keepdims=True)
    b = np.ones((3, 50))
    below, at, above = (crossed_log_ratio(level + 0.05 * noise, b, floor=0.1) for level in (0.02, 0.1, 0.2))
    assert below.each == pytest.approx([np.log(0.1)] * 3)
    assert halves(below) == pytest.approx(halves(at))
    assert halves(below) == pytest.approx([2 * half for half in halves(above)])
    negative = crossed_log_ratio(-np.ones((2, 3)), b[:2, :3], floor=0.1)
    assert (negative.low, negative.high) == pytest.approx((np.log(0.1), np.log(0.1)))


def test_an_image_without_a_value_is_left_out_for_all_networks() -> None:
    holed, other = TABLE.copy(), np.ones_like(TABLE)
    holed[1, 2], other[0, 0] = np.nan, np.inf
    assert crossed_mean(holed) == crossed_mean(TABLE[:, [0, 1, 3]])
    assert crossed_difference(holed, other) == crossed_mean(TABLE[:, [1, 3]] - 1)
    assert crossed_log_ratio(holed, other, 0.1) == crossed_log_ratio(TABLE[:, [1, 3]], np.ones((3, 2)), 0.1)
    estimates = TABLE[:, [0, 1, 3]].mean(1)
    assert halves(crossed(estimates, holed)) == pytest.approx(halves(crossed_mean(holed)))


def test_below_two_images_there_is_no_interval_and_without_any_no_number() -> None:
    one = crossed_mean(TABLE[:, :1])
    assert (one.mean, one.images) == (2.0, 1)
    assert np.isnan([one.low, one.high]).all()
    for none in (crossed_mean(np.full((2, 3), np.nan)), crossed_log_ratio(np.ones((2, 0)), np.ones((2, 0)), 0.1)):
        assert np.isnan([none.mean, none.low, none.high, *none.each]).all()
        assert (none.images, none.networks) == (0, 2)


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = crossed_mean(np.full((3, 5), 0.25))
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)
    same = crossed_difference(TABLE, TABLE)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: crossed_difference(TABLE, TABLE[:1]), r"\(3, 4\) and \(1, 4\).*fixed network"),
        (lambda: crossed_difference(TABLE, TABLE[:, :3]), r"\(3, 4\) and \(3, 3\)"),
        (lambda: crossed_difference(TABLE, TABLE[0, :3]), r"\(3, 4\) and \(3,\)"),
        (lambda: crossed_mean(TABLE[None]), r"\(1, 3, 4\)"),
        (lambda: crossed_mean(np.ones((0, 4))), r"\(0,\) and influence \(0, 4\)"),
        (lambda: crossed(np.ones(2), TABLE), r"\(2,\) and influence \(3, 4\)"),
        (lambda: crossed_mean(TABLE, level=95), "level 95"),
        (lambda: crossed_log_ratio(TABLE, TABLE, 0), "floor 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NumericsError, match=words):
        call()


def test_few_repetitions_show_what_covers_and_what_does_not() -> None:
    """300 repetitions, S = 5, image variance .9 common to networks: plain t fails without, images with, network sd."""
    still, moving = (coverage(Cell("levels", 0.9, ratio, 5), 300) for ratio in (0, 6))
    assert 0.91 <= still["crossed"] <= 0.99
    assert 0.91 <= moving["crossed"] <= 0.99
    assert still["plain t"] < 0.6
    assert moving["image interval of the mean"] < 0.7
    assert moving["mean of image intervals"] < 0.7
