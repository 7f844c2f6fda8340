"""Rows to summary, on made-up rows: baselines, guessing, seeds, chance levels, strict JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import digamma

from study_support import tiny_spec, write_data
from tangency.data import load
from tangency.evaluate.numbers import trial_numbers
from tangency.statistics import PairedBootstrap
from tangency.study import parse_spec
from tangency.study.plan import plan_trials
from tangency.study.summary.summarise import summarise

pytestmark = pytest.mark.processes  # Python asks `uname` for the platform that a summary names, once in a process

N, D = 60, 64
MAIN = "margin.bayes_gradient.sigma=0.5"


def columns(accuracy: float = 0.9, fraction: float = 0.2, cosine: float = 0.3, noise: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(noise)
    f = fraction * rng.uniform(0.8, 1.2, N)
    made = {
        "accuracy": (np.arange(N) < accuracy * N).astype(float),
        "tangent_rank": np.full(N, 3.0),
        "tangent_fraction.margin": f,
        "change_on.eps=2": rng.uniform(0.1, 0.2, N),
        f"alignment_cosine.{MAIN}": cosine + 0.01 * rng.normal(size=N),
        f"alignment_cosine.{MAIN}.shuffled": 0.01 * rng.normal(size=N),
    }
    return made | {f"tangent_fraction.margin.{c}": 0.5 * f for c in ("shuffled", "shuffled_class", "dct", "pca")}


def summary(folder: Path, made: dict[str, dict[str, np.ndarray]], **changes: object) -> dict:
    """The summary of a study whose rows are `made`, by the start of a trial's name."""
    spec = parse_spec(tiny_spec(write_data(folder), **changes), "test")
    data = load(spec.data)
    planned = plan_trials(spec, data)
    rows = {t.id: next((made[start] for start in made if t.id.startswith(start)), columns()) for t in planned}
    outcomes = {t.id: {"outcome": "ok", "seconds": 0.0, "epochs": 1} for t in planned}
    found = summarise(spec, data, planned, outcomes, rows, {})
    return json.loads(json.dumps(found, allow_nan=False))


def test_a_collapsed_standard_trial_is_no_baseline(tmp_path: Path) -> None:
    found = summary(tmp_path, {"standard": columns(accuracy=0.1)})
    by_name = {t["objective"]: t for t in found["trials"]}
    assert by_name["standard"]["outcome"] == "collapsed"
    assert by_name["gradient_norm"]["outcome"] == "ok"
    assert by_name["gradient_norm"]["regime"] is None
    assert found["headline"] is None


def test_always_answering_the_largest_class_is_a_collapse(tmp_path: Path) -> None:
    labels = load(f"npz:{write_data(tmp_path)}").test.labels
    share = float((labels.bincount().max() / len(labels)).item())
    assert share > 1 / 3 + 0.05
    found = summary(tmp_path, {"gradient_norm": columns(accuracy=share)})
    assert {t["objective"]: t["outcome"] for t in found["trials"]}["gradient_norm"] == "collapsed"


def test_seeds_of_one_strength_count_once_in_correlations(tmp_path: Path) -> None:
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.1, 0.2, 0.3]}]
    made = {
        f"gradient_norm-0.{i}-s{seed}": columns(fraction=0.2 + 0.1 * i, cosine=0.3 + 0.1 * i, noise=10 * i + seed)
        for i in (1, 2, 3)
        for seed in range(5)
    }
    found = summary(tmp_path, made, sweep=sweep, seeds=list(range(5)))
    (entry,) = found["correlations"]
    assert entry["raw"]["n"] == 4
    assert entry["raw"]["rho"] == pytest.approx(-1)
    assert entry["raw"]["p"] > 0.05  # 2 of the 24 orders of four are as extreme


def test_extreme_gradients_leave_strict_json_with_right_counts(tmp_path: Path) -> None:
    with np.errstate(divide="ignore"):
        off = columns() | {"tangent_fraction.margin": np.zeros(N), "log_kappa.margin": np.full(N, np.inf)}
    found = summary(tmp_path, {"gradient_norm": off})
    trial = {t["objective"]: t for t in found["trials"]}["gradient_norm"]
    for key in ("kappa.margin", "log_kappa.margin"):
        entry = trial["measures"][key]
        assert (entry["mean"], entry["n"], entry["degenerate"]) == (None, 0, N), key
    assert trial["measures"]["tangent_fraction.margin"]["n"] == N
    assert trial["regime"] == "undetermined"


def test_chance_of_log_kappa_is_the_mean_over_ranks() -> None:
    ranks = np.repeat([2.0, 22.0, 0.0], N // 3)
    made = columns() | {"tangent_rank": ranks, "log_kappa.margin": np.where(ranks > 0, 0.0, np.nan)}
    chance = trial_numbers(made, PairedBootstrap(N, 20), D, 3).chance["log_kappa.margin"]
    each = [digamma((D - k) / 2) - digamma(k / 2) + np.log(k / (D - k)) for k in (2, 22)]
    assert chance == pytest.approx(np.mean(each))


def test_images_that_answer_to_the_signal_alone_count_in_the_relative_noise() -> None:
    """The most robust images have no change under noise on the distractor; leaving them out would favour the others."""
    columns = {
        "accuracy": np.ones(4),
        "tangent_rank": np.full(4, 2.0),
        "noise_signal.sigma=0.5": np.array([0.4, 0.2, 0.6, 0.0]),
        "noise_distractor.sigma=0.5": np.array([0.0, 0.1, 0.2, 0.0]),
    }
    found = trial_numbers(columns, PairedBootstrap(4, 200), 8, 2).estimates["relative_noise.sigma=0.5"]
    assert found.mean == pytest.approx(1.2 / 0.3)
    assert (found.n, found.degenerate) == (3, 1)
