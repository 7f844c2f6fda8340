"""What each task needs of its worker, from sizes, before anything is run: memory, cores, a share of a GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from tangency.data.search import SEARCHED_AT_ONCE
from tangency.engines import EngineConfig, Resources
from tangency.measures.batching import BUDGET, TRANSIENT, held_bytes, kept_bytes
from tangency.measures.working import HELD_REDUCED
from tangency.mixtures.budget import BUDGET as BUDGET_OF_MIXTURES
from tangency.mixtures.budget import mixture_bytes
from tangency.models import build
from tangency.score.closed.gaussian import LARGEST
from tangency.study.plan import Trial, judge_model
from tangency.study.planning import StudyPlan, models_of
from tangency.study.spec import ModelSpec, StudySpec
from tangency.study.work.tasks import MEASURED_AT_ONCE, Task
from tangency.training.loop import EVALUATED_AT_ONCE
from tangency.types import Dataset

_PROCESS, _SCORE = 600_000_000, 500_000_000  # bytes of a process with torch, and of what a trained score needs besides
_CUDA, _CONTEXT = 3_000_000_000, 600_000_000  # of a process that uses a GPU, and of that process on the GPU
_CHUNKS = 250_000_000  # of what measuring computes piece by piece, and of the networks of its metrics
_STEP = 500_000_000  # memory is asked for in whole multiples
_COPIES = 6  # of weights: their gradients, the state of the optimiser, the best ones, those that are being written
_FITTED = 4  # copies of the images of a class in a fit
_RANK = 16  # of tangent spaces that are named without one
# What a loss keeps for its backward pass, in passes of the network; a gradient in it keeps its own backward pass, too.
_GRAPHS = {"standard": 1, "noise_augmentation": 1, "pgd_l2": 1, "pgd_linf": 1, "noise_consistency": 3}
_GRAPHS_AT_MOST = 4


@dataclass(frozen=True)
class NetworkSize:
    """Bytes of a network.

    Args:
        weights: with its buffers.
        kept: what a pass of one image keeps for the backward pass.
        classes: of its logits.
    """

    weights: int
    kept: int
    classes: int

    @classmethod
    def of(cls, model: ModelSpec, data: Dataset) -> NetworkSize:
        """By one forward pass of one image, on the CPU."""
        shape = data.train.shape
        network = build(model.architecture, shape, data.train.classes, seed=0, **model.options)
        weights = sum(value.nbytes for value in network.state_dict().values())
        return cls(weights, kept_bytes(network, torch.zeros(1, *shape)), len(data.train.classes))

    def trained(self, trial: Trial, batch: int) -> int:
        """What its training takes, or the evaluation behind each epoch where that is more."""
        graphs = _GRAPHS.get(trial.name, _GRAPHS_AT_MOST)
        if trial.objective is not None and trial.objective.options.get("exact"):
            graphs += 2 * self.classes  # a backward pass of each logit
        images = max(batch * graphs, EVALUATED_AT_ONCE)
        return _COPIES * self.weights + round(TRANSIENT * self.kept * images)


@dataclass(frozen=True)
class Needs:
    """What the tasks of a study need.

    None asks for less than measuring does: workers stay from phase to phase, and on a busy cluster new ones wait.

    Args:
        plan: of the study.
        process: bytes that any of its workers takes, with the data.
        networks: of the trials, by their model, which an entry of the sweep may change.
        judge: of the held-out classifier.
        fitted: bytes that a fit to the images takes.
        measured: bytes that measuring takes, with its networks.
        read: bytes of these networks.
        on_gpu: whether the computing is done in the memory of a GPU.
        gpu: bytes of the smallest GPU of this machine; 0 where there is none.
    """

    plan: StudyPlan
    process: int
    networks: Mapping[str, NetworkSize]
    judge: NetworkSize
    fitted: int
    measured: int
    read: int
    on_gpu: bool = False
    gpu: int = 0

    @classmethod
    def of(cls, plan: StudyPlan, data: Dataset, config: EngineConfig) -> Needs:
        """From the sizes of images, networks and batches.

        Args:
            plan: of the study.
            data: of the study.
            config: of the engine, which says whether workers have GPUs.
        """
        spec, trials = plan.spec, plan.networks
        networks = {_key(model): NetworkSize.of(model, data) for model in models_of(spec, trials)}
        read = _held(plan) * max([n.weights for n in networks.values()] + [t.given.weight for t in trials if t.given])
        largest = max(networks.values(), key=lambda network: network.kept)
        gpu, on_gpu = _smallest_gpu(), _on_gpu(spec, config)
        held = sum(split.pixels.nbytes + split.labels.nbytes for split in (data.train, data.test))
        process = (_CUDA if on_gpu else _PROCESS) + 2 * held + (_SCORE if spec.network_score else 0)
        return cls(
            plan,
            process,
            networks,
            largest if plan.judge is None else NetworkSize.of(judge_model(spec), data),
            _fitted(plan, data),
            _measured(plan, data, largest) + read,
            read,
            on_gpu,
            gpu if on_gpu else 0,
        )

    def resources(self, task: Task) -> Resources:
        """Of one task; bytes are those of the worker's process, computing on a GPU counts for its share of that."""
        computing = max(self._computing(task), self.measured)
        # networks are read into the process first, wherever they compute
        memory = self.process + (self.read if self.on_gpu else computing)
        share = math.ceil(100 * (_CONTEXT + computing) / self.gpu) / 100 if self.gpu else 0.0
        return Resources(self.plan.spec.threads, min(share, 1.0), _STEP * math.ceil(memory / _STEP))

    def _computing(self, task: Task) -> int:
        if task.kind == "train":
            trial = self.plan.networks[task.index]
            if trial.model is None or trial.train is None:
                return 0
            return self.networks[_key(trial.model)].trained(trial, trial.train.batch_size)
        if task.kind == "train_judge":
            assert self.plan.judge is not None  # else there is no such task
            return self.judge.trained(self.plan.judge, self.plan.spec.train.batch_size)
        if task.kind in ("score", "tangents", "guide"):
            return self.fitted
        if task.kind == "trust":
            return self.fitted + self.measured
        return self.measured + self.judge.weights


