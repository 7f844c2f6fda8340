"""Filtered standard networks in a study: their identity, the choice of their filter, their classifier and rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from study_support import tiny_spec, write_data
from tangency.autodiff import input_gradient
from tangency.data import load
from tangency.data.partners import Partners
from tangency.errors import ModelError
from tangency.evaluate.filters import Filtered, filter_named
from tangency.measures import measure
from tangency.mixtures import load_mixture
from tangency.numerics import cosine
from tangency.score import MixtureScore
from tangency.study import load_run, parse_spec, run_study, study_status
from tangency.study.plan import FILTERED, plan_longer, plan_trials
from tangency.tangents import MixtureTangents

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """Spec content and run directory of a finished study with two seeds."""
    folder = tmp_path_factory.mktemp("filtered")
    content = tiny_spec(write_data(folder), seeds=[0, 1], train={"epochs": 6, "batch_size": 40})
    run_study(parse_spec(content, "test"), folder / "run")
    return content, folder / "run"


def outcome(run: Path, name: str) -> dict:
    paths = [path for path in run.glob("trials/*/trial.json") if json.loads(path.read_text())["id"] == name]
    assert len(paths) == 1
    return json.loads(paths[0].read_text())


def test_which_studies_have_them(study: tuple[dict, Path]) -> None:
    content, _ = study
    data = load(content["data"])

    def names(**changes: object) -> list[str]:
        trials = plan_trials(parse_spec(content | changes, "test"), data)
        return [trial.id for trial in trials if trial.name in FILTERED.values()]

    assert names() == ["filtered-s0", "filtered-s1"]
    both = {"network_score": "edm-fashion-mnist", "measures": content["measures"] | {"alignments": None}}
    scalar = parse_spec(content, "test").measures.alignments[0][0]
    both["measures"]["alignments"] = [[scalar, "bayes_gradient"], [scalar, "network_bayes_gradient"]]
    assert names(**both)[:2] == ["filtered-s0", "filtered_network-s0"]
    assert names(rule="kappa") == []
    assert names(sweep=[{"objective": "gradient_norm", "strengths": [0.1]}]) == []
    assert names(score={"kind": "none"}, tangents=["local-pca"]) == []


def test_their_identity_follows_weights_score_and_filters(
    study: tuple[dict, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, _ = study
    data = load(content["data"])

    def hashes(**changes: object) -> tuple[str, str]:
        trials = {trial.id: trial for trial in plan_trials(parse_spec(content | changes, "test"), data)}
        return trials["filtered-s0"].train_hash, trials["filtered-s0"].measure_hash

    base = hashes()
    for changes in (
        {"train": {"epochs": 7, "batch_size": 40}},
        {"score": {"components": 1, "rank": 2}},
        {"measures": content["measures"] | {"sigmas": [0.25]}},
        {"weights": "best"},
    ):
        own = hashes(**changes)
        assert own[0] != base[0], changes
        assert own[1] != base[1], changes
    measured = hashes(measures=content["measures"] | {"directions": 2})
    assert measured[0] == base[0]
    assert measured[1] != base[1]
    assert hashes(sweep=[*content["sweep"], {"objective": "pgd_l2", "strengths": [1.0]}]) == base
    monkeypatch.setattr("tangency.study.plan.FILTERS_SCHEMA", 999)
    assert hashes()[0] != base[0]


def test_their_identity_follows_the_working_size_under_each_direction(study: tuple[dict, Path]) -> None:
    content, _ = study
    data = load(content["data"])
    scalar = parse_spec(content, "test").measures.alignments[0][0]
    alignments = [[scalar, "bayes_gradient"], [scalar, "network_bayes_gradient"]]

    def hashes(**changes: object) -> dict[str, str]:
        measures = content["measures"] | {"alignments": alignments} | changes
        spec = parse_spec(content | {"network_score": "edm-fashion-mnist", "measures": measures}, "test")
        trials = plan_trials(spec, data, "network")
        return {trial.name: trial.train_hash for trial in trials if trial.name in FILTERED.values()}

    base, small = hashes(), hashes(working_size=4)
    assert set(base) == set(small) == {"filtered", "filtered_network"}
    assert all(small[name] != base[name] for name in base)
    assert hashes(working_size="own") == base


def test_the_filter_is_the_best_on_training_images_by_a_slow_look(study: tuple[dict, Path]) -> None:
    content, run = study
    data, saved = load(content["data"]), load_run(run)
    mixture = load_mixture(next((run / "artefacts").glob("score-*.safetensors")))[0]
    x, y = data.train.images(), data.train.labels  # 120, fewer than the search takes at most
    b = MixtureScore(mixture).bayes_direction(x, y, 0.5).direction
    partner, _ = Partners(data.train, 0).any(torch.arange(len(x)))
    for seed in (0, 1):
        ended, net = outcome(run, f"filtered-s{seed}"), saved.classifier(f"standard-0-s{seed}")
        levels = {}
        for candidate in ended["candidates"]:
            g = input_gradient(Filtered(filter_named(candidate["name"], data.train), net), x, y, "margin").direction
            level = float((cosine(g, b) - cosine(g, b[partner])).double().nanmean())
            assert candidate["alignment"]["bayes_gradient"] == pytest.approx(level, abs=1e-4)
            levels[candidate["name"]] = level
        assert len(levels) >= 10
        assert levels[ended["filter"]] == pytest.approx(max(levels.values()), abs=1e-4)
        assert ended["chosen_on"]["images"] == 120
        assert ended["chosen_on"]["digest"] == data.train.digest


def test_rows_are_those_of_the_network_behind_its_filter(study: tuple[dict, Path]) -> None:
    content, run = study
    data, saved = load(content["data"]), load_run(run)
    rows = saved.rows.filter(trial="filtered-s1").sort("image")
    ids = torch.tensor(rows["image"].to_list())
    mixture = load_mixture(next((run / "artefacts").glob("score-*.safetensors")))[0]
    name = outcome(run, "filtered-s1")["filter"]
    alone = measure(
        Filtered(filter_named(name, data.train), saved.classifier("standard-0-s1")),
        data.test.images(ids),
        data.test.labels[ids],
        train_data=data.train,
        score=MixtureScore(mixture),
        tangents=MixtureTangents(mixture),
        config=saved.spec.measures,
        pool=data.test,
        ids=ids,
    ).frame()
    for column in alone.columns[3:]:
        np.testing.assert_allclose(
            alone[column].to_numpy(), rows[column].to_numpy(), rtol=1e-4, atol=1e-5, err_msg=column
        )


def test_a_filtered_network_has_no_weights_of_its_own_and_says_what_it_is(study: tuple[dict, Path]) -> None:
    content, run = study
    name = outcome(run, "filtered-s0")["filter"].replace("^", r"\^")
    with pytest.raises(ModelError, match=f"standard network of seed 0 behind the fixed filter {name}"):
        load_run(run).classifier("filtered-s0")
    assert study_status(parse_spec(content, "test"), run).trials["filtered-s0"] == "measured"


@pytest.mark.slow
def test_a_diverged_standard_network_is_not_filtered(tmp_path: Path) -> None:
    content = tiny_spec(
        write_data(tmp_path), sweep=[{"objective": "standard"}], train={"epochs": 1, "learning_rate": 1e30}
    )
    summary = run_study(parse_spec(content, "test"), tmp_path / "run")
    ended = {trial["id"]: trial["outcome"] for trial in summary["trials"]}
    assert ended == {"untrained-s0": "ok", "standard-0-s0": "diverged", "filtered-s0": "diverged"}


def test_longer_trials_are_the_networks_of_twice_the_epochs(study: tuple[dict, Path]) -> None:
    content, _ = study
    data = load(content["data"])
    longer = plan_longer(parse_spec(content, "test"), data)
    twice = plan_trials(parse_spec(content | {"train": {"epochs": 12, "batch_size": 40}}, "test"), data)
    assert [trial.id for trial in longer[:2]] == ["standard-0-long-s0", "gradient_norm-0.1-long-s0"]
    assert {trial.train_hash for trial in longer} == {t.train_hash for t in twice if t.objective is not None}
