"""The paper's studies and their small twins: each plans, loads, and runs one trial of one epoch on 200 images."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from study_support import InProcess
from tangency.data.classes import imagenet_synsets
from tangency.errors import DataError, SpecError
from tangency.evaluate.trust.config import TrustConfig
from tangency.study import dump_spec, load_spec, parse_spec, run_study
from tangency.study.forecast.foresee import foresee
from tangency.study.plan import plan_trials
from tangency.study.rehearsal import fewer, rehearsal
from tangency.study.spec import SHIPPED
from tangency.training.config import learning_rate
from tangency.worlds import load_dataset

ROOT = Path(__file__).parent.parent.parent
OURS = [name for name in SHIPPED if "/" in name]
ROBUST = ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")  # of Salman et al.
BRIEF = TrustConfig(sigmas=(0.25,), images=20, probed=2, probes=1, samples=4)


@pytest.fixture(scope="module")
def stand_ins() -> ModuleType:
    place = importlib.util.spec_from_file_location("stand_ins", ROOT / "scripts" / "stand_ins.py")
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    before = list(sys.path)
    place.loader.exec_module(module)
    sys.path[:] = before
    return module


def write_imagenet64(folder: Path) -> None:
    """The published layout, with a few images and the published order of classes, which is not that of synsets."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, name in enumerate([*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data"]):
        labels = generator.permutation(1000)[:60] + 1 if number else np.arange(1, 61)
        pixels = generator.integers(0, 256, (len(labels), 3 * 64**2), dtype=np.uint8)
        np.savez(folder / f"{name}.npz", data=pixels, labels=labels)
    order = np.random.default_rng(1).permutation(1000)
    lines = [f"{imagenet_synsets()[place]} {number} name" for number, place in enumerate(order, 1)]
    (folder / "map_clsloc.txt").write_text("\n".join(lines))


def write_imagenet(folder: Path) -> None:
    """A folder for each synset, as torchvision reads ImageNet, one tiny picture in each."""
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for synset in imagenet_synsets():
            (folder / split / synset).mkdir(parents=True)
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / split / synset / f"{synset}.png")


def prepare(name: str, folder: Path, made: ModuleType) -> None:
    """What a study names and the folder of test data has not, in the published formats."""
    if name == "paper/cifar10":
        made.write_score(folder / "edm-cifar10-32x32-uncond-vp.pkl", 32, 0)
    if name.startswith("paper/imagenet"):
        made.write_score(folder / "edm-imagenet-64x64-cond-adm.pkl", 64, 1000)
    if name == "paper/imagenet64":
        write_imagenet64(folder / "imagenet64")
    if name == "paper/imagenet":
        write_imagenet(folder / "imagenet")
        for seed, epsilon in enumerate(ROBUST):
            made.write_robust(folder / f"resnet18_l2_eps{epsilon}.ckpt", seed)
    if name.startswith("small/imagenet"):
        made.main(folder / "stand-ins")


