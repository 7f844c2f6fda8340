"""A new measure is written in one file: here. Rows, summary, comparison, glossary and page have it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from measure_support import measured, toy_world
from report.helpers import section, visible
from report.synthetic_run import build_run
from tangency.errors import NumericsError, SpecError
from tangency.evaluate import estimates
from tangency.evaluate.compare import compare
from tangency.measures import MEASURES, Batch, Columns, Key, Measure, MeasureConfig, Rows, Scale, describe
from tangency.measures.definition import Function
from tangency.report.page.study import render_study
from tangency.report.read.run import read_run

NAME = "mine/flatness"


def flatness(batch: Batch) -> Columns:
    """Share of the gradient's pixels that are below its mean magnitude, and that of the image itself, (N,)."""
    columns = {}
    for quantity in batch.config.tangent_scalars:
        key = Key(NAME, quantity)
        stood = {key: batch.directions[quantity], key.under("image"): batch.x}
        for own, values in stood.items():
            size = values.flatten(1).abs()
            columns[str(own)] = (size < size.mean(1, keepdim=True)).double().mean(1)
    return columns


FLATNESS = Measure(
    "share of pixels below the mean magnitude",
    Scale("share of pixels", 0, 1),
    "higher",
    flatness,
    level=0.575,  # of normal numbers: P(|z| < E|z|)
    controls={"image": "the image itself"},
    heading="Flatness of the gradient",
    what="Share of the pixels at which the gradient of {scalar} is below its mean magnitude.",
    reading="few pixels hold the gradient",
)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    MEASURES.register(NAME, FLATNESS)
    yield
    MEASURES.forget(NAME)


def rows(scale: float) -> Rows:
    mixture, data = toy_world((1, 8, 8), 12, torch.float32)
    config = MeasureConfig(sigmas=(0.5,), directions=1, metrics=("cosine",), extra=(NAME,))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 3))
    with torch.no_grad():
        net[1].weight.mul_(scale)
    return measured(net, mixture, data, config)


def test_rows_summary_and_comparison_have_it() -> None:
    found = rows(1.0)
    values = found[f"{NAME}.margin"]
    assert bool(((values > 0.3) & (values < 0.9)).all())
    summary = estimates(found, replicates=50)
    assert summary.measures[f"{NAME}.margin"].chance == 0.575
    over = summary.excess[f"{NAME}.margin"]
    assert over.best_control == "image"
    assert over.mean == pytest.approx(float((values - found[f"{NAME}.margin.image"]).mean()))
    compared = {row.key: row for row in compare(found, rows(30.0), replicates=50, permutations=19).measures}
    assert compared[f"{NAME}.margin"].better == "higher"
    assert describe(f"{NAME}.margin").scale.unit == "share of pixels"


def test_without_its_name_it_is_not_measured() -> None:
    mixture, data = toy_world((1, 8, 8), 12, torch.float32)
    config = MeasureConfig(sigmas=(0.5,), directions=1, metrics=("cosine",))
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    assert not [key for key in measured(net, mixture, data, config).keys() if key.startswith(NAME)]  # noqa: SIM118
    assert config.digest() != MeasureConfig(sigmas=(0.5,), directions=1, metrics=("cosine",), extra=(NAME,)).digest()
    with pytest.raises(SpecError, match=r"unknown measure 'mine/flatnes'\. Did you mean 'mine/flatness'"):
        MeasureConfig(extra=("mine/flatnes",))
    with pytest.raises(SpecError, match="expected each once"):
        MeasureConfig(extra=(NAME, NAME))


def test_glossary_and_page_have_it_with_unit_and_chance(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    own = {
        key: entry for key, entry in estimates(rows(1.0), replicates=50).to_json()["measures"].items() if NAME in key
    }
    for trial in summary["trials"]:
        trial["measures"] |= own
    (run / "summary.json").write_text(json.dumps(summary))
    page = render_study(read_run(run))
    text = " ".join(visible(page).split())
    assert "Flatness of the gradient mine/flatness Share of the pixels at which the gradient of" in text
    assert "few pixels hold the gradient unit: share of pixels, 0 to 1 chance: 0.575" in " ".join(text.split())
    assert "Flatness of the gradient" in section(page, "curves")


def test_what_is_registered_must_have_a_function() -> None:
    with pytest.raises(SpecError, match=r"expected a Measure with a function \(batch\)"):
        MEASURES.register("mine/nothing", Measure("t", Scale("u", 0, 1), "neither"))


def test_controls_have_names_that_keys_know() -> None:
    with pytest.raises(SpecError, match=r"measure 't': unknown control 'phases'\. Did you mean 'phase'\? Known: "):
        Measure("t", Scale("u", 0, 1), "neither", flatness, controls={"phases": "words"})


MADE: list[tuple[Function, str]] = [
    (lambda batch: torch.ones(len(batch.x), 1), r"got torch.float32 of shape \(19, 1\) for mine/odd"),
    (lambda batch: torch.ones(()), r"got torch.float32 of shape \(\) for mine/odd"),
    (lambda batch: None, "got NoneType for mine/odd"),  # type: ignore[arg-type, return-value]
    (lambda batch: {"mine/odd.high": 1.0}, "got float for mine/odd.high"),  # type: ignore[dict-item]
    (lambda batch: {"accuracy": torch.zeros(len(batch.x))}, "gives accuracy, which another one gives"),
]


@pytest.mark.parametrize(("function", "words"), MADE)
def test_what_a_function_makes_must_be_a_number_of_its_own_for_each_image(function: Function, words: str) -> None:
    MEASURES.register("mine/odd", Measure("t", Scale("u", 0, 1), "neither", function))
    try:
        mixture, data = toy_world((1, 4, 4), 19)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
        config = MeasureConfig(metrics=("cosine",), directions=1, extra=("mine/odd",))
        with pytest.raises(NumericsError, match=f"measure 'mine/odd': {words}"):
            measured(model, mixture, data, config)
    finally:
        MEASURES.forget("mine/odd")
