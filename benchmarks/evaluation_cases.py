"""Evaluations of the score network and of LPIPS in a measurement, over the distinct questions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.case import Case
from tangency.data import load
from tangency.data.partners import BLOCK, measured_order
from tangency.measures import ComparisonSource, Driver, Subject
from tangency.models import build
from tangency.perceptual.lpips import LPIPS
from tangency.score import GaussianScore, NetworkScore, load_score
from tangency.study import quickstart_spec
from tangency.tangents import Ground, open_tangents

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # whose counter it is
from evaluations import Evaluations, counted

MOST = 1.05  # evaluations over distinct (image, σ, condition)


def evaluations() -> Case:
    """A block of images and two classifiers measured as the quickstart does, against the passes on distinct inputs."""
    data = load("fashion-mnist-5k?train=1000")
    config = quickstart_spec().measures.at_size(data.test.shape)
    network = load_score("edm-fashion-mnist", data)
    tangents = open_tangents("local-pca?rank=4&neighbours=20", Ground(data))
    models = [build("convnet", data.train.shape, data.train.classes, seed) for seed in (0, 1)]
    block, made = measured_order(len(data.test))[:BLOCK], Evaluations()

    def ours() -> Tensor:
        closed = GaussianScore(data.train)
        source = ComparisonSource(closed, {"": tangents}, data.test, data.train, config, network=network)
        with counted(NetworkScore) as now:
            for _ in Driver(source, config, 25).rows([Subject(model) for model in models], block):
                pass
        made.scores, made.embedded = now.scores, now.embedded
        return torch.zeros(1)

    def other() -> Tensor:
        """As many bare passes as there are distinct questions, in batches of 25."""
        lpips, x = LPIPS(), data.test.images(block[:25])
        for _ in range(len(set(made.scores)) // 25):
            network.denoise(x, 0.25)
        for _ in range(len(set(made.embedded)) // 25):
            lpips.embed(2 * x - 1)
        return torch.zeros(1)

    def more(seconds: float) -> dict[str, float]:
        ratios = {"score_evaluations": made.per_score, "lpips_evaluations": made.per_embedding}
        for name, ratio in ratios.items():
            if ratio > MOST:
                sys.exit(f"benchmark evaluations: {name} over distinct ones is {ratio:.3f}, expected at most {MOST}")
        return ratios | {"images": float(len(block))}

    return Case(
        "a block of the quickstart, against its distinct passes of score network and LPIPS", ours, other, 0, more
    )


CASES: dict[str, Callable[[], Case]] = {"evaluations": evaluations}
