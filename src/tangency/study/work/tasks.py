"""The work of a study, cut into tasks that any process can do: fit the score, train a trial, measure a shard."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tangency.devices import arithmetic, free_memory
from tangency.engines.deaths import is_out_of_memory
from tangency.evaluate.fitting.closed import fit_score, shares_mixture
from tangency.evaluate.fitting.tangents import fitted_tangents
from tangency.files import journal, write_json
from tangency.measures import Driver, write_measured
from tangency.models import Classifier, build, save_classifier
from tangency.objectives import Objective
from tangency.objectives.options import SHAM
from tangency.study.given import given_outcome
from tangency.study.guides import Guide, compare_sham
from tangency.study.layout import NO_MEMORY
from tangency.study.network import examine_network
from tangency.study.plan import Trial
from tangency.study.work.bench import Workbench
from tangency.study.work.filtering import filter_outcome
from tangency.study.work.pictures import draw_pictures
from tangency.tangents import Ground, TangentEstimator
from tangency.training import Step, train

Progress = Callable[[float], None]

MEASURED_AT_ONCE = 25  # images at most: bounds the memory of their LPIPS embeddings, about 20 of 130 kB each


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Args:
        kind: in `_DO`.
        index: of the trial ("train"), of the shard ("measure"), of the estimator ("tangents"), of the guide ("guide"),
            of the sham ("sham") or of the entry of `generate` ("generate", "judge_pictures").
        trials: numbers of the trials that a shard is still to be measured for, that are to be pictured, whose filters
            are to be chosen, or whose pictures are to be made or judged; none for the references of an entry.
        part: of the batch of pictures ("generate").
        cost: relative to the other tasks of its kind.
    """

    kind: str
    index: int = 0
    trials: tuple[int, ...] = ()
    part: int = 0
    cost: float = 1.0


@arithmetic()
def do_task(bench: Workbench, task: Task, progress: Progress) -> None:
    """Do one task; its result is a file that stands, whole, when this returns.

    Args:
        bench: of the study; kept by a process from task to task.
        task: what is done.
        progress: called with the share that is done.
    """
    _DO[task.kind](bench, task, progress)


def _fit_score(bench: Workbench, task: Task, progress: Progress) -> None:
    fit_score(bench.spec.score, bench.spec.data, bench.shown, bench.score_file, bench.device)


def _examine(bench: Workbench, task: Task, progress: Progress) -> None:
    """Examine the trained score; a mixture that the study fits is one of its baselines, and is fitted first."""
    shared = shares_mixture(bench.spec.score, len(bench.data.train))
    if shared and not bench.score_file.exists():
        _fit_score(bench, task, progress)
    closed = bench.estimators[0] if shared else None
    assert bench.network is not None  # else there is no such task
    fitted = {} if closed is None else {"mfa": closed}
    path = bench.layout.trust(bench.plan.network_hash)
    examine_network(bench.network, bench.spec.network_score, bench.shown, fitted, path, bench.device)


def _fit_tangents(bench: Workbench, task: Task, progress: Progress) -> None:
    ground = Ground(bench.shown, bench.device)
    reference = bench.spec.tangents[task.index]
    fitted_tangents(reference, ground, bench.layout.artefacts, lambda part, share: progress(share))


def _fit_guide(bench: Workbench, task: Task, progress: Progress) -> None:
    guide = bench.plan.guides[task.index]
    guide.open(bench.guide_ground, bench.layout.artefacts, lambda part, share: progress(share))


def _compare_sham(bench: Workbench, task: Task, progress: Progress) -> None:
    """Refuse a sham that is the own tangent space, before anything is trained with it."""
    (sham, objective), train = bench.plan.shams[task.index], bench.data.train
    own = bench.guide(Guide("tangents", objective.guides["tangents"]))
    assert isinstance(own, TangentEstimator)
    content = {"tangents": objective.guides["tangents"], "sham": objective.options[SHAM]}
    content["overlap"] = compare_sham(objective, own, train, bench.device)
    write_json(bench.layout.sham(sham), content)


def _train_trial(bench: Workbench, task: Task, progress: Progress) -> None:
    _train(bench, bench.plan.networks[task.index], progress)


def _train_judge(bench: Workbench, task: Task, progress: Progress) -> None:
    assert bench.plan.judge is not None  # else there is no such task
    _train(bench, bench.plan.judge, progress)


def _choose_filters(bench: Workbench, task: Task, progress: Progress) -> None:
    """Choose the filters of a seed, one for each direction, and keep each as the outcome of its trial."""
    trials = [bench.plan.networks[number] for number in task.trials]
    base = trials[0].base
    assert base is not None  # else there is no such task
    outcome: dict[str, Any] = {"outcome": bench.layout.outcome(base)["outcome"], "seconds": 0.0, "epochs": 0}
    sound = outcome["outcome"] == "ok"
    best = bench.filter_search.best(bench.classifier(base), device=bench.device) if sound else None
    journal("filter.chosen")
    for trial in trials:
        more = filter_outcome(best, trial) if best else {}
        write_json(bench.layout.trial_json(trial), _identity(trial) | outcome | more)