def _key(model: ModelSpec) -> str:
    return model.model_dump_json()


def _held(plan: StudyPlan) -> int:
    """Networks that a worker has at once."""
    return min(len(plan.networks), plan.held)


def _on_gpu(spec: StudySpec, config: EngineConfig) -> bool:
    """Whether workers compute on GPUs; those of Slurm have the ones that are asked for."""
    if spec.device == "cpu" or config.gpus_per_task:
        return spec.device != "cpu"
    return config.kind != "slurm" and (spec.device != "auto" or torch.cuda.is_available())


def _smallest_gpu() -> int:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return min((torch.cuda.get_device_properties(i).total_memory for i in range(count)), default=0)


def _reduced(plan: StudyPlan, data: Dataset) -> int:
    """Bytes of the images at the working size, where that is not their own."""
    images = 0 if plan.working.whole else len(data.train) + len(data.test)
    return min(4 * images * math.prod(plan.working.shape), 2 * HELD_REDUCED)


def _mixture(plan: StudyPlan, data: Dataset) -> int:
    """Bytes of the closed form, in double precision."""
    score, pixels = plan.spec.score, math.prod(plan.working.shape)
    if score.kind != "mfa":
        return 0
    return 2 * min(mixture_bytes(len(data.train.classes), pixels, score.components, score.rank), BUDGET_OF_MIXTURES)


def _fitted(plan: StudyPlan, data: Dataset) -> int:
    """The images of a class and covariances of all pixels, in double precision."""
    pixels, fullest = math.prod(plan.working.shape), int(data.train.class_counts.max())
    if not plan.spec.tangents:
        fullest = math.ceil(fullest * min(1.0, plan.spec.score.images / len(data.train)))
    covariances = 3 * 8 * pixels**2 if pixels <= LARGEST else 0
    return _reduced(plan, data) + _mixture(plan, data) + _FITTED * 8 * fullest * pixels + covariances


def _measured(plan: StudyPlan, data: Dataset, network: NetworkSize) -> int:
    """A batch of images with all that they are compared with, as `Driver.fitting` bounds it, and the references."""
    spec, measures, shape = plan.spec, plan.measures, plan.working.shape
    ranks = [_RANK] * len(spec.tangents) if spec.tangents else [spec.score.rank]
    signals = 4 * len(measures.targets) * len(measures.sigmas) + 6
    compared = held_bytes(shape, data.test.shape, ranks, signals, measures.directions)
    batch = min(BUDGET, round(MEASURED_AT_ONCE * (TRANSIENT * network.kept + compared)))
    searched = 3 * 8 * SEARCHED_AT_ONCE * math.prod(shape) if spec.tangents or spec.score.kind == "empirical" else 0
    references = _reduced(plan, data) + _mixture(plan, data) + (_SCORE if spec.network_score else 0)
    return batch + _CHUNKS + searched + references
