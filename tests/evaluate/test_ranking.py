"""What leaderboards order by: it tells robust networks from standard ones, and no fixed filter raises it to theirs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tangency
from data.full_data import ROOT, needs
from evaluate.ranking_networks import CONFIG, measured, networks
from measured_support import columns
from tangency.evaluate.ranking import directions, log_over_control, rank_value, ranked_parts, ranking, usable_parts
from tangency.evaluate.steps import step_warnings
from tangency.measures import MeasureConfig

HERE = Path(__file__).parent
Means = Mapping[str, float]
TANGENT_CONTROLS = ("shuffled", "shuffled_class", "dct", "pca")


def auc(networks: Mapping[str, tuple[bool, Means]], value: Callable[[Means], float]) -> float:
    """Share of pairs of a robust and another network in which the robust one has the larger value; ties are half."""
    robust = [value(means) for is_robust, means in networks.values() if is_robust]
    others = [value(means) for is_robust, means in networks.values() if not is_robust]
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in robust for b in others]))


def held(name: str) -> dict[str, tuple[bool, Means]]:
    """Networks of a file beside this one: whether each is trained to be robust, and the means of its measures."""
    content = json.loads((HERE / name).read_text(encoding="utf-8"))
    return {
        network: (entry["robust"], dict(zip(content["keys"], entry["values"], strict=True)))
        for network, entry in content["networks"].items()
    }


@needs("foreign-cifar10-measures.json")
def test_the_foreign_numbers_are_those_of_the_data_folder() -> None:
    whole = json.loads((ROOT / "foreign-cifar10-measures.json").read_text(encoding="utf-8"))["networks"]
    foreign = held("foreign_measures.json")
    assert foreign.keys() == whole.keys()
    for name, (robust, means) in foreign.items():
        assert robust == whole[name]["robust"]
        assert all(whole[name]["measures"][key] == value for key, value in means.items())


def minus_control(scalar: str, controls: tuple[str, ...] = TANGENT_CONTROLS) -> Callable[[Means], float]:
    """F² minus the largest of some of its controls, which earlier versions ranked by."""
    key = f"tangent_fraction.{scalar}"
    return lambda means: means[key] - max(means[f"{key}.{control}"] for control in controls)


def test_eleven_foreign_networks_are_told_apart_and_by_differences_they_are_not() -> None:
    foreign = held("foreign_measures.json")
    assert sum(robust for robust, _ in foreign.values()) == 7
    assert len(foreign) == 11
    assert auc(foreign, lambda means: rank_value(means, "logp_y")) >= 0.95
    assert auc(foreign, minus_control("logp_y")) < 0.9
    assert auc(foreign, minus_control("logp_y", ("shuffled",))) < 0.9


def test_the_rank_value_is_the_least_of_all_parts() -> None:
    for _, means in held("foreign_measures.json").values():
        values = []
        for key in ("tangent_fraction.logp_y", "tangent_fraction.logp_y.tangents=local-pca"):
            values += [math.log(means[key]) - math.log(means[f"{key}.{control}"]) for control in TANGENT_CONTROLS]
        assert rank_value(means, "logp_y") == pytest.approx(min(values), rel=1e-12)
    assert math.isnan(rank_value({"accuracy": 0.9}))


@pytest.mark.parametrize("missing", ["dct", "shuffled_class"])  # the first control in order, and one in the middle
def test_the_rank_value_is_that_of_the_controls_that_images_have(missing: str) -> None:
    means = {"tangent_fraction.margin": 0.2, "tangent_fraction.margin.shuffled": 0.4}
    means |= {f"tangent_fraction.margin.{control}": 0.3 for control in ("dct", "pca", "shuffled_class")}
    means[f"tangent_fraction.margin.{missing}"] = math.nan
    assert rank_value(means) == pytest.approx(math.log(0.5))


def test_log_over_control_has_a_floor() -> None:
    assert float(log_over_control(0.3, 0.1)) == pytest.approx(math.log(3))
    assert float(log_over_control(0.0, 0.1, floor=1e-4)) == pytest.approx(math.log(1e-3))
    assert float(log_over_control(0.0, 0.0, floor=1e-4)) == 0.0  # no tangent energy in either: no more than the control


def with_tangents(made: dict[str, np.ndarray], seed: int = 9) -> dict[str, np.ndarray]:
    """The same with a second estimator and a second direction."""
    rng, n = np.random.default_rng(seed), len(made["accuracy"])
    second = {"tangent_rank.tangents=local-pca": np.full(n, 4.0)}
    share = rng.uniform(0.2, 0.3, n)
    second["tangent_fraction.margin.tangents=local-pca"] = share
    for control, size in (("shuffled", 0.5), ("pca", 1.2), ("dct", 3.0)):
        second[f"tangent_fraction.margin.tangents=local-pca.{control}"] = share * size * rng.uniform(0.9, 1.1, n)
    key = "alignment_cosine.margin.network_bayes_gradient.sigma=0.5"
    second |= {key: 0.2 + 0.05 * rng.normal(size=n), f"{key}.shuffled": 0.05 * rng.normal(size=n)}
    second["tangent_overlap.tangents=local-pca.dct"] = np.full(n, 0.96)  # the image's own subspace: no control
    second["tangent_overlap.tangents=local-pca.pca"] = np.full(n, 0.5)
    return made | second


def test_a_ranking_is_that_of_the_slow_way() -> None:
    made = with_tangents(columns(3))
    made["tangent_fraction.margin.tangents=local-pca.pca"][:7] = np.nan
    parts = usable_parts(made)
    assert {part.tangents for part in parts} == {"", "local-pca"}
    assert "dct" not in {part.control for part in parts if part.tangents}  # overlaps with the own subspace
    assert "dct" in {part.control for part in ranked_parts(made) if part.tangents}
    found = ranking(made, 36, parts)
    assert found is not None
    slow = {}
    for part in parts:
        control = made[part.other] if part.control != "chance" else np.full(len(made["accuracy"]), 4 / 36)
        usable = np.isfinite(control)
        slow[part] = math.log(made[part.fraction][usable].mean() / control[usable].mean())
    worst = min(slow, key=lambda part: slow[part])
    assert worst.control == "pca"
    assert worst.tangents == "local-pca"
    assert found.worst.part == worst
    assert found.worst.estimate.mean == pytest.approx(slow[worst], rel=1e-12)
    assert found.worst.estimate.n == len(made["accuracy"]) - 7
    assert found.tangency["local-pca"].part == worst
    first = min(value for part, value in slow.items() if not part.tangents)
    assert found.tangency[""].estimate.mean == pytest.approx(first, rel=1e-12)
    assert len(directions(made)) == 2


def test_energy_at_chance_is_above_no_control() -> None:
    """The gradient of an untrained network: little in every subspace, and least in the controls."""
    made, rng = columns(1), np.random.default_rng(0)
    for key in made:
        if key.startswith("tangent_fraction"):
            made[key] = rng.uniform(0.9, 1.1, len(made[key])) * (0.10 if key.endswith("margin") else 0.08)
    found = ranking(made, 36, usable_parts(made))
    assert found is not None
    assert found.worst.part.control == "chance"
    assert found.worst.estimate.high < 0


def test_a_ranking_needs_every_part() -> None:
    whole, lacking = with_tangents(columns(1)), columns(1)
    assert ranking(lacking, 36, usable_parts(whole)) is None
    assert ranking(lacking, 36, usable_parts(lacking)) is not None
    assert ranking(lacking, 36, []) is None
    for control in ("shuffled", "shuffled_class", "pca"):
        del lacking[f"tangent_fraction.margin.{control}"]
    assert usable_parts(lacking) == []  # chance alone is no control
    assert directions({"alignment_cosine.margin.bayes_gradient.sigma=0.5"}) == []  # nor is there one without shuffled
    cosines = [f"alignment_cosine.margin.bayes_gradient.sigma={sigma}" for sigma in ("0.5", "0.125", "2", "0.25")]
    assert directions([*cosines, *(f"{key}.shuffled" for key in cosines)]) == [cosines[2]]


def test_the_interval_of_the_smallest_ratio_holds_the_truth() -> None:
    """Two controls of one true ratio, where a minimum inside the resamples would lie too low."""
    rng, n = np.random.default_rng(5), 150
    inside, naive = [], []
    for _ in range(300):
        shared = rng.uniform(0.7, 1.3, n)
        made = {"tangent_rank": np.full(n, 4.0), "tangent_fraction.margin": 0.3 * shared}
        for control in ("pca", "dct", "shuffled", "phase"):
            made[f"tangent_fraction.margin.{control}"] = 0.6 * rng.uniform(0.3, 1.7, n)
        found = ranking(made, 36, usable_parts(made), replicates=300)
        assert found is not None
        truth, estimate = math.log(0.3 / 0.6), found.worst.estimate
        inside.append(estimate.low <= truth <= estimate.high)
        picks = rng.integers(0, n, (300, n))
        means = {key: values[picks].mean(1) for key, values in made.items() if key.startswith("tangent_fraction")}
        own = means.pop("tangent_fraction.margin")
        low, high = np.quantile(np.min([np.log(own / other) for other in means.values()], axis=0), (0.025, 0.975))
        naive.append(low <= truth <= high)
    assert np.mean(inside) >= 0.93
    assert np.mean(naive) < np.mean(inside)


@pytest.mark.filterwarnings("ignore::tangency.TangencyWarning")
def test_logits_times_a_number_keep_the_rank_value() -> None:
    data = tangency.load_data("fashion-mnist-5k")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.Tanh(), nn.Linear(16, 10))

    class Times(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.net, self.factor = net, factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * self.net(x)

    config = MeasureConfig(sigmas=(0.5,), rho_sigmas=(), epsilons=(), directions=1, metrics=("cosine",))
    x, y, few = data.test.images()[:24], data.test.labels[:24], data.train.subset(slice(0, None, 9))
    values = []
    for factor in (1.0, 0.03, 0.1, 0.3, 3.0, 10.0, 30.0):
        rows = tangency.measure(Times(factor), x, y, train_data=few, config=config)
        values.append(rank_value(rows.mean()))
    assert math.isfinite(values[0])
    assert max(abs(value - values[0]) for value in values) <= 1e-6


def test_finite_steps_that_contradict_kappa_are_said_with_their_lengths() -> None:
    made, rng = with_tangents(columns(2)), np.random.default_rng(0)
    n = len(made["accuracy"])
    for eps, off in (("0.5", 0.1), ("1", 0.3), ("2", 0.3)):
        made[f"change_on.eps={eps}"] = rng.uniform(0.1, 0.2, n)
        made[f"change_off.eps={eps}"] = off * rng.uniform(0.9, 1.1, n)
    (said,) = step_warnings(made, 36)  # F² is .3 of 4 of 36 dimensions: κ < 1
    assert "at ε = 1, 2;" in said
    assert "below 1, and yet steps off the manifold move the softmax more" in said
    for eps in ("1", "2"):
        made[f"change_off.eps={eps}"] = 0.1 * rng.uniform(0.9, 1.1, n)
    assert step_warnings(made, 36) == []
    made["tangent_fraction.margin"] = np.full(n, 0.01) * rng.uniform(0.9, 1.1, n)  # κ > 1
    (said,) = step_warnings(made, 36)
    assert "above 1, and yet steps on the manifold move the softmax more than steps off it at ε = 0.5, 1, 2" in said
    assert step_warnings({"accuracy": np.ones(3)}, 36) == []


def check_trained(trained: Mapping[str, tuple[bool, Means]]) -> None:
    """Twelve networks, six of them robust, and the others behind fixed filters, which count as standard."""
    assert sum(robust for robust, _ in trained.values()) == 6
    assert sum(not robust and "+" not in name for name, (robust, _) in trained.items()) == 6
    assert sum("+" in name for name in trained) == 6 * 12
    assert auc(trained, rank_value) >= 0.95
    gains: dict[str, list[float]] = {"tangency": [], "alignment": []}
    for name, (_, means) in trained.items():
        network, behind, _ = name.partition("+")
        if behind:
            gains["tangency"].append(rank_value(means) - rank_value(trained[network][1]))
            gains["alignment"].append(aligned(means) - aligned(trained[network][1]))
    assert max(gains["tangency"]) <= 0.06  # no filter raises it by more than that
    assert max(gains["alignment"]) >= 0.03  # alignment alone can be had by a filter,
    assert auc(trained, aligned) < 0.9  # and so does not order


def aligned(means: Means) -> float:
    """Cosine minus shuffled, the worse of two directions."""
    return min(means[key] - means[f"{key}.shuffled"] for key in directions(means))


def test_twelve_trained_networks_are_told_apart_with_filtered_ones_as_standard() -> None:
    check_trained(held("ranking_measures.json"))


@pytest.mark.slow
def test_twelve_networks_that_are_trained_anew_are_told_apart(tmp_path: Path) -> None:
    rows = measured(networks(tmp_path), 500)
    check_trained({name: ("standard" not in name, own.mean()) for name, own in rows.items()})


def test_the_measured_networks_have_two_directions_and_two_estimators() -> None:
    assert CONFIG.network_targets == ("network_bayes_gradient",)
    for _, means in held("ranking_measures.json").values():
        assert {part.tangents for part in ranked_parts(means)} == {"", "local-pca"}
        assert len(directions(means)) == 2
