"""Regimes: the definitions on made-up sweeps whose regime is known, and the error rate of the bands."""

from __future__ import annotations

import dataclasses

import numpy as np

from tangency.statistics import KappaCriteria, KappaThresholds, PairedBootstrap, classify_by_kappa
from tangency.statistics.kappa_rule import simultaneous_bands

D, K = 784, 12


def sample(rng: np.random.Generator, n: int, fraction: float, accuracy: float, change: float) -> dict[str, np.ndarray]:
    a = 30.0
    return {
        "fraction": rng.beta(a * fraction, a * (1 - fraction), n),
        "accuracy": (rng.random(n) < accuracy).astype(float),
        "change": change * rng.gamma(4, 0.25, n),
    }


def criteria(values: dict[str, np.ndarray], baseline: dict[str, np.ndarray], boot: PairedBootstrap) -> KappaCriteria:
    def draws(v: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        rank = np.full(len(v["fraction"]), float(K))
        return boot.pooled_kappa(v["fraction"], rank, D), boot.mean(v["accuracy"]), boot.mean(v["change"])

    return KappaCriteria(*draws(values), *draws(baseline))


CASES = {  # from the prototype's table of the embedded study: F², accuracy, on-manifold change
    "standard": ((0.121, 0.859, 0.162), "weak"),
    "gradient norm 0.03": ((0.182, 0.861, 0.146), "weak"),
    "gradient norm 0.3": ((0.314, 0.852, 0.125), "bayes_aligned"),
    "gradient norm 30": ((0.576, 0.699, 0.056), "excessive"),
    "muted, accurate": ((0.5, 0.859, 0.03), "excessive"),
}


def sweep(n: int, seed: int = 0) -> dict[str, KappaCriteria]:
    rng = np.random.default_rng(seed)
    boot = PairedBootstrap(n, 500)
    values = {name: sample(rng, n, *numbers) for name, (numbers, _) in CASES.items()}
    return {name: criteria(v, values["standard"], boot) for name, v in values.items()}


def test_each_regime_is_found_with_enough_images() -> None:
    verdicts = classify_by_kappa(sweep(20_000))
    assert {name: v.regime for name, v in verdicts.items()} == {name: regime for name, (_, regime) in CASES.items()}


def test_few_images_leave_the_regime_undetermined_rather_than_wrong() -> None:
    regimes = {name: v.regime for name, v in classify_by_kappa(sweep(40)).items()}
    for name, (_, truth) in CASES.items():
        assert regimes[name] in (truth, "undetermined"), name
    assert "undetermined" in regimes.values()


def test_a_larger_margin_forgives_more_accuracy() -> None:
    trials = sweep(20_000)
    lenient = classify_by_kappa(trials, KappaThresholds(accuracy_margin=0.2, change_on_ratio=0.2))
    assert lenient["gradient norm 30"].regime == "bayes_aligned"


def test_the_verdict_prints_the_bands_that_decide() -> None:
    verdict = classify_by_kappa(sweep(20_000))["gradient norm 0.3"]
    assert verdict.kappa_ratio[0] < 0.3008 < verdict.kappa_ratio[1] <= 0.5
    assert verdict.accuracy_difference[0] > -0.05
    assert verdict.change_on_ratio[0] < 0.125 / 0.162 < verdict.change_on_ratio[1]


def test_bands_are_simultaneous() -> None:
    rng = np.random.default_rng(0)
    failures = 0
    for _ in range(200):
        data = rng.normal(size=(8, 120))
        draws = PairedBootstrap(120, 300, int(rng.integers(1 << 30))).mean(data)
        low, high = simultaneous_bands(draws)
        failures += bool(((low > 0) | (high < 0)).any())
    assert 0.01 <= failures / 200 <= 0.11


def test_a_statistic_without_spread_or_without_value_decides_nothing_for_the_others() -> None:
    draws = np.vstack([np.zeros(50), np.full(50, np.nan), np.random.default_rng(0).normal(size=50)])
    low, high = simultaneous_bands(draws)
    assert (low[0], high[0]) == (0, 0)
    assert (low[1], high[1]) == (-np.inf, np.inf)
    assert np.isfinite([low[2], high[2]]).all()


def test_a_trial_with_no_gradient_is_undetermined() -> None:
    trials = sweep(2000)
    broken = dataclasses.replace(trials["gradient norm 0.3"], kappa=np.full(501, np.nan))
    assert classify_by_kappa({"broken": broken})["broken"].regime == "undetermined"
    assert classify_by_kappa({}) == {}


def test_a_network_that_never_changes_along_the_manifold_is_excessive() -> None:
    trials = sweep(2000)
    dead = dataclasses.replace(trials["gradient norm 0.3"], change_on=np.zeros(501))
    assert classify_by_kappa({**trials, "dead": dead})["dead"].regime == "excessive"
