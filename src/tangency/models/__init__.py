"""Classifiers: modules with their input range, normalisation, classes and provenance."""

from tangency.models.classifier import Classifier
from tangency.models.features import with_features
from tangency.models.foreign.opening import Opened, Request
from tangency.models.independence import Averaged
from tangency.models.outputs import OUTPUTS, probes
from tangency.models.prepared import prepared
from tangency.models.references import load_model
from tangency.models.registry import ARCHITECTURES, build
from tangency.models.weights import load_weights, read_classifier, save_classifier

__all__ = [
    "ARCHITECTURES",
    "OUTPUTS",
    "Averaged",
    "Classifier",
    "Opened",
    "Request",
    "build",
    "load_model",
    "load_weights",
    "prepared",
    "probes",
    "read_classifier",
    "save_classifier",
    "with_features",
]
