"""`measure` on modules as users have them: right numbers with a sentence, or a refusal with the reason."""

from __future__ import annotations

import copy
import functools
import re
import warnings
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from measure_support import measured, toy_world
from tangency import TangencyWarning
from tangency.errors import ModelError, NumericsError
from tangency.evaluate.classifiers.saved import SavedClassifier, independent
from tangency.measures import MeasureConfig, Rows
from tangency.models import Classifier, prepared, probes
from tangency.models.foreign.rebuilt import Adapted
from tangency.models.independence import Averaged
from tangency.types import Card, Dataset

SHAPE, CLASSES = (1, 7, 11), 3
KEY = "tangent_fraction.logp_y"
CONFIG = MeasureConfig(
    tangent_scalars=("logp_y", "logit_y"),
    sigmas=(0.5,),
    rho_sigmas=(),
    epsilons=(1.0,),
    directions=1,
    metrics=("cosine",),
)
world = functools.cache(lambda: toy_world(SHAPE, 24, torch.float32))


def network(scale: float = 1.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 45, CLASSES))
    with torch.no_grad():
        net[4].weight *= 4 * scale
    return net.eval()


def rows(model: nn.Module, **changes: Any) -> Rows:
    mixture, data = world()
    return measured(model, mixture, data, **({"config": CONFIG} | changes))


def said(model: nn.Module, **changes: Any) -> Rows:
    """Rows of a model about which something is decided, and said both ways."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = rows(model, **changes)
    told = [str(one.message) for one in caught if issubclass(one.category, TangencyWarning)]
    assert told == [f"classifier: {note}." for note in found.notes]
    assert told
    return found


@functools.cache
def plainly() -> Rows:
    return rows(network())


def assert_same(found: Rows, wanted: Rows, tolerance: float = 2e-5, without: str = "none") -> None:
    assert found.keys() == wanted.keys()
    for key, values in wanted.columns.items():
        if without not in key:
            torch.testing.assert_close(found[key], values, rtol=tolerance, atol=tolerance, equal_nan=True, msg=key)


class Wrap(nn.Module):
    """A function of a network and its images, as users write them."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Any], net: nn.Module | None = None) -> None:
        super().__init__()
        self.net, self.function = network() if net is None else net, function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.net, x)


def sequential(ending: nn.Module) -> nn.Module:
    return nn.Sequential(network(), ending)


ENDINGS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "softmax": (lambda: sequential(nn.Softmax(1)), "last softmax is taken off"),
    "softmax of the last axis": (lambda: sequential(nn.Softmax(-1)), "last softmax is taken off"),
    "sigmoid": (lambda: sequential(nn.Sigmoid()), "last sigmoid is taken off.*exactly one class is on"),
    "nested": (lambda: nn.Sequential(nn.Sequential(sequential(nn.Softmax(1)))), "last softmax is taken off"),
    "functional": (lambda: Wrap(lambda net, x: F.softmax(net(x), dim=1)), "last softmax is taken off"),
    "method": (lambda: Wrap(lambda net, x: net(x).sigmoid()), "last sigmoid is taken off"),
    "maps": (
        lambda: Wrap(lambda net, x: net(x)[:, :, None, None].softmax(1).flatten(1)),
        "last softmax is taken off",
    ),
    "dict": (lambda: Wrap(lambda net, x: {"logits": net(x)}), "'logits' of what it returns"),
    "object": (lambda: Wrap(lambda net, x: SimpleNamespace(logits=net(x))), "'logits' of what it returns"),
    "data parallel": (lambda: nn.DataParallel(sequential(nn.Softmax(1))), "last softmax is taken off"),
}


@pytest.mark.parametrize("kind", ENDINGS)
def test_what_a_network_ends_in_is_taken_off_exactly(kind: str) -> None:
    make, note = ENDINGS[kind]
    found = said(make())
    assert re.search(note, " ".join(found.notes))
    assert_same(found, plainly())


def by_hand(net: nn.Module, x: Tensor) -> Tensor:
    """A softmax that no operation of that name makes."""
    shares = net(x).exp()
    return shares / shares.sum(1, keepdim=True)


