"""Effect sizes in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tangency.statistics import Mean, Ratio, cohens_dz, null_sd_units, pair_dz


def test_dz_is_the_paired_t_over_the_root_of_n() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 80), rng.normal(size=80)
    t = stats.ttest_rel(a, b).statistic
    assert cohens_dz(a - b) == pytest.approx(t / np.sqrt(80))
    assert pair_dz(Mean(a), Mean(b)) == pytest.approx(t / np.sqrt(80))


def test_pseudo_values_of_a_ratio_have_the_delta_methods_spread() -> None:
    rng = np.random.default_rng(1)
    n = 4000
    below = rng.random((2, n)) + 0.5
    above = below * (1 + 0.1 * rng.normal(size=(2, n))) + np.array([[0.02], [0.0]])
    theta = above.sum(1) / below.sum(1)
    influence = [(above[i] - theta[i] * below[i]) / below[i].mean() for i in range(2)]
    expected = (theta[0] - theta[1]) / (influence[0] - influence[1]).std()
    assert pair_dz(Ratio(above[0], below[0]), Ratio(above[1], below[1])) == pytest.approx(expected, rel=0.01)


def test_effects_without_spread_or_without_images() -> None:
    same = np.arange(5.0)
    assert cohens_dz(same - same) == 0
    assert cohens_dz(np.full(4, -0.1)) == -np.inf
    assert np.isnan(cohens_dz(np.array([1.0, np.nan])))
    assert pair_dz(Mean(same), Mean(same)) == 0
    assert np.isnan(pair_dz(Mean(same), Mean(np.full(5, np.nan))))
    assert null_sd_units(same + 3, same) == pytest.approx(3 / same.std(ddof=1))
    assert null_sd_units(np.append(same + 3, np.nan), np.append(same, 50)) == null_sd_units(same + 3, same)
    assert np.isnan(null_sd_units(same[:1], same[:1]))


def test_the_effect_in_null_units_is_glasss_delta() -> None:
    rng = np.random.default_rng(2)
    null = rng.normal(0.1, 0.2, 50_000)
    assert null_sd_units(rng.normal(0.5, 0.7, 50_000), null) == pytest.approx(2.0, abs=0.03)
