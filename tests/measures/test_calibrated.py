"""The calibrated log p(y|x) as a scalar that is measured."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from torch import nn

from measure_support import measured, toy_world
from tangency.autodiff import fit_temperature
from tangency.errors import NumericsError, SpecError
from tangency.measures import MeasureConfig, Rows, check_unmeasured, validation_images
from tangency.types import LabelledImages

SHAPE = (1, 6, 6)
SCALARS = ("calibrated_logp_y", "logp_y", "smoothgrad(calibrated_logp_y)")
CONFIG = MeasureConfig(
    tangent_scalars=SCALARS,
    alignments=tuple((name, "bayes_gradient") for name in SCALARS),
    metrics=("cosine",),
    sigmas=(0.5,),
    directions=1,
    epsilons=(),
    rho_sigmas=(),
)
PLAIN = dataclasses.replace(CONFIG, tangent_scalars=("logp_y",), alignments=(("logp_y", "bayes_gradient"),))
MIXTURE, DATA = toy_world(SHAPE, 40, torch.float32)


class Times(nn.Module):
    """c·f(x)."""

    def __init__(self, net: nn.Module, factor: float) -> None:
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * self.net(x)


def convnet() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Times(nn.Sequential(nn.Conv2d(1, 6, 3), nn.GELU(), nn.Flatten(), nn.Linear(96, 3)), 20.0)


def validation(net: nn.Module, temperature: float = 2.0, n: int = 300) -> LabelledImages:
    """Images whose labels are drawn from softmax(f/T)."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, *SHAPE, generator=generator)
    with torch.no_grad():
        p = (net(x) / temperature).softmax(1)
    return LabelledImages(x, torch.multinomial(p, 1, generator=generator)[:, 0], DATA.classes)


def rows(net: nn.Module, held_out: LabelledImages | None, **changes: object) -> Rows:
    return measured(net, MIXTURE, DATA, changes.pop("config", CONFIG), validation=held_out, **changes)


def numbers(note: str) -> tuple[float, ...]:
    return tuple(float(text) for text in re.findall(r"\d+\.?\d*", note.removeprefix("calibrated_logp_y: ")))


def test_calibrated_columns_do_not_know_the_scale_of_the_logits_and_the_others_do() -> None:
    net = convnet()
    held_out = validation(net)
    own = rows(net, held_out)
    fitted = numbers(own.notes[-1])
    assert fitted[0] == pytest.approx(2, rel=0.3)
    assert fitted[1] < 2 < fitted[2]
    assert fitted[3] == 300
    keys = [key for key in own.columns if "calibrated_logp_y" in key]
    assert len(keys) >= 10
    assert all(own[key].isfinite().any() for key in keys)
    for c in (0.03, 0.1, 0.3, 3.0, 10.0, 30.0):
        other = rows(Times(net, c), held_out)
        for key in keys:
            torch.testing.assert_close(other[key], own[key], rtol=1e-5, atol=1e-6, equal_nan=True, msg=f"{key} × {c}")
    moved = other["tangent_fraction.logp_y"] - own["tangent_fraction.logp_y"]
    assert float(moved.abs().max()) > 1e-3


def test_the_calibrated_gradient_is_that_of_log_p_at_the_temperature() -> None:
    net = convnet()
    held_out = validation(net)
    value = fit_temperature(net(held_out.images()).detach(), held_out.labels).value
    plain = rows(Times(net, 1 / value), None, config=PLAIN)
    own = rows(net, held_out)
    for key in ("tangent_fraction.{}", "alignment_cosine.{}.bayes_gradient.sigma=0.5"):
        torch.testing.assert_close(
            own[key.format("calibrated_logp_y")], plain[key.format("logp_y")], rtol=1e-5, atol=1e-6
        )


def test_a_row_does_not_depend_on_its_batch() -> None:
    net = convnet()
    held_out = validation(net)
    at = torch.arange(10)
    whole, parts = (rows(net, held_out, at=at, batch_size=size) for size in (10, 3))
    for key in whole.columns:
        torch.testing.assert_close(parts[key], whole[key], rtol=1e-5, atol=1e-6, equal_nan=True)


def test_images_that_are_measured_or_trained_on_do_not_count_as_validation() -> None:
    net = convnet()
    held_out = validation(net)
    images, labels = torch.cat([DATA.images(), held_out.images()]), torch.cat([DATA.labels, held_out.labels])
    mixed = LabelledImages(images, labels, DATA.classes)
    assert rows(net, mixed).notes == rows(net, held_out).notes
    with pytest.raises(NumericsError, match="got 40 images, all of them measured or among train_data"):
        rows(net, DATA)


def test_what_is_missing_is_named_before_anything_is_fitted() -> None:
    net = convnet()
    with pytest.raises(SpecError, match="got None with the scalar calibrated_logp_y, expected LabelledImages"):
        rows(net, None)
    with pytest.raises(SpecError, match="got images that nothing is fitted to"):
        rows(net, validation(net), config=PLAIN)
    pixels = validation(net).pixels
    right = LabelledImages(pixels, net(pixels).argmax(1), DATA.classes)
    with pytest.raises(NumericsError, match="got 0 errors on 300 validation images"):
        rows(net, right)
    with pytest.raises(NumericsError, match="validation: images of shape"):
        rows(net, LabelledImages(torch.rand(9, 1, 5, 5), torch.zeros(9).long(), DATA.classes))


def test_validation_images_are_the_same_for_every_limit_and_are_never_measured() -> None:
    from tangency.data.partners import measured_order

    test = LabelledImages(torch.arange(101.0)[:, None, None, None] / 100, torch.zeros(101).long(), ("a", "b"))
    held_out = {round(100 * float(value)) for value in validation_images(test).images().flatten()}
    assert len(held_out) == 50
    assert held_out.isdisjoint(measured_order(101)[:51].tolist())
    check_unmeasured(51, test, "limit")
    with pytest.raises(SpecError, match=r"limit: got 52 of 101 test images .* expected at most 51"):
        check_unmeasured(52, test, "limit")
