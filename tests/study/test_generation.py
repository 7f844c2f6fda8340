"""A whole task with references and judges: columns, invariance to batches, worlds, bad input."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from support import make_mixture
from tangency.errors import ModelError, NumericsError, SpecError
from tangency.evaluate.entries import fields_json
from tangency.evaluate.generation.judges import judge_quality
from tangency.evaluate.generation.qualities import ABOUT
from tangency.evaluate.generation.run import generate_with
from tangency.generation.conditional import pixel_mixture
from tangency.generation.energy import JointLogits
from tangency.generation.options import Climb
from tangency.generation.tasks.config import GenerationConfig
from tangency.generation.tasks.prepare import fitted_to, why_no_mixture
from tangency.generation.tasks.table import TASKS
from tangency.models import Classifier, build
from tangency.report import write_generation
from tangency.score import MixtureScore
from tangency.types import Dataset, LabelledImages
from tangency.worlds import load_dataset, make_world

QUICK = Climb(steps=5, frames=3)
UNITS = {"feature": "module.features.0"}


@pytest.fixture(scope="module")
def data() -> Dataset:
    mixture = make_mixture((1, 8, 8), 3, 2, 3, noise=0.003)
    x, y = mixture.sample(150, 0)
    pixels = x.clamp(0, 1).float()
    splits = [LabelledImages(pixels[part], y[part], ("a", "b", "c")) for part in (slice(0, 120), slice(120, 150))]
    return Dataset("tiny", *splits)


@pytest.fixture(scope="module")
def nets() -> list[Classifier]:
    options = {"channels": (4, 4, 4)}
    return [build("convnet", (1, 8, 8), ("a", "b", "c"), seed, **options) for seed in (0, 1)]


def asked(task: str, **changes: object) -> GenerationConfig:
    climb = Climb(frames=3) if task == "counterfactual" else QUICK
    options = {"count": 6, "climb": climb, "unit": UNITS.get(task, ""), "components": 1, "rank": 3}
    return GenerationConfig(task, **{**options, **changes})


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_judged_and_does_not_depend_on_batches(task: str, data: Dataset, nets: list[Classifier]) -> None:
    net, judge = nets
    score = MixtureScore(make_mixture((1, 8, 8), 3, 2, 3, noise=0.003))
    made = generate_with(net, data, asked(task), judge=judge, score=score)
    parts = generate_with(net, data, asked(task, batch=2), judge=judge, score=score)
    for source, pictures in made.pictures.items():
        assert pictures.shape == (6, 1, 8, 8)
        assert torch.allclose(pictures, parts.pictures[source], atol=1e-5), source
    fewer = generate_with(net, data, asked(task, count=4), judge=judge, score=score)
    assert torch.equal(made.pictures["classifier"][:1].isfinite(), fewer.pictures["classifier"][:1].isfinite())
    numbers = made.summary["sources"]["classifier"]["measures"]
    assert set(numbers) <= set(ABOUT)
    wanted = {"psnr", "psnr_gain", "ssim", "lpips", "direction_cosine"} if TASKS[task].truth else {"nearest_distance"}
    assert wanted <= set(numbers)
    if task != "feature":
        assert {"judge_accuracy", "judge_confidence", "mixture_accuracy", "log_density", "diversity"} <= set(numbers)
        assert numbers["judge_accuracy"]["chance"] == pytest.approx(1 / 3)
        assert {"bayes"} <= set(made.pictures)
    frame = made.frame()
    assert frame.columns == ["image", "class", "source", "measure", "value"]
    assert len(made.frames) >= 2
    spent = made.columns["score"]["evaluations"] if "score" in made.columns else torch.zeros(1)
    assert spent.max() <= asked(task).budget
    if not TASKS[task].truth and task != "feature":
        assert "it takes 1000 a side" in made.summary["unavailable"]["kid"]
        assert "at least" in made.summary["unavailable"]["frechet_judge"]


def test_the_true_score_of_a_world_does_what_no_other_can() -> None:
    """With the Bayes rule of a world as the classifier, the energy restores, and classes are what was asked for."""
    reference = "world:linear?rank=3&classes=2&shape=1x8x8&train=200&test=40&noise=0.001"
    data, world = load_dataset(reference), make_world(reference)
    law = pixel_mixture(world)

    def net(sigma: float) -> Classifier:
        return Classifier.wrap(JointLogits(law, sigma), (1, 8, 8), data.test.classes)

    noisy = generate_with(net(0.2), data, asked("denoise", count=20, sigma=0.2, climb=Climb(steps=40)))
    gains = {
        name: told["measures"]["psnr_gain"]["mean"]
        for name, told in noisy.summary["sources"].items()
        if name != "truth"
    }
    assert gains["input"] == 0
    assert gains["classifier"] > 3
    assert gains["bayes"] == pytest.approx(gains["classifier"], abs=1e-3)
    assert gains["mixture"] > gains["classifier"]  # the posterior mean has the least squared error
    once = generate_with(net(0.2), data, asked("denoise", count=20, sigma=0.2, method="tweedie", climb=Climb()))
    found = once.summary["sources"]
    assert found["classifier"]["measures"]["psnr"]["mean"] == pytest.approx(
        found["mixture"]["measures"]["psnr"]["mean"]
    )
    drawn = generate_with(net(0.0), data, asked("generate", count=20))
    assert drawn.summary["sources"]["mixture"]["measures"]["mixture_accuracy"]["mean"] > 0.7
    assert drawn.summary["settings"]["climb"]["bounds"] is None  # a world's pixels are not confined


@pytest.mark.parametrize("task", TASKS)
def test_a_network_that_gives_no_numbers_is_told_and_returns_images_unchanged(
    task: str, data: Dataset, nets: list[Classifier]
) -> None:
    broken = build("convnet", (1, 8, 8), ("a", "b", "c"), 0, channels=(4, 4, 4))
    with torch.no_grad():
        broken.module.features[0].weight.fill_(torch.nan)
    made = generate_with(broken, data, asked(task, references=()), judge=nets[1])
    assert made.summary["sources"]["classifier"]["counts"]["diverged"] == 6
    assert torch.allclose(made.pictures["classifier"], made.pictures["input"].clamp(0, 1))


@pytest.mark.parametrize("task", TASKS)
def test_a_network_without_gradients_stalls(task: str, data: Dataset) -> None:
    flat = build("convnet", (1, 8, 8), ("a", "b", "c"), 0, channels=(4, 4, 4))
    with torch.no_grad():
        for weight in flat.module.parameters():
            weight.zero_()
    changes = {"margin": 0.5} if task == "counterfactual" else {}
    made = generate_with(flat, data, asked(task, references=(), **changes))
    assert made.summary["sources"]["classifier"]["counts"]["stalled"] == 6
    assert torch.allclose(made.pictures["classifier"], made.pictures["input"].clamp(0, 1))


@pytest.mark.parametrize("changes", [{"blind": True}, {"method": "map"}, {"label": "oracle"}, {"label": "predicted"}])
def test_ways_to_denoise(changes: dict, data: Dataset, nets: list[Classifier]) -> None:
    made = generate_with(nets[0], data, asked("denoise", **changes))
    told = made.summary["sources"]["classifier"]["measures"]
    if changes.get("blind"):
        assert told["assumed_sigma"]["mean"] > 0.25  # images of independent pixels: their texture reads as noise
    else:
        assert told["assumed_sigma"]["mean"] == pytest.approx(0.25)
        assert made.summary["sources"]["mixture"]["measures"]["psnr_gain"]["low"] > 0


def test_a_kid_takes_a_thousand_pictures(nets: list[Classifier], tmp_path: Path) -> None:
    mixture = make_mixture((1, 8, 8), 3, 1, 3, noise=0.003)
    x, y = mixture.sample(2200, 0)
    splits = [
        LabelledImages(x[p].clamp(0, 1).float(), y[p], ("a", "b", "c")) for p in (slice(0, 1100), slice(1100, 2200))
    ]
    config = asked("generate", count=1000, climb=Climb(steps=1), references=("mixture",))
    made = generate_with(nets[0], Dataset("tiny", *splits), config, judge=nets[1], mixture=mixture)
    sets = {name: told["set"] for name, told in made.summary["sources"].items()}
    assert "kid" not in made.summary["unavailable"]
    assert abs(sets["real"]["kid"]) < 4 * sets["real"]["kid_standard_error"]
    assert sets["input"]["kid"] > 4 * sets["input"]["kid_standard_error"]
    assert sets["real"]["recall"] > 0.8
    assert sets["real"]["frechet_judge"] < sets["input"]["frechet_judge"]  # 4 features, so 40 pictures are enough
    assert not {"fid", "frechet_alexnet"} & sets["real"].keys()  # FID is of Inception's features only
    page = write_generation(made.summary, made.arrays(), tmp_path)["page"].read_text(encoding="utf-8")
    assert "Fréchet distance ↓" in page
    assert f"{sets['real']['frechet_judge']:.3g}" in page
    assert "FID ↓" not in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "generate", "target": 3}, "expected 0 to 2"),
        ({"task": "translate", "target": "d"}, "unknown class"),
        ({"task": "denoise", "count": 31}, "30 test images"),
        ({"task": "superres", "factor": 3}, "divisor"),
        ({"task": "feature", "unit": "module.fatures"}, "module.features"),
        ({"task": "feature", "unit": "module.features.0", "target": 9}, "channel"),
        ({"task": "inpaint", "share": 1.0}, "share"),
    ],
)
def test_bad_input_is_named(changes: dict, message: str, data: Dataset, nets: list[Classifier]) -> None:
    with pytest.raises((SpecError, NumericsError), match=message):
        generate_with(nets[0], data, dataclasses.replace(asked("generate"), **changes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "paint"}, "inpaint"),
        ({"task": "feature"}, "unit"),
        ({"references": ("score", "baies")}, "bayes"),
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": math.inf}, "sigma: got inf"),
        ({"margin": math.inf}, "margin: got inf"),
        ({"guidance": math.nan}, "guidance: got nan"),
        ({"share": math.nan}, "share: got nan"),
        ({"components": 0}, "components: got 0"),
        ({"rank": 0}, "rank: got 0"),
        ({"references": ("bayes", "bayes")}, "references: .*at most once"),
        ({"task": "denoise", "method": "tweedie", "label": "predicted"}, "tweedie"),
    ],
)
def test_bad_settings_are_named(options: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        GenerationConfig(**options)


def test_any_module_will_do_on_colour_images() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    net = Classifier.wrap(nn.Sequential(*layers, nn.Linear(16, 10)), (3, 32, 32), 10, mean=(0.5,) * 3, std=(0.2,) * 3)
    pixels = (torch.rand(60, 3, 32, 32) * 255).byte()
    images = LabelledImages(pixels, torch.arange(60) % 10, tuple(map(str, range(10))))
    for task in TASKS:
        climb = Climb() if task == "counterfactual" else Climb(steps=2)
        config = asked(task, count=3, unit="module.1" if task == "feature" else "", climb=climb)
        made = generate_with(net, Dataset("colours", images, images), config)
        assert made.pictures["classifier"].shape == (3, 3, 32, 32)
        assert made.summary["unavailable"]["judge"]
        assert not net.module[1].running_mean.any()


def test_a_classifier_of_other_images_is_refused(data: Dataset, nets: list[Classifier]) -> None:
    with pytest.raises(ModelError, match="judge: its 4 classes are"):
        generate_with(nets[0], data, asked("denoise"), judge=build("convnet", (1, 8, 8), 4))


def test_bounds_are_refused_where_pixels_are_not_confined() -> None:
    world = load_dataset("world:linear?rank=3&classes=2&shape=1x8x8&train=20&test=10&noise=0.001")
    with pytest.raises(SpecError, match=r"climb\.bounds: got \[0\.0, 0\.5\]"):
        fitted_to(GenerationConfig("denoise", 4, Climb(bounds=(0.0, 0.5))), world)


def test_how_good_a_judge_is_has_a_known_answer() -> None:
    pixels = torch.zeros(60, 1, 4, 4)
    labels = torch.arange(60) % 3
    pixels[torch.arange(60), 0, 0, labels] = 1
    images = LabelledImages(pixels, labels, ("a", "b", "c"))
    right, same = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        right[1].weight.copy_(torch.eye(3, 16))
        same[1].weight.zero_()
    good, poor = (fields_json(judge_quality(net, Dataset("tiny", images, images), "cpu")) for net in (right, same))
    assert good == {
        "accuracy": {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 60, "degenerate": 0, "chance": 1 / 3},
        "warning": "",
    }
    assert poor["accuracy"]["mean"] == pytest.approx(1 / 3)
    assert "not above chance" in poor["warning"]


def test_why_there_is_no_mixture(data: Dataset) -> None:
    assert why_no_mixture(data, 1, 3) == ""
    assert why_no_mixture(data, 1, 64).startswith("rank: got 64 for images of 64 values")
    assert why_no_mixture(data, 100, 3).startswith("components: 100 to a class take at least 200")
    world = load_dataset("world:linear?rank=3&classes=2&shape=1x8x8&train=20&test=10&noise=0.001")
    assert why_no_mixture(world, 1, 64) == ""  # it has a mixture of its own