def test_rows_that_sum_to_one_become_logarithms() -> None:
    found = said(Wrap(by_hand))
    assert "their logarithms are the logits" in found.notes[0]
    assert_same(found, plainly(), 1e-3, without="logit")  # which a shift of the logits changes


def test_logits_are_left_alone() -> None:
    for model in (network(), Wrap(lambda net, x: net(x).log_softmax(1))):
        found = rows(model)  # a warning would be an error
        assert found.notes == ()
        assert_same(found, plainly(), 1e-4, without="logit")
    constant = rows(Wrap(lambda net, x: 0 * net(x)))  # all in [0, 1], and it makes no difference
    assert constant[KEY].isnan().all()


def between(net: nn.Module, x: Tensor) -> Tensor:
    """Numbers in [0, 1] that no operation explains: (1 + tanh(z/2)) / 2 is a sigmoid, and could be logits."""
    return (1 + (net(x) / 2).tanh()) / 2


def test_numbers_in_the_unit_interval_are_asked_about() -> None:
    for images in (slice(0, 3), slice(3, None)):  # what is measured does not decide
        mixture, data = world()
        with pytest.raises(ModelError, match=r"logits can be that, and so can sigmoids.*outputs='logits' or"):
            measured(Wrap(between), mixture, data, images=data.images()[images], labels=data.labels[images])
    assert_same(said(Wrap(between), outputs="sigmoid"), plainly(), 1e-3)
    as_logits = said(Wrap(between), outputs="logits")
    assert (as_logits[KEY] - plainly()[KEY]).abs().max() > 1e-3
    card = Classifier.wrap(Wrap(between), SHAPE, ("a", "b", "c"), outputs="sigmoid")
    assert_same(rows(card), plainly(), 1e-3)
    assert_same(rows(Classifier.wrap(Wrap(between), SHAPE, 3, outputs="logits")), as_logits)


CONTRADICTIONS = {
    "softmax": (network, "its rows are not ≥ 0 with sum 1"),
    "sigmoid": (lambda: sequential(nn.Softmax(1)), "ends in a softmax, but outputs=sigmoid"),
    "probabilities": (network, "unknown outputs 'probabilities'"),
}


@pytest.mark.parametrize("outputs", CONTRADICTIONS)
def test_what_is_said_of_outputs_is_checked(outputs: str) -> None:
    make, message = CONTRADICTIONS[outputs]
    with pytest.raises(ModelError, match=message):
        rows(make(), outputs=outputs)
    if outputs == "probabilities":
        with pytest.raises(ModelError, match=message):
            Classifier.wrap(network(), SHAPE, 3, outputs=outputs)


def test_underflow_is_counted_and_a_softmax_taken_off_has_none() -> None:
    def wide(net: nn.Module, x: Tensor) -> Tensor:
        """Logits 110 apart for the second half of the reference's order, by the mean of their pixels."""
        bright = (x.flatten(1).mean(1, keepdim=True) > 0.5).to(x.dtype)
        return net(x) + 110 * bright * torch.tensor([1.0, 0.0, 0.0], dtype=x.dtype)

    _, data = world()
    gap = (data.images().flatten(1).mean(1) > 0.5) | (data.images().amin((1, 2, 3)) < 0)
    assert 0 < int(gap.sum()) < len(gap)
    found = said(Wrap(lambda net, x: by_hand(lambda v: wide(net, v).log_softmax(1), x)))
    assert torch.equal(found[KEY].isnan(), gap)
    assert torch.equal(found["accuracy"].isnan(), gap)
    assert_same(said(Wrap(lambda net, x: wide(net, x).softmax(1))), rows(Wrap(wide)))
    assert rows(Wrap(wide))[KEY].isfinite().all()


