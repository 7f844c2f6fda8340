"""The sanity check names the usual mistakes, and is silent on a classifier that is fed as it was trained."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from tangency.data import load
from tangency.errors import TangencyWarning
from tangency.measures import MeasureConfig, measure
from tangency.models import Classifier
from tangency.models.foreign.normalise import binomial_tail, clearly_better, conventions
from tangency.models.foreign.rebuilt import Adapted
from tangency.models.orientation import ORIENTATIONS, turned
from tangency.models.sanity import check_classifier, likely_mistake
from tangency.types import Dataset, LabelledImages

CLASSES = ("ant", "bee", "cat", "dog", "eel")


def data(n=400, seed=0):
    """Images whose label is written into the brightness of the red channel: .1, .3, .5, .7, .9 around noise of .02."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 5
    pixels = 0.5 + 0.1 * torch.randn(n, 3, 4, 4, generator=generator)
    pixels[:, 0] = (0.1 + 0.2 * labels)[:, None, None] + 0.02 * torch.randn(n, 4, 4, generator=generator)
    split = LabelledImages(pixels.clamp(0, 1), labels, CLASSES, "toy")
    return Dataset("toy", split, split)


class Brightness(nn.Module):
    """Logit k is −(mean red − level k)² in units of what it is fed."""

    def __init__(self, low=0.0, high=1.0, order=(0, 1, 2, 3, 4), mean=0.0, std=1.0):
        super().__init__()
        levels = low + (high - low) * (0.1 + 0.2 * torch.arange(5.0))
        self.register_buffer("levels", ((levels - mean) / std)[list(order)])

    def forward(self, x):
        return -((x[:, 0].mean((1, 2))[:, None] - self.levels) ** 2)


def wrapped(module, **options):
    return Classifier.wrap(module, (3, 4, 4), CLASSES, **options)


def measured(module: nn.Module, **options):
    known = data()
    config = MeasureConfig(sigmas=(0.25,), rho_sigmas=(), epsilons=(), directions=1, metrics=("cosine",))
    x, y = known.test.images()[:6], known.test.labels[:6]
    return measure(module, x, y, train_data=known.train, score="gaussian", config=config, **options)


@pytest.mark.parametrize(
    "module", [Brightness(-1, 1), wrapped(Brightness(-1, 1)), wrapped(Brightness(0, 255), mean=(0.5,) * 3)]
)
def test_measure_warns_of_a_wrong_range_and_keeps_it_in_its_notes(module: nn.Module) -> None:
    with pytest.warns(TangencyWarning, match=r"classifier: it is right for 100% .* as it is fed now"):
        rows = measured(module)
    assert any("Classifier.wrap(network, shape, classes, input_range=" in note for note in rows.notes)


def test_measure_warns_of_permuted_labels_and_is_silent_where_all_is_right() -> None:
    with pytest.warns(TangencyWarning, match="with its classes in another order"):
        measured(Brightness(order=(1, 0, 2, 4, 3)))
    for right in (Brightness(), Brightness().double(), wrapped(Brightness(-1, 1), input_range=(-1, 1))):
        assert not any("right for" in note for note in measured(right).notes)


def test_a_classifier_that_is_fed_rightly_raises_no_warning():
    for module, options in (
        (Brightness(), {}),
        (Brightness(0, 255), {"input_range": (0, 255)}),
        (Brightness(mean=0.5, std=0.2), {"mean": (0.5,) * 3, "std": (0.2,) * 3}),
    ):
        found = check_classifier(wrapped(module, **options), data())
        assert found.warnings == []
        assert found.accuracy == 1.0
        assert found.images == 400  # all there are, of at most 512
        assert found.p_value < 1e-100


