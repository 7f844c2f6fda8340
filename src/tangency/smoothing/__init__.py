"""Randomized smoothing: the vote of a classifier under Gaussian noise, its certificate and its gradient."""

from tangency.smoothing.certificate import (
    ABSTAIN,
    Certificate,
    certificate,
    certificate_draws,
    lower_bound,
    prediction,
    prediction_draws,
)
from tangency.smoothing.smoothed import Smoothed, certify, smooth

__all__ = [
    "ABSTAIN",
    "Certificate",
    "Smoothed",
    "certificate",
    "certificate_draws",
    "certify",
    "lower_bound",
    "prediction",
    "prediction_draws",
    "smooth",
]
