"""The public names: each resolves, says what it takes with an example, stands in docs/python.md, and works."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import tangency
from study_support import tiny_spec, write_data
from tangency.errors import ModelError, RunError, SpecError
from tangency.measures import Rows
from tangency.models import Classifier, build, read_classifier, save_classifier
from tangency.smoothing import Smoothed
from tangency.study import load_spec
from tangency.study.summary.entries import SUMMARY_SCHEMA

PAGE = (Path(__file__).parent.parent / "docs" / "python.md").read_text()
WANTED = {
    "load_data", "load_classifier", "load_score", "load_tangents", "agreement", "train", "objective", "pgd",
    "input_gradients", "measure", "estimates", "compare", "regimes", "filtered_baseline", "generate", "smooth",
    "certify", "evaluate_score", "evaluate_tangents", "run_study", "load_run", "write_report",
    "run_cause", "build", "measure_models", "rank_models", "write_leaderboard",
}  # fmt: skip
WORLD = "world:linear?rank=3&classes=2&shape=1x8x8&train=200&test=40"
CONFIG = tangency.MeasureConfig(metrics=("cosine",), sigmas=(0.25,), rho_sigmas=(), epsilons=(2.0,), directions=1)


def test_what_a_notebook_needs_is_there() -> None:
    assert set(tangency.__all__) >= WANTED
    assert tangency.__all__ == sorted(tangency.__all__)


@pytest.mark.parametrize("name", tangency.__all__)
def test_every_public_name_resolves_has_an_example_and_stands_in_the_docs(name: str) -> None:
    text = inspect.getdoc(getattr(tangency, name)) or ""
    assert "Example:" in text
    assert ">>> " in text
    assert re.search(rf"`{name}\b", PAGE) or f"tangency.{name}(" in PAGE
    if not inspect.isclass(getattr(tangency, name)):
        assert "Args:" in text or name == "input_gradient"  # which points to the other
        assert "Raises:" in text or name == "input_gradient"


def test_every_argument_of_a_public_function_is_described() -> None:
    for name in WANTED:
        function = getattr(tangency, name)
        text = inspect.getdoc(function) or ""
        for argument in inspect.signature(function).parameters:
            assert re.search(rf"^ +(?:\*\*)?(?:\w+, )*{argument}(?:, \w+)*:|\. {argument}: ", text, re.M), (
                f"{name}: {argument}"
            )


@pytest.mark.processes
def test_the_examples_of_the_page_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "__main__"}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) == 4
    for number, code in enumerate(blocks):
        exec(compile(code, f"python.md {number}", "exec"), scope)
    printed = capsys.readouterr().out
    assert "torch.Size([8, 1, 8, 8])" in printed
    assert "('standard-0-s0', 'gradient_norm-0.3-s0', 'filtered-s0')" in printed
    assert (tmp_path / "runs" / "mine" / "report" / "index.html").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api")
    content = tiny_spec(write_data(folder), untrained=False, sweep=[{"objective": "standard"}], train={"epochs": 1})
    tangency.run_study(content, folder / "run")
    return folder / "run"


@pytest.mark.processes
def test_load_run_gives_what_the_files_hold(run: Path) -> None:
    found = tangency.load_run(str(run))
    assert found.spec == load_spec(run / "spec.yaml")
    assert found.trials == ("standard-0-s0", "filtered-s0")
    assert found.rows.columns[:3] == ["trial", "seed", "image"]
    own = found.rows["trial"] == "standard-0-s0"
    accuracy = found.rows.filter(own)["accuracy"].mean()
    assert accuracy == pytest.approx(found.trial("standard-0-s0")["measures"]["accuracy"]["mean"])
    x = torch.rand(3, 1, 8, 8)
    (file,) = (run / "trials").glob("*/model.safetensors")
    assert torch.equal(found.classifier("standard-0-s0")(x), read_classifier(file)(x))
    reference = found.reference("standard-0-s0")
    assert tangency.compare(reference, reference, replicates=50, permutations=99).images == 12
    with pytest.raises(RunError, match="trial 'standard-1-s0'"):
        found.classifier("standard-1-s0")


@pytest.mark.processes
def test_load_classifier_takes_every_reference(run: Path, tmp_path: Path) -> None:
    trial = tangency.load_classifier(f"run:{run}/trials/standard-0-s0")
    x = torch.rand(3, 1, 8, 8)
    data = tangency.load_run(run).spec.data
    named = tangency.load_classifier(f"run:{run}/trials/standard-0-s0", data, device="cpu", class_map="order")
    assert torch.equal(named(x), trial(x))
    save_classifier(trial, tmp_path / "net.safetensors")
    assert torch.equal(tangency.load_classifier(tmp_path / "net.safetensors")(x), trial(x))
    with pytest.raises(ModelError, match=r"unknown model|no model"):
        tangency.load_classifier("nothing:here")
    with pytest.raises(SpecError, match="device: got 'gpu'"):
        tangency.load_classifier(tmp_path / "net.safetensors", device="gpu")


@pytest.mark.parametrize("class_map", [[2, 0], "2,0", {"a": 2, "b": 0}])
def test_load_classifier_maps_classes(class_map: object, tmp_path: Path) -> None:
    images = tangency.LabelledImages(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]), ("a", "b"))
    data, net = tangency_data(images), build("convnet", (1, 8, 8), ("b", "x", "a"))
    save_classifier(net, tmp_path / "net.safetensors")
    found = tangency.load_classifier(tmp_path / "net.safetensors", data, class_map=class_map)  # type: ignore[arg-type]
    assert torch.equal(found(images.images()), net.eval()(images.images())[:, [2, 0]])


def tangency_data(images: tangency.LabelledImages) -> object:
    from tangency.types import Dataset

    return Dataset("tensors", images, images)


def test_load_run_refuses_what_is_no_finished_study(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        tangency.load_run(tmp_path / "none")
    with pytest.raises(RunError, match=r"holds no spec\.yaml"):
        tangency.load_run(tmp_path)
    (tmp_path / "spec.yaml").write_text("sweep: [{objective: standard}]\n")
    with pytest.raises(RunError, match=r"summary\.json' is missing"):
        tangency.load_run(tmp_path)
    (tmp_path / "summary.json").write_text('{"trials": [], "spec_hash": "other"}')
    with pytest.raises(RunError, match="its labels are those of another version's rule"):
        tangency.load_run(tmp_path)
    (tmp_path / "summary.json").write_text(f'{{"schema": {SUMMARY_SCHEMA}, "trials": [], "spec_hash": "other"}}')
    with pytest.raises(RunError, match="is not of the study in"):
        tangency.load_run(tmp_path)
    (tmp_path / "spec.yaml").write_text("sweeep: 3\n")
    with pytest.raises(RunError, match="is no spec of this version"):
        tangency.load_run(tmp_path)


@pytest.fixture(scope="module")
def measured() -> tuple[Rows, Rows, torch.Tensor]:
    """Rows of the Bayes rule of a world, and of a rule of half its sharpness, with the labels."""
    data, world = tangency.load_data(WORLD), tangency.make_world("linear?rank=3&classes=2&shape=1x8x8")
    rule, x, y = tangency.BayesClassifier(world, 0.25), data.test.images(), data.test.labels
    given = {"train_data": data.train, "score": world, "tangents": tangency.load_tangents("exact", data)}
    torch.manual_seed(0)
    noisy = nn.Sequential(rule, nn.Linear(2, 2))
    with torch.no_grad():
        noisy[1].weight.copy_(torch.eye(2) / 2)
        noisy[1].bias.zero_()
    one, two = (tangency.measure(net, x, y, config=CONFIG, **given) for net in (rule, noisy))
    return one, two, y


def test_compare_of_rows_pairs_images(measured: tuple[Rows, Rows, torch.Tensor]) -> None:
    one, two, _ = measured
    found = tangency.compare(one, two, ["change_on"], replicates=100, permutations=99)
    assert (found.a, found.b, found.images, found.warnings) == ("A", "B", 40, [])
    (entry,) = found.measures
    key = entry.key
    assert entry.difference.mean == pytest.approx(float((one[key] - two[key]).mean()))
    some = two.at(torch.arange(39, 9, -1))  # other images, in another order
    part = tangency.compare(one, some, ["change_on"], replicates=100, permutations=99)
    assert (part.images, part.left_out) == (30, {"a": 10, "b": 0})
    assert part.measures[0].difference.mean == pytest.approx(float((one[key] - two[key])[10:].mean()))


def test_compare_of_rows_says_where_images_or_settings_cannot_be_the_same(
    measured: tuple[Rows, Rows, torch.Tensor], tmp_path: Path
) -> None:
    one, two, _ = measured
    moved = Rows(two.ids, two.columns | {"tangent_rank": two["tangent_rank"] + 1}, two.dimension, two.classes)
    (sentence,) = tangency.compare(one, moved, ["accuracy"], replicates=50, permutations=99).warnings
    assert sentence.startswith("tangent_rank: differ between A and B, though no classifier changes them")
    with pytest.raises(RunError, match="A has images of 64 pixels, B of 65"):
        tangency.compare(one, Rows(two.ids, two.columns, 65, 2))
    with pytest.raises(RunError, match="classes are 2 for 'A' and 3 for 'B'"):
        tangency.compare(one, Rows(two.ids, two.columns, 64, 3))
    with pytest.raises(RunError, match="the rows of B hold an image twice"):
        tangency.compare(one, Rows(two.ids * 0, two.columns, 64, 2))
    with pytest.raises(RunError, match="got rows and a folder"):
        tangency.compare(one, tmp_path)


def test_smooth_and_certify_are_those_of_the_smoothed_classifier() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), torch.rand(4, 1, 4, 4)
    by_hand = Smoothed(net, 0.3, 5, 100)
    wanted = by_hand.certify(x, torch.tensor([7, 1, 2, 3]), 50, 200, 0.01)
    found = tangency.certify(
        net, x, 0.3, n0=50, n=200, alpha=0.01, ids=torch.tensor([7, 1, 2, 3]), seed=5, batch_size=100
    )
    assert torch.equal(found.classes, wanted.classes)
    assert torch.equal(found.radius, wanted.radius)
    assert tangency.smooth(net, 0.3, seed=5, batch_size=100) == by_hand


def test_generate_takes_a_classifier_and_keeps_nothing_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tangency.generation.options import Climb
    from tangency.generation.tasks.config import GenerationConfig

    monkeypatch.chdir(tmp_path)
    data = tangency.load_data(WORLD)
    net = build("convnet", data.train.shape, data.train.classes)
    save_classifier(net, tmp_path / "net.safetensors")
    config = GenerationConfig("generate", 4, Climb(steps=2), references=())
    given = tangency.generate(net, WORLD, config)
    assert not (tmp_path / "rows.parquet").exists()
    named = tangency.generate("net.safetensors", data, config, out="made")
    assert torch.equal(given.pictures["classifier"], named.pictures["classifier"])
    assert (tmp_path / "made" / "rows.parquet").exists()
    assert (given.summary["model"], named.summary["model"]) == ("convnet", "net.safetensors")
    with pytest.raises(SpecError, match=r"judge 'convnet': is 'net\.safetensors' itself"):
        tangency.generate("net.safetensors", data, config, judge=net)


def test_tangents_by_data_reference_and_score() -> None:
    data = tangency.load_data(WORLD)
    x, exact = data.test.images(), tangency.load_tangents("exact", WORLD)
    score = tangency.load_score("exact", data)
    by_score = tangency.load_tangents("denoiser?rank=3&sigma=0.02", data, score=score)
    by_name = tangency.load_tangents("denoiser?rank=3&sigma=0.02", data, score="exact")
    assert float(tangency.agreement(exact, by_score, x).largest.max()) < 0.5
    assert torch.equal(by_score.at(x).basis, by_name.at(x).basis)
    with pytest.raises(SpecError, match=r"unknown|no tangent"):
        tangency.load_tangents("exakt", data)


def test_a_study_takes_its_keys_as_a_mapping_and_checks_them(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"spec: .*sweeep"):
        tangency.run_study({"sweeep": []}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_classifier_of_the_api_is_the_one_of_the_rooms() -> None:
    assert tangency.Classifier is Classifier
