"""Whatever names a file or folder in the public functions is a string or a path, with the same result."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tangency
from study_support import tiny_spec, write_data, write_spec
from tangency.data import load_split
from tangency.errors import DataError, NumericsError, RunError
from tangency.evaluate import MeasureRequest, TrustConfig, measure_models
from tangency.evaluate.compare import compare
from tangency.evaluate.convert import convert_model
from tangency.evaluate.generation.saved import generate
from tangency.generation.options import Climb
from tangency.generation.tasks.config import GenerationConfig
from tangency.models import build, save_classifier
from tangency.report import write_leaderboard
from tangency.study import load_spec, study_status

pytestmark = pytest.mark.processes

KINDS: tuple[Callable[[Path], Any], ...] = (str, Path)
QUICK = {"metrics": ("cosine",), "epsilons": (), "rho_sigmas": (), "sigmas": (0.25,), "limit": 10}
TRUST = TrustConfig(sigmas=(0.25,), images=4, samples=2, baselines=())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec, data, a classifier, and a finished run of one network."""
    folder = tmp_path_factory.mktemp("paths")
    sweep = [{"objective": "standard"}]
    content = tiny_spec(write_data(folder), untrained=False, sweep=sweep, train={"epochs": 1, "batch_size": 40})
    spec = write_spec(folder, content)
    save_classifier(build("convnet", (1, 8, 8), 3, channels=(2, 2, 2)), folder / "net.safetensors")
    tangency.run_study(tangency.load_spec(str(spec)), str(folder / "run"))
    return folder


# Public functions that take no file and no reference of one: what they are given is made by the others.
PATHLESS = {
    "BayesClassifier", "Classifier", "Climb", "GenerationConfig", "LabelledImages", "MeasureConfig", "TrainConfig",
    "agreement", "build", "certify", "estimates", "filtered_baseline", "fit_mixture", "input_gradient",
    "input_gradients", "measure", "measure_models", "objective", "pgd", "regimes", "smooth",
}  # fmt: skip


def test_every_public_function_that_takes_paths_takes_strings_too() -> None:
    """By their signatures: no parameter is a path only."""
    for name in set(tangency.__all__) - {"TangencyError", "TangencyWarning"}:
        annotations = [str(p.annotation) for p in inspect.signature(getattr(tangency, name)).parameters.values()]
        paths = [annotation for annotation in annotations if "Path" in annotation]
        assert all("str" in annotation for annotation in paths), name
        assert bool(paths) == (name not in PATHLESS), name


@pytest.mark.parametrize("kind", KINDS)
def test_loaders(kind: Callable[[Path], Any], folder: Path) -> None:
    data = tangency.load_data(kind(folder / "tiny.npz"))
    assert data.train.digest == tangency.load_data(f"npz:{folder / 'tiny.npz'}").train.digest
    assert tangency.load_data("npz:tiny.npz", kind(folder)).test.digest == data.test.digest
    assert load_split(kind(folder / "tiny.npz"), "test").digest == data.test.digest
    assert tangency.load_classifier(kind(folder / "net.safetensors")).card.architecture == "convnet"
    assert tangency.load_spec(kind(folder / "spec.yaml")) == load_spec(folder / "spec.yaml")
    assert tangency.make_world(kind(Path("linear?rank=2"))).intrinsic_dimension == 2
    fitted = tangency.load_score(kind(Path("mfa?components=1&rank=2")), data)
    assert fitted.kind == "mfa"
    with pytest.raises(DataError, match="there is no such file"):
        tangency.load_data(kind(folder / "none.npz"))


@pytest.mark.parametrize("kind", KINDS)
def test_studies_and_reports(kind: Callable[[Path], Any], folder: Path) -> None:
    spec, run = kind(folder / "spec.yaml"), kind(folder / "run")
    assert study_status(spec, run).trials == {"standard-0-s0": "measured", "filtered-s0": "measured"}
    summary = tangency.run_study(spec, run)
    assert [trial["id"] for trial in summary["trials"]] == ["standard-0-s0", "filtered-s0"]
    assert tangency.write_report(run) == folder / "run" / "report" / "index.html"


@pytest.mark.parametrize("kind", KINDS)
def test_measuring_comparing_generating_and_converting(
    kind: Callable[[Path], Any], folder: Path, tmp_path: Path
) -> None:
    net, data = kind(folder / "net.safetensors"), kind(folder / "tiny.npz")
    (found,) = measure_models(MeasureRequest((net,), data, out=kind(tmp_path / "net"), **QUICK))  # type: ignore[arg-type]
    alone = MeasureRequest(net, data, out=kind(tmp_path / "net"), **QUICK)  # type: ignore[arg-type]
    assert alone.models == (str(net),)
    assert json.loads((tmp_path / "net" / "summary.json").read_text())["measures"].keys() == found.measures.keys()
    compared = compare(kind(tmp_path / "net"), kind(tmp_path / "net"))
    assert compared.images == 10
    page = write_leaderboard([kind(tmp_path / "net")], kind(tmp_path / "board"))
    assert page == tmp_path / "board" / "index.html"
    config = GenerationConfig(count=2, climb=Climb(steps=1), references=())
    made = generate(net, data, config, out=kind(tmp_path / "made"))
    assert made.summary["count"] == 2
    assert convert_model(net, kind(tmp_path / "copy.safetensors"))["architecture"] == "convnet"
    with pytest.raises(RunError, match="got a file"):
        MeasureRequest((net,), out=kind(folder / "net.safetensors"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_and_its_data_by_reference(kind: Callable[[Path], Any], folder: Path) -> None:
    reference, data = "gaussian", kind(folder / "tiny.npz")
    found = tangency.evaluate_score(kind(Path(reference)), data, TRUST).summary
    loaded = tangency.load_data(data)
    by_hand = tangency.evaluate_score(tangency.load_score(reference, loaded), loaded, TRUST).summary
    assert found["score"] == by_hand["score"] | {"reference": reference}
    assert found["noise_levels"] == by_hand["noise_levels"]


def test_a_name_where_images_are_wanted_is_refused(folder: Path) -> None:
    for wrong in ("fashion-mnist-5k", tangency.load_data(folder / "tiny.npz"), torch.zeros(3, 1, 8, 8)):
        with pytest.raises(NumericsError, match=r"expected labelled images, such as those of tangency\.load_data"):
            tangency.fit_mixture(wrong)  # type: ignore[arg-type]
