"""Kinds of saved models that another room opens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import tangency
from processes import run
from tangency.errors import RunError
from tangency.evaluate.classifiers.origin import Origin, saved_model
from tangency.evaluate.classifiers.saved import find_classifier
from tangency.evaluate.fitting.closed import ScoreSpec
from tangency.evaluate.folders import open_measured
from tangency.evaluate.measured import Measured
from tangency.measures import MeasureConfig
from tangency.models import Classifier, build
from tangency.references import OPENERS
from tangency.worlds import load_dataset


@dataclass(frozen=True)
class Toy:
    """A kind of somebody else's: a network that is not trained, and was not measured."""

    location: Path
    reference: str

    def classifier(self, device: str) -> tuple[Classifier, Origin]:
        origin = Origin(
            data="embedded",
            dataset=partial(load_dataset, "fashion-mnist-5k"),
            measures=MeasureConfig(),
            closed=ScoreSpec(),
            closed_file=lambda data, measures: self.location / data.name,
            network_score="",
            tangents=(),
            artefacts=self.location,
        )
        return build("convnet", (1, 28, 28), 10).to(device), origin

    def rows(self) -> Measured:
        raise RunError(f"'{self.reference}': was not measured.")


@pytest.fixture
def toy() -> Iterator[str]:
    """A kind of saved models of somebody else's."""
    OPENERS.register("tests/toy", f"{__name__}:Toy")
    yield "tests/toy"
    OPENERS.forget("tests/toy")


def test_a_reference_of_a_registered_kind_is_opened_by_its_owner(toy: str) -> None:
    opened = find_classifier(f"{toy}:some/where", "cpu")
    assert opened.reference == "tests/toy:some/where"
    assert opened.origin is not None
    assert opened.origin.artefacts == Path("some/where")
    with pytest.raises(RunError, match="'tests/toy:some/where': was not measured"):
        open_measured(f"{toy}:some/where")


@pytest.mark.parametrize("reference", ["net.safetensors", "onnx:net.onnx", "run:", "run", "tests/toy:some/where"])
def test_other_references_are_nobodys(reference: str) -> None:
    assert saved_model(reference) is None


def test_studies_register_their_trials_at_once_and_load_late() -> None:
    assert tangency.__version__
    assert type(saved_model("run:R/trials/standard-s0")) is OPENERS["run"]


@pytest.mark.processes
def test_evaluate_loads_no_study() -> None:
    code = "import sys, tangency.evaluate; print(*sys.modules)"
    loaded = run([sys.executable, "-c", code]).stdout.split()
    assert "tangency.evaluate.measure" in loaded
    assert "tangency.study" not in loaded
