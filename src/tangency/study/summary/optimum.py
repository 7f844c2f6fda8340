"""What a study of a world knows beyond its networks: the least possible error, and how far each network is from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tangency.evaluate.numbers import TrialNumbers, as_json, plain_number
from tangency.measures.keys import Key
from tangency.statistics import Estimate, simultaneous_bands
from tangency.statistics.resamples import Array
from tangency.study.plan import BAYES, Trial
from tangency.study.spec import StudySpec
from tangency.worlds import bayes_risk, world_of

_RISK_IMAGES = 20_000


def about_world(spec: StudySpec) -> dict[str, Any] | None:
    """The world that a study's images are drawn from, with the accuracy of its Bayes rule; None for real images."""
    world = world_of(spec.data)
    if world is None:
        return None
    about: dict[str, Any] = {
        "name": world.name,
        "dimension": world.dimension,
        "intrinsic_dimension": world.intrinsic_dimension,
        "undefined": world.undefined,
    }
    if not any("posterior" in quantity for quantity in world.undefined):
        risk = bayes_risk(world, n=_RISK_IMAGES)
        about["bayes_accuracy"] = {"mean": 1 - risk.mean, "low": 1 - risk.high, "high": 1 - risk.low, "n": risk.n}
    return about


def excess_risks(planned: list[Trial], numbers: dict[str, TrialNumbers]) -> dict[str, Any]:
    """Error of each trial above that of the Bayes rule on the same images, paired; nothing without a Bayes trial."""
    best = next((numbers[t.id] for t in planned if t.name == BAYES and t.id in numbers), None)
    if best is None:
        return {}
    return {
        name: as_json(Estimate.of(best.draws["accuracy"] - own.draws["accuracy"], own.estimates["accuracy"].n))
        for name, own in numbers.items()
    }


def noise_curves(spec: StudySpec, numbers: dict[str, TrialNumbers], standard: dict[str, str]) -> dict[str, Any]:
    """Relative noise robustness of each trial against σ, with a band that holds at all σ at once.

    Args:
        spec: the study's; its `measures.noise_sigmas` are the grid.
        numbers: of each trial.
        standard: trial to the standard trial of its seed.

    Returns:
        {"sigmas": […], "trials": {id: {"ratio", "low", "high": […], "minus_standard": {"mean", "low", "high": […]}}}},
        differences paired over images and noise; empty without a grid.
    """
    sigmas = spec.measures.noise_sigmas
    if not sigmas:
        return {}
    keys = [str(Key("relative_noise").at(sigma=sigma)) for sigma in sigmas]
    curves = {name: np.stack([own.draws[key] for key in keys]) for name, own in numbers.items()}
    trials: dict[str, Any] = {}
    for name, draws in curves.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = (np.exp(side) for side in _bands(np.log(draws)))
        trials[name] = {"ratio": _numbers(draws[:, 0]), "low": _numbers(low), "high": _numbers(high)}
        if name in standard:
            with np.errstate(invalid="ignore"):
                difference = draws - curves[standard[name]]
            low, high = _bands(difference)
            trials[name]["minus_standard"] = {
                "mean": _numbers(difference[:, 0]),
                "low": _numbers(low),
                "high": _numbers(high),
            }
    return {"sigmas": list(sigmas), "level": 0.95, "trials": trials}


def _bands(draws: Array) -> tuple[Array, Array]:
    """Bands simultaneous over the σ at which the ratio is finite in every resample; NaN at the others."""
    low, high = np.full(len(draws), np.nan), np.full(len(draws), np.nan)
    finite = np.isfinite(draws).all(1)
    if finite.any():
        low[finite], high[finite] = simultaneous_bands(draws[finite])
    return low, high


def _numbers(values: Array) -> list[float | None]:
    return [plain_number(float(value)) for value in values]
