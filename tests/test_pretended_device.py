"""Every path of the package on a pretended CUDA device: what CUDA would refuse is an error here, without a GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from objective_support import complete
from pretended_device import CUDA, DEVICE, PretendedCuda, place
from study_support import SWEEP, tiny_spec, write_data
from support import make_mixture
from tangency.attacks import pgd
from tangency.autodiff import ATTRIBUTIONS, SCALARS
from tangency.evaluate.filters import FilterSearch
from tangency.evaluate.fitting.tangents import fitted_tangents
from tangency.evaluate.generation.run import generate_with
from tangency.generation.options import Climb
from tangency.generation.tasks.config import GenerationConfig
from tangency.generation.tasks.table import TASKS
from tangency.measures import MeasureConfig, RobustnessConfig, Rows, measure
from tangency.measures.config import TARGETS
from tangency.models import Classifier, build
from tangency.objectives import make
from tangency.objectives.registry import LEGACY, OBJECTIVES
from tangency.score import NetworkScore, ScoreCard, build_network, load_score
from tangency.score.networks.loss import EDMLoss
from tangency.seeding import Draw
from tangency.smoothing import Smoothed
from tangency.study import checked_plan, parse_spec
from tangency.study.guides import load_study_data
from tangency.study.layout import Layout
from tangency.study.phases import phases
from tangency.study.work.bench import Workbench
from tangency.study.work.tasks import do_task
from tangency.tangents import SHAMS, Ground, WorldTangents, open_tangents
from tangency.training import ScoreConfig, Step, TrainConfig, train, train_score
from tangency.types import Dataset, LabelledImages
from tangency.worlds import BayesClassifier, load_dataset, make_world

NAME, SHAPE, CLASSES = str(DEVICE), (1, 8, 8), ("a", "b", "c")


@pytest.fixture
def pretended() -> Iterator[PretendedCuda]:
    with PretendedCuda() as mode:
        yield mode


@pytest.fixture
def strict(pretended: PretendedCuda) -> Iterator[PretendedCuda]:
    """No CPU tensor is an index on the device either, which CUDA allows, and copies in silence."""
    yield pretended
    assert not [where for kind, where in pretended.transfers if kind == "hidden"]


@pytest.fixture(scope="module")
def data() -> Dataset:
    x, y = make_mixture(SHAPE, 3, 2, 3, noise=0.003).sample(130, 0)
    parts = (LabelledImages(x[p].clamp(0, 1).float(), y[p], CLASSES) for p in (slice(100), slice(100, 130)))
    return Dataset("drawn", *parts)


def network() -> Classifier:
    return build("convnet", SHAPE, CLASSES, seed=0, channels=(4, 4, 4))


def score_network() -> NetworkScore:
    options = {"channels": 1, "classes": 3, "size": "tiny"}
    return build_network(ScoreCard("unet", "edm", SHAPE, options, classes=CLASSES), seed=1)


TRAINED = [(name, None) for name in OBJECTIVES] + [(name, "pags") for name in LEGACY["pags"]]


@pytest.mark.parametrize(("name", "legacy"), TRAINED)
def test_training(name: str, legacy: str | None, strict: PretendedCuda, data: Dataset, tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, batch_size=50, flip=True, crop=1, clip_norm=1.0, checkpoint_seconds=0)
    strength = 0.0 if name == "standard" else 0.1
    objective = make(name, strength, legacy=legacy) if legacy else complete(name, strength)
    result = train(network(), data.train, objective, config, tmp_path / "cuda", device=NAME)
    assert result.outcome == "ok"
    assert {place(parameter) for parameter in result.classifier.parameters()} == {CUDA}


@pytest.mark.parametrize("sham", SHAMS)
def test_training_with_tangent_spaces(sham: str, strict: PretendedCuda, data: Dataset, tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, batch_size=50, flip=True, crop=1)
    own = open_tangents("mfa?components=2&rank=3", Ground(data, NAME))
    objective = make("projected_gradient_norm", 0.1, tangents="mfa", sham=sham)
    bound = objective.guided(tangents=own, images=data.train, device=NAME)
    result = train(network(), data.train, bound, config, tmp_path / "cuda", device=NAME)
    assert result.outcome == "ok"


def test_training_of_the_others(strict: PretendedCuda, data: Dataset, tmp_path: Path) -> None:
    config = ScoreConfig(epochs=1, batch_size=50, clip_norm=1.0, checkpoint_seconds=0)
    result = train_score(score_network(), data.train, EDMLoss(), config, tmp_path / "score", device=NAME)
    assert place(next(result.score.module.parameters())) == CUDA
    ground = Ground(data, NAME)
    for number, reference in enumerate(("autoencoder?latent=3&width=4&epochs=1", "mfa?components=1&rank=3")):
        space = fitted_tangents(reference, ground, tmp_path / str(number)).at(data.test.images().to(NAME), ids())
        assert place(space.basis) == CUDA


def test_stopped_training_goes_on(strict: PretendedCuda, data: Dataset, tmp_path: Path) -> None:
    """A checkpoint is read on the CPU and put where the network is, the optimiser's state too."""
    config = TrainConfig(epochs=2, batch_size=50, checkpoint_seconds=0)

    def stop(step: Step) -> None:
        if step.epoch == 2:
            raise KeyboardInterrupt

    for optimiser in ("adamw", "sgd"):
        one = dataclasses.replace(config, optimiser=optimiser)
        with pytest.raises(KeyboardInterrupt):
            train(network(), data.train, make("standard"), one, tmp_path / optimiser, device=NAME, on_step=stop)
        result = train(network(), data.train, make("standard"), one, tmp_path / optimiser, device=NAME)
        assert len(result.history) == 2


