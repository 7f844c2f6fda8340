"""What restorations raise, how far they step and where a score starts, tried on training images that no network saw.

python scripts/choose_restoration.py runs/generation, the run of `tangency study run generation`: the defaults of
`tangency generate`, first set on a few test images, are checked here on others than docs/generate.md reports.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from tangency.errors import RunError
from tangency.evaluate.generation.run import Generated, generate_with
from tangency.files import read_json
from tangency.generation.judges import psnr
from tangency.generation.operators import make_mask
from tangency.generation.options import Climb
from tangency.generation.reference import restore_by_score
from tangency.generation.tasks.config import GenerationConfig
from tangency.generation.tasks.prepare import mixture_for
from tangency.generation.tasks.restoration import first_guess
from tangency.models import read_classifier
from tangency.score import load_score
from tangency.seeding import Draw, permutation
from tangency.types import Dataset
from tangency.worlds import load_dataset

KEPT, COUNT = 20_000, 256  # training images of the study, and how many of the others are tried
SHARES = (1 / 80, 1 / 40, 1 / 20, 1 / 10, 1 / 5)  # of √d: the budget that a step's length follows from
HIGHEST = (0.5, 1.0, 2.0, 5.0, 20.0, 80.0)


def unseen() -> Dataset:
    """Training images that the study did not train on, in the place of the test images."""
    whole, cut = load_dataset("fashion-mnist"), load_dataset(f"fashion-mnist?train={KEPT}")
    others = permutation(len(whole.train), 0, "training images")[KEPT : KEPT + COUNT]
    return dataclasses.replace(cut, test=whole.train.subset(others))


def trials(run: Path) -> Iterator[tuple[str, Path]]:
    """One network of each objective and strength."""
    for path in sorted(run.glob("trials/*/trial.json")):
        trial = read_json(path)
        if trial["seed"] == 0 and trial["outcome"] == "ok" and not trial["id"].startswith(("judge", "untrained")):
            yield f"{trial['objective']} {trial['strength']:g}", path.parent / "model.safetensors"


def gain(made: Generated) -> str:
    """Mean PSNR gain, with its interval."""
    entry = made.summary["sources"]["classifier"]["measures"]["psnr_gain"]
    return f"{entry['mean']:+.2f} [{entry['low']:+.2f}, {entry['high']:+.2f}]"


def main() -> None:
    """Print the tables."""
    data, run = unseen(), Path(sys.argv[1])
    networks = list(trials(run))
    if not networks:
        raise RunError(f"{run}: holds no trained network of seed 0, expected a run of the study 'generation'.")
    mixture = mixture_for(data, 4, 12, 0, "cpu")
    whole = math.sqrt(math.prod(data.test.shape))
    for name, path in networks:
        network = read_classifier(path)
        cells = []
        for label in ("energy", "predicted"):
            denoised = GenerationConfig("denoise", COUNT, label=label, references=())
            cells.append(f"denoise {label} {gain(generate_with(network, data, denoised, mixture=mixture))}")
        for share in SHARES:
            climb = Climb(length=2.5 * share * whole / 60)
            inpainted = GenerationConfig("inpaint", COUNT, climb, references=())
            cells.append(f"inpaint √d/{1 / share:.0f} {gain(generate_with(network, data, inpainted, mixture=mixture))}")
        print(f"{name} | {' | '.join(cells)}", flush=True)
    for highest in HIGHEST:
        print(f"score from σ = {highest:g} | inpaint {by_score(data, highest):+.2f}", flush=True)


def by_score(data: Dataset, highest: float) -> float:
    """Mean PSNR gain of inpainting by the shipped score, in dB."""
    score, x, draw = load_score("edm-fashion-mnist", data, "cpu"), data.test.images(), Draw(0, torch.arange(COUNT))
    operator = make_mask("rectangle", data.test.shape, 0.25, draw)
    measured = operator.apply(x)
    made = restore_by_score(score, operator, measured, draw, 61, highest=highest).images
    before = first_guess(operator, measured, x)
    return float((psnr(made, x) - psnr(before, x)).mean())


if __name__ == "__main__":
    main()
