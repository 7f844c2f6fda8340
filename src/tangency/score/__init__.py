"""Scores of the data: everything is a denoiser D(x; σ[, y]) on images in [0, 1]."""

from tangency.score.choice import ScoreChoice, parse_choice
from tangency.score.closed.empirical import EmpiricalScore
from tangency.score.closed.gaussian import GaussianScore
from tangency.score.closed.mixture import MixtureScore
from tangency.score.denoiser import Denoiser
from tangency.score.diagnostics import Diagnosis, diagnose
from tangency.score.function import FunctionScore
from tangency.score.gradients import AveragedScore, BayesGradient, bayes_gradient, noise_averaged_score
from tangency.score.guidance import ClassifierFreeGuided, ClassifierGuided
from tangency.score.networks.card import ScoreCard
from tangency.score.networks.diffusers_folder import load_diffusers
from tangency.score.networks.loss import EDMLoss
from tangency.score.networks.network import NetworkScore
from tangency.score.networks.store import build_network, load_network, save_score
from tangency.score.quality import denoising_error
from tangency.score.references import load_score
from tangency.score.sampler import Sampler

__all__ = [
    "AveragedScore",
    "BayesGradient",
    "ClassifierFreeGuided",
    "ClassifierGuided",
    "Denoiser",
    "Diagnosis",
    "EDMLoss",
    "EmpiricalScore",
    "FunctionScore",
    "GaussianScore",
    "MixtureScore",
    "NetworkScore",
    "Sampler",
    "ScoreCard",
    "ScoreChoice",
    "bayes_gradient",
    "build_network",
    "denoising_error",
    "diagnose",
    "load_diffusers",
    "load_network",
    "load_score",
    "noise_averaged_score",
    "parse_choice",
    "save_score",
]