def ids(count: int = 30) -> Tensor:
    return torch.arange(count).to(NAME)


SPACES = (
    "mfa?components=1&rank=3",
    "local-pca?rank=3&neighbours=9",
    "denoiser?rank=3&sigma=0.1",
    "denoiser-differences?rank=3",
    "score-svd?rank=3",
)
FLAT = ("pca?rank=3", "dct?rank=3", "random?rank=3")
CLOSED = ("mfa?components=1&rank=3", "gaussian", "empirical")


def measured(data: Dataset, device: str, score: str, config: MeasureConfig) -> Rows:
    """A network of no training, whose rows are those of any device."""
    images, labels = data.test.images(slice(3)).to(device), data.test.labels[:3].to(device)
    closed, trained = load_score(score, data, device), score_network().to(device)
    ground = Ground(data, device, load_score(CLOSED[0], data, device))
    names = (*SPACES, *FLAT) if score == CLOSED[0] else FLAT[:1]
    tangents = {name.partition("?")[0]: open_tangents(name, ground) for name in names}
    return measure(
        network().to(device),
        images,
        labels,
        train_data=data.train,
        score=closed,
        tangents=tangents,
        network=trained,
        config=config,
        pool=data.test,
        ids=torch.arange(3, device=device),
        attributions={"ones": lambda model, x, y: x.square()},
    )


ALIGNMENTS = tuple(("margin", target) for target in TARGETS)


@pytest.mark.parametrize("score", [CLOSED[0], *(pytest.param(one, marks=pytest.mark.slow) for one in CLOSED[1:])])
def test_measuring(score: str, data: Dataset) -> None:
    config = MeasureConfig(
        alignments=ALIGNMENTS,
        metrics=("cosine", "band", "spearman", "ssim", "cka", "retrieval"),
        sigmas=(0.3,),
        directions=1,
        curved=1,
    )
    expected = measured(data, "cpu", score, config)
    with PretendedCuda():
        got = measured(data, NAME, score, config)
        assert {place(values) for values in got.columns.values()} == {CUDA}
        got = Rows(got.ids.cpu(), {key: values.cpu() for key, values in got.columns.items()}, 64, 3)
    for key, values in expected.columns.items():
        torch.testing.assert_close(got[key], values, rtol=1e-3, atol=1e-4, equal_nan=True)


ROBUST = RobustnessConfig(
    attacks=("pgd_l2", "pgd_linf", "worst_case", "smoothing"),
    l2_epsilons=(0.5,),
    linf_epsilons=(0.03,),
    worst_epsilons=(0.5,),
    sigmas=(0.2,),
    steps=2,
    alpha=0.1,
    selection=5,
    draws=20,
    gradient_draws=3,
)


def test_measuring_scalars_attributions_and_attacks(strict: PretendedCuda, data: Dataset) -> None:
    config = MeasureConfig(
        tangent_scalars=(*SCALARS, *(f"{method}(margin)" for method in ATTRIBUTIONS)),
        alignments=(("logp_y", "bayes_gradient"),),
        metrics=("cosine",),
        sigmas=(0.3,),
        directions=1,
        label="predicted",
        robustness=ROBUST,
    )
    x, y = data.test.images(slice(4)).to(NAME), data.test.labels[:4].to(NAME)
    rows = measure(network().to(NAME), x, y, train_data=data.train, score="gaussian", config=config)
    assert {place(values) for values in rows.columns.values()} == {CUDA}


def test_perceptual_metrics(pretended: PretendedCuda) -> None:
    own = load_dataset("world:linear?rank=2&classes=2&shape=1x32x32&train=20&test=4")
    config = MeasureConfig(sigmas=(0.3,), directions=1, metrics=("lpips",), legacy="pags")
    net = build("convnet", own.test.shape, own.test.classes, channels=(4, 4, 4)).to(NAME)
    score, spaces = load_score("gaussian", own, NAME), open_tangents("dct?rank=2", Ground(own, NAME))
    x, y = own.test.images().to(NAME), own.test.labels.to(NAME)
    rows = measure(net, x, y, train_data=own.train, score=score, tangents=spaces, config=config)
    assert {place(values) for values in rows.columns.values()} == {CUDA}


