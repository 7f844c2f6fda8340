"""`measure` on modules that depend on their batch or on chance, are compiled, or hold another precision."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from measures.module_support import KEY, Wrap, assert_same, network, plainly, rows, said, world
from tangency import TangencyWarning
from tangency.errors import ModelError
from tangency.evaluate.classifiers.saved import SavedClassifier, independent
from tangency.models import Classifier, prepared, probes
from tangency.models.foreign.rebuilt import Adapted
from tangency.models.independence import Averaged
from tangency.types import Card, Dataset


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
