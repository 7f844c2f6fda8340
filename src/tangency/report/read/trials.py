"""Trials of a summary: which are trained networks, which are references, and what curves read of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from tangency.evaluate.entries import EstimateEntry
from tangency.measures.keys import Key

STANDARD = "standard"
UNTRAINED = "untrained"
BAYES = "bayes"
FILTERED = ("filtered", "filtered_network")  # the standard network behind a fixed filter
REFERENCES = (UNTRAINED, BAYES, *FILTERED)  # for which nothing was trained
GIVEN = "given:"  # before the name of a network that others trained
FAR = math.log(1000)  # nats of κ under the lowest network: beyond this gap the value is printed instead of drawn


def is_reference(objective: str) -> bool:
    """Whether trials of this objective were not trained by the study."""
    return objective in REFERENCES or objective.startswith(GIVEN)


class Named(Protocol):
    """A trial, or a cell or network of a generation task."""

    @property
    def objective(self) -> str: ...
    @property
    def strength(self) -> float: ...


class SweepStep(Named, Protocol):
    """What axes against strength need of a trial, a cell, or a step of a story."""

    @property
    def regime(self) -> str | None: ...


class SweepPoint(SweepStep, Protocol):
    """What curves read of a trial, or of a cell of a generation task."""

    @property
    def measures(self) -> Mapping[str, EstimateEntry]: ...


Point = TypeVar("Point", bound=Named)


def trained(trials: Iterable[Point]) -> list[Point]:
    """The trials that are trained networks."""
    return [trial for trial in trials if not is_reference(trial.objective)]


def filter_twins(filters: Iterable[tuple[str, str, int, str | None]]) -> dict[str, str]:
    """Network behind the filter of the second direction to that of the first, where one filter was chosen for both.

    Args:
        filters: id, objective, seed and filter of each trial.
    """
    rows = list(filters)
    first = {(seed, name): own for own, objective, seed, name in rows if objective == FILTERED[0] and name}
    return {
        own: first[seed, name]
        for own, objective, seed, name in rows
        if objective == FILTERED[1] and name and (seed, name) in first
    }


def swept(trials: Iterable[Named]) -> list[str]:
    """The objectives that have strengths, all trained ones but the standard ones, in the order of the summary."""
    objectives = dict.fromkeys(trial.objective for trial in trained(trials))
    return [objective for objective in objectives if objective.partition("-")[0] != STANDARD]


def column(trials: Iterable[Point], objective: str) -> list[Point]:
    """The trials of an objective, and the standard ones, which are its strength 0."""
    return [trial for trial in trials if trial.objective in (objective, STANDARD)]


def mean_of(trial: SweepPoint, key: str) -> float | None:
    """The mean of a measure; None where it is undefined or was not measured."""
    entry = trial.measures.get(key)
    return entry.mean if entry and entry.mean is not None and math.isfinite(entry.mean) else None


def means(trials: Iterable[SweepPoint], key: str) -> list[float]:
    """The defined means of a measure."""
    return [mean for trial in trials if (mean := mean_of(trial, key)) is not None]


def bayes_level(trials: Sequence[SweepPoint], key: Key) -> tuple[float | None, bool]:
    """Mean of the Bayes rule, and whether drawing it to scale would flatten the curves, as a κ far below all others."""
    level = next(iter(means([t for t in trials if t.objective == BAYES], str(key))), None)
    if level is None or key.family not in ("kappa", "log_kappa"):
        return level, False

    def nats(value: float) -> float:
        return value if key.family == "log_kappa" else math.log(value) if value > 0 else -math.inf

    return level, nats(level) < min(map(nats, means(trained(trials), str(key))), default=math.inf) - FAR
