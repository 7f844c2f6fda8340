"""Intervals hold the truth as often as they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tangency.theory import Repetition, TiltedBayes, coverage, measured_population, truth_of
from tangency.theory.coverage import excess_truths
from tangency.theory.population import drawn_apart, repairs
from tangency.worlds import make_world

SCRIPT = Path(__file__).parents[2] / "scripts" / "coverage_table.py"


def script():
    spec = importlib.util.spec_from_file_location("coverage_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def columns(n: int = 4000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"accuracy": rng.exponential(size=n), "tangent_rank": np.full(n, 3.0)}


def test_intervals_of_a_mean_hold_it_95_times_in_100() -> None:
    found = columns()
    truth = truth_of(found, 10, 2).estimates["accuracy"].mean
    held = coverage(found, {"accuracy": truth}, 10, 2, Repetition(1000, 300, 400))["accuracy"]
    assert truth == found["accuracy"].mean()
    assert abs(held.share - 0.95) < 0.02
    assert abs(held.bias) < 0.01
    assert held.width == pytest.approx(2 * 1.96 / np.sqrt(300), rel=0.1)


def test_a_wrong_truth_is_not_covered() -> None:
    found = columns()
    wrong = found["accuracy"].mean() + 0.1
    assert coverage(found, {"accuracy": wrong}, 10, 2, Repetition(200, 300, 200))["accuracy"].share < 0.75


def test_shuffled_controls_are_drawn_anew_in_each_data_set() -> None:
    """Their mean over data sets is the population's, and a partner is never the image itself."""
    module = script()
    world = make_world("rotated?shape=1x8x8&rank=2&classes=3&noise=1e-3")
    found = measured_population(world, TiltedBayes(world), 300, module.CONFIG)
    assert found.fractions.shape == (300, 3)
    own = found.fractions[np.arange(300), found.component]
    assert own == pytest.approx(found.columns["tangent_fraction.margin"], abs=1e-5)
    rng = np.random.default_rng(0)
    draws = [repairs(found)(rng.permutation(300), rng)["tangent_fraction.margin.shuffled"].mean() for _ in range(200)]
    expected = found.columns["tangent_fraction.margin.shuffled"].mean()
    assert np.mean(draws) == pytest.approx(expected, abs=5 * np.std(draws) / np.sqrt(200) + 1e-3)
    truths = excess_truths(truth_of(found.columns, 64, 3), "tangent_fraction.margin")
    # one tangent space a class: no other image of the class has another
    assert {key.rpartition(".")[2] for key in truths} == {"margin", "shuffled", "dct", "pca", "phase"}
    assert truths["excess.tangent_fraction.margin"] == min(v for k, v in truths.items() if k.count(".") == 3)


def test_partners_of_a_data_set_are_uniform_over_members_of_another_kind() -> None:
    rng = np.random.default_rng(0)
    group, kind = rng.integers(3, size=40), rng.integers(4, size=40)
    member = np.where(rng.random(40) < 0.2, 3, group)  # some stand in for nobody
    counts = np.zeros((40, 40))
    for _ in range(4000):
        partner = drawn_apart(group, member, kind, rng)
        counts[np.arange(40), partner] += partner >= 0
    allowed = (member == group[:, None]) & (kind != kind[:, None])
    np.testing.assert_array_equal(counts > 0, allowed)
    expected = 4000 / allowed.sum(1, keepdims=True)
    assert (np.abs(counts - expected) / np.sqrt(expected))[allowed].max() < 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["W1", "W3"])
def test_intervals_of_every_measure_hold_the_truth(name: str) -> None:
    """2,000 data sets from a population of 200,000 images: 93 to 97 % at n = 1,000."""
    module = script()
    few, many = (Repetition(2000, n, 1000) for n in module.SIZES)
    covered = module.covered(module.WORLDS[name], 200_000, [few, many])
    missed = {key: c.share for key, c in covered[many].items() if not 0.93 <= c.share <= 0.97}
    assert missed == {}
    assert all(0.90 <= c.share <= 0.98 for c in covered[few].values())
