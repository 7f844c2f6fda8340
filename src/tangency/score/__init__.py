"""Scores of the data: everything is a denoiser D(x; σ[, y]) on images in [0, 1]."""

from tangency.score.card import ScoreCard
from tangency.score.denoiser import Denoiser
from tangency.score.empirical import EmpiricalScore
from tangency.score.gaussian import GaussianScore
from tangency.score.loss import EDMLoss
from tangency.score.mixture import MixtureScore
from tangency.score.network import NetworkScore
from tangency.score.quality import denoising_error
from tangency.score.store import build_network, load_network, save_score

__all__ = [
    "Denoiser",
    "EDMLoss",
    "EmpiricalScore",
    "GaussianScore",
    "MixtureScore",
    "NetworkScore",
    "ScoreCard",
    "build_network",
    "denoising_error",
    "load_network",
    "save_score",
]