MISTAKES = {
    "[0, 255]": (Brightness(0, 255), {}, r"\[0, 255\].*wrong range.*range=0,255&mean=none"),
    "[-1, 1]": (Brightness(-1, 1), {}, r"\[-1, 1\].*wrong range.*range=-1,1"),
    "[0, 1]": (Brightness(), {"input_range": (0, 255)}, r"\[0, 1\].*wrong range"),
    "imagenet": (Brightness(mean=0.485, std=0.229), {}, r"(ImageNet|training images).*wrong normalisation"),
    "normalised twice": (
        Brightness(mean=0.5, std=0.28),
        {"input_range": (-1, 1), "mean": (0.5,) * 3, "std": (0.1,) * 3},
        "likely a wrong",
    ),
    "off by one": (Brightness(order=(1, 2, 3, 4, 0)), {}, "1 is added to its classes.*off by one"),
    "off by minus one": (Brightness(order=(4, 0, 1, 2, 3)), {}, "1 is taken off its classes.*off by one"),
    "permuted": (Brightness(order=(3, 0, 4, 1, 2)), {}, r"permuted labels \(ant is dog, bee is ant.*classes=a,b,c"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_the_likely_cause_is_named(case):
    module, options, words = MISTAKES[case]
    found = check_classifier(wrapped(module, **options), data())
    assert found.accuracy < 0.9
    assert any(re.search(words, sentence) for sentence in found.warnings), found.warnings


class Nearest(nn.Module):
    """Logit k is x·m − |m|²/2 with the mean m of class k of the images that it was trained on, turned."""

    def __init__(self, images, turn):
        super().__init__()
        x = turned(images.images(), turn).flatten(1)
        means = torch.stack([x[images.labels == k].mean(0) for k in range(len(images.classes))])
        self.register_buffer("means", means)

    def forward(self, x):
        return x.flatten(1) @ self.means.T - (self.means**2).sum(1) / 2


@pytest.mark.parametrize("turn", ORIENTATIONS)
def test_turned_images_are_told_as_such(turn):
    """And not as permuted labels, though a turned image often looks like another class."""
    known = load("fashion-mnist-5k")
    net = Nearest(known.train, turn)
    found = check_classifier(Classifier.wrap(net, (1, 28, 28), known.test.classes), known)
    assert [f"likely {turn} images" in sentence for sentence in found.warnings] == [True], found.warnings
    assert f"?layout={turn} after" in found.warnings[0]
    card = Classifier.wrap(net, (1, 28, 28), known.test.classes).card
    already = Classifier(Adapted(net, orientation="mirrored"), replace(card, options={"orientation": "mirrored"}))
    advice = check_classifier(already, known).warnings
    wanted = {"mirrored": []}.get(turn, [f"Try ?layout={turn} after"])
    assert len(advice) == len(wanted)
    assert all(text in sentence for text, sentence in zip(wanted, advice, strict=True))
    right = Classifier(Adapted(net, orientation=turn), card)
    assert not any("images. Try" in sentence for sentence in check_classifier(right, known).warnings)


class Constant(nn.Module):
    def forward(self, x):
        return torch.tensor([0.0, 0, 1, 0, 0]).expand(len(x), 5) + 0 * x.mean((1, 2, 3))[:, None]


class Noise(nn.Module):
    def forward(self, x):
        return torch.sin(1e4 * x[:, 1].flatten(1)[:, :5])


def test_constant_and_chance_predictions():
    found = check_classifier(wrapped(Constant()), data())
    assert any("says class 2 for 100%" in sentence for sentence in found.warnings)
    found = check_classifier(wrapped(Noise()), data())
    assert found.p_value > 0.01
    assert any("no better than naming one class" in sentence for sentence in found.warnings)


def test_logits_that_are_no_numbers_are_told_and_wrong():
    class Broken(Brightness):
        def forward(self, x):
            return super().forward(x).where(x[:, 0].mean((1, 2))[:, None] > 0.2, float("nan"))

    found = check_classifier(wrapped(Broken()), data())
    assert found.accuracy == pytest.approx(0.8, abs=0.05)
    assert len(found.warnings) == 1
    assert "logits are NaN or infinite for" in found.warnings[0]


def test_the_model_is_left_as_found():
    classifier = wrapped(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 5))).train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    check_classifier(classifier, data())
    assert classifier.training
    assert classifier.module[0].training
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


@pytest.mark.parametrize("n", [1, 5, 30])
def test_few_images(n):
    small = data().test.subset(slice(0, n))
    found = check_classifier(wrapped(Brightness()), Dataset("toy", data().train, small))
    assert found.images == n
    assert found.accuracy == 1.0


def test_the_tail_is_that_of_scipy():
    from scipy.stats import binom

    for hits, n, p in ((0, 7, 0.2), (3, 7, 0.2), (26, 256, 0.1), (256, 256, 0.1), (40, 256, 0.1)):
        assert binomial_tail(hits, n, p) == pytest.approx(float(binom.sf(hits - 1, n, p)), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_no_mistake_is_named_of_an_untrained_network(seed):
    """Turned images give it other classes, by accident more often the right ones."""
    torch.manual_seed(seed)
    net, train = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), load("fashion-mnist-5k").train
    assert likely_mistake(net, train, torch.zeros(())) == []


def test_better_needs_evidence():
    first, second = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    assert not clearly_better(first[:6], second[:6])  # 2⁻⁶ = 0.016
    assert clearly_better(torch.ones(7, dtype=torch.bool), torch.zeros(7, dtype=torch.bool))  # 2⁻⁷ = 0.008
    assert not clearly_better(first, first)


def test_conventions_feed_what_they_say():
    x = torch.rand(2, 3, 4, 4)
    fed = {c.name: c.feed(x) for c in conventions(data().train)}
    assert torch.allclose(fed["images in [-1, 1]"], 2 * x - 1)
    assert torch.allclose(fed["images in [0, 255]"], 255 * x)
    whole = data().train
    own = next(c for c in conventions(whole) if "training" in c.name).feed(whole.images())
    assert torch.allclose(own.mean((0, 2, 3)), torch.zeros(3), atol=1e-2)
    assert torch.allclose(own.std((0, 2, 3)), torch.ones(3), atol=1e-2)
