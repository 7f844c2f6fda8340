"""Do the input gradients of an image classifier lie along the data manifold, and why (not)?

The names below load their rooms when first used, so that `import tangency` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tangency.references import OPENERS

if TYPE_CHECKING:
    from tangency.autodiff import input_gradient as input_gradient
    from tangency.autodiff import input_gradients as input_gradients
    from tangency.errors import TangencyError as TangencyError
    from tangency.errors import TangencyWarning as TangencyWarning
    from tangency.evaluate import estimates as estimates
    from tangency.evaluate import evaluate_score as evaluate_score
    from tangency.evaluate import load_classifier as load_classifier
    from tangency.measures import MeasureConfig as MeasureConfig
    from tangency.measures import measure as measure
    from tangency.mixtures import fit_mixture as fit_mixture
    from tangency.models import Classifier as Classifier
    from tangency.report import write_report as write_report
    from tangency.score import load_score as load_score
    from tangency.study import load_spec as load_spec
    from tangency.study import run_study as run_study
    from tangency.types import LabelledImages as LabelledImages
    from tangency.worlds import BayesClassifier as BayesClassifier
    from tangency.worlds import load_dataset as load_data
    from tangency.worlds import make_world as make_world

__version__ = "0.1.0"

OPENERS["run"] = "tangency.study.trials:SavedTrial"

_HOME = {
    "BayesClassifier": ("worlds", "BayesClassifier"),
    "Classifier": ("models", "Classifier"),
    "LabelledImages": ("types", "LabelledImages"),
    "MeasureConfig": ("measures", "MeasureConfig"),
    "TangencyError": ("errors", "TangencyError"),
    "TangencyWarning": ("errors", "TangencyWarning"),
    "estimates": ("evaluate", "estimates"),
    "evaluate_score": ("evaluate", "evaluate_score"),
    "fit_mixture": ("mixtures", "fit_mixture"),
    "input_gradient": ("autodiff", "input_gradient"),
    "input_gradients": ("autodiff", "input_gradients"),
    "load_classifier": ("evaluate", "load_classifier"),
    "load_data": ("worlds", "load_dataset"),
    "load_score": ("score", "load_score"),
    "load_spec": ("study", "load_spec"),
    "make_world": ("worlds", "make_world"),
    "measure": ("measures", "measure"),
    "run_study": ("study", "run_study"),
    "write_report": ("report", "write_report"),
}
__all__ = [
    "BayesClassifier",
    "Classifier",
    "LabelledImages",
    "MeasureConfig",
    "TangencyError",
    "TangencyWarning",
    "estimates",
    "evaluate_score",
    "fit_mixture",
    "input_gradient",
    "input_gradients",
    "load_classifier",
    "load_data",
    "load_score",
    "load_spec",
    "make_world",
    "measure",
    "run_study",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tangency' has no attribute '{name}'")
    room, attribute = _HOME[name]
    return getattr(importlib.import_module(f"tangency.{room}"), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
