"""What saved classifiers, scores and tangent spaces are worth: measured, compared and examined, without a study."""

from tangency.evaluate.classifiers.saved import load_classifier
from tangency.evaluate.fitting.tangents import load_tangents
from tangency.evaluate.measure import measure_models
from tangency.evaluate.measured import estimates
from tangency.evaluate.request import MeasureRequest
from tangency.evaluate.trust.config import TrustConfig
from tangency.evaluate.trust.score import Trust, evaluate_score
from tangency.evaluate.trust.tangents import TangentTrustConfig, evaluate_tangents

__all__ = [
    "MeasureRequest",
    "TangentTrustConfig",
    "Trust",
    "TrustConfig",
    "estimates",
    "evaluate_score",
    "evaluate_tangents",
    "load_classifier",
    "load_tangents",
    "measure_models",
]