def _generate(bench: Workbench, task: Task, progress: Progress) -> None:
    bench.generation.make(task.index, _generating(bench, task), task.part)


def _judge_pictures(bench: Workbench, task: Task, progress: Progress) -> None:
    bench.generation.rate(task.index, _generating(bench, task))


def _generating(bench: Workbench, task: Task) -> Trial | None:
    return bench.plan.trials[task.trials[0]] if task.trials else None


def _train(bench: Workbench, trial: Trial, progress: Progress) -> None:
    """Train a network, only initialise it without an objective, look at a given one; the Bayes rule has none."""
    outcome: dict[str, Any] = {"outcome": "ok", "seconds": 0.0, "epochs": 0}
    if trial.given is not None:
        outcome |= given_outcome(trial.given.reference, bench.data, bench.device)
    elif (model := trial.model) is not None:
        shape, classes = bench.data.train.shape, bench.data.train.classes
        classifier = build(model.architecture, shape, classes, seed=trial.seed, **model.options).to(bench.device)
        classifier.card = dataclasses.replace(classifier.card, provenance=_provenance(bench, trial))
        if trial.objective is None:
            save_classifier(classifier, bench.layout.trial(trial) / "model.safetensors")
        else:
            outcome = _optimise(bench, classifier, trial.objective, trial, progress)
    write_json(bench.layout.trial_json(trial), _identity(trial) | outcome)


def _identity(trial: Trial) -> dict[str, Any]:
    """What every trial.json says first."""
    identity = {"id": trial.id, "objective": trial.name, "strength": trial.strength, "seed": trial.seed}
    return identity | {"train_hash": trial.train_hash}


def _optimise(
    bench: Workbench, classifier: Classifier, objective: Objective, trial: Trial, progress: Progress
) -> dict[str, Any]:
    assert trial.train is not None  # else it has no objective
    config = dataclasses.replace(trial.train, seed=trial.seed)
    folder, objective = bench.layout.trial(trial), bench.objective(objective, trial.seed)

    def on_step(step: Step) -> None:
        progress(step.share)

    try:
        result = train(classifier, bench.data.train, objective, config, folder, device=bench.device, on_step=on_step)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return {"outcome": NO_MEMORY, "seconds": 0.0, "epochs": config.epochs}
    return {
        "outcome": result.outcome,
        "seconds": result.seconds,
        "cpu_seconds": result.cpu_seconds,
        "gpu_seconds": result.seconds if bench.device.startswith("cuda") else 0.0,
        "epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "ended_at": {"epoch": result.epoch, "step": result.step},
        "best": {"epoch": result.best_epoch, "accuracy": result.best_accuracy},
    }


def _provenance(bench: Workbench, trial: Trial) -> dict[str, object]:
    return {
        "objective": trial.name,
        "strength": trial.strength,
        "seed": trial.seed,
        "data": bench.spec.data,
        "data_digest": bench.data.train.digest,
        "train_hash": trial.train_hash,
        "torch": torch.__version__,
    }


def _measure(bench: Workbench, task: Task, progress: Progress) -> None:
    """Rows of several trials for one shard of images; those that a worker wrote before it was lost stay."""
    images, networks = bench.plan.shards[task.index], bench.plan.networks
    trials = [networks[i] for i in task.trials if not bench.layout.measured(networks[i], images)]
    if not trials:
        return
    targets = {bench.layout.shard(trial, images): bench.subject(trial) for trial in trials}
    driver = Driver.fitting(bench.source, bench.plan.measures, [*targets.values()], most=MEASURED_AT_ONCE)

    def write(driver: Driver) -> None:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress(done / (len(images) + 1))

        write_measured(driver, targets, torch.tensor(images), advance)

    for trial in trials:
        bench.layout.halved(trial, images).unlink(missing_ok=True)  # of rows that are written anew
    try:
        write(driver)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) or driver.batch_size == 1:
            raise
    else:
        return
    half = driver.batch_size // 2  # outside of the handler, whose traceback holds what the batch took
    free_memory()
    for trial in trials:
        write_json(bench.layout.halved(trial, images), {"images": len(images), "batch": half})
    write(dataclasses.replace(driver, batch_size=half))


def _draw(bench: Workbench, task: Task, progress: Progress) -> None:
    draw_pictures(bench, [bench.plan.trials[number] for number in task.trials], bench.layout.pictures)


_DO: dict[str, Callable[[Workbench, Task, Progress], None]] = {
    "score": _fit_score,
    "tangents": _fit_tangents,
    "trust": _examine,
    "guide": _fit_guide,
    "sham": _compare_sham,
    "train": _train_trial,
    "train_judge": _train_judge,
    "filter": _choose_filters,
    "measure": _measure,
    "pictures": _draw,
    "generate": _generate,
    "judge_pictures": _judge_pictures,
}
