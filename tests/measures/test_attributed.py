"""Attribution methods that the caller brings, measured as gradients are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from measure_support import measured, toy_world
from tangency.errors import NumericsError, SpecError, TangencyWarning
from tangency.measures import MeasureConfig, Rows

SHAPE, N = (1, 11, 13), 20
CONFIG = MeasureConfig(
    sigmas=(0.3,), epsilons=(), rho_sigmas=(), directions=1, metrics=("cosine", "ssim"), normalisations=("max",)
)


def network() -> nn.Module:
    torch.manual_seed(1)
    head = nn.Linear(4 * 11 * 13, 3)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Softplus(), nn.Flatten(), head).double()


def rows(config: MeasureConfig = CONFIG, **arguments: Any) -> Rows:
    return measured(network(), *toy_world(SHAPE, N), config, **arguments)


def plain_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x.requires_grad_(True)
    logits = model(x)
    other = torch.stack([row[torch.arange(3) != c].max() for row, c in zip(logits, y.tolist(), strict=True)])
    return torch.autograd.grad((logits.gather(1, y[:, None])[:, 0] - other).sum(), x)[0]


@pytest.mark.parametrize("label", ["true", "predicted"])
def test_the_gradient_as_a_method_has_the_numbers_of_the_gradient(label: str) -> None:
    config = MeasureConfig(**{**vars(CONFIG), "label": label})
    found = rows(config, attributions={"own": plain_gradient})
    keys = [key for key in found.columns if ".margin" in key]
    assert {key.partition(".")[0] for key in keys} >= {"tangent_fraction", "log_kappa", "alignment_cosine"}
    for key in keys:
        own = found[key.replace("margin", "map(own)")]
        torch.testing.assert_close(own, found[key], rtol=1e-6, atol=1e-7, equal_nan=True, msg=key)


def test_the_other_columns_stay_as_they_are() -> None:
    alone, beside = rows(), rows(attributions={"own": plain_gradient})
    for key, values in alone.columns.items():
        torch.testing.assert_close(beside[key], values, rtol=0, atol=0, equal_nan=True, msg=key)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_rows_do_not_depend_on_the_batch(batch_size: int) -> None:
    methods = {"own": plain_gradient, "flat": lambda model, x, y: plain_gradient(model, x, y).abs().sum(1)}
    whole, parts = (rows(attributions=methods, batch_size=size) for size in (N, batch_size))
    assert whole.notes == parts.notes == ()
    assert any("map(flat)" in key for key in whole.columns)
    for key, values in whole.columns.items():
        torch.testing.assert_close(parts[key], values, rtol=1e-8, atol=1e-8, equal_nan=True, msg=key)


def test_a_method_is_asked_in_eval_mode_and_leaves_model_and_images_alone() -> None:
    model, (mixture, data) = network().train(), toy_world(SHAPE, N)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, modes = data.images().clone(), []

    def spoils(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        modes.append(model.training)
        found = plain_gradient(model, x, y)
        with torch.no_grad():
            x.zero_(), y.zero_()
        return found

    found = measured(model, mixture, data, CONFIG, attributions={"spoils": spoils})
    assert modes == [False] * len(modes)
    assert model.training
    assert torch.equal(data.images(), images)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    key = "tangent_fraction.map(spoils)"
    torch.testing.assert_close(found[key], rows(attributions={"spoils": plain_gradient})[key])


def test_a_method_that_depends_on_the_batch_or_on_chance_is_named() -> None:
    methods = {
        "steady": plain_gradient,
        "centred": lambda model, x, y: plain_gradient(model, x, y) - plain_gradient(model, x, y).mean(0),
        "random": lambda model, x, y: torch.randn_like(x),
    }
    with pytest.warns(TangencyWarning, match="chance or on the other images of the batch"):
        found = rows(attributions=methods)
    assert [note.partition(":")[0] for note in found.notes] == ["attribution 'centred'", "attribution 'random'"]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (lambda model, x, y: x[:, :, 1:], r"'own': got shape \(2, 1, 10, 13\), expected \(2, 1, 11, 13\) or"),
        (lambda model, x, y: x.sum(), r"'own': got shape \(\), expected"),
        (lambda model, x, y: x / 0 * 0, r"'own': NaN or infinite values for images \[0, 1\]"),
        (lambda model, x, y: x.numpy(force=True), r"'own': got ndarray, expected a tensor of maps"),
        (torch.zeros(N, 3, 3), r"'own': got shape \(20, 3, 3\), expected \(20, 1, 11, 13\)"),
        ("occlusion", r"'own': got str, expected a function .* or such maps as a tensor"),
    ],
)
def test_what_is_no_method_or_returns_no_maps_is_refused_before_anything_is_fitted(
    method: Callable[..., Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tangency.measures.run.compared", lambda *_: pytest.fail("fitted first"))
    with pytest.raises(NumericsError, match=f"attribution {words}"):
        rows(attributions={"own": method})


def test_names_are_checked() -> None:
    with pytest.raises(SpecError, match="map 'a b': expected a name"):
        rows(attributions={"a b": plain_gradient})
    with pytest.raises(SpecError, match=r"map\(lost\): no such map is given, expected it among attributions="):
        rows(MeasureConfig(tangent_scalars=("map(lost)",)), attributions={"own": plain_gradient})
