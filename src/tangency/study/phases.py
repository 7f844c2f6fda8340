"""The phases of a study: what of each is still to be done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tangency.evaluate.fitting.closed import shares_mixture
from tangency.evaluate.fitting.tangents import unfinished
from tangency.study.convergence import to_lengthen
from tangency.study.generation.collect import pictures_to_judge, pictures_to_make
from tangency.study.generation.judge import refuse_failed_judge
from tangency.study.guides import guide_data
from tangency.study.layout import NO_MEMORY, Layout
from tangency.study.network import examined
from tangency.study.planning import StudyPlan
from tangency.study.work.tasks import Task
from tangency.types import Dataset


def phases(plan: StudyPlan, data: Dataset, layout: Layout) -> Iterator[tuple[str, list[Task]]]:
    """(name, tasks) of each phase in turn; a later phase is planned when the earlier ones are done."""
    if guides := to_fit(plan, data, layout):
        yield "fitting guides", guides
    if shams := to_compare(plan, layout):
        yield "comparing shams", shams
    yield "training", to_train(plan, data, layout)
    refuse_failed_judge(plan.judge, plan.trials, layout)
    if filters := to_filter(plan, layout):
        yield "filtering", filters
    usable = usable_trials(plan, layout)
    tasks = to_measure(plan, usable, layout)
    if layout.pictured() != ([plan.trials[i].measure_hash for i in usable], plan.pictured):
        tasks.append(Task("pictures", 0, tuple(usable), cost=1.0))
    yield "measuring", tasks
    if plan.longer:
        numbers = [plan.networks.index(trial) for trial in to_lengthen(plan, layout)]
        longer = [(i, plan.networks[i]) for i in numbers]
        yield "training longer", [Task("train", i, cost=t.cost) for i, t in longer if not layout.trained(t)]
        sound = [i for i, trial in longer if layout.outcome(trial)["outcome"] == "ok"]
        yield "measuring longer", to_measure(plan, sound, layout)
    if plan.entries:
        generating = generating_trials(plan, usable)
        yield "generating", pictures_to_make(plan.entries, plan.trials, generating, layout)
        yield "judging", pictures_to_judge(plan.entries, plan.trials, generating, layout)


def usable_trials(plan: StudyPlan, layout: Layout) -> list[int]:
    """Numbers of the trials that have a network to measure."""
    return [i for i, trial in enumerate(plan.trials) if layout.outcome(trial)["outcome"] == "ok"]


def generating_trials(plan: StudyPlan, usable: list[int]) -> list[int]:
    """Numbers of the trials whose gradients make pictures: filtered networks are for verdicts alone."""
    return [i for i in usable if plan.trials[i].base is None]


def to_fit(plan: StudyPlan, data: Dataset, layout: Layout) -> list[Task]:
    """A task for each guide that is fitted once and is not yet, each file once."""
    images = len(guide_data(data).train)
    files: dict[Path, int] = {}
    for number, guide in enumerate(plan.guides):
        if (file := guide.file(plan.guide_digest, layout.artefacts)) is not None:
            files.setdefault(file, number)
    return [Task("guide", number, cost=30.0 * images) for file, number in files.items() if not file.exists()]


def to_compare(plan: StudyPlan, layout: Layout) -> list[Task]:
    """A task for each sham that is not yet known not to be the own tangent space."""
    return [Task("sham", number) for number, (sham, _) in enumerate(plan.shams) if not layout.sham(sham).exists()]


def to_filter(plan: StudyPlan, layout: Layout) -> list[Task]:
    """A task for each seed whose filters are not chosen."""
    seeds: dict[int, list[int]] = {}
    for number, trial in enumerate(plan.trials):
        if trial.base is not None and not layout.trained(trial):
            seeds.setdefault(trial.seed, []).append(number)
    return [Task("filter", numbers[0], tuple(numbers)) for numbers in seeds.values()]


def to_measure(plan: StudyPlan, usable: list[int], layout: Layout) -> list[Task]:
    """The shards of these trials that are missing, of as many trials together as a worker can hold."""
    tasks, networks = [], plan.networks
    for number, images in enumerate(plan.shards):
        missing = tuple(i for i in usable if not layout.measured(networks[i], images))
        for start in range(0, len(missing), plan.held):
            held = missing[start : start + plan.held]
            tasks.append(Task("measure", number, held, cost=float(len(held) * len(images))))
    return tasks


def to_train(plan: StudyPlan, data: Dataset, layout: Layout) -> list[Task]:
    """What is still to be trained or fitted; the examination of a trained score fits the mixture that it shares."""
    spec, images = plan.spec, len(data.train)
    numbered = [(i, trial) for i, trial in enumerate(plan.trials) if trial.base is None]
    untrained = [(i, t) for i, t in numbered if not layout.trained(t) or layout.outcome(t)["outcome"] == NO_MEMORY]
    tasks = [Task("train", i, cost=max(trial.cost, 1.0)) for i, trial in untrained]
    largest = max((task.cost for task in tasks), default=0.0)
    examining = bool(spec.network_score) and not examined(layout.trust(plan.network_hash))
    if not layout.score(plan.score_hash).exists() and not (examining and shares_mixture(spec.score, images)):
        tasks.append(Task("score", cost=max(2.0 * images, largest)))
    for number in unfinished(spec.tangents, plan.shown_digest, layout.artefacts, own=spec.score.kind):
        tasks.append(Task("tangents", number, cost=30.0 * images))
    largest = max((task.cost for task in tasks), default=0.0)
    if examining:
        tasks.append(Task("trust", cost=largest))
    if plan.judge is not None and not layout.trained(plan.judge):
        tasks.append(Task("train_judge", cost=max(plan.judge.cost, largest)))
    return tasks
