"""What a measurement rests on: known directions in the tangent spaces, and the accuracy of the Bayes rule."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from study_support import write_data
from tangency.data.partners import measured_order
from tangency.evaluate import MeasureRequest, measure_models, rests
from tangency.evaluate.baseline import regime_alone
from tangency.evaluate.entries import ExcessEntry, MeasureEntry
from tangency.evaluate.fitting.closed import QUALITY_SIGMAS, ScoreSpec, fit_score, score_card
from tangency.evaluate.fitting.posterior import PosteriorAccuracy, bayes_rule_words, posterior_accuracy, wilson
from tangency.evaluate.fitting.tangents import ground_of, study_tangents
from tangency.evaluate.rests import KnownDirections, Rests, known_columns, known_directions, tangent_warnings
from tangency.measures import ComparisonSource, MeasureConfig
from tangency.measures.keys import FRACTION, KAPPA
from tangency.mixtures import Mixture
from tangency.models import build, save_classifier
from tangency.score import EmpiricalScore, FunctionScore, GaussianScore, MixtureScore
from tangency.tangents import WorldTangents
from tangency.types import Dataset, LabelledImages
from tangency.worlds import load_dataset, world_of

FITTED = "world:fitted?train=400&test=150"


def source_of(data: Dataset, *references: str) -> tuple[ComparisonSource, list[str]]:
    world = world_of(data.name)
    assert world is not None
    with TemporaryDirectory() as folder:
        named = study_tangents(references, WorldTangents(world), ground_of(data, world, "cpu"), Path(folder))
    return ComparisonSource(world, named, data.test, data.train, MeasureConfig(), "cpu"), list(named)


def known_of(data: Dataset, *references: str, limit: int = 500) -> dict[str, KnownDirections]:
    source, names = source_of(data, *references)
    return known_directions(source, names, known_columns(source, limit, natural=False))


def test_shares_are_those_of_the_slow_way() -> None:
    data = load_dataset(FITTED)
    (source, _), world = source_of(data, "exact"), world_of(FITTED)
    assert world is not None
    (columns,) = known_columns(source, 20, natural=True)
    x = data.test.images().flatten(1).double().numpy()
    train = data.train.images().flatten(1).double().numpy()
    principal = np.linalg.svd(train - train.mean(0), full_matrices=False)[2]
    assert len(columns["neighbour"]) == 20
    bases = world.tangent_basis(data.test.images(measured_order(len(data.test))[:20]))[0].double().numpy()
    for place, i in enumerate(measured_order(len(data.test))[:20].tolist()):
        distance = np.linalg.norm(x - x[i], axis=1)
        distance[i] = math.inf
        v = x[distance.argmin()] - x[i]
        for key, basis in (("neighbour", bases[place]), ("neighbour.pca", principal[: bases.shape[2]].T)):
            share = np.sum((basis.T @ v) ** 2) / np.sum(v**2)
            assert float(columns[key][place]) == pytest.approx(share, rel=1e-3), key


def test_a_subspace_that_is_no_tangent_space_is_warned_of_and_the_true_one_is_not() -> None:
    data = load_dataset(FITTED)
    known = known_of(data, "exact", "mfa?rank=12", "random?rank=12", "pca?rank=12")
    exact = known["exact"].over_pca("neighbour")
    assert exact is not None
    assert (exact.n, exact.low > 0.15) == (150, True)
    random, pca = tangent_warnings({name: known[name] for name in ("random", "pca")})
    over = known["random"].over_pca("neighbour")
    assert over is not None
    assert random == (
        f"the tangent space of random holds less of the directions to near images ({over.mean:+.3f} [{over.low:+.3f}, "
        f"{over.high:+.3f}] over 150 images) than global PCA of the same rank; read its F² as that of a subspace, not "
        "of the manifold."
    )
    assert over.mean == pytest.approx(12 / 784 - known["pca"].shares["neighbour"].share.mean, abs=0.01)
    assert pca.startswith("the tangent space of pca is that of global PCA;")
    assert tangent_warnings({"exact": known["exact"]}) == []


def test_where_all_spaces_are_one_more_than_pca_is_not_shown_and_exact_ones_are_not_doubted() -> None:
    data = load_dataset("world:linear?train=400&test=150&noise=0")
    known = known_of(data, "exact", "local-pca?neighbours=60&rank=8")
    over = known["exact"].over_pca("neighbour")
    assert over is not None
    assert abs(over.mean) < 1e-3
    (sentence,) = tangent_warnings(known)
    assert sentence.startswith("the tangent space of local-pca ")
    assert " than global PCA of the same rank;" in sentence


def test_a_measurement_keeps_what_its_tangent_spaces_hold_and_says_how_accurate_its_rule_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_dataset(reference := f"npz:{write_data(tmp_path)}")
    save_classifier(build("convnet", data.test.shape, data.test.classes, 0), tmp_path / "net.safetensors")
    request = MeasureRequest(
        str(tmp_path / "net.safetensors"),
        reference,
        limit=12,
        out=tmp_path / "out",
        metrics=("cosine",),
        epsilons=(),
        rho_sigmas=(),
        sigmas=(0.25,),
        tangents=("mfa", "pca?rank=4"),
    )
    (first,) = measure_models(request)
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(written["known_directions"]) == ["mfa", "pca"]
    mfa = written["known_directions"]["mfa"]
    assert (mfa["kind"], mfa["images"]) == ("mfa", 12)
    for probe in ("neighbour", "transformation"):
        controls = mfa[probe]["controls"]
        assert (controls["dct"]["n"], controls["pca"]["n"]) == (12, 12)
        assert mfa[probe]["excess"]["n"] == min(each["n"] for each in controls.values())
        assert 0 < mfa[probe]["share"]["low"] < mfa[probe]["share"]["mean"] < 1
    assert "the tangent space of pca is that of global PCA; read its F²" in " ".join(written["warnings"])
    assert [entry["sigma"] for entry in written["posterior_accuracy"]] == [0.0, 0.25]
    assert all(entry["low"] <= entry["mean"] <= entry["high"] for entry in written["posterior_accuracy"])
    assert "mfa, over 12 test images, one network" in written["regime"]["text"]

    def never(*_: object) -> None:
        raise AssertionError("the tangent spaces are made anew")

    monkeypatch.setattr(rests, "neighbour_steps", never)
    (again,) = measure_models(request)
    assert again.to_json()["known_directions"] == first.to_json()["known_directions"]


def test_a_default_measurement_warns_of_nothing_about_its_own_defaults(tmp_path: Path) -> None:
    data = load_dataset(reference := f"npz:{write_data(tmp_path)}")
    save_classifier(build("convnet", data.test.shape, data.test.classes, 0), tmp_path / "net.safetensors")
    (found,) = measure_models(MeasureRequest(str(tmp_path / "net.safetensors"), reference, limit=30))
    of_the_data = ("the tangent space of", "tangent_fraction.")  # a weak mixture, and partners of a lower rank
    assert [sentence for sentence in found.warnings if not sentence.startswith(of_the_data)] == []
    (named,) = measure_models(
        MeasureRequest(str(tmp_path / "net.safetensors"), reference, limit=30, scalars=("sum_logits",), epsilons=())
    )
    assert any("sum_logits: " in sentence and "not identified" in sentence for sentence in named.warnings)


def two_gaussians(separation: float, variance: float) -> Mixture:
    """Two classes N(μ ± e·separation/2, variance·I) in 16 dimensions."""
    means = torch.full((2, 16), 0.5, dtype=torch.float64)
    means[0, 3] -= separation / 2
    means[1, 3] += separation / 2
    noise = torch.full((2, 16), variance, dtype=torch.float64)
    prior = torch.full((2,), 0.5, dtype=torch.float64).log()
    return Mixture((1, 4, 4), means, torch.zeros(2, 16, 1, dtype=torch.float64), noise, prior, torch.arange(2), 2)


def drawn(mixture: Mixture, n: int) -> LabelledImages:
    x, y = mixture.sample(n, seed=3)
    return LabelledImages(x.float(), y, ("a", "b"), unit_range=False)


def phi(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def test_the_accuracy_of_a_bayes_rule_is_the_known_one_at_every_noise() -> None:
    mixture, n = two_gaussians(0.3, 0.01), 4000
    entries = posterior_accuracy(MixtureScore(mixture), drawn(mixture, n), torch.arange(n), (0.2, 0.5), "cpu")
    assert [entry.sigma for entry in entries] == [0.0, 0.2, 0.5]
    for entry in entries:
        truth = phi(0.15 / math.sqrt(0.01 + entry.sigma**2))
        assert entry.mean == pytest.approx(truth, abs=4 * math.sqrt(truth * (1 - truth) / n)), entry.sigma
        assert entry.low is not None
        assert entry.high is not None
        assert entry.low < truth < entry.high
    assert entries[0].mean > 0.9 > entries[1].mean > entries[2].mean + 0.1


def test_the_rule_of_one_gaussian_is_that_of_linear_discriminants_and_others_have_what_they_can() -> None:
    mixture, n = two_gaussians(0.3, 0.01), 1000
    images, ids = drawn(mixture, n), torch.arange(0, n, 2)
    gaussian = posterior_accuracy(GaussianScore(images), images, ids, (), "cpu")
    assert [entry.n for entry in gaussian] == [500]
    assert gaussian[0].mean == pytest.approx(phi(1.5), abs=0.05)
    nearest = posterior_accuracy(EmpiricalScore(images), images, ids, (0.01,), "cpu")
    assert [(entry.sigma, entry.mean) for entry in nearest] == [(0.01, 1.0)]
    assert bayes_rule_words("empirical", nearest) == "Bayes rule of the training images (accuracy 1.000 at σ = 0.01)"
    unlabelled = FunctionScore(lambda x, sigma, y: x, (1, 4, 4))
    assert posterior_accuracy(unlabelled, images, ids, (0.1,), "cpu") == []
    assert posterior_accuracy(None, images, ids, (0.1,), "cpu") == []
    assert bayes_rule_words("none", []) == ""


def test_the_noise_of_an_image_is_its_own() -> None:
    mixture = two_gaussians(0.3, 0.01)
    images, score = drawn(mixture, 60), MixtureScore(mixture)
    whole = posterior_accuracy(score, images, torch.arange(60), (0.3,), "cpu")[1]
    halves = [posterior_accuracy(score, images, torch.arange(k, 60, 2), (0.3,), "cpu")[1] for k in (0, 1)]
    assert whole.mean == pytest.approx(sum(half.mean or 0 for half in halves) / 2)


@pytest.mark.parametrize(("n", "p"), [(50, 0.9), (200, 0.99), (30, 0.5)])
def test_intervals_of_shares_hold_the_truth_as_often_as_they_say(n: int, p: float) -> None:
    covered = 0.0
    for right in range(n + 1):
        low, high = wilson(right, n)
        assert 0 <= low <= right / n <= high <= 1
        covered += math.comb(n, right) * p**right * (1 - p) ** (n - right) * (low <= p <= high)
    assert 0.92 < covered < 0.99
    assert wilson(n, n)[0] < 1


@pytest.mark.parametrize("kind", ["exact", "mfa"])
def test_the_card_of_a_studys_score_has_the_accuracy_of_its_rule(kind: str, tmp_path: Path) -> None:
    data, world = load_dataset(FITTED), world_of(FITTED)
    assert world is not None
    closed = ScoreSpec(kind=kind, components=1, rank=4)
    fit_score(closed, FITTED, data, tmp_path / "score.safetensors", "cpu")
    entries = score_card(tmp_path / "score.safetensors")["posterior_accuracy"]
    assert [entry["sigma"] for entry in entries] == [0.0, *QUALITY_SIGMAS]
    assert {entry["n"] for entry in entries} == {150}
    if kind == "exact":
        right = world.log_posterior(data.test.images(), 0.0).argmax(1) == data.test.labels
        assert entries[0]["mean"] == pytest.approx(float(right.double().mean()))


def test_numbers_without_a_baseline_name_the_estimator_and_the_unit() -> None:
    entry = MeasureEntry(mean=0.3, low=0.2, high=0.4, n=7, chance=0.1)
    excess = ExcessEntry(mean=0.1, low=0.05, high=0.2, n=7, best_control="pca", p=0.001)
    text = regime_alone({KAPPA: entry, FRACTION: entry}, {FRACTION: excess}, 7, "local-pca").text
    assert text.endswith(
        "With the tangent spaces of local-pca, over 7 test images, one network: κ = 0.300 [0.200, 0.400] (chance 1); "
        "F² = 0.300 [0.200, 0.400] (chance 0.1); F² minus its best control (pca) = +0.100 [0.050, 0.200], "
        "p = 0.001."
    )
    assert "With the tangent spaces" not in regime_alone({}, {}, 7, "mfa").text


def test_a_rule_is_doubted_where_it_is_surely_worse_and_less_than_half_as_far_above_chance() -> None:
    def doubt(mean: float, high: float, low: float = 0.90, kind: str = "mfa") -> str:
        rule = [
            PosteriorAccuracy(mean=mean, low=0.0, high=high, n=200, sigma=0.0),
            PosteriorAccuracy(mean=0.1, low=0.0, high=0.2, n=200, sigma=0.5),  # the best σ counts
        ]
        network = MeasureEntry(mean=0.95, low=low, high=1.0, n=200, chance=0.1)
        return " ".join(Rests({}, rule).warnings(kind, network))

    assert "right for 0.400 of the images" in doubt(0.40, 0.49)
    assert doubt(0.53, 0.60) == ""  # of .1 to .95 more than half
    assert doubt(0.52, 0.60)
    assert doubt(0.40, 0.70, low=0.60)  # a lower end of .55 − (.3² + .35²)^½ = .09
    assert doubt(0.40, 0.85, low=0.60) == ""  # −.02
    assert doubt(0.40, 0.49, kind="exact") == ""
    assert Rests({}, []).warnings("mfa", None) == []
