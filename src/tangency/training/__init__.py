"""Where the weights of classifiers change."""

from tangency.training.batches import refuse_lone_images
from tangency.training.config import TRAINING_SCHEMA, TrainConfig, learning_rate
from tangency.training.evaluate import Evaluation, evaluate
from tangency.training.loop import Step, train
from tangency.training.result import TrainResult

__all__ = [
    "TRAINING_SCHEMA",
    "Evaluation",
    "Step",
    "TrainConfig",
    "TrainResult",
    "evaluate",
    "learning_rate",
    "refuse_lone_images",
    "train",
]
