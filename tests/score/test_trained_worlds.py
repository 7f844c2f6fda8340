"""Networks trained on worlds, whose least possible denoising error and Bayes direction are known."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tangency.evaluate import TrustConfig, evaluate_score
from tangency.score import EDMLoss, ScoreCard, build_network, load_score
from tangency.training import SCORE_CONFIG, train_score
from tangency.worlds import load_dataset

SIGMAS = (0.05, 0.125, 0.25, 0.5)
EXAMINED = TrustConfig(sigmas=SIGMAS, images=1000, probed=500, probes=1, samples=0, baselines=("gaussian",))


@dataclass(frozen=True)
class Recipe:
    """A world, a training that takes about ten minutes on two cores, and what it reaches.

    Args:
        excess: error above the least possible one, relative to that of a Gaussian, at most, at each of `SIGMAS`.
        cosine: of Bayes gradients at the largest σ, at least.
    """

    world: str
    loss: EDMLoss
    learning_rate: float
    epochs: int
    excess: tuple[float, ...]
    cosine: float


W1 = Recipe(
    "world:linear?rank=16&separation=6&contrast=0.08&train=60000&test=1000",
    EDMLoss(-1.6, 1.1, 0.16),
    4e-3,
    5,
    (0.95, 0.1, 0.1, 0.35),
    0.8,
)
W3 = Recipe("world:fitted?size=16&train=60000&test=1000", EDMLoss(), 3e-3, 5, (0.65, 0.55, 0.45, 0.35), 0.45)


def trained(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The examination of a network that was trained by a recipe."""
    data = load_dataset(recipe.world)
    options = {"channels": 1, "classes": len(data.train.classes), "size": "small"}
    card = ScoreCard(
        "unet", "edm", data.train.shape, options, classes=data.train.classes, sigma_data=recipe.loss.sigma_data
    )
    config = dataclasses.replace(SCORE_CONFIG, epochs=recipe.epochs, learning_rate=recipe.learning_rate)
    result = train_score(build_network(card), data.train, recipe.loss, config, folder)
    print(f"trained in {result.seconds:.0f} s")
    return evaluate_score(result.score, data, EXAMINED).summary


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [W1, W3], ids=["W1", "W3"])
def test_a_network_comes_near_to_the_least_error_of_a_world(recipe: Recipe, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    found = trained(recipe, tmp_path)
    for level, limit in zip(found["noise_levels"], recipe.excess, strict=True):
        least, gaussian = (level["baselines"][name]["mean"] for name in ("exact", "gaussian"))
        excess, baseline = level["mse"]["mean"] - least, gaussian - least
        bayes, error = level["bayes_gradient"], level["score_error"]
        print(
            f"σ = {level['sigma']:g}: excess {excess:.2e} is {excess / baseline:.3f} of the Gaussian's; cosine of "
            f"Bayes gradients {bayes['cosine_noisy']['mean']:.3f} (clean {bayes['cosine_clean']['mean']:.3f}), score "
            f"error {error['noisy']['mean']:.3f} (clean {error['clean']['mean']:.3f})"
        )
        assert excess <= limit * baseline
        assert "gaussian" in level["better_than"]
    assert found["noise_levels"][-1]["bayes_gradient"]["cosine_noisy"]["mean"] >= recipe.cosine


def test_the_recipes_are_of_worlds_that_a_gaussian_does_not_describe() -> None:
    for recipe in (W1, W3):
        data = load_dataset(recipe.world.replace("60000", "2000").replace("test=1000", "test=200"))
        config = dataclasses.replace(EXAMINED, images=200, probed=2)
        for level in evaluate_score(load_score("gaussian", data), data, config).summary["noise_levels"]:
            assert level["mse"]["mean"] > 1.01 * level["baselines"]["exact"]["mean"]
