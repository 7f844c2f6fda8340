"""Where weights change: of classifiers and of score networks."""

from tangency.training.batches import refuse_lone_images
from tangency.training.config import TRAINING_SCHEMA, TrainConfig, learning_rate
from tangency.training.engine import Step
from tangency.training.evaluate import Evaluation, evaluate
from tangency.training.loop import train
from tangency.training.result import TrainResult
from tangency.training.score import SCORE_CONFIG, Averaging, ScoreResult, train_score

__all__ = [
    "SCORE_CONFIG",
    "TRAINING_SCHEMA",
    "Averaging",
    "Evaluation",
    "ScoreResult",
    "Step",
    "TrainConfig",
    "TrainResult",
    "evaluate",
    "learning_rate",
    "refuse_lone_images",
    "train",
    "train_score",
]
