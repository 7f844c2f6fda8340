"""Keys: their text and their parts belong together, for every key that a measurement gives."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from measure_support import measured, toy_world
from tangency.evaluate import estimates
from tangency.measures import Key, MeasureConfig, RobustnessConfig
from tangency.measures.keys import CONTROLS
from tangency.measures.registry import ingredients, measure_of
from tangency.tangents import LocalPCATangents, MixtureTangents

FAMILIES = ("accuracy", "tangent_fraction", "alignment_acme/sign", "acme/doubt", "certified_accuracy")
QUANTITIES = ("", "logp_y", "smoothgrad(logp_y)", "map(grad-cam_2)")
SETTINGS = (
    (),
    (("sigma", "0.125"),),
    (("radius", "1e-05"), ("sigma", "0.25")),
    (("eps", "1"), ("steps", "10")),
    (("sigma", "0.5"), ("norm", "p99.9")),
    (("eps", "2"), ("tangents", "acme/axes-8")),
    (("tangents", "v1.5.best"),),
    (("eps", "0.5"), ("tangents", "pca")),  # also the name of a control
)


def test_parsing_undoes_formatting() -> None:
    choices = (FAMILIES, QUANTITIES, ("", "network_score_y"), SETTINGS, ("", *CONTROLS), ("", "0-25"), (False, True))
    for family, quantity, target, settings, control, part, excess in itertools.product(*choices):
        key = Key(family, quantity, target if quantity else "", settings, control, part, excess)
        assert Key.parse(str(key)) == key


def test_every_key_of_a_measurement_is_its_parts() -> None:
    mixture, data = toy_world((1, 16, 16), 12, torch.float32)
    config = MeasureConfig(
        tangent_scalars=("logp_y", "smoothgrad(logp_y)"),
        sigmas=(0.125, 0.5),
        directions=1,
        curved=1,
        metrics=("cosine", "band", "ssim", "cka", "retrieval"),
        normalisations=("max", "p99.9"),
        robustness=RobustnessConfig(
            attacks=("pgd_l2", "worst_case", "smoothing"), steps=2, selection=2, draws=20, alpha=0.05, gradient_draws=1
        ),
    )
    tangents = {"mfa": MixtureTangents(mixture), "acme/axes-8": LocalPCATangents(data, rank=3, neighbours=6)}
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    rows = measured(net, mixture, data, config, tangents=tangents, attributions={"grad-cam": torch.rand(12, 16, 16)})
    summary = estimates(rows, replicates=20)
    for text in {*rows.keys(), *summary.measures}:
        key = Key.parse(text)
        assert str(key) == text
        assert key.control in ("", *CONTROLS)
        assert (measure_of(key.family) is None) == (key.family in ingredients()), text
        assert Key.parse(str(key.minus("dct"))) == key.minus("dct")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("alignment_band.0-25.logp_y.score.sigma=0.5", ("alignment_band", "0-25", "sigma", 0.5, "")),
        ("accuracy_pgd_l2.eps=1.steps=10", ("accuracy_pgd_l2", "", "eps", 1.0, "")),
        ("tangent_rank.shuffled_class", ("tangent_rank", "", "", None, "shuffled_class")),
        ("tangent_fraction.logp_y.tangents=denoiser.dct", ("tangent_fraction", "", "", None, "dct")),
    ],
)
def test_parts_of_keys(text: str, parts: tuple[object, ...]) -> None:
    key = Key.parse(text)
    assert (key.family, key.variant, key.parameter, key.value, key.control) == parts


def test_a_text_is_parsed_once() -> None:
    assert Key.parse("kappa.logp_y") is Key.parse("kappa.logp_y")


def test_a_key_begins_with_whole_parts() -> None:
    key = Key.parse("excess.tangent_fraction.logp_y.dct")
    assert [key.begins(text) for text in ("excess", "excess.tangent_fraction.", "excess.tangent", "")] == [
        True,
        True,
        False,
        False,
    ]