def test_measuring_at_a_working_size(pretended: PretendedCuda, data: Dataset) -> None:
    config = MeasureConfig(working_size=4, sigmas=(0.3,), directions=1, metrics=("cosine",))
    images, labels = data.test.images(slice(6)).to(NAME), data.test.labels[:6].to(NAME)
    rows = measure(network().to(NAME), images, labels, train_data=data.train, config=config, score="mfa?rank=3")
    assert {place(values) for values in rows.columns.values()} == {CUDA}


@pytest.mark.parametrize(
    "world",
    [
        "distractor",
        pytest.param("sphere?shape=1x6x7&rank=3", marks=pytest.mark.slow),
        pytest.param("fitted?components=1&rank=3", marks=pytest.mark.slow),
    ],
)
def test_worlds(world: str, pretended: PretendedCuda) -> None:
    own = load_dataset(f"world:{world}{'&' if '?' in world else '?'}train=20&test=8")
    truth = make_world(world).to(NAME)
    x, y = own.test.images().to(NAME), own.test.labels.to(NAME)
    noise = () if own.test.signal is None else (0.1,)
    config = MeasureConfig(sigmas=(0.3,), directions=1, metrics=("cosine",), noise_sigmas=noise)
    spaces, model = WorldTangents(truth), BayesClassifier(truth)
    rows = measure(
        model, x, y, train_data=own.train, pool=own.test, score=truth, tangents=spaces, config=config, ids=ids(8)
    )
    assert {place(values) for values in rows.columns.values()} == {CUDA}


def test_filters(strict: PretendedCuda, data: Dataset) -> None:
    scores = {"bayes_gradient": load_score("gaussian", data, NAME), "network_bayes_gradient": score_network()}
    scores["network_bayes_gradient"] = score_network().to(NAME)
    search = FilterSearch.prepared(scores, data.train, 0.3, data.test, 20, device=NAME)
    best = search.best(network().to(NAME), device=NAME)
    assert set(best.chosen) == set(scores)


@pytest.mark.parametrize("task", TASKS)
def test_generation(task: str, strict: PretendedCuda, data: Dataset) -> None:
    climb = Climb() if task == "counterfactual" else Climb(steps=2, frames=2)
    unit = "module.features.0" if task == "feature" else ""
    config = GenerationConfig(task, 4, climb, unit=unit, components=1, rank=3)
    judge, score = build("convnet", SHAPE, CLASSES, seed=1, channels=(4, 4, 4)).to(NAME), score_network().to(NAME)
    made = generate_with(network().to(NAME), data, config, judge=judge, score=score, device=NAME)
    assert made.pictures
    assert made.frame().height
    assert made.arrays()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_attacks(norm: str, strict: PretendedCuda, data: Dataset) -> None:
    x, y = data.test.images(slice(4)).to(NAME), data.test.labels[:4].to(NAME)
    draw = Draw(0, ids(4), "attack")
    assert place(pgd(network().to(NAME), x, y, 0.1, norm, draw=draw).images) == CUDA


def test_smoothing(strict: PretendedCuda, data: Dataset) -> None:
    smoothed, x = Smoothed(network().to(NAME), 0.2), data.test.images(slice(3)).to(NAME)
    assert place(smoothed.predict(x, ids(3), n=20)) == CUDA
    assert place(smoothed.certify(x, ids(3), n=60, alpha=0.05).radius) == CUDA


def test_a_study(pretended: PretendedCuda, tmp_path: Path) -> None:
    """Every task of a study with a judge, generated pictures, filters and guides."""
    off = {"tangents": "mfa?components=1&rank=2", "part": "off", "sham": "other"}
    content = tiny_spec(
        write_data(tmp_path),
        sweep=[*SWEEP, {"objective": "projected_gradient_norm", "strengths": [0.1], "options": off}],
        guide_fraction=0.2,
        generate=[{"task": "denoise", "count": 2, "climb": {"steps": 2}}],
        judge={"options": {"width": 2}},
        tangents=["mfa?components=1&rank=3"],
        train={"epochs": 1, "batch_size": 40},
        measured=6,
    )
    plan = checked_plan(parse_spec(content, "test"), load_study_data(content["data"], 0.2))
    bench, kinds = Workbench(plan, tmp_path / "run", NAME), set()
    for _, tasks in phases(plan, bench.data, Layout(tmp_path / "run")):
        for task in tasks:
            do_task(bench, task, lambda share: None)
            kinds.add(task.kind)
    assert kinds >= {
        "guide",
        "sham",
        "score",
        "train",
        "train_judge",
        "filter",
        "measure",
        "pictures",
        "generate",
        "judge_pictures",
    }
