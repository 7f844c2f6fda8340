"""Train the score network that comes with the package, `edm-fashion-mnist`, examine it, and put it into the package.

It needs the full data set where TANGENCY_DATA points, about an hour of one core, and goes on where it was stopped:

    python scripts/train_shipped_score.py runs/edm-fashion-mnist
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import torch

from tangency.data import load
from tangency.evaluate.trust.config import TrustConfig
from tangency.evaluate.trust.score import evaluate_score
from tangency.report import write_score
from tangency.score import (
    EDMLoss,
    NetworkScore,
    ScoreCard,
    build_network,
    denoising_error,
    load_network,
    save_score,
)
from tangency.training import SCORE_CONFIG, Step, train_score
from tangency.types import Dataset

NAME, EPOCHS = "edm-fashion-mnist", 10
WEIGHTS = Path(__file__).parent.parent / "src" / "tangency" / "score" / "weights" / f"{NAME}.safetensors"


def report(step: Step) -> None:
    """One line every hundred steps."""
    if step.step % 100 == 0:
        print(f"epoch {step.epoch}/{step.epochs} step {step.step}/{step.steps} loss {step.loss:.4f}", flush=True)


def embedded_errors(score: NetworkScore) -> dict[str, Any]:
    """Denoising errors on test images that come with the package, so that a test can take them again anywhere."""
    held = load("fashion-mnist-5k").test.subset(slice(0, 500))
    errors = {f"{sigma:g}": float(denoising_error(score, held, sigma).mean()) for sigma in (0.125, 0.25, 0.5)}
    return {"data": "fashion-mnist-5k", "images": len(held), "mse": errors}


def ship(score: NetworkScore, data: Dataset, folder: Path) -> None:
    """Examine what will be read from the file, half precision and all, and write it with what was found."""
    rounded = folder / "half.safetensors"
    save_score(score, rounded, half=True)
    shipped = load_network(rounded, kind=NAME)
    config = TrustConfig(images=500, probed=200, samples=1000)
    found = evaluate_score(
        shipped, data, config, on_progress=lambda part, share: print(f"{share:4.0%} {part}", flush=True)
    )
    del found.summary["seconds"]
    write_score(found.summary, found.arrays(), folder / "examination")
    told = {"examination": found.summary, "embedded": embedded_errors(shipped)}
    card = dataclasses.replace(shipped.settings, provenance={**shipped.settings.provenance, **told})
    save_score(NetworkScore(shipped.module, card, NAME), WEIGHTS, half=True)
    print(found.summary["verdict"]["words"])
    print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """Train into a folder, then ship."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    data = load("fashion-mnist")
    train = data.train
    card = ScoreCard(
        network="unet",
        prediction="edm",
        shape=train.shape,
        options={"channels": train.shape[0], "classes": len(train.classes), "size": "small"},
        classes=train.classes,
        sigma_range=(0.001, 40.0),
        licence="MIT",
        provenance={"data": "fashion-mnist", "data_digest": train.digest},
    )
    config = dataclasses.replace(SCORE_CONFIG, epochs=asked.epochs, validation_fraction=0.0)
    result = train_score(build_network(card, seed=0, kind=NAME), train, EDMLoss(), config, asked.folder, on_step=report)
    print(result.outcome, f"{result.seconds:.0f} s")
    ship(result.score, data, asked.folder)


if __name__ == "__main__":
    main()
