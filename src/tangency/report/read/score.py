"""The card of a study's score."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tangency.evaluate.fitting.posterior import PosteriorAccuracy
from tangency.report.read.summary import from_json
from tangency.study.summary.entries import StudySummary


@dataclass(frozen=True)
class DenoisingError:
    """Mean squared denoising errors at one σ: of the score, of doing nothing, of one Gaussian."""

    sigma: float
    mse: float | None
    identity: float
    gaussian: float | None = None


@dataclass(frozen=True)
class Likelihood:
    """Mean log-likelihood of an image, in nats."""

    train: float | None = None
    test: float | None = None


@dataclass(frozen=True)
class ScoreDescription:
    """What a study says of its score; `network` is the examination of its trained score, where there is one."""

    kind: str
    components: int | None = None
    rank: int | None = None
    seconds: float | None = None
    cut: str | None = None
    log_likelihood: Likelihood = field(default_factory=Likelihood)
    denoising: list[DenoisingError] = field(default_factory=list)
    posterior_accuracy: list[PosteriorAccuracy] = field(default_factory=list)
    network: dict[str, Any] | None = None


def score_card(summary: StudySummary) -> ScoreDescription:
    """The card of a summary, with denoising errors and accuracies by rising σ."""
    card: ScoreDescription = from_json(ScoreDescription, json.dumps(summary.score), Path("summary.json"))
    card.denoising.sort(key=lambda error: error.sigma)
    card.posterior_accuracy.sort(key=lambda each: each.sigma)
    return card
