"""Several estimators of the tangent space: examined, measured with side by side, and told apart by name."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import polars
import pytest
import torch

from study_support import tiny_spec, write_data
from tangency.errors import SpecError, TangencyError
from tangency.evaluate.fitting.tangents import (
    fitted_tangents,
    tangent_names,
    tangents_identity,
    trained_first,
    unfinished,
)
from tangency.evaluate.trust.results import EstimatorCheck, ProbeShare, RankRange
from tangency.evaluate.trust.tangent_verdict import tangent_verdict
from tangency.evaluate.trust.tangents import TangentTrustConfig, examine_tangents
from tangency.report import write_report
from tangency.statistics import Estimate, Excess
from tangency.study import parse_spec, run_study
from tangency.tangents import Ground, open_tangents, space_agreement, store_tangents
from tangency.tangents.autoencoders.files import AutoencoderCard, build_autoencoder, save_autoencoder
from tangency.worlds import load_dataset, make_world

TORUS = "torus?shape=1x8x8&rank=2"
SMALL = TangentTrustConfig(images=30, replicates=200, floor=0)
LEARNT = "autoencoder?latent=3&width=4&epochs=1&rank=2"


@pytest.fixture(scope="module")
def ground() -> Ground:
    return Ground(load_dataset(f"world:{TORUS}&train=800&test=60"), score=make_world(TORUS))


@pytest.mark.slow
def test_on_a_world_the_truth_beats_every_control_and_the_denoiser_agrees_with_it(ground: Ground) -> None:
    told: list[float] = []
    found = examine_tangents(
        ["exact", "denoiser?rank=2&sigma=0.02", "pca?rank=2"],
        ground,
        SMALL,
        on_progress=lambda part, share: told.append(share),
    ).to_json()
    assert told == sorted(told)
    assert told[-1] == 1.0
    json.dumps(found, allow_nan=False)
    exact, denoiser, pca = found["estimators"]
    assert (exact["name"], denoiser["name"], pca["name"]) == ("exact", "denoiser", "pca")
    assert exact["rank"] == {"mean": 2.0, "least": 2.0, "most": 2.0}
    # steps to the nearest of few images are long, so not wholly tangent; but far more than any control's
    assert exact["neighbour"]["excess"]["low"] > 0.1
    assert "transformation" not in exact  # a world is not closed under shifts
    pairs = {(p["first"], p["second"]): p for p in found["agreement"]}
    assert pairs["exact", "denoiser"]["overlap"]["mean"] == pytest.approx(1, abs=1e-3)
    assert pairs["exact", "denoiser"]["mean_angle"]["mean"] < 0.5
    assert pairs["exact", "denoiser"]["chance"]["mean"] == pytest.approx(2 / 64)
    assert pairs["exact", "pca"]["mean_angle"]["mean"] > 10
    assert found["verdict"]["beats_every_control"]["neighbour"][:2] == ["exact", "denoiser"]
    assert "more than" in found["verdict"]["words"]
    assert pca["neighbour"]["excess"]["high"] <= 0  # it is its own control


@pytest.mark.slow
def test_the_floor_is_the_error_where_the_truth_is_known(ground: Ground) -> None:
    config = TangentTrustConfig(images=10, replicates=200, floor=20)
    found = examine_tangents(["denoiser?rank=2&sigma=0.02", "pca?rank=2"], ground, config).to_json()
    denoiser, pca = (entry["floor"] for entry in found["estimators"])
    assert denoiser["torus"]["mean_angle"] < 0.5
    assert denoiser["linear"]["leakage"] < 1e-6
    assert pca["torus"]["leakage"] > 0.1
    assert pca["linear"]["mean_angle"] < 3  # of a flat manifold global PCA is an estimator
    assert denoiser["torus"]["world"] == "world:torus?shape=1x8x8&rank=2&train=800&test=20"


def test_an_estimator_from_a_file_has_no_floor_and_says_so(ground: Ground, tmp_path: Path) -> None:
    path = tmp_path / "ae.safetensors"
    card = AutoencoderCard(shape=(1, 8, 8), options={"latent": 4, "widths": [4], "variational": False}, beta=0.0)
    save_autoencoder(build_autoencoder(card, 0), card, path)
    config = TangentTrustConfig(images=10, replicates=200, floor=20)
    (found,) = examine_tangents([f"autoencoder:{path}?rank=2"], ground, config).to_json()["estimators"]
    assert "from a file" in found["floor"]["torus"]["unavailable"]


def test_images_that_are_all_equal_get_words_and_no_number(tmp_path: Path) -> None:
    data = load_dataset(f"npz:{write_data(tmp_path)}")
    black = dataclasses.replace(data.test, pixels=torch.zeros_like(data.test.pixels))
    found = examine_tangents(
        ["local-pca?rank=3&neighbours=10", "pca?rank=3"], Ground(dataclasses.replace(data, test=black)), SMALL
    ).to_json()
    assert "an undefined share of steps to the nearest new image" in found["verdict"]["words"]
    json.dumps(found, allow_nan=False)


def test_words_say_what_intervals_allow() -> None:
    def words(low: float | None, high: float | None, n: int = 30) -> str:
        low, high = (math.nan if end is None else end for end in (low, high))
        excess = Excess(np.zeros(1), Estimate((low + high) / 2, low, high, n), "pca", {})
        probes = {"neighbour": ProbeShare(Estimate(0.4, 0.3, 0.5, 30), excess)}
        rank = RankRange(3.0, 3.0, 3.0)
        check = EstimatorCheck("mfa", "mfa", "mfa", "images", rank, None, None, None, None, probes, {})
        return tangent_verdict([check], []).words

    assert "more than global principal components at equal rank (+0.150 [+0.100, +0.200])" in words(0.1, 0.2)
    assert "less than global" in words(-0.2, -0.1)
    assert "not distinguishably more or less than global" in words(-0.05, 0.6)
    assert "with no control of its rank to compare with" in words(None, None)
    assert "over the 19 images whose partners have the rank" in words(0.1, 0.2, 19)


def test_images_have_transformations(tmp_path: Path) -> None:
    data = load_dataset(f"npz:{write_data(tmp_path)}")
    found = examine_tangents(["local-pca?rank=3&neighbours=10"], Ground(data), SMALL).to_json()
    (entry,) = found["estimators"]
    assert 0 < entry["transformation"]["share"]["mean"] < 1
    assert entry["residual"]["mean"] > 0
    assert found["agreement"] == []


def test_an_autoencoder_is_trained_once_and_read_again(ground: Ground, tmp_path: Path) -> None:
    asked = [LEARNT, LEARNT.replace("rank=2", "rank=1"), "pca?rank=2"]
    assert unfinished(asked, ground.data.train.digest, tmp_path) == [0]
    first = fitted_tangents(asked[0], ground, tmp_path)
    assert unfinished(asked, ground.data.train.digest, tmp_path) == []
    second = fitted_tangents(asked[1], ground, tmp_path)
    assert (first.max_rank, second.max_rank) == (2, 1)
    assert len(list(tmp_path.iterdir())) == 1
    x = ground.data.test.images()[:3]
    one, two = first.at(x), second.at(x)
    assert float(space_agreement(one, two).largest.max()) < 0.1  # the first direction is among the first two
    path = next(tmp_path.glob("*/autoencoder.safetensors"))
    same = open_tangents(f"{path}?rank=2", ground)
    assert torch.equal(same.at(x).basis, one.basis)
    before = tangents_identity([f"{path}?rank=2"])
    path.write_bytes(path.read_bytes() + b" ")
    assert tangents_identity([f"{path}?rank=2"]) != before


def test_names_tell_estimators_apart(ground: Ground, tmp_path: Path) -> None:
    assert tangent_names(["mfa", "denoiser?sigma=0.1", "net.safetensors?rank=3"]) == ["mfa", "denoiser", "autoencoder"]
    assert tangent_names(["pca?rank=2", "pca?rank=4", "mfa"]) == ["pca-2", "pca-4", "mfa"]
    assert tangent_names(["mfa", "mfa?seed=1"]) == ["mfa", "mfa-2"]
    crossed = tangent_names(["pca", "mfa", "mfa?components=1", "mfa?rank=2&components=1"])
    assert len(set(crossed)) == 4
    store_tangents(open_tangents("pca?rank=2", ground), ground.data.test, tmp_path)
    assert tangent_names([f"stored:{tmp_path}"]) == ["pca"]
    assert trained_first("autoencoder:net.safetensors") is None


STUDY = {
    "tangents": ["mfa", "local-pca?rank=3&neighbours=10", "pca?rank=2", "pca?rank=4", LEARNT],
    "seeds": [0, 1],
    "measures": {
        "directions": 1,
        "sigmas": [0.5],
        "rho_sigmas": [0.05],
        "epsilons": [1.0, 2.0],
        "metrics": ["cosine"],
        "curved": 2,
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tangents")
    run_study(parse_spec(tiny_spec(write_data(folder), **STUDY), "test"), folder / "run")
    return folder / "run"


@pytest.mark.processes
def test_a_study_measures_by_every_estimator(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    told = summary["tangents"]
    names = ["mfa", "local-pca", "pca-2", "pca-4", "autoencoder"]
    assert [entry["name"] for entry in told["estimators"]] == names
    assert [entry["rank"] for entry in told["estimators"]] == [3.0, 3.0, 2.0, 4.0, 2.0]
    measures = summary["trials"][0]["measures"]
    for name, rank in zip(names[1:], (3, 2, 4, 2), strict=True):
        assert measures[f"tangent_fraction.margin.tangents={name}"]["chance"] == pytest.approx(rank / 64)
        # global PCA is one space for all images: no other image has another
        shuffled = measures[f"tangent_fraction.margin.tangents={name}.shuffled"]["n"]
        assert (shuffled == 0) == name.startswith("pca")
        for family in ("kappa.margin", "rho.logits.sigma=0.05", "change_on.eps=2", "change_curved.eps=2"):
            assert measures[f"{family}.tangents={name}"]["mean"] is not None
    # global PCA is its own control, so nothing is left of it
    for trial in summary["trials"]:
        assert trial["excess"]["tangent_fraction.margin.tangents=pca-2"]["controls"]["pca"]["mean"] == pytest.approx(0)
    assert measures["residual_curved.eps=2"]["mean"] < measures["residual_on.eps=2"]["mean"] + 1e-6


@pytest.mark.processes
def test_kappa_of_an_estimator_follows_from_its_own_rows(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    trial = summary["trials"][-1]
    rows = polars.read_parquet(run / "rows.parquet").filter(polars.col("trial") == trial["id"])

    def column(key: str) -> np.ndarray:
        return rows.sort("image")[key].to_numpy()

    fraction, rank = (column(f"{k}.tangents=pca-4") for k in ("tangent_fraction.margin", "tangent_rank"))
    assert (rank == 4).all()
    expected = ((1 - fraction) / (64 - rank)).mean() / (fraction / rank).mean()
    assert trial["measures"]["kappa.margin.tangents=pca-4"]["mean"] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.processes
def test_the_page_compares_them(run: Path) -> None:
    page = write_report(run, figures=True).read_text()
    assert "Under which tangent space?" in page
    assert "pca-4" in page
    assert (run / "report" / "figures" / "tangents.png").stat().st_size > 5000


def test_what_was_asked_is_part_of_the_identity(tmp_path: Path) -> None:
    from tangency.study.plan import plan_trials

    path = write_data(tmp_path)
    data = load_dataset(f"npz:{path}")

    def hashes(**changes: object) -> set[str]:
        return {t.measure_hash for t in plan_trials(parse_spec(tiny_spec(path, **changes), "test"), data)}

    assert hashes() == hashes(tangents=[])
    assert not hashes() & hashes(tangents=["pca?rank=2"])


@pytest.mark.processes
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["mfa", "mfa"], "expected distinct references"),
        (["mfaa"], "Did you mean"),
        (["pca?rank=64"], "got 64 for images of 64 pixels"),
        (["autoencoder?latents=3"], "unknown option 'latents'"),
        (["nowhere.safetensors"], "cannot be read"),
        (["exact"], "is no world"),
        (["autoencoder"], "got 128 for images of 64 pixels"),
    ],
)
def test_requests_that_cannot_be_met_are_refused_before_training(asked: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(TangencyError, match=said):
        run_study(parse_spec(tiny_spec(write_data(tmp_path), tangents=asked), "test"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_edges_of_curved_steps_need_rising_lengths() -> None:
    from tangency.measures import MeasureConfig

    with pytest.raises(SpecError, match="lengths that rise"):
        MeasureConfig(epsilons=(2.0, 1.0), curved=3)
    assert MeasureConfig(curved=0).digest() == MeasureConfig().digest() != MeasureConfig(curved=1).digest()
    assert math.isfinite(MeasureConfig().directions)