FULL = pytest.mark.full_data("cifar10-train.parquet", "cifar10-test.parquet")
MNIST = pytest.mark.full_data("mnist")
SLOW = pytest.mark.slow
NEEDS = {
    "paper/imagenet64": (SLOW,),
    "paper/imagenet": (SLOW,),
    "paper/mnist-distractor": (MNIST, SLOW),
    "small/mnist-distractor": (),
    "small/cifar10": (FULL,),
}


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("name", [pytest.param(name, marks=NEEDS.get(name, (FULL, SLOW))) for name in OURS])
def test_one_trial_of_one_epoch_on_200_images(
    name: str, tmp_path: Path, stand_ins: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tangency.study.run.open_engine", InProcess)
    monkeypatch.setattr("tangency.study.network.BRIEF", BRIEF)
    prepare(name, tmp_path, stand_ins)
    spec = rehearsal(load_spec(name))
    foreseen = foresee(spec, tmp_path / "run", calibrated=False)
    assert foreseen.forecast.missing == ()
    summary = run_study(spec, tmp_path / "run")
    (trial,) = [t for t in summary["trials"] if not t["objective"].startswith("filtered")]
    assert trial["outcome"] in ("ok", "collapsed")
    given = bool(load_spec(name).sweep[-1].networks)
    assert (trial["epochs"], "network" in trial) == ((0, True) if given else (1, False))
    assert summary["data"]["train"] == 200
    rows = pl.read_parquet(tmp_path / "run" / "rows.parquet").filter(trial=trial["id"])
    assert len(rows) == 20
    target = "network_score_y" if spec.score.kind == "none" else "bayes_gradient"
    sigma = max(spec.measures.sigmas)
    assert np.isfinite(rows[f"alignment_cosine.margin.{target}.sigma={sigma:g}"].to_numpy()).mean() > 0.5
    assert np.isfinite(rows["tangent_fraction.margin"].to_numpy()).mean() > 0.5


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name == "small/mnist-distractor" else []) for name in OURS],
)
def test_a_plan_says_what_is_wanted_and_where_it_belongs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("TANGENCY_DATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    spec = load_spec(name)
    assert parse_spec(spec.model_dump(mode="json"), "spec").digest() == spec.digest()
    assert dump_spec(spec)
    wants = {(want.key, want.reference): want for want in foresee(spec, tmp_path / "run").forecast.wants}
    assert wants[("data", spec.data)].missing or name == "small/mnist-distractor"
    for want in wants.values():
        assert ("scripts/stand_ins.py" in want.advice) == name.startswith("small/imagenet")
    if spec.network_score:
        want = wants[("network_score", spec.network_score)]
        path = tmp_path / spec.network_score.removeprefix("edm:")
        assert f"Put it at {path}" in want.advice
        assert ("nvlabs-fi-cdn.nvidia.com" in want.advice) == name.startswith("paper/")
    networks = [reference for entry in spec.sweep for reference in entry.networks]
    for reference in networks:
        want = wants[("sweep.networks", reference)]
        assert ("microsoft/robust-models-transfer" in want.advice) == name.startswith("paper/")
        assert want.missing


def test_the_papers_numbers_are_the_published_ones() -> None:
    """train_robust_imagenet.py, run_experiments.py and the notebooks."""
    sixty_four = load_spec("paper/imagenet64")
    assert sixty_four.sweep[1].strengths == (0.01, 0.1, 5, 10, 20, 50, 100, 200, 500, 2500, 5000)
    assert sixty_four.sweep[1].options == {"steps": 3, "added": False}
    train = sixty_four.train
    assert (train.epochs, train.batch_size, train.momentum, train.weight_decay, train.crop) == (90, 4096, 0.9, 1e-4, 8)
    rates = [learning_rate(train, epoch, 90) for epoch in (0, 29, 30, 59, 60, 89)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    large = load_spec("paper/imagenet")
    assert [n.split("eps")[1].split(".ckpt")[0] for n in large.sweep[0].networks] == list(ROBUST)
    assert large.score.kind == "none"
    assert (large.measures.working_size, large.measures.working_filter) == (64, "bilinear")
    assert large.measures.sigmas == sixty_four.measures.sigmas == (0.6,)  # 1.2 on [-1, 1]
    tangents = load_spec("paper/cifar10-tangents")
    np.testing.assert_allclose(tangents.measures.epsilons, np.logspace(-3, 2, 20), rtol=5e-4)
    assert "latent=128" in tangents.tangents[0]
    letters = load_spec("paper/mnist-distractor")
    np.testing.assert_allclose(letters.measures.noise_sigmas, np.logspace(-2, 1, 30), rtol=5e-4)
    assert (letters.train.epochs, letters.train.learning_rate, letters.train.momentum) == (9, 0.1, 0)


def test_networks_of_the_tangents_are_those_of_the_sweep() -> None:
    one, other = load_spec("paper/cifar10"), load_spec("paper/cifar10-tangents")
    data = load_dataset("world:linear?shape=3x32x32&train=50&test=20")
    hashes = [[trial.train_hash for trial in plan_trials(spec, data, "") if trial.train] for spec in (one, other)]
    assert hashes[0] == hashes[1]
    assert one.name == other.name


@pytest.mark.parametrize(("train", "entries"), [({"epochs": 9}, 1), ({"learning_rate": 0.5, "epochs": 9}, 2)])
def test_a_rehearsal_of_a_standard_network_of_another_recipe_is_a_spec(train: dict, entries: int) -> None:
    standard = {"objective": "standard"}
    content = {
        "data": "world:linear?rank=2&classes=2",
        "score": "exact",
        "sweep": [standard, standard | {"train": train}],
    }
    small = rehearsal(parse_spec(content, "spec"))
    again = parse_spec(small.model_dump(mode="json"), "spec")
    assert len(again.sweep) == entries
    assert len({trial.train_hash for trial in plan_trials(again, load_dataset(again.data))}) == entries + 1  # filtered


def test_a_rehearsal_trains_guides_for_one_epoch() -> None:
    options = {"tangents": "autoencoder?latent=3&epochs=30", "part": "off"}
    entry = {"objective": "projected_gradient_norm", "strengths": [0.1], "options": options}
    spec = parse_spec({"guide_fraction": 0.2, "sweep": [{"objective": "standard"}, entry]}, "spec")
    assert rehearsal(spec).sweep[0].options == {"tangents": "autoencoder?latent=3&epochs=1", "part": "off"}


def test_a_rehearsal_keeps_everything_else() -> None:
    assert fewer("cifar10", 200, 40) == "cifar10?train=200&test=40"
    assert fewer("world:linear?train=5000&rank=3&test=2000", 200, 40) == "world:linear?rank=3&train=200&test=40"
    spec = load_spec("paper/cifar10")
    small = rehearsal(spec, 100)
    assert (small.model, small.measures, small.network_score) == (spec.model, spec.measures, spec.network_score)
    assert (small.data, small.name) == ("cifar10?train=100&test=20", "paper-cifar10-rehearsal")
    assert (len(small.sweep), small.sweep[0].strengths) == (1, (spec.sweep[-1].strengths[15],))
    with pytest.raises(SpecError, match="at least 20"):
        rehearsal(spec, 10)


def test_missing_stand_ins_name_the_script_that_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"cifar10-64\.npz.*It is a stand-in: `python scripts/stand_ins\.py stand-ins`"):
        run_study(load_spec("small/imagenet64"), tmp_path / "run")


def test_stand_ins_are_random_and_of_the_published_formats(tmp_path: Path, stand_ins: ModuleType) -> None:
    from tangency.models import load_model
    from tangency.score import load_score

    score = load_score(f"edm:{stand_ins.write_score(tmp_path / 'edm-imagenet-64x64-cond-adm.pkl', 64, 1000)}")
    assert (score.shape, score.classes) == ((3, 64, 64), 1000)
    assert tuple(score.card["classes"]) == imagenet_synsets()
    net = load_model(f"robustness:{stand_ins.write_robust(tmp_path / 'a.ckpt')}?arch=resnet18&dataset=imagenet")
    with torch.no_grad():
        assert net(torch.rand(1, 3, 224, 224)).shape == (1, 1000)
