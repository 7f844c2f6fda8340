"""The theory as executable claims, and trials of estimators on worlds whose truth is known."""

from tangency.theory.check import check, steps
from tangency.theory.claims import Claim
from tangency.theory.coverage import Coverage, Repetition, coverage, truth_of
from tangency.theory.kinds import SCORES, TANGENTS
from tangency.theory.population import Population, measured_population
from tangency.theory.tilted import TiltedBayes
from tangency.theory.trial import EstimatorTrial, TrialConfig, principal_angles, trial

__all__ = [
    "SCORES",
    "TANGENTS",
    "Claim",
    "Coverage",
    "EstimatorTrial",
    "Population",
    "Repetition",
    "TiltedBayes",
    "TrialConfig",
    "check",
    "coverage",
    "measured_population",
    "principal_angles",
    "steps",
    "trial",
    "truth_of",
]
