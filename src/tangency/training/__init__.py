"""Training of classifiers, score networks and autoencoders."""

from tangency.training.autoencoder import AUTOENCODER_CONFIG, AutoencoderResult, train_autoencoder
from tangency.training.batches import refuse_lone_images
from tangency.training.config import TRAINING_SCHEMA, TrainConfig, learning_rate
from tangency.training.job import Step
from tangency.training.loop import Evaluation, TrainResult, evaluate, train
from tangency.training.score import SCORE_CONFIG, Averaging, ScoreConfig, ScoreResult, train_score

__all__ = [
    "AUTOENCODER_CONFIG",
    "SCORE_CONFIG",
    "TRAINING_SCHEMA",
    "AutoencoderResult",
    "Averaging",
    "Evaluation",
    "ScoreConfig",
    "ScoreResult",
    "Step",
    "TrainConfig",
    "TrainResult",
    "evaluate",
    "learning_rate",
    "refuse_lone_images",
    "train",
    "train_autoencoder",
    "train_score",
]
