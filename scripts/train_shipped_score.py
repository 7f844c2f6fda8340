"""Train the score network that comes with the package, `edm-fashion-mnist`, examine it, and put it into the package.

It needs the full data set in TANGENCY_DATA and about an hour of one core; run again, it continues:

    python scripts/train_shipped_score.py runs/edm-fashion-mnist
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import torch

from tangency.cli.progress import advancing
from tangency.data import load
from tangency.evaluate.fitting.network import training_progress
from tangency.evaluate.trust.config import TrustConfig
from tangency.evaluate.trust.score import evaluate_score
from tangency.report import write_score
from tangency.score import EDMLoss, NetworkScore, ScoreCard, build_network, denoising_error, load_network, save_score
from tangency.training import SCORE_CONFIG, train_score
from tangency.types import Dataset

NAME, EPOCHS = "edm-fashion-mnist", 10
WEIGHTS = Path(__file__).parent.parent / "src" / "tangency" / "score" / "weights" / f"{NAME}.safetensors"


def embedded_errors(score: NetworkScore) -> dict[str, Any]:
    """Denoising errors on test images that come with the package, so that a test can take them again anywhere."""
    held = load("fashion-mnist-5k").test.subset(slice(0, 500))
    errors = {f"{sigma:g}": float(denoising_error(score, held, sigma).mean()) for sigma in (0.125, 0.25, 0.5)}
    return {"data": "fashion-mnist-5k", "images": len(held), "mse": errors}


def ship(score: NetworkScore, data: Dataset, folder: Path) -> None:
    """Examine what will be read from the file, half precision and all, and write it with its examination."""
    rounded = folder / "half.safetensors"
    save_score(score, rounded, half=True)
    shipped = load_network(rounded, kind=NAME)
    config = TrustConfig(images=500, probed=200, samples=1000)
    with advancing("examining", quiet=False) as advance:
        examined = evaluate_score(shipped, data, config, on_progress=advance)
    del examined.summary["seconds"]
    write_score(examined.summary, examined.arrays(), folder / "examination")
    more = {"examination": examined.summary, "embedded": embedded_errors(shipped)}
    card = dataclasses.replace(shipped.settings, provenance={**shipped.settings.provenance, **more})
    save_score(NetworkScore(shipped.module, card, NAME), WEIGHTS, half=True)
    print(examined.summary["verdict"]["words"])
    print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """Train into a folder, then ship."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
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
    config = dataclasses.replace(SCORE_CONFIG, epochs=arguments.epochs, validation_fraction=0.0)
    network = build_network(card, seed=0, kind=NAME)
    with advancing("training", quiet=False) as advance:
        report = training_progress(advance)
        result = train_score(network, train, EDMLoss(), config, arguments.folder, on_step=report)
    print(result.outcome, f"{result.seconds:.0f} s")
    ship(result.score, data, arguments.folder)


if __name__ == "__main__":
    main()
