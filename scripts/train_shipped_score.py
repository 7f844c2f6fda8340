"""Train the score network that comes with the package, `edm-fashion-mnist`, on the 60,000 training images.

It needs the full data set where TANGENCY_DATA points, about an hour of one core, and goes on where it was stopped:

    python scripts/train_shipped_score.py runs/edm-fashion-mnist
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from tangency.data import load
from tangency.score import EDMLoss, ScoreCard, build_network
from tangency.training import SCORE_CONFIG, Step, train_score

EPOCHS = 10


def report(step: Step) -> None:
    """One line every hundred steps."""
    if step.step % 100 == 0:
        print(f"epoch {step.epoch}/{step.epochs} step {step.step}/{step.steps} loss {step.loss:.4f}", flush=True)


def main() -> None:
    """Train into a folder; `scripts/ship_score.py` takes it from there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    data = load("fashion-mnist").train
    card = ScoreCard(
        network="unet",
        prediction="edm",
        shape=data.shape,
        options={"channels": data.shape[0], "classes": len(data.classes), "size": "small"},
        classes=data.classes,
        sigma_range=(0.001, 40.0),
        licence="MIT",
        provenance={"data": "fashion-mnist", "data_digest": data.digest},
    )
    config = dataclasses.replace(SCORE_CONFIG, epochs=asked.epochs, validation_fraction=0.0)
    score = build_network(card, seed=0, kind="edm-fashion-mnist")
    result = train_score(score, data, EDMLoss(), config, asked.folder, on_step=report)
    print(result.outcome, f"{result.seconds:.0f} s")


if __name__ == "__main__":
    main()
