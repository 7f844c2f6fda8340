"""What a study has cost, by phase and by trial, from what its workers noted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tangency.study.layout import Layout
from tangency.study.plan import Trial
from tangency.study.work.costs import Attempt, read_attempts

_PHASES = {
    "score": "fits",
    "tangents": "fits",
    "trust": "fits",
    "guide": "fits",
    "sham": "fits",
    "train": "training",
    "train_judge": "training",
    "filter": "filters",
    "measure": "measuring",
    "pictures": "pictures",
    "generate": "generation",
    "judge_pictures": "generation",
}


@dataclass(frozen=True, kw_only=True)
class CostEntry:
    """Seconds of wall time, of processors and of GPUs, summed over workers, and the attempts at jobs that took them."""

    attempts: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0

    def plus(self, attempt: Attempt, share: float = 1.0) -> CostEntry:
        """With a share of one more attempt."""
        return CostEntry(
            attempts=self.attempts + 1,
            seconds=self.seconds + share * attempt.seconds,
            cpu_seconds=self.cpu_seconds + share * attempt.cpu_seconds,
            gpu_seconds=self.gpu_seconds + share * attempt.gpu_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class CostsEntry:
    """What all runs in a folder have cost so far; a job that was done twice counts twice.

    Args:
        total: of all jobs.
        phases: training, measuring, filters, fits (of score, tangent spaces and guides, with the examination of a
            trained score and of shams), generation (with the judging of pictures), pictures; exact, as jobs were noted.
        trials: id to phase to its part: a job for several trials counts for each in equal shares. Fits belong to none;
            the judge and trials that the spec does not use stand in the phases alone.
    """

    total: CostEntry = CostEntry()
    phases: dict[str, CostEntry] = field(default_factory=dict)
    trials: dict[str, dict[str, CostEntry]] = field(default_factory=dict)


def study_costs(layout: Layout, trials: Iterable[Trial]) -> CostsEntry:
    """The costs of a run folder.

    Args:
        layout: of the run.
        trials: whose parts are told.
    """
    names = {trial.train_hash: trial.id for trial in trials}
    total, phases, own = CostEntry(), dict[str, CostEntry](), dict[str, dict[str, CostEntry]]()
    for attempt in (each for path in sorted(layout.costs.glob("*.json")) for each in read_attempts(path)):
        if (phase := _PHASES.get(attempt.kind)) is None:  # a damaged note: no result depends on it
            continue
        total, phases[phase] = total.plus(attempt), phases.get(phase, CostEntry()).plus(attempt)
        for name in [names[digest] for digest in attempt.trials if digest in names]:
            part = own.setdefault(name, {})
            part[phase] = part.get(phase, CostEntry()).plus(attempt, 1 / len(attempt.trials))
    return CostsEntry(total=total, phases=phases, trials={name: own[name] for name in names.values() if name in own})
