"""Studies of worlds: exact scores, the Bayes rule among the trials, the excess risk, the shipped specs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from processes import run
from study_support import SWEEP
from tangency.errors import NumericsError, SpecError
from tangency.evaluate import MeasureRequest, measure_models
from tangency.report import write_report
from tangency.study import SHIPPED, load_spec, parse_spec, run_study, shipped_spec
from tangency.study.plan import plan_trials
from tangency.worlds import load_dataset

pytestmark = pytest.mark.processes

MEASURES = {
    "directions": 1,
    "alignments": [["margin", "bayes_gradient"], ["logp_y", "bayes_gradient"]],  # the optimum's is that of log p(y|x)
    "sigmas": [0, 0.1],
    "rho_sigmas": [0.05],
    "epsilons": [1.0],
    "metrics": ["cosine"],
}


def world_spec(**changes: object) -> dict:
    return {
        "name": "world",
        "data": "world:linear?shape=1x8x8&rank=3&classes=3&train=300&test=60",
        "measured": 40,
        "shard": 20,
        "train": {"epochs": 3, "batch_size": 50},
        "score": {"kind": "exact"},
        "bayes": True,
        "sweep": [*SWEEP, {"objective": "pgd_l2", "strengths": [0.5], "options": {"clip": False, "steps": 2}}],
        "measures": MEASURES,
        "pictures": 3,
        "replicates": 100,
        "workers": 1,
        **changes,
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    run = tmp_path_factory.mktemp("world") / "run"
    return run, run_study(parse_spec(world_spec(), "test"), run)


def test_the_bayes_rule_is_a_trial_with_the_known_answers(study: tuple[Path, dict]) -> None:
    _, summary = study
    bayes = summary["trials"][0]
    assert (bayes["id"], bayes["objective"]) == ("bayes-s0", "bayes")
    assert bayes["verdict"]["reference"]
    measures = bayes["measures"]
    assert measures["tangent_fraction.margin"]["mean"] == pytest.approx(1, abs=1e-6)
    assert measures["kappa.margin"]["mean"] < 1e-6
    assert measures["alignment_cosine.logp_y.bayes_gradient.sigma=0"]["mean"] == pytest.approx(1, abs=1e-5)
    assert measures["rho.logits.sigma=0.05"]["mean"] < 1e-4


def test_no_trial_beats_the_bayes_rule_for_sure(study: tuple[Path, dict]) -> None:
    _, summary = study
    known = summary["world"]["bayes_accuracy"]
    assert summary["world"]["intrinsic_dimension"] == 3
    assert known["low"] < known["mean"] < known["high"]
    bayes = summary["trials"][0]["measures"]["accuracy"]
    assert bayes["low"] <= known["mean"] <= bayes["high"]
    for trial in summary["trials"]:
        assert trial["excess_risk"]["high"] >= 0
        own = trial["measures"]["accuracy"]["mean"]
        assert trial["excess_risk"]["mean"] == pytest.approx(bayes["mean"] - own, abs=1e-12)


def test_the_bayes_rule_is_no_network_of_the_sweep(study: tuple[Path, dict]) -> None:
    run, summary = study
    assert summary["headline"] is None or "bayes-s0" not in summary["headline"]["trials"]
    assert not list((run / "trials" / summary["trials"][0]["train_hash"]).glob("*.safetensors"))
    assert summary["score"]["kind"] == "exact"
    assert all(entry["mse"] < entry["identity"] for entry in summary["score"]["denoising"])
    assert write_report(run).exists()


def test_running_again_changes_nothing(study: tuple[Path, dict]) -> None:
    run, summary = study
    again = run_study(parse_spec(world_spec(), "test"), run)
    assert again["trials"] == summary["trials"]


def test_a_trial_is_measured_alone_with_the_exact_score(study: tuple[Path, dict]) -> None:
    run, summary = study
    found = measure_models(MeasureRequest((f"run:{run}/trials/standard-0-s0",), limit=40))[0]
    own = next(t for t in summary["trials"] if t["id"] == "standard-0-s0")
    assert found.measures["tangent_fraction.margin"].mean == pytest.approx(
        own["measures"]["tangent_fraction.margin"]["mean"], abs=1e-6
    )


@pytest.mark.slow
def test_a_fitted_score_may_stand_in_for_the_exact_one(tmp_path: Path) -> None:
    content = world_spec(score={"kind": "mfa", "components": 1, "rank": 3}, measures=MEASURES | {"sigmas": [0.1]})
    summary = run_study(parse_spec(content, "test"), tmp_path / "run")
    assert summary["score"]["kind"] == "mfa"
    bayes = summary["trials"][0]["measures"]["tangent_fraction.margin"]["mean"]
    assert 0.9 < bayes < 1 - 1e-6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "fashion-mnist-5k"}, "expected a world"),
        ({"data": "fashion-mnist-5k", "bayes": False}, "expected a world"),
        ({"data": "world:offset?shape=1x8x8&rank=3&train=60&test=20"}, "no posterior at σ = 0"),
        ({"data": "world:sphere?shape=1x8x8&rank=3&train=60&test=20"}, "no density at σ = 0"),
        ({"data": "world:linear?rank=64&shape=1x8x8"}, "expected 1 to 63"),
        ({"data": "world:lineal"}, "Did you mean 'linear'"),
        ({"data": "world:linear?ranks=3"}, "Did you mean 'rank'"),
        ({"data": "world:linear?train=0"}, "expected at least 1 each"),
        ({"measures": MEASURES | {"noise_sigmas": [0.1]}}, "signal's place is not known"),
        ({"measures": MEASURES | {"sigmas": [-1]}}, "at least 0"),
    ],
)
def test_what_has_no_answer_is_refused_before_anything_is_written(tmp_path: Path, changes: dict, words: str) -> None:
    from tangency.errors import TangencyError

    with pytest.raises(TangencyError, match=words):
        run_study(parse_spec(world_spec(**changes), "test"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Beginning of a reference to the shape of images that stand in for data that are not there.
KINDS = {
    "cifar10": "3x32x32",
    "imagenet64": "3x64x64",
    "npz:stand-ins/cifar10-64": "3x64x64",
    "npz:stand-ins/cifar10-224": "3x96x96",
    "folder:imagenet": "3x96x96",
    "distractor:mnist": "1x56x28",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_specs_are_valid(name: str) -> None:
    spec = load_spec(Path(name))
    # What is planned depends on shape and classes: few images of a world, the sample in place of the full set.
    small = re.sub(
        r"^fashion-mnist\?.*", "fashion-mnist-5k", spec.data.replace("train=5000&test=2000", "train=50&test=20")
    )
    for kind, shape in KINDS.items():
        if small.startswith(kind):
            small = f"world:linear?shape={shape}&train=50&test=20"
    assert len(plan_trials(spec, load_dataset(small), "trained")) >= 3
    with pytest.raises(SpecError, match="unknown shipped study"):
        shipped_spec(name + "x")


def test_images_of_a_world_leave_the_unit_range_and_pgd_can_leave_them_there() -> None:
    data = load_dataset("world:linear?shape=1x8x8&rank=3&contrast=0.5&train=50&test=10").train
    assert not data.unit_range
    assert float(data.pixels.min()) < 0 < 1 < float(data.pixels.max())
    from tangency.models import build
    from tangency.objectives import make
    from tangency.seeding import Draw

    network = build("convnet", (1, 8, 8), 4)
    draw = Draw(0, torch.arange(50))
    free = make("pgd_l2", 0.5, clip=False, steps=2).losses(network, data.images(), data.labels, draw)
    assert bool(free.isfinite().all())
    with pytest.raises(NumericsError, match=r"expected \[0.0, 1.0\]"):
        make("pgd_l2", 0.5, steps=2).losses(network, data.images(), data.labels, draw)


@pytest.mark.slow
def test_relative_noise_robustness_has_a_band_over_the_grid(tmp_path: Path) -> None:
    content = world_spec(
        data="world:distractor?shape=1x16x8&rank=2&classes=2&train=200&test=60",
        measures=MEASURES | {"noise_sigmas": [0.05, 0.2], "sigmas": [0.1]},
        pictures=2,
    )
    summary = run_study(parse_spec(content, "test"), tmp_path / "run")
    curves = summary["noise_curves"]
    assert curves["sigmas"] == [0.05, 0.2]
    bayes = summary["trials"][0]["measures"]  # the Bayes rule answers to the signal alone; its ratio may be infinite
    assert bayes["noise_distractor.sigma=0.05"]["mean"] < 1e-6 < bayes["noise_signal.sigma=0.05"]["mean"]
    assert bayes["signal_fraction.margin"]["mean"] > 1 - 1e-6
    robust = curves["trials"]["gradient_norm-0.1-s0"]
    for i in range(2):
        assert robust["low"][i] < robust["ratio"][i] < robust["high"][i]
        own = curves["trials"]["gradient_norm-0.1-s0"]["ratio"][i] - curves["trials"]["standard-0-s0"]["ratio"][i]
        assert robust["minus_standard"]["mean"][i] == pytest.approx(own)
        entry = next(t for t in summary["trials"] if t["id"] == "gradient_norm-0.1-s0")["measures"]
        pointwise = entry[f"relative_noise.sigma={curves['sigmas'][i]:g}"]
        assert robust["ratio"][i] == pytest.approx(pointwise["mean"])
        # a band that holds at all σ at once is not narrower than an interval at one
        assert robust["high"][i] - robust["low"][i] > 0.9 * (pointwise["high"] - pointwise["low"])


def test_data_from_a_world_have_the_same_digest_in_every_process() -> None:
    """Their last bits depend on the number of threads, so it must not come from the pixels."""
    code = (
        "import torch; torch.set_num_threads({}); from tangency.worlds import load_dataset; "
        "data = load_dataset('world:fitted?components=2&rank=4&images=500&train=40&test=20'); "
        "print(data.train.digest, data.test.digest)"
    )
    found = {run([sys.executable, "-c", code.format(threads)]).stdout for threads in (1, 2)}
    assert len(found) == 1
    train, test = found.pop().split()
    other = load_dataset("world:fitted?components=2&rank=4&images=500&train=40&test=20&draw=1").train.digest
    assert len({train, test, other}) == 3
