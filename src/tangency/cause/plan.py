"""A causal study before it begins: what its stages train, and what that takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from tangency.cause.spec import CauseSpec
from tangency.cause.stages import CALIBRATION, MATCHED
from tangency.study.forecast import Forecast, foresee


@dataclass(frozen=True)
class StagePlan:
    """One stage: its name, the ids of its trials, and what is left of it."""

    stage: str
    trials: list[str]
    forecast: Forecast


def plan_cause(spec: CauseSpec, out: str | Path, *, calibrated: bool = True) -> list[StagePlan]:
    """Calibration and matched study; of the latter the strengths are not known yet, and stand for those in the middle.

    A refinement trains at most one network more for each arm and calibration seed. Nothing is written.

    Args:
        spec: the causal study.
        out: its output folder; what is there is not counted again.
        calibrated: whether a few steps of training and a few measured images are timed.

    Raises:
        TangencyError: spec and data do not fit together.
    """
    every = {arm.name: spec.strengths_of(arm) for arm in spec.arms}
    middle = {name: math.exp(sum(map(math.log, own)) / len(own)) for name, own in every.items() if own[0] > 0}
    studies = {CALIBRATION: spec.calibration(every), MATCHED: spec.matched(middle)}
    plans = []
    for stage, study in studies.items():
        foreseen = foresee(study, Path(out) / stage, calibrated=calibrated)
        plans.append(StagePlan(stage, [trial.id for trial in foreseen.trials], foreseen.forecast))
    return plans
