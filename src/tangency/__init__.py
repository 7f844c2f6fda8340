"""Do the input gradients of an image classifier lie along the data manifold, and why (not)?

A name loads its room when it is first used, so that `import tangency` costs next to nothing. docs/python.md has an
example of each.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tangency.references import OPENERS

if TYPE_CHECKING:
    from tangency.attacks import pgd as pgd
    from tangency.autodiff import input_gradient as input_gradient
    from tangency.autodiff import input_gradients as input_gradients
    from tangency.cause import run_cause as run_cause
    from tangency.errors import TangencyError as TangencyError
    from tangency.errors import TangencyWarning as TangencyWarning
    from tangency.evaluate import MeasureRequest as MeasureRequest
    from tangency.evaluate import estimates as estimates
    from tangency.evaluate import evaluate_score as evaluate_score
    from tangency.evaluate import evaluate_tangents as evaluate_tangents
    from tangency.evaluate import load_classifier as load_classifier
    from tangency.evaluate import load_tangents as load_tangents
    from tangency.evaluate import measure_models as measure_models
    from tangency.evaluate.compare import compare as compare
    from tangency.evaluate.generation.saved import generate as generate
    from tangency.evaluate.regimes import filtered_baseline as filtered_baseline
    from tangency.evaluate.regimes import regimes as regimes
    from tangency.generation.options import Climb as Climb
    from tangency.generation.tasks.config import GenerationConfig as GenerationConfig
    from tangency.measures import MeasureConfig as MeasureConfig
    from tangency.measures import measure as measure
    from tangency.mixtures import fit_mixture as fit_mixture
    from tangency.models import Classifier as Classifier
    from tangency.models import build as build
    from tangency.objectives import make as objective
    from tangency.report import rank_models as rank_models
    from tangency.report import write_leaderboard as write_leaderboard
    from tangency.report import write_report as write_report
    from tangency.score import load_score as load_score
    from tangency.smoothing import certify as certify
    from tangency.smoothing import smooth as smooth
    from tangency.study import load_run as load_run
    from tangency.study import load_spec as load_spec
    from tangency.study import run_study as run_study
    from tangency.tangents import agreement as agreement
    from tangency.training import TrainConfig as TrainConfig
    from tangency.training import train as train
    from tangency.types import LabelledImages as LabelledImages
    from tangency.worlds import BayesClassifier as BayesClassifier
    from tangency.worlds import load_dataset as load_data
    from tangency.worlds import make_world as make_world

__version__ = "0.1.0"

OPENERS.register("run", "tangency.study.trials:SavedTrial")

_ROOMS = {
    "attacks": ("pgd",),
    "autodiff": ("input_gradient", "input_gradients"),
    "cause": ("run_cause",),
    "errors": ("TangencyError", "TangencyWarning"),
    "evaluate": (
        "MeasureRequest",
        "estimates",
        "evaluate_score",
        "evaluate_tangents",
        "load_classifier",
        "load_tangents",
        "measure_models",
    ),
    "evaluate.compare": ("compare",),
    "evaluate.generation.saved": ("generate",),
    "evaluate.regimes": ("filtered_baseline", "regimes"),
    "generation.options": ("Climb",),
    "generation.tasks.config": ("GenerationConfig",),
    "measures": ("MeasureConfig", "measure"),
    "mixtures": ("fit_mixture",),
    "models": ("Classifier", "build"),
    "objectives": ("objective",),
    "report": ("rank_models", "write_leaderboard", "write_report"),
    "score": ("load_score",),
    "smoothing": ("certify", "smooth"),
    "study": ("load_run", "load_spec", "run_study"),
    "tangents": ("agreement",),
    "training": ("TrainConfig", "train"),
    "types": ("LabelledImages",),
    "worlds": ("BayesClassifier", "load_data", "make_world"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}
_NAMED = {"load_data": "load_dataset", "objective": "make"}  # what these are called in their rooms
__all__ = [
    "BayesClassifier",
    "Classifier",
    "Climb",
    "GenerationConfig",
    "LabelledImages",
    "MeasureConfig",
    "MeasureRequest",
    "TangencyError",
    "TangencyWarning",
    "TrainConfig",
    "agreement",
    "build",
    "certify",
    "compare",
    "estimates",
    "evaluate_score",
    "evaluate_tangents",
    "filtered_baseline",
    "fit_mixture",
    "generate",
    "input_gradient",
    "input_gradients",
    "load_classifier",
    "load_data",
    "load_run",
    "load_score",
    "load_spec",
    "load_tangents",
    "make_world",
    "measure",
    "measure_models",
    "objective",
    "pgd",
    "rank_models",
    "regimes",
    "run_cause",
    "run_study",
    "smooth",
    "train",
    "write_leaderboard",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'tangency' has no attribute '{name}'")
    return getattr(importlib.import_module(f"tangency.{_HOME[name]}"), _NAMED.get(name, name))


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
