"""The rows of the reproduction by plain arithmetic: nothing here is of the package."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import t as student

ROWS = Path(__file__).parents[1] / "reproduction" / "rows"
DIRECTIONS = {
    "mixture": "alignment_cosine.margin.bayes_gradient.sigma=0.5",
    "trained score": "alignment_cosine.margin.network_bayes_gradient.sigma=0.5",
}
CONTROLS = ("shuffled", "shuffled_class", "dct", "pca", "phase")
Values = np.ndarray


class Sweep:
    """The rows of a study as arrays (S, N), read without the package."""

    def __init__(self, name: str) -> None:
        self.frame = pl.read_parquet(ROWS / f"{name}.parquet").with_columns(pl.col("trial").cast(pl.String))
        self.about = json.loads((ROWS / f"{name}.json").read_text(encoding="utf-8"))

    def values(self, recipe: str, column: str) -> Values:
        own = next(each for each in self.about["recipes"] if each["id"] == recipe)
        trials = [self.frame.filter(pl.col("trial") == f"{recipe}-s{seed}") for seed in own["seeds"]]
        return np.stack([each.sort("image")[column].cast(pl.Float64).to_numpy() for each in trials])

    def recipe(self, objective: str, strength: float) -> str:
        return next(
            own["id"] for own in self.about["recipes"] if (own["objective"], own["strength"]) == (objective, strength)
        )

    def strengths(self, objective: str) -> list[float]:
        return sorted(own["strength"] for own in self.about["recipes"] if own["objective"] == objective)

    def alignment(self, recipe: str, direction: str) -> Values:
        column = DIRECTIONS[direction]
        return self.values(recipe, column) - self.values(recipe, f"{column}.shuffled")

    def ratios(self, recipe: str, estimator: str) -> dict[str, Values]:
        """Control to log F² − log control, linear in each image, (S, N), for controls that are other spaces."""
        end = f".tangents={estimator}" if estimator else ""
        own = logarithm(self.values(recipe, f"tangent_fraction.margin{end}"))
        made = {"chance": own - logarithm(self.values(recipe, f"tangent_rank{end}") / self.about["dimension"])}
        for control in CONTROLS:
            overlap = f"tangent_overlap{end}.{control}"
            if overlap in self.frame.columns and np.nanmean(self.values(recipe, overlap)) >= 0.95:
                continue
            made[control] = own - logarithm(self.values(recipe, f"tangent_fraction.margin{end}.{control}"))
        return made


def logarithm(values: Values) -> Values:
    """log of each network's mean, spread over its images by the derivative."""
    means = values.mean(-1, keepdims=True)
    return np.log(means) + values / means - 1


def worst(ratios: dict[str, Values], level: float) -> tuple[str, list[float]]:
    """The control whose lower end is least; the least mean, lower end, and upper end at a level for their number."""
    lows = {control: ends(own, level)[0] for control, own in ratios.items()}
    highs = [ends(own, 1 - (1 - level) / len(ratios))[1] for own in ratios.values()]
    name = min(lows, key=lambda control: lows[control])
    return name, [min(own.mean() for own in ratios.values()), lows[name], min(highs)]


def ends(values: Values, level: float) -> tuple[float, float]:
    """Mean ∓ √(t² MS_net/(SN) + h∓² max(0, s²_image/N − MSE/(SN))); h by bisection of Hall's cubic in the skewness."""
    networks, images = values.shape
    shared = (values - values.mean(1, keepdims=True)).mean(0)
    network, image = 0.0, shared.var(ddof=1) / images
    if networks > 1:
        network = student.ppf((1 + level) / 2, networks - 1) ** 2 * values.mean(1).var(ddof=1) / networks
        rest = values - values.mean(1, keepdims=True) - shared
        error = (rest**2).sum() / ((networks - 1) * (images - 1))
        image = max(0.0, image - error / (networks * images))
    spread = shared.std()
    a = ((shared / spread) ** 3).mean() / 6 / math.sqrt(images) if spread > 0 else 0.0

    def solved(t: float) -> float:
        low, high = -9.0, 9.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if middle + a + 2 * a * middle**2 + 4 / 3 * a**2 * middle**3 < t else (low, middle)
            )
        return low

    t = student.ppf((1 + level) / 2, images - 1)
    below, above = (math.sqrt(network + h**2 * image) for h in (solved(t), solved(-t)))
    return values.mean() - below, values.mean() + above


def agrees(own: dict[str, Any], values: Values, level: float = 0.95) -> None:
    """Mean and both ends to the rounding of six digits."""
    low, high = ends(values, level)
    assert [own["mean"], own["low"], own["high"]] == pytest.approx([values.mean(), low, high], rel=1e-4, abs=1e-6)


def ranks(values: Values) -> Values:
    """Average ranks."""
    return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])


def partial(x: Values, y: Values, others: list[Values]) -> float:
    """Correlation of the residuals of ranks."""
    design = np.stack([np.ones(len(x)), *(ranks(own) for own in others)], 1)
    left = [ranks(own) - design @ np.linalg.lstsq(design, ranks(own), rcond=None)[0] for own in (x, y)]
    return float((left[0] * left[1]).sum() / math.sqrt((left[0] ** 2).sum() * (left[1] ** 2).sum()))


def by_network(sweep: Sweep, column: str, control: str = "") -> Values:
    """(S, m) over all trained recipes: mean cosine, median radius, accuracy, or ln κ of a subspace."""
    trained = [own["id"] for own in sweep.about["recipes"] if not own["id"].startswith("filtered")]
    if column == "radius":
        return np.median(np.stack([sweep.values(name, column) for name in trained]), 2).T
    if column != "ln κ":
        return np.stack([sweep.values(name, column).mean(1) for name in trained]).T
    end, made = f".{control}" if control else "", []
    for name in trained:
        rank, f2 = sweep.values(name, "tangent_rank").sum(1), sweep.values(name, f"tangent_fraction.margin{end}")
        off, dims = (1 - f2).sum(1), f2.shape[1] * sweep.about["dimension"] - rank
        made.append(np.log(off / dims) - np.log(f2.sum(1) / rank))
    return np.stack(made).T
