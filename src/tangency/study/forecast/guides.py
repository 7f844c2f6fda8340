"""Guides fitted to a few images, so that a training with them can be timed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tangency.errors import SpecError
from tangency.objectives import Objective
from tangency.objectives.options import SHAM
from tangency.study.forecast.clock import clock_for
from tangency.study.forecast.miniature import GivenBench, few_images
from tangency.study.guides import guide_data
from tangency.study.planning import StudyPlan
from tangency.types import Dataset

_PER_CLASS = 64  # images that guides are fitted to


class FewGuides:
    """The guides of a study, fitted to a few of the images that are kept for them.

    Args:
        plan: of the study.
        data: of the study.
        run: a temporary folder.
        device: where is computed.
    """

    def __init__(self, plan: StudyPlan, data: Dataset, run: Path, device: str) -> None:
        self.plan, self.whole = plan, guide_data(data)
        self.few = few_images(self.whole, _PER_CLASS)
        self.bench = GivenBench(plan, run, device, dataclasses.replace(data, guide=self.few.train))

    def fit(self) -> dict[str, float]:
        """Seconds of the fit of each guide to all images that are kept for it, and of comparing each sham, by task."""
        clock, seconds = clock_for(self.bench.device, self.plan.spec.threads), {}
        for number, guide in enumerate(self.plan.guides):
            began = clock()
            self.bench.guide(guide)
            seconds[f"guide {number}"] = (clock() - began) * len(self.whole.train) / len(self.few.train)
        for number, (_, objective) in enumerate(self.plan.shams):
            began = clock()
            self.bound(objective)
            seconds[f"sham {number}"] = clock() - began
        return seconds

    def bound(self, objective: Objective) -> Objective:
        """An objective with guides of the same size and cost as the study's."""
        try:
            return self.bench.objective(objective, 0)
        except SpecError:  # a sham that is no control under spaces of so few images
            return self.bench.objective(dataclasses.replace(objective, options={**objective.options, SHAM: "none"}), 0)
