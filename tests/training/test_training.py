"""Training: learns, records, diverges in the open, and says what does not fit."""

import dataclasses
import math

import polars
import pytest
import torch
from torch import nn

from tangency.errors import DataError, ModelError, RunError
from tangency.models import Classifier, build, read_classifier
from tangency.objectives import make
from tangency.training import TrainConfig, evaluate, train
from tangency.types import LabelledImages

SHAPE = (1, 9, 11)


def bright_or_dark(n=90, seed=0):
    """Three classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    pixels = torch.randint(0, 90, (n, *SHAPE), generator=generator) + 80 * labels[:, None, None, None]
    return LabelledImages(pixels.to(torch.uint8), labels, ("a", "b", "c"))


def net(seed=0, **options):
    return build("convnet", SHAPE, 3, seed=seed, channels=(3, 5, 7), **options)


CONFIG = TrainConfig(epochs=4, batch_size=16, learning_rate=0.02, validation_fraction=0.2)


def state(classifier):
    return {name: value.clone() for name, value in classifier.module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_learns_and_leaves_model_best_and_history(tmp_path, optimiser):
    rate = {"adamw": 0.02, "sgd": 0.1}[optimiser]
    config = dataclasses.replace(CONFIG, optimiser=optimiser, epochs=8, learning_rate=rate)
    result = train(net(), bright_or_dark(), make("standard"), config, tmp_path / "run")
    assert result.outcome == "ok"
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [
        "best.safetensors",
        "history.parquet",
        "model.safetensors",
    ]
    last, best = (read_classifier(tmp_path / "run" / f"{name}.safetensors") for name in ("model", "best"))
    assert same(state(last), state(result.classifier))
    assert not result.classifier.training
    test = bright_or_dark(60, seed=5)
    assert evaluate(last, test, torch.arange(60), torch.device("cpu")).accuracy > 0.9
    history = polars.read_parquet(tmp_path / "run" / "history.parquet")
    assert history.to_dicts() == result.history
    assert history["epoch"].to_list() == list(range(1, 9))
    accuracies = history["validation_accuracy"].to_list()
    assert result.best_accuracy == max(accuracies)
    assert result.best_epoch == accuracies.index(max(accuracies)) + 1
    assert best.card.provenance["training"]["epoch"] == result.best_epoch
    assert history["train_loss"][-1] < 0.5 * history["train_loss"][0]
    record = last.card.provenance["training"]
    assert record["objective"]["name"] == "standard"
    assert last.card.provenance["initial_seed"] == 0
    assert 0 < sum(history["seconds"]) <= result.seconds


def test_history_holds_what_an_evaluation_of_the_weights_gives(tmp_path):
    data, held = bright_or_dark(), bright_or_dark(30, seed=9)
    result = train(net(), data, make("gnorm", 0.1), CONFIG, tmp_path, validation=held)
    found = evaluate(result.classifier, held, torch.arange(30), torch.device("cpu"))
    row = result.history[-1]
    assert (row["validation_loss"], row["validation_accuracy"], row["gradient_norm"]) == dataclasses.astuple(found)


def test_a_step_is_a_step_of_the_optimiser_on_the_mean_loss(tmp_path):
    """One batch, one epoch, plain SGD without momentum or decay: weights move by −rate · gradient."""
    data = bright_or_dark(12)
    settings = {"optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0}
    config = TrainConfig(epochs=1, batch_size=12, learning_rate=0.3, validation_fraction=0.0, **settings)
    start = net()
    nn.functional.cross_entropy(start(data.images()), data.labels).backward()
    wanted = {name: p.detach() - 0.3 * p.grad for name, p in start.module.named_parameters()}
    got = state(train(net(), data, make("standard"), config, tmp_path / "a").classifier)
    for name in wanted:
        torch.testing.assert_close(got[name], wanted[name], rtol=1e-5, atol=1e-7)
    config = dataclasses.replace(config, clip_norm=1e-3)
    got = state(train(net(), data, make("standard"), config, tmp_path / "b").classifier)
    moved = math.sqrt(
        sum(float((got[name] - p.detach()).square().sum()) for name, p in start.module.named_parameters())
    )
    assert moved == pytest.approx(0.3 * 1e-3, rel=1e-3)


def test_the_result_depends_on_the_seed_and_leaves_the_random_state_alone(tmp_path):
    results = {}
    for run, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(ord(run))
        before = torch.get_rng_state()
        config = dataclasses.replace(CONFIG, seed=seed)
        results[run] = state(
            train(net(), bright_or_dark(), make("rand_smooth", 0.1), config, tmp_path / run).classifier
        )
        assert torch.equal(torch.get_rng_state(), before)
    assert same(results["a"], results["b"])
    assert not same(results["a"], results["c"])


def test_finished_training_is_not_repeated(tmp_path):
    arguments = (bright_or_dark(), make("standard"), CONFIG, tmp_path)
    first = train(net(), *arguments)
    weights = state(first.classifier)

    def fail(step):
        raise AssertionError("trained again")

    for classifier in (net(), first.classifier):  # built anew, or the very object of a notebook
        again = train(classifier, *arguments, on_step=fail)
        assert same(state(again.classifier), weights)
        assert dataclasses.replace(again, classifier=None) == dataclasses.replace(first, classifier=None)


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("change", ["data", "labels", "objective", "config", "weights", "validation"])
def test_a_folder_of_another_training_is_refused(tmp_path, change, stopped):
    def stop(step):
        if stopped and step.epoch == 2:
            raise KeyboardInterrupt

    arguments = {
        "classifier": net(),
        "data": bright_or_dark(),
        "objective": make("standard"),
        "config": CONFIG,
        "validation": bright_or_dark(9),
    }
    if stopped:
        with pytest.raises(KeyboardInterrupt):
            train(**arguments, folder=tmp_path, on_step=stop)
    else:
        train(**arguments, folder=tmp_path)
    data = arguments["data"]
    other = {
        "data": {"data": LabelledImages(data.pixels.flip(0), data.labels, data.classes)},
        "labels": {"data": LabelledImages(data.pixels, data.labels.flip(0), data.classes)},
        "objective": {"objective": make("rand_smooth", 0.1)},
        "config": {"config": dataclasses.replace(CONFIG, epochs=5)},
        "weights": {"classifier": net(seed=1)},
        "validation": {"validation": None},
    }
    with pytest.raises(RunError, match="another training"):
        train(**{"classifier": net(), **arguments, **other[change]}, folder=tmp_path)
    faster = dataclasses.replace(CONFIG, checkpoint_seconds=1.0)  # changes no result
    assert train(**{**arguments, "classifier": net(), "config": faster}, folder=tmp_path).outcome == "ok"


class Explodes(nn.Module):
    """A linear model whose output, weight or gradient becomes infinite at a chosen call in train mode."""

    def __init__(self, how, call):
        super().__init__()
        self.linear, self.norm = nn.Linear(99, 3), nn.BatchNorm1d(99)
        self.how, self.call, self.calls = how, call, 0

    def forward(self, x):
        if self.training:
            self.calls += 1
        bad = self.training and self.calls == self.call
        x = self.norm(x.flatten(1) * (float("nan") if bad and self.how == "statistics" else 1.0))
        logits = self.linear(x)
        if bad and self.how == "loss":
            logits = logits * float("nan")
        if bad and self.how == "gradient":
            logits = logits + (logits - logits.detach()) * float("inf")
        return logits


@pytest.mark.parametrize("how", ["loss", "gradient", "statistics"])
def test_divergence_is_an_outcome_and_leaves_the_last_finite_weights(tmp_path, how):
    def run(call, config, folder):
        torch.manual_seed(0)
        classifier = Classifier.wrap(Explodes(how, call), SHAPE, 3)
        return train(classifier, bright_or_dark(), make("standard"), config, tmp_path / folder)

    # 72 training images, 5 steps an epoch: the eighth step is the third of the second epoch.
    result = run(8, CONFIG, "run")
    assert (result.outcome, result.epoch, result.step) == ("diverged", 1, 2)
    assert len(result.history) == 1
    weights = state(result.classifier)
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    assert int(weights["norm.num_batches_tracked"]) == 7
    again = run(8, CONFIG, "run")
    assert (again.outcome, again.epoch, again.step) == ("diverged", 1, 2)
    assert same(state(again.classifier), weights)


def test_weights_that_overflow_are_divergence_even_in_the_first_step(tmp_path):
    settings = {"optimiser": "sgd", "schedule": "constant", "warmup": 0.0, "momentum": 0.0}
    config = dataclasses.replace(CONFIG, learning_rate=3e38, **settings)
    initial = state(net())
    result = train(net(), bright_or_dark(), make("gnorm", 1e3), config, tmp_path)
    assert (result.outcome, result.epoch, result.step) == ("diverged", 0, 0)
    assert same(state(result.classifier), initial)
    for name in ("model", "best"):
        assert same(state(read_classifier(tmp_path / f"{name}.safetensors")), initial)
    assert polars.read_parquet(tmp_path / "history.parquet").height == 0


def test_fewer_images_than_a_batch_and_no_validation_images(tmp_path):
    config = dataclasses.replace(CONFIG, batch_size=1000, validation_fraction=0.0)
    result = train(net(norm="batch"), bright_or_dark(7), make("pgd_linf", 0.05, steps=2), config, tmp_path)
    assert result.outcome == "ok"
    assert (result.best_epoch, result.best_accuracy) == (None, None)
    assert result.history[-1]["validation_loss"] is None
    best = read_classifier(tmp_path / "best.safetensors")
    assert same(state(best), state(result.classifier))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            LabelledImages(torch.zeros(0, *SHAPE), torch.zeros(0, dtype=torch.int64), ("a", "b", "c")),
            DataError,
            "no images",
        ),
        (LabelledImages(torch.zeros(2, *SHAPE), torch.tensor([0, 3]), ("a", "b", "c")), DataError, "0 to 2"),
        (LabelledImages(torch.zeros(2, *SHAPE), torch.tensor([-1, 0]), ("a", "b", "c")), DataError, "from -1"),
        (LabelledImages(torch.zeros(2, *SHAPE), torch.tensor([0]), ("a", "b", "c")), DataError, "2 images"),
        (LabelledImages(torch.zeros(2, 3, 9, 11), torch.tensor([0, 1]), ("a", "b", "c")), ModelError, r"\(3, 9, 11\)"),
        (LabelledImages(torch.zeros(2, *SHAPE), torch.tensor([0, 1]), ("a", "b")), ModelError, "2 classes"),
    ],
)
def test_data_that_do_not_fit_are_named_and_leave_no_folder(tmp_path, data, error, message):
    with pytest.raises(error, match=message):
        train(net(), data, make("standard"), CONFIG, tmp_path / "run")
    with pytest.raises(error, match="validation"):
        train(net(), bright_or_dark(), make("standard"), CONFIG, tmp_path / "run", validation=data)
    assert not (tmp_path / "run").exists()


def test_on_step_is_told_where_training_is(tmp_path):
    seen = []
    config = dataclasses.replace(CONFIG, epochs=2)
    train(net(), bright_or_dark(), make("standard"), config, tmp_path, on_step=seen.append)
    assert [(step.epoch, step.step) for step in seen] == [(e, s) for e in (1, 2) for s in range(1, 6)]
    assert {(step.epochs, step.steps) for step in seen} == {(2, 5)}
    assert all(step.loss > 0 and step.learning_rate > 0 for step in seen)
