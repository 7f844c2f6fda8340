"""The ordinary studies of a causal study, one after the other: calibration, refinements, the matched study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tangency.cause.arms import Arm
from tangency.cause.match import CalibrationPoint, calibration_point, chosen_strengths, misses
from tangency.cause.spec import CauseSpec
from tangency.engines import EngineConfig
from tangency.errors import RunError
from tangency.evaluate.verdicts import Recipe
from tangency.study.assemble import columns_by_trial
from tangency.study.guides import load_study_data
from tangency.study.layout import Layout
from tangency.study.plan import Trial, plan_trials
from tangency.study.run import run_study
from tangency.study.spec import StudySpec
from tangency.study.watch import Watcher
from tangency.types import Dataset

CALIBRATION, MATCHED = "calibration", "matched"


def refined(step: int) -> str:
    """Name of the stage of a refinement, from 1."""
    return f"refined-{step}"


@dataclass(frozen=True)
class Stages:
    """Runs studies in folders of one output folder.

    Args:
        spec: the causal study.
        out: the folder.
        watch: as of `run_study`.
        engine: where the work is done; what the spec says by default.
        extend: whether each study may add to what its folder holds.
    """

    spec: CauseSpec
    out: Path
    watch: Watcher | None
    engine: EngineConfig | None = None
    extend: bool = False

    def calibrate(self) -> tuple[list[CalibrationPoint], dict[str, float]]:
        """What every arm does at every strength that was tried, and the strength of each arm that matches the base."""
        spec = self.spec
        points = self._points(CALIBRATION, {arm.name: spec.strengths_of(arm) for arm in spec.arms})
        points = [point for point in points if point.strength > 0]
        if all(point.arm != spec.base for point in points):
            raise RunError(
                f"cause '{spec.name}': every network of the base arm '{spec.base}' diverged at base_strength "
                f"{spec.base_strength:g}, so that nothing can be matched to it; lower base_strength."
            )
        for step in range(1, spec.refinements + 1):
            again = misses(points, spec.base, spec.match)
            if not again:
                break
            chosen = chosen_strengths(points, spec.base, spec.match)
            points += self._points(refined(step), {arm: (chosen[arm],) for arm in again})
        diverged = {arm.name: min(spec.strengths_of(arm)) for arm in spec.arms if arm.part}
        return points, diverged | chosen_strengths(points, spec.base, spec.match)

    def matched(self, strengths: Mapping[str, float]) -> tuple[StudySpec, Dataset, dict[str, Recipe]]:
        """The matched study, its data, and arm to its networks; arms of which all diverged are missing."""
        study = self.spec.matched(strengths)
        data = self._run(study, MATCHED)
        recipes = self._recipes(
            study, data, MATCHED, {arm.name: (strengths.get(arm.name, 0.0),) for arm in self.spec.arms}
        )
        return study, data, {arm: recipe for (arm, _), recipe in recipes.items()}

    def _points(self, stage: str, strengths: Mapping[str, Sequence[float]]) -> list[CalibrationPoint]:
        study = self.spec.calibration(strengths, stage)
        recipes = self._recipes(study, self._run(study, stage), stage, strengths)
        return [calibration_point(arm, strength, recipe, stage) for (arm, strength), recipe in recipes.items()]

    def _run(self, study: StudySpec, stage: str) -> Dataset:
        run_study(study, self.out / stage, self.watch, extend=self.extend, engine=self.engine)
        return load_study_data(study.data, study.guide_fraction)

    def _recipes(
        self, study: StudySpec, data: Dataset, stage: str, strengths: Mapping[str, Sequence[float]]
    ) -> dict[tuple[str, float], Recipe]:
        """Arm and strength to the networks that were measured."""
        trials, columns = plan_trials(study, data), columns_by_trial(Layout(self.out / stage))
        recipes = {}
        for arm in self.spec.arms:
            for strength in strengths.get(arm.name, ()):
                own = {
                    t.seed: columns[t.id] for t in trials_of(arm, self.spec.guide, strength, trials) if t.id in columns
                }
                if own:
                    recipes[arm.name, strength] = Recipe(f"{arm.name}-{strength:g}", arm.name, strength, own)
        return recipes


def trials_of(arm: Arm, guide: str, strength: float, trials: Sequence[Trial]) -> list[Trial]:
    """The trials of an arm at one strength, one a seed."""
    objective = arm.built(guide, strength)
    return [trial for trial in trials if trial.objective == objective]
