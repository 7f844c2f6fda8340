"""What a study of a world knows beyond its networks: the least possible error, and how far each network is from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tangency.evaluate.entries import EstimateEntry, IntervalEntry
from tangency.evaluate.numbers import TrialNumbers
from tangency.measures.keys import Key
from tangency.statistics import Estimate, simultaneous_bands
from tangency.statistics.resamples import Array
from tangency.study.plan import BAYES, Trial
from tangency.study.spec import StudySpec
from tangency.study.summary.entries import CurveEntry, NoiseCurveEntry, NoiseCurvesEntry, WorldEntry
from tangency.worlds import bayes_risk, world_of

_RISK_IMAGES = 20_000
_LEVEL = 0.95


def about_world(spec: StudySpec) -> WorldEntry | None:
    """The world that a study's images are drawn from, with the accuracy of its Bayes rule; None for real images."""
    world = world_of(spec.data)
    if world is None:
        return None
    accuracy = None
    if not any("posterior" in quantity for quantity in world.undefined):
        risk = bayes_risk(world, n=_RISK_IMAGES)
        accuracy = IntervalEntry(mean=1 - risk.mean, low=1 - risk.high, high=1 - risk.low, n=risk.n)
    return WorldEntry(
        name=world.name,
        dimension=world.dimension,
        intrinsic_dimension=world.intrinsic_dimension,
        undefined=dict(world.undefined),
        bayes_accuracy=accuracy,
    )


def excess_risks(planned: Sequence[Trial], numbers: dict[str, TrialNumbers]) -> dict[str, EstimateEntry]:
    """Error of each trial above that of the Bayes rule on the same images, paired; empty without a Bayes trial."""
    best = next((numbers[t.id] for t in planned if t.name == BAYES and t.id in numbers), None)
    if best is None:
        return {}
    return {
        name: EstimateEntry.of(Estimate.of(best.draws["accuracy"] - own.draws["accuracy"], own.estimates["accuracy"].n))
        for name, own in numbers.items()
    }


def noise_curves(spec: StudySpec, numbers: dict[str, TrialNumbers], standard: dict[str, str]) -> NoiseCurvesEntry:
    """Relative noise robustness of each trial against σ, with a band that holds at all σ at once.

    Args:
        spec: the study's; its `measures.noise_sigmas` are the grid.
        numbers: of each trial.
        standard: trial to the standard trial of its seed; differences from it are paired over images and noise.
    """
    sigmas = spec.measures.noise_sigmas
    if not sigmas:
        return NoiseCurvesEntry()
    keys = [str(Key("relative_noise").at(sigma=sigma)) for sigma in sigmas]
    curves = {name: np.stack([own.draws[key] for key in keys]) for name, own in numbers.items()}
    trials = {}
    for name, draws in curves.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = (np.exp(side).tolist() for side in _bands(np.log(draws)))
        difference = None
        if name in standard:
            with np.errstate(invalid="ignore"):
                less = draws - curves[standard[name]]
            below, above = (side.tolist() for side in _bands(less))
            difference = CurveEntry(mean=less[:, 0].tolist(), low=below, high=above)
        trials[name] = NoiseCurveEntry(ratio=draws[:, 0].tolist(), low=low, high=high, minus_standard=difference)
    return NoiseCurvesEntry(sigmas=list(sigmas), level=_LEVEL, trials=trials)


def _bands(draws: Array) -> tuple[Array, Array]:
    """Bands simultaneous over the σ at which the ratio is finite in every resample; NaN at the others."""
    low, high = np.full(len(draws), np.nan), np.full(len(draws), np.nan)
    finite = np.isfinite(draws).all(1)
    if finite.any():
        low[finite], high[finite] = simultaneous_bands(draws[finite], _LEVEL)
    return low, high