REFUSED: dict[str, tuple[Callable[[nn.Module, Tensor], Any], str]] = {
    "tuple": (lambda net, x: (net(x), x), r"got tuple.*out\[0\]"),
    "one logit": (lambda net, x: net(x)[:, :1], r"shape \(2, 1\)"),
    "no class axis": (lambda net, x: net(x)[:, 0], r"shape \(2,\)"),
    "maps": (lambda net, x: net(x)[:, :, None, None], r"shape \(2, 3, 1, 1\).*flatten\(1\)"),
    "more classes": (lambda net, x: torch.cat([net(x), -30 + 0 * net(x)], 1), "6 logits an image, .* 3 classes"),
    "no_grad": (lambda net, x: torch.no_grad()(net)(x), "no input gradient"),
    "numpy": (lambda net, x: torch.from_numpy(net(x).detach().numpy()), "no input gradient"),
    "jpeg": (
        lambda net, x: net(torch.from_numpy((x.detach().numpy() * 255).astype("uint8") / 255).float()),
        "gradient",
    ),
    "broken": (lambda net, x: net(x) + torch.ones(5, 7), "its own forward raises RuntimeError"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_measured_is_refused_with_the_reason(kind: str) -> None:
    function, message = REFUSED[kind]
    with pytest.raises(NumericsError, match=message):
        rows(Wrap(function))


def test_hooks_that_torch_refuses_are_named() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), network())
    model[0].register_full_backward_hook(lambda part, gi, go: None)
    model = nn.Sequential(nn.Identity(), model)
    with pytest.raises(NumericsError, match="its own forward or backward pass raises RuntimeError"):
        rows(model)


def test_quantised_input_has_no_gradient_and_is_counted() -> None:
    found = rows(Wrap(lambda net, x: net((x * 16).round() / 16)))
    assert found.degenerate()[KEY] == len(found.ids)


def without_statistics() -> nn.Module:
    model = network()
    model[1] = nn.BatchNorm2d(4, track_running_stats=False)
    return model


class Training(nn.BatchNorm2d):
    def train(self, mode: bool = True) -> Training:
        return super().train(True)


def training() -> nn.Module:
    model = network()
    model[1] = Training(4)
    return model


