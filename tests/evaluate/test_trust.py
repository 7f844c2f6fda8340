"""The examination of a score: right verdicts for right and wrong scores, and its place in a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars
import pytest
import torch
import yaml
from torch import Tensor

from study_support import tiny_spec, write_data
from tangency.errors import ModelError, NumericsError, RunError, SpecError
from tangency.evaluate import MeasureRequest, measure_models
from tangency.evaluate.trust.config import TrustConfig
from tangency.evaluate.trust.results import Identities, NoiseLevel
from tangency.evaluate.trust.score import Trust, evaluate_score
from tangency.evaluate.trust.verdict import verdict
from tangency.report import write_report
from tangency.score import FunctionScore, ScoreCard, build_network, load_score, save_score
from tangency.statistics import Estimate
from tangency.study import parse_spec, run_study
from tangency.types import Dataset
from tangency.worlds import World, load_dataset

REFERENCE = "world:linear?rank=4&classes=3&separation=4&shape=1x8x8&noise=0.001&train=600&test=1000"
QUICK = TrustConfig(sigmas=(0.1, 0.25), images=300, probed=60, probes=2, samples=12, steps=6, replicates=300)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset(REFERENCE)


def spoilt(data: Dataset, change: Any) -> FunctionScore:
    world = load_score("exact", data)
    return FunctionScore(
        lambda u, levels, y: change(world.denoise(u, float(levels[0]), y), u),
        world.shape,
        world.classes,
        data_range=(0.0, 1.0),
        kind="spoilt",
    )


@pytest.fixture(scope="module")
def exact(data: Dataset) -> Trust:
    return evaluate_score(load_score("exact", data), data, QUICK)


def test_the_exact_score_beats_every_closed_form_and_keeps_every_identity(exact: Trust) -> None:
    found = exact.summary["verdict"]
    assert found["better_at"] == [0.1, 0.25]
    assert found["doubts"] == 0, found["words"]
    assert "at all σ from 0.1 to 0.25" in found["words"]
    for level in exact.summary["noise_levels"]:
        assert level["mse"]["low"] < level["mse"]["mean"] < level["mse"]["high"] < level["identity"]
        assert set(level["baselines"]) == {"gaussian", "empirical", "mfa"}
        assert all(level["mse"]["mean"] < other["mean"] for other in level["baselines"].values())
        assert level["mse_given_class"]["mean"] <= level["mse"]["mean"] * 1.01
        assert level["identities"]["sure_minus_error"]["low"] < 0 < level["identities"]["sure_minus_error"]["high"]
        assert level["bayes_gradient"]["signal_to_noise"] is None  # not a difference
    json.dumps(exact.summary, allow_nan=False)


def test_pictures_and_samples(exact: Trust) -> None:
    assert exact.pictures["samples"].shape == exact.pictures["neighbours"].shape == (12, 1, 8, 8)
    assert exact.pictures["noisy.0.25"].shape == exact.pictures["clean"].shape == (6, 1, 8, 8)
    assert exact.summary["samples"]["copies"]["share"] < 0.5
    assert exact.summary["samples"]["kid"] is None


def test_a_wrong_score_is_found_out(data: Dataset) -> None:
    wrong = evaluate_score(spoilt(data, lambda answer, u: u + 2 * (answer - u)), data, QUICK).summary
    assert wrong["verdict"]["better_at"] == []
    assert wrong["verdict"]["doubts"] > 0
    assert "sign, range or scale" in wrong["verdict"]["words"]
    assert wrong["noise_levels"][0]["identities"]["stein"]["mean"] == pytest.approx(2.0, abs=0.3)
    turned = evaluate_score(spoilt(data, lambda answer, u: answer.transpose(2, 3)), data, QUICK).summary
    assert "not quite a gradient's" in turned["verdict"]["words"]


def test_against_the_truth_of_a_world(data: Dataset) -> None:
    found = evaluate_score(spoilt(data, lambda answer, u: u + 1.1 * (answer - u)), data, QUICK).summary
    for level in found["noise_levels"]:
        assert level["score_error"]["noisy"]["mean"] == pytest.approx(0.1, rel=1e-3)
        assert level["score_error"]["clean"]["mean"] == pytest.approx(0.1, rel=1e-3)
        assert level["baselines"]["exact"]["mean"] < level["mse"]["mean"]
    last = found["noise_levels"][-1]["bayes_gradient"]
    assert last["cosine_noisy"]["mean"] > 0.99
    assert last["signal_to_noise"] > 1e3


def test_a_score_that_copies_is_found_out(data: Dataset) -> None:
    config = TrustConfig(sigmas=(0.1,), images=50, probed=20, probes=1, samples=30, replicates=100, baselines=())
    found = evaluate_score(load_score("empirical", data), data, config).summary
    assert found["samples"]["copies"]["share"] > 0.5
    assert "It copies" in found["verdict"]["words"]
    assert "compared with nothing" in found["verdict"]["words"]


@pytest.mark.slow
def test_kid_of_exact_samples_is_that_of_training_images(data: Dataset) -> None:
    config = TrustConfig(sigmas=(0.1,), images=10, probed=5, probes=1, samples=1000, steps=40, baselines=())
    large = load_dataset(REFERENCE.replace("train=600", "train=1000"))
    found = evaluate_score(load_score("exact", large), large, config).summary["samples"]["kid"]
    assert found["features"] == "alexnet-lpips"
    assert abs(found["value"] - found["training_images"]["value"]) < 5 * found["standard_error"]


def test_the_verdict_names_where_a_score_is_better() -> None:
    def level(sigma: float, better: list[str], worse: list[str], **wrong: float) -> NoiseLevel:
        one, half, low = (Estimate(mean, mean, mean, 100) for mean in (1.0, 0.5, 0.01))
        values: dict[str, Any] = {"mean_score_comparisons": 12, "score_image_comparisons": 144, "asymmetry": low}
        values |= dict.fromkeys(("stein_z", "mean_score_z", "score_image_z", "sure_z"), 1.0) | wrong
        values |= dict.fromkeys(("sure", "sure_minus_error", "dimension"), half)
        gain = {"a": half, "b": half}
        return NoiseLevel(
            sigma, half, None, sigma**2, {}, gain, better, worse, None, Identities(stein=one, **values), None, None
        )

    levels = [level(0.1, ["a"], []), level(0.2, ["a", "b"], [])]
    found = verdict(levels, 100, None, False)
    assert found.better_at == [0.2]
    assert "(a, b) at σ = 0.2; elsewhere the difference is within the error." in found.words
    assert "No identity of a true score is seen to fail." in found.words
    levels = [level(0.1, ["a"], ["b"]), level(0.2, [], [])]
    assert "At no σ is it shown" in verdict(levels, 100, None, False).words
    assert "above that of others at σ = 0.1: b" in verdict(levels, 100, None, False).words
    wrong: dict[str, float] = {}
    for z, words in (("score_image_z", "E[s xᵀ] is not −I"), ("sure_z", "SURE is not"), ("mean_score_z", "not zero")):
        wrong[z] = 6.0
        levels[0] = level(0.1, ["a"], ["b"], **wrong)
        assert words in verdict(levels, 100, None, False).words
    few = verdict(levels, 20, None, False)
    assert "cannot be checked" in few.words
    assert few.doubts == 0


@pytest.mark.slow
def test_exact_scores_are_not_doubted() -> None:
    """False alarms: one in a thousand for each identity, over all noise levels."""
    doubts = 0
    for world in ("linear?rank=3&classes=2&shape=1x4x4", "torus?rank=2&shape=1x4x4"):
        drawn = load_dataset(f"world:{world}&train=300&test=400")
        for seed in range(8):
            config = TrustConfig(sigmas=(0.05, 0.25, 1.0), probed=100, probes=1, samples=0, baselines=(), seed=seed)
            doubts += evaluate_score(load_score("exact", drawn), drawn, config).summary["verdict"]["doubts"]
    assert doubts <= 1


def test_answers_that_are_not_numbers_are_an_error(data: Dataset) -> None:
    with pytest.raises(NumericsError, match="NaN or infinite for images"):
        evaluate_score(spoilt(data, lambda answer, u: answer * float("nan")), data, QUICK)


def test_a_baseline_that_cannot_be_fitted_is_named(data: Dataset) -> None:
    few = Dataset("few", data.train.subset(slice(0, 12)), data.test.subset(slice(0, 60)))
    found = evaluate_score(spoilt(data, lambda answer, u: answer), few, QUICK).summary
    assert set(found["unavailable"]) == {"mfa"}
    assert set(found["noise_levels"][0]["baselines"]) == {"gaussian", "empirical"}


def test_a_score_that_wants_labels_is_examined_with_them(data: Dataset) -> None:
    world = load_score("exact", data)

    def denoiser(u: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        assert y is not None
        return world.denoise(u, float(levels[0]), y)

    given = FunctionScore(denoiser, world.shape, 3, data_range=(0.0, 1.0), unconditional=False)
    found = evaluate_score(given, data, QUICK).summary
    assert found["verdict"]["doubts"] == 0
    assert "given the true labels" in found["verdict"]["words"]
    assert found["noise_levels"][0]["bayes_gradient"] is None
    assert found["noise_levels"][0]["mse"] == found["noise_levels"][0]["mse_given_class"]


def test_a_class_gradient_that_is_below_rounding_is_not_called_error(data: Dataset) -> None:
    ignoring = FunctionScore(lambda u, levels, y: 0.5 * u, (1, 8, 8), classes=3, data_range=(0.0, 1.0))
    level = evaluate_score(ignoring, data, QUICK).summary["noise_levels"][0]
    assert level["bayes_gradient"]["resolved"] == 0
    assert level["bayes_gradient"]["signal_to_noise"] is None


@pytest.mark.parametrize(
    "settings",
    [{"sigmas": ()}, {"sigmas": (0.2, 0.1)}, {"sigmas": (0.0,)}, {"images": 1}, {"probes": 0}, {"baselines": ("gan",)}],
)
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="got"):
        TrustConfig(**settings)


def test_one_test_image_is_too_few(data: Dataset) -> None:
    lone = Dataset("lone", data.train, data.test.subset(slice(0, 1)))
    with pytest.raises(RunError, match="at least 2"):
        evaluate_score(load_score("gaussian", lone), lone, QUICK)


def network(path: Path, classes: tuple[str, ...]) -> str:
    options = {"channels": 1, "classes": len(classes), "size": "tiny"}
    save_score(build_network(ScoreCard("unet", "edm", (1, 8, 8), options, classes=classes)), path)
    return str(path)


PAIRS = [["margin", "bayes_gradient"], ["sum_logits", "network_score"], ["margin", "network_bayes_gradient"]]


def with_network(folder: Path, classes: tuple[str, ...] = ("0", "1", "2"), **changes: Any) -> dict[str, Any]:
    spec = tiny_spec(write_data(folder), network_score=network(folder / "net.safetensors", classes), **changes)
    spec["measures"]["alignments"] = PAIRS
    return spec


@pytest.mark.processes
def test_a_study_compares_with_a_trained_score_and_shows_how_good_it_is(tmp_path: Path) -> None:
    spec = parse_spec(with_network(tmp_path), "test")
    summary = run_study(spec, tmp_path / "run")
    told = summary["score"]["network"]
    assert told["verdict"]["words"]
    trial = next(t for t in summary["trials"] if t["objective"] == "standard")
    measures = trial["measures"]
    pairs = ("sum_logits.network_score", "margin.network_bayes_gradient")
    for key in (f"alignment_cosine.{pair}.sigma=0.5" for pair in pairs):
        assert measures[key]["n"] == 12
        assert measures[f"{key}.shuffled"]["n"] == 12
    assert measures["direction_agreement.sigma=0.5"]["n"] == 12
    page = write_report(tmp_path / "run").read_text()
    assert 'id="network"' in page
    assert told["verdict"]["words"] in page.replace("&#39;", "'")
    again = run_study(spec, tmp_path / "run")
    assert again["score"] == summary["score"]
    single = measure_models(MeasureRequest((f"run:{tmp_path / 'run'}/trials/{trial['id']}",), limit=12))[0]
    found = single.measures["alignment_cosine.sum_logits.network_score.sigma=0.5"].mean
    assert found == pytest.approx(measures["alignment_cosine.sum_logits.network_score.sigma=0.5"]["mean"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.processes
def test_another_network_measures_anew_and_trains_nothing(tmp_path: Path) -> None:
    spec = parse_spec(with_network(tmp_path), "test")
    run_study(spec, tmp_path / "run")
    weights = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("model.safetensors")}
    rows = polars.read_parquet(tmp_path / "run" / "rows.parquet")
    options = {"channels": 1, "classes": 3, "size": "tiny"}
    card = ScoreCard("unet", "edm", (1, 8, 8), options, classes=("0", "1", "2"))
    save_score(build_network(card, seed=5), tmp_path / "net.safetensors")
    run_study(spec, tmp_path / "run")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("model.safetensors")} == weights
    new = polars.read_parquet(tmp_path / "run" / "rows.parquet")
    changed = [name for name in rows.columns if "network" in name or name.startswith("direction_agreement")]
    rows, new = (each.filter(~polars.col("trial").str.starts_with("filtered_network")) for each in (rows, new))
    assert rows.drop(changed).equals(new.drop(changed))
    assert not rows.select(changed).equals(new.select(changed))


@pytest.mark.processes
@pytest.mark.parametrize(
    ("changes", "classes", "error", "message"),
    [
        ({"network_score": ""}, ("0", "1", "2"), SpecError, "need a trained score"),
        ({"network_score": "mfa"}, ("0", "1", "2"), SpecError, "closed form"),
        ({"network_score": "nowhere.safetensors"}, ("0", "1", "2"), ModelError, "nowhere"),
        ({}, ("0", "1"), ModelError, "knows 2 classes"),
        ({}, (), ModelError, "takes no labels"),
    ],
)
def test_a_trained_score_that_does_not_fit_is_refused_early(
    tmp_path: Path, changes: dict[str, Any], classes: tuple[str, ...], error: type[Exception], message: str
) -> None:
    spec = with_network(tmp_path, classes) | changes
    with pytest.raises(error, match=message):
        run_study(parse_spec(spec, "test"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_targets_that_nobody_gives_and_scores_that_nobody_asks() -> None:
    spec = tiny_spec(Path("data.npz"), network_score="net.safetensors")
    with pytest.raises(SpecError, match="no alignment uses it"):
        parse_spec(spec, "test")
    spec["measures"] |= {"alignments": PAIRS, "sigmas": [0.0, 0.5]}
    with pytest.raises(SpecError, match="knows noisy images only"):
        parse_spec(yaml.safe_load(yaml.safe_dump(spec)), "test")


def test_a_world_is_a_score_whose_gradients_need_no_network(data: Dataset) -> None:
    world = load_score("exact", data)
    assert isinstance(world, World)
    assert isinstance(world.denoise(data.test.images(slice(0, 1)), torch.tensor([0.1])), Tensor)
