"""A task of generation says all of itself in one class: a new one is a class and its place in the table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from support import make_mixture
from tangency.errors import SpecError
from tangency.evaluate.generation.run import generate_with
from tangency.generation.options import REFERENCES, TaskOptions
from tangency.generation.tasks.config import GenerationConfig, task_settings
from tangency.generation.tasks.inputs import START, TRUTH, Outcome, TaskInputs
from tangency.generation.tasks.restoration import Restoration
from tangency.generation.tasks.table import TASKS
from tangency.generation.tasks.task import CLIMB, SHARED
from tangency.models import build
from tangency.seeding import Draw
from tangency.study import parse_spec
from tangency.types import Dataset, LabelledImages


@pytest.mark.parametrize("name", TASKS)
def test_a_task_names_only_options_and_references_that_there_are(name: str) -> None:
    task, fields = TASKS[name], {field.name for field in dataclasses.fields(TaskOptions)}
    assert task.name == name
    assert task.title
    assert set(task.options) <= fields - set(SHARED)
    assert set(task.unclimbed) <= set(CLIMB)
    assert set(task.references) <= set(REFERENCES)
    assert len(set(task.own)) == len(task.own)


def test_every_option_belongs_to_a_task() -> None:
    fields = {field.name for field in dataclasses.fields(TaskOptions)}
    assert fields == set(SHARED) | {name for task in TASKS for name in TASKS[task].options}


class DarkenTask(Restoration):
    """Images are darkened, and every network makes them brighter by as much again."""

    name = "tests/darken"
    title = "Brightening"
    options = ("share",)
    references = ()
    qualities = ("psnr", "ssim")

    def check(self, options: TaskOptions) -> None:
        """Raise where all is dark."""
        if options.share > 0.9:
            raise SpecError("share: got more than 0.9, expected some light.")

    def apply(self, inputs: TaskInputs, x: Tensor, y: Tensor, draw: Draw) -> Outcome:
        """Divide by what was multiplied."""
        outcome = Outcome(y)
        outcome.add(TRUTH, x, "test images")
        outcome.add(START, x * (1 - inputs.options.share), "darker")
        for source in inputs.networks:
            outcome.add(source, outcome.pictures[START] / (1 - inputs.options.share), "divided", 0)
        return outcome


@pytest.fixture
def darken() -> Iterator[str]:
    """A task of somebody else's."""
    TASKS.register("tests/darken", DarkenTask())
    yield "tests/darken"
    TASKS.forget("tests/darken")


def test_a_new_task_is_a_class_in_the_table(darken: str) -> None:
    x, y = make_mixture((1, 8, 8), 3, 2, 3, noise=0.003).sample(60, 0)
    parts = (LabelledImages(x[p].clamp(0, 1).float(), y[p], ("a", "b", "c")) for p in (slice(40), slice(40, 60)))
    config = GenerationConfig(darken, 5, share=0.5, components=1, rank=3)
    made = generate_with(
        build("convnet", (1, 8, 8), ("a", "b", "c"), 0, channels=(4, 4, 4)), Dataset("d", *parts), config
    )
    assert torch.allclose(made.pictures["classifier"], made.pictures["truth"], atol=1e-6)
    assert made.summary["sources"]["classifier"]["measures"]["ssim"]["mean"] == pytest.approx(1, abs=1e-6)
    assert task_settings(config)["share"] == 0.5
    spec = parse_spec({"sweep": [{"objective": "standard"}], "generate": [{"task": darken, "share": 0.5}]}, "spec")
    assert spec.generate[0].task == darken
    with pytest.raises(SpecError, match=r"share: got more than 0\.9"):
        GenerationConfig(darken, share=0.95)
    with pytest.raises(
        SpecError, match=r"mask: no option of task 'tests/darken', only of inpaint\. Of its own task 'tests/darken'"
    ):
        GenerationConfig(darken, mask="half")