class Counting(nn.Module):
    """A state that its forward changes, and no random number."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.calls = network(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        found: Tensor = self.net(x + 0.01 * self.calls)
        return found


DEPENDENT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "no statistics": (
        without_statistics,
        r"other images of the batch.*'1' \(BatchNorm2d\) keeps no running statistics",
    ),
    "training mode": (training, "other images of the batch.*batch_norm in training mode"),
    "batch mean": (lambda: Wrap(lambda net, x: net(x - x.mean(0, keepdim=True))), "other images of the batch"),
    "batch size": (lambda: Wrap(lambda net, x: net(x) * (1 + torch.arange(3) / len(x))), "other images of the batch"),
    "position": (
        lambda: Wrap(lambda net, x: net(x + torch.arange(len(x))[:, None, None, None] / 50)),
        "other images of the batch",
    ),
    "softmax over the batch": (lambda: Wrap(lambda net, x: net(x).softmax(0)), "other images of the batch"),
    "state": (Counting, "a state that its forward changes"),
}


@pytest.mark.parametrize("kind", DEPENDENT)
def test_what_depends_on_the_batch_is_refused_always(kind: str) -> None:
    make, message = DEPENDENT[kind]
    outputs = "logits" if kind == "softmax over the batch" else None
    for allow in (False, True):
        with pytest.raises(ModelError, match=message):
            rows(make(), outputs=outputs, allow_random=allow)


def dropping(net: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = net(F.dropout(x, 0.2, training=True))
    return found


def test_a_random_network_is_refused_or_averaged() -> None:
    state = torch.get_rng_state()
    with pytest.raises(ModelError, match=r"other logits at each call.*dropout is on in eval mode.*allow_random=True"):
        rows(Wrap(dropping))
    _, data = world()
    few = {"images": data.images()[:6], "labels": data.labels[:6], "allow_random": True}
    whole = said(Wrap(dropping), **few)
    assert "mean softmax over 16 passes" in whole.notes[0]
    assert_same(said(Wrap(dropping), batch_size=4, **few), whole, 1e-4)
    assert torch.equal(state, torch.get_rng_state())
    rare = Wrap(lambda net, x: net(x) + 5 * (torch.rand(()) < 0.4) * torch.tensor([1.0, 0.0, 0.0]))
    with pytest.raises(ModelError, match="draws random numbers"):
        rows(rare)


def test_the_average_is_the_logarithm_of_the_mean_probability() -> None:
    """Against plain loops over passes and images, gradients included, where vmap works and where it does not."""
    _, data = world()
    x = data.images()[:4].clone().requires_grad_()
    averaged = Averaged(Wrap(dropping).eval(), draws=5)
    found = averaged(x)
    (gradient,) = torch.autograd.grad(found[:, 1].sum(), x)
    assert averaged.vectorised
    for i in range(4):
        alone = Averaged(Wrap(lambda net, v: dropping(net, v) + float(v.detach().sum()) * 0).eval(), draws=5)
        own = x[i : i + 1].detach().clone().requires_grad_()
        value = alone(own)
        assert not alone.vectorised  # float() of a mapped tensor cannot be
        (slope,) = torch.autograd.grad(value[0, 1], own)
        torch.testing.assert_close(value[0], found[i])
        torch.testing.assert_close(slope[0], gradient[i], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(4))
    with torch.no_grad():
        many = dropping(averaged.net.net, x[:1].expand(4000, -1, -1, -1)).softmax(1)
        own = Averaged(averaged.net, draws=1000)(x[:1]).exp()
    error = (many.var(0) * (1 / 4000 + 1 / 1000)).sqrt()
    assert ((own[0] - many.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_every_precision(kind: torch.dtype) -> None:
    model = network().to(kind)
    found = said(copy.deepcopy(model))
    wanted = rows(copy.deepcopy(model).float())
    assert_same(found, wanted)
    assert next(model.parameters()).dtype == kind
    casting = Wrap(lambda net, x: net(x.to(kind)).float(), model)
    cast = rows(casting)
    assert (cast[KEY] - wanted[KEY]).abs().max() < 0.02
    returned = said(Wrap(lambda net, x: net(x.to(kind)).sigmoid(), model))
    assert (returned[KEY] - wanted[KEY]).abs().max() < 0.02


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_images_of_every_precision(kind: torch.dtype) -> None:
    _, data = world()
    images = data.images().to(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TangencyWarning)
        found = rows(network(), images=images)
        double = rows(network().double(), images=images)
    wanted = rows(network(), images=images.float())
    assert_same(found, wanted, 1e-4)
    assert_same(double, wanted, 1e-4)


def test_compiled_modules_and_their_parts() -> None:
    inner = network()
    part = nn.Sequential(torch.compile(inner[:4], backend="aot_eager"), inner[4])
    in_place = network()
    in_place.compile(backend="aot_eager")
    for model in (torch.compile(network(), backend="aot_eager"), part, in_place):
        assert_same(rows(model), plainly())


def test_the_model_is_left_as_it_was() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert_same(rows(model), plainly())
    assert model.training
    after: Mapping[str, Tensor] = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_random_network_of_more_classes_is_restricted_before_it_is_averaged() -> None:
    """By both ways: of each pass the softmax is over the classes of the data."""
    _, data = world()
    x, order = data.images()[:4], [4, 0, 2]

    class Wider(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(3)
            self.inner = nn.Linear(x[0].numel(), 5)

        def forward(self, v: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = 4 * self.inner(F.dropout(v.flatten(1), 0.5, training=True))
            return logits

    net = Wider().eval()
    mine, notes = prepared(net, probes(data, data.shape, "cpu"), 3, "logits", True, lambda outputs: order)
    card = Card("custom", data.shape, data.classes)
    whole = Classifier(Adapted(net, order=order), card).eval()
    other = independent(SavedClassifier("net", whole), Dataset("toy", data, data), "", True).classifier
    assert "mean softmax" in notes[-1]
    with torch.no_grad():
        assert torch.allclose(mine(x), other(x), atol=1e-6)
        plain = Averaged(nn.Sequential(net, Keep(order)))
        assert torch.allclose(mine(x), plain(x), atol=1e-6)
        assert torch.allclose(mine(x).exp().sum(1), torch.ones(4), atol=1e-5)


class Keep(nn.Module):
    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.order = order

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits[:, self.order]
