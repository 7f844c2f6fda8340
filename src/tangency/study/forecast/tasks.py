"""The tasks that a study has still to do, if every network trains well."""

from __future__ import annotations

from tangency.study.convergence import lengthened_cells
from tangency.study.generation.collect import missing_batches, pictures_to_judge
from tangency.study.layout import Layout
from tangency.study.phases import generating_trials, to_compare, to_filter, to_fit, to_measure, to_train
from tangency.study.plan import cell_of
from tangency.study.planning import StudyPlan
from tangency.study.work.tasks import Task
from tangency.types import Dataset


def foreseen_phases(plan: StudyPlan, data: Dataset, layout: Layout) -> list[list[Task]]:
    """The tasks of each phase, as a run would plan them if all that is to be trained trained well; nothing is changed.

    Where the convergence gate will look for a peak, the lowest strength stands in its place.
    """
    usable = [i for i, t in enumerate(plan.trials) if not layout.trained(t) or layout.outcome(t)["outcome"] == "ok"]
    measuring = to_measure(plan, usable, layout)
    if layout.pictured() != ([plan.trials[i].measure_hash for i in usable], plan.pictured):
        measuring.append(Task("pictures", 0, tuple(usable)))
    phases = [to_fit(plan, data, layout), to_compare(plan, layout)] if plan.guides else []
    phases += [to_train(plan, data, layout), to_filter(plan, layout), measuring]
    if plan.longer:
        levels = {trial.id: -trial.strength for trial in plan.trials if trial.objective is not None}
        cells = lengthened_cells(plan.trials, levels)
        longer = [
            (number, trial)
            for number, trial in enumerate(plan.longer, start=len(plan.trials))
            if cell_of(trial).removesuffix("-long") in cells
        ]
        phases.append([Task("train", i, cost=trial.cost) for i, trial in longer if not layout.trained(trial)])
        phases.append(to_measure(plan, [i for i, _ in longer], layout))
    if plan.entries:
        makers = generating_trials(plan, usable)
        phases.append(missing_batches(plan.entries, plan.trials, makers, layout))
        phases.append(pictures_to_judge(plan.entries, plan.trials, makers, layout))
    return phases
