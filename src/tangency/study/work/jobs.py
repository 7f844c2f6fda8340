"""The tasks of a study as jobs of an engine: what each reads, what it makes, and who it is by that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.engines import DoJob, Job, Progress
from tangency.evaluate.fitting.tangents import fitted_file
from tangency.objectives.options import SHAM
from tangency.study.guides import Guide, guides_of, load_study_data
from tangency.study.layout import Layout
from tangency.study.plan import Trial
from tangency.study.planning import StudyPlan
from tangency.study.work.bench import Workbench
from tangency.study.work.tasks import Task, do_task


@dataclass(frozen=True)
class StudyWork:
    """What the workers of a study do.

    Args:
        plan: of the study.
    """

    plan: StudyPlan

    @property
    def threads(self) -> int:
        """Threads of each worker."""
        return self.plan.spec.threads

    def data_digest(self) -> str:
        """Of training and test images, as this process reads them."""
        data = load_study_data(self.plan.spec.data, self.plan.spec.guide_fraction)
        return f"{data.train.digest} {data.test.digest}"

    def open(self, run: Path, device: str) -> DoJob:
        """Does tasks with a workbench that this process keeps."""
        bench = Workbench(self.plan, run, device)

        def do_job(payload: Mapping[str, Any], progress: Progress) -> None:
            do_task(bench, Task(**{**payload, "trials": tuple(payload["trials"])}), progress)

        return do_job


def study_jobs(tasks: Iterable[Task], plan: StudyPlan, layout: Layout) -> list[Job]:
    """Jobs of these tasks, in their order."""
    return [_job(task, plan, layout) for task in tasks]


def _job(task: Task, plan: StudyPlan, layout: Layout) -> Job:
    name, inputs, outputs = _FILES[task.kind](task, plan, layout)
    made = [str(path.relative_to(layout.run)) for path in outputs]
    identity = hashlib.sha256(json.dumps([task.kind, task.part, *sorted(made)]).encode()).hexdigest()[:16]
    payload = {"kind": task.kind, "index": task.index, "trials": list(task.trials), "part": task.part}
    read = dict.fromkeys(str(path.relative_to(layout.run)) for path in inputs)
    return Job(f"{task.kind}-{identity}", name, payload, task.cost, tuple(read), tuple(made))


_Files = tuple[str, list[Path], list[Path]]  # name in words, inputs, outputs


def _score(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    return "fit the score", [], [layout.score(plan.score_hash)]


def _tangents(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    reference = plan.spec.tangents[task.index]
    file = fitted_file(reference, plan.shown_digest, layout.artefacts)
    assert file is not None  # else there is no such task
    return f"fit tangents {reference}", [], [file if file.parent == layout.artefacts else file.parent]


def _trust(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    score = layout.score(plan.score_hash)
    return "examine the trained score", [score], [score, layout.trust(plan.network_hash)]


def _guide(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    guide = plan.guides[task.index]
    return f"fit {guide.kind} {guide.reference}", [], _guide_files([guide], plan, layout)


def _sham(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    sham, objective = plan.shams[task.index]
    inputs = _guide_files(guides_of([objective]), plan, layout)
    return f"compare sham {objective.options[SHAM]} with {objective.guides['tangents']}", inputs, [layout.sham(sham)]


def _guide_files(guides: Iterable[Guide], plan: StudyPlan, layout: Layout) -> list[Path]:
    """What is fitted for guides: a file, or the folder of a training."""
    files = [guide.file(plan.guide_digest, layout.artefacts) for guide in guides]
    return [file if file.parent == layout.artefacts else file.parent for file in files if file is not None]


def _train(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    trial = plan.networks[task.index]
    return f"train {trial.id}", _guide_files(guides_of([trial.objective]), plan, layout), [layout.trial(trial)]


def _train_judge(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    assert plan.judge is not None  # else there is no such task
    return "train the judge", [], [layout.trial(plan.judge)]


def _filter(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    trials = [plan.networks[number] for number in task.trials]
    outputs = [layout.trial_json(trial) for trial in trials]
    return f"choose filters of seed {trials[0].seed}", [layout.artefacts, *_networks(trials, layout)], outputs


def _measure(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    images, trials = plan.shards[task.index], [plan.networks[number] for number in task.trials]
    outputs = [layout.shard(trial, images) for trial in trials]
    return f"measure shard {task.index}", [layout.artefacts, *_networks(trials, layout)], outputs


def _pictures(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    trials = [plan.trials[number] for number in task.trials]
    return "pictures", [layout.artefacts, *_networks(trials, layout)], [layout.pictures]


def _generate(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    name, inputs, folder = _generation(task, plan, layout)
    return f"generate {name} {task.part}", inputs, [folder]


def _judge_pictures(task: Task, plan: StudyPlan, layout: Layout) -> _Files:
    name, inputs, folder = _generation(task, plan, layout)
    return f"judge {name}", [*inputs, folder], [folder]


def _generation(task: Task, plan: StudyPlan, layout: Layout) -> tuple[str, list[Path], Path]:
    entry, trials = plan.entries[task.index], [plan.trials[number] for number in task.trials]
    trial = trials[0] if trials else None
    judge = [] if plan.judge is None else [plan.judge]
    by = trial.id if trial else "references"
    folder = entry.files(layout, trial).folder
    return f"{entry.name} of {by}", [layout.artefacts, *_networks([*trials, *judge], layout)], folder


def _networks(trials: Iterable[Trial], layout: Layout) -> list[Path]:
    """Weights and outcomes of trials, and of those that they are filtered from."""
    whole = [each for trial in trials for each in (trial, trial.base) if each is not None]
    names = ("model.safetensors", "best.safetensors", "trial.json")
    return [layout.trial(trial) / name for trial in whole for name in names]


_FILES: dict[str, Callable[[Task, StudyPlan, Layout], _Files]] = {
    "score": _score,
    "tangents": _tangents,
    "trust": _trust,
    "guide": _guide,
    "sham": _sham,
    "train": _train,
    "train_judge": _train_judge,
    "filter": _filter,
    "measure": _measure,
    "pictures": _pictures,
    "generate": _generate,
    "judge_pictures": _judge_pictures,
}
