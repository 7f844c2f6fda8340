"""Scores of the data: everything is a denoiser D(x; σ[, y]) on images in [0, 1]."""

from tangency.score.denoiser import Denoiser
from tangency.score.empirical import EmpiricalScore
from tangency.score.gaussian import GaussianScore
from tangency.score.mixture import MixtureScore
from tangency.score.quality import denoising_error

__all__ = ["Denoiser", "EmpiricalScore", "GaussianScore", "MixtureScore", "denoising_error"]
