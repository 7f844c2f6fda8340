"""`measure` on modules as users have them: right numbers with a sentence, or a refusal with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from measure_support import measured
from measures.module_support import KEY, SHAPE, Wrap, assert_same, network, plainly, rows, said, sequential, world
from tangency.errors import ModelError, NumericsError
from tangency.models import Classifier

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
