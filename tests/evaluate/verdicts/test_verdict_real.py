"""Real images: a standard network behind PCA-25 and an untrained one are on-manifold under no estimator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

import tangency
from tangency.evaluate.filters import Filtered, filter_named
from tangency.evaluate.verdicts import Recipe, RecipeVerdict, SweepRows, verdicts
from tangency.models import build

CONFIG = tangency.MeasureConfig(
    metrics=("cosine",), sigmas=(0.5,), epsilons=(), rho_sigmas=(), directions=1, alignments=()
)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RecipeVerdict]:
    """The networks' verdicts under the mixture's tangent spaces ("") and those of the nearest images."""
    data = tangency.load_data("fashion-mnist-5k")
    net, x = build("convnet", data.train.shape, data.train.classes), data.test.images()[:500]
    folder: Path = tmp_path_factory.mktemp("standard")
    tangency.train(net, data.train, tangency.objective("standard", 0.0), tangency.TrainConfig(epochs=4), folder)
    tangents = [tangency.load_tangents(name, data) for name in ("mfa?components=4&rank=12", "local-pca?rank=12")]

    def recipe(name: str, model: nn.Module, objective: str) -> Recipe:
        rows = tangency.measure(
            model, x, data.test.labels[:500], train_data=data.train, tangents=tangents, score="none", config=CONFIG
        )
        columns = {key: values.cpu().numpy().astype(np.float64) for key, values in rows.columns.items()}
        return Recipe(name, objective, 0.0, {0: columns})

    behind = Filtered(filter_named("pca-25", data.train), net)
    untrained = build("convnet", data.train.shape, data.train.classes)
    rows = SweepRows(
        [recipe("standard", net, "standard")],
        constant=0.1,
        dimension=data.train.images()[0].numel(),
        references=[recipe("pca-25", behind, "reference"), recipe("untrained", untrained, "reference")],
    )
    found = verdicts(rows)
    return {**found.recipes, **found.references}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pca-25", "untrained", "standard"])
def test_what_has_no_robust_training_is_on_manifold_under_no_estimator(
    name: str, judged: dict[str, RecipeVerdict]
) -> None:
    assert len(judged[name].manifold) == 2
    for estimator, under in judged[name].manifold.items():
        print(name, estimator or "mfa", under.status, {key: round(e.mean, 3) for key, e in under.controls.items()})
        assert not under.status.startswith("shown")
        assert under.missing == []
    assert not judged[name].on_manifold.startswith("shown")


@pytest.mark.slow
def test_the_network_behind_a_pca_filter_is_beaten_by_the_pca_control_alone(judged: dict[str, RecipeVerdict]) -> None:
    """The filter leaves the gradient in the first 25 components: more in the image's own space than in others'."""
    for under in judged["pca-25"].manifold.values():
        assert under.controls["pca"].high < -0.3
        assert under.controls["shuffled"].low > 0
