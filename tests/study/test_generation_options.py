"""Every option of every task of generation: it changes what comes out, or it is refused by name."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
import yaml

from support import make_mixture
from tangency.errors import SpecError
from tangency.evaluate.generation.run import Generated, generate_with
from tangency.generation.options import Climb
from tangency.generation.tasks.config import GenerationConfig, task_settings
from tangency.generation.tasks.table import TASKS
from tangency.models import Classifier, build
from tangency.score import MixtureScore
from tangency.study import parse_spec
from tangency.study.spec import dump_spec
from tangency.types import Dataset, LabelledImages

# A value that is not the default, and what has to be asked for beside it, if anything.
OPTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sigma": (0.1, {}),
    "blind": (True, {}),
    "method": ("map", {}),
    "label": ("predicted", {}),
    "mask": ("half", {}),
    "share": (0.6, {}),
    "factor": (4, {}),
    "target": (2, {}),
    "start": ("class", {}),
    "unit": ("module.features.2", {}),
    "margin": (2.0, {}),
    "drawn": (True, {}),
    "guidance": (3.0, {}),
    "components": (2, {}),
    "rank": (2, {"start": "class"}),
    "seed": (7, {"components": 2}),
}
CLIMB: dict[str, tuple[Any, dict[str, Any]]] = {
    "objective": ("margin", {"label": "predicted"}),
    "steps": (2, {}),
    "rule": ("gradient", {"climb.length": 0.05}),
    "length": (0.02, {}),
    "radius": (0.05, {}),
    "norm": ("linf", {}),
    "noise": (0.1, {}),
    "average": (0.5, {}),
    "variation": (0.5, {}),
    "decay": (True, {}),
    "confidence": (0.2, {"label": "predicted"}),
    "bounds": ((0.2, 0.5), {}),
    "frames": (4, {}),
}
EVERY = OPTIONS | {f"climb.{name}": case for name, case in CLIMB.items()}


def test_every_option_is_tried() -> None:
    fields = {field.name for field in dataclasses.fields(GenerationConfig)}
    assert set(OPTIONS) == fields - {"task", "count", "climb", "references", "batch"}
    assert set(CLIMB) == {field.name for field in dataclasses.fields(Climb)}


@pytest.fixture(scope="module")
def data() -> Dataset:
    mixture = make_mixture((1, 8, 8), 3, 2, 3, noise=0.003)
    x, y = mixture.sample(150, 0)
    pixels = x.clamp(0, 1).float()
    return Dataset("tiny", *(LabelledImages(pixels[p], y[p], ("a", "b", "c")) for p in (slice(120), slice(120, 150))))


@pytest.fixture(scope="module")
def net() -> Classifier:
    return build("convnet", (1, 8, 8), ("a", "b", "c"), 0, channels=(4, 4, 4))


def asked(task: str, **options: Any) -> GenerationConfig:
    climb = {"steps": 5, "frames": 3} if "steps" in TASKS[task].climb else {"frames": 3}
    climb |= {name.removeprefix("climb."): value for name, value in options.items() if name.startswith("climb.")}
    own = {name: value for name, value in options.items() if not name.startswith("climb.")}
    references = tuple({"score"} & set(TASKS[task].references))  # the Bayes rule is slow
    base = {"count": 4, "components": 1, "rank": 3, "references": references}
    base |= {"unit": "module.features.0"} if task == "feature" else {}
    return GenerationConfig(task, climb=Climb(**climb), **(base | own))


def made(config: GenerationConfig, data: Dataset, net: Classifier) -> Generated:
    return generate_with(net, data, config, score=MixtureScore(make_mixture((1, 8, 8), 3, 2, 3, noise=0.003)))


def same(one: Generated, other: Generated) -> bool:
    """Whether two say the same of pictures, classes, frames, and measures."""
    numbers = [
        json.dumps({key: value for key, value in each.summary.items() if key not in ("settings", "seconds", "budget")})
        for each in (one, other)
    ]
    pictures = all(torch.equal(found, other.pictures[source]) for source, found in one.pictures.items())
    return numbers[0] == numbers[1] and pictures and torch.equal(one.y, other.y)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_option_changes_what_comes_out_or_is_refused(task: str, data: Dataset, net: Classifier) -> None:
    kept: dict[str, Generated] = {}
    for option, (value, beside) in EVERY.items():
        with_others = {name: other for name, other in beside.items() if fits(task, name) or option == "climb.rule"}
        if not fits(task, option):
            others = ", ".join(name for name in TASKS if fits(name, option))
            with pytest.raises(SpecError, match=f"^{option}: no option of task '{task}', only of {others}"):
                asked(task, **{**with_others, option: value})
            continue
        config = asked(task, **{**with_others, option: value})
        base = asked(task, **with_others)
        if repr(base) not in kept:
            kept[repr(base)] = made(base, data, net)
        assert not same(kept[repr(base)], made(config, data, net)), f"{option} of {task} changes nothing"
        told = task_settings(config)
        assert option.removeprefix("climb.") in (told["climb"] if option.startswith("climb.") else told)


def fits(task: str, option: str) -> bool:
    """Whether a task has an option."""
    return option in ("components", "rank", "seed") or option in TASKS[task].own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "inpaint", "mask": "half", "share": 0.5}, "share: changes nothing here, since mask 'half'"),
        ({"task": "denoise", "climb": Climb("margin")}, "climb.objective: changes .* label predicted or oracle"),
        ({"task": "superres", "climb": Climb(confidence=0.9)}, "climb.confidence: changes"),
        ({"task": "inpaint", "label": "predicted", "climb": Climb("energy")}, "label: .*'energy' is of no class"),
        ({"task": "denoise", "method": "tweedie", "climb": Climb(steps=9)}, "climb.steps: .*'tweedie' is one step"),
        ({"task": "denoise", "climb": Climb(rule="adam", length=0.1, norm="linf")}, "climb.norm: .*'adam' has no norm"),
        ({"task": "generate", "guidance": 2.0, "references": ("bayes",)}, "guidance: .*no score among"),
        ({"task": "translate", "references": ("mixture",)}, "no 'mixture' for task 'translate', expected of bayes"),
        ({"task": "feature", "unit": "a", "references": ("bayes",)}, "expected of none"),
    ],
)
def test_what_changes_nothing_beside_other_options_is_refused(options: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        GenerationConfig(**options)


def test_a_stop_at_a_confidence_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match=r"confidence: .*variation"):
        Climb(confidence=0.9, variation=0.1)


def test_guidance_without_a_score_is_refused(data: Dataset, net: Classifier) -> None:
    with pytest.raises(SpecError, match=r"guidance: .*no score"):
        generate_with(net, data, asked("generate", guidance=2.0))


def test_only_what_a_task_has_is_stored(data: Dataset, net: Classifier) -> None:
    """The ways to ask for less than all are told, and nothing else."""
    told = made(asked("denoise"), data, net).summary["settings"]
    own = {"sigma", "blind", "method", "label"}
    assert set(told) == own | {"task", "count", "climb", "references", "components", "rank", "seed", "batch"}
    unclimbed = {"radius", "confidence", "objective"}  # the last two for label "energy"
    assert set(told["climb"]) == {field.name for field in dataclasses.fields(Climb)} - unclimbed
    assert "share" not in task_settings(GenerationConfig("inpaint", mask="half"))
    assert task_settings(GenerationConfig("translate"))["references"] == ("bayes",)


ENTRIES = [
    {"task": "denoise", "sigma": 0.5, "label": "predicted", "climb": {"objective": "margin", "bounds": [0, 0.9]}},
    {"task": "inpaint", "mask": "half"},
    {"task": "translate", "target": 1},
    {"task": "counterfactual", "target": 2, "margin": 0.5},
]


def test_a_spec_says_of_each_task_what_it_has() -> None:
    spec = parse_spec({"sweep": [{"objective": "standard"}], "generate": ENTRIES}, "spec")
    text = dump_spec(spec)
    entries = yaml.safe_load(text)["generate"]
    assert [sorted({"sigma", "mask", "margin", "share", "factor"} & set(entry)) for entry in entries] == [
        ["sigma"],
        ["mask"],
        [],
        ["margin"],
    ]
    again = parse_spec(yaml.safe_load(text), "again")
    assert again == spec
    assert again.digest() == spec.digest()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"task": "denoise", "mask": "half"}, "generate.0.mask: no option of task 'denoise', only of inpaint."),
        ({"task": "denoise", "climb": {"radius": 0.5}}, "generate.0.climb.radius: no option of task 'denoise'"),
        ({"task": "counterfactual", "target": 1, "climb": {"steps": 5}}, "generate.0.climb.steps: no option of task"),
        ({"task": "inpaint", "mask": "half", "share": 0.5}, "generate.0.share: changes nothing"),
        ({"task": "generate", "guidance": 2.0}, "guidance: changes nothing here, since there is no score"),
    ],
)
def test_a_spec_with_an_option_of_another_task_is_refused(entry: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message.replace(".", r"\.")):
        parse_spec({"sweep": [{"objective": "standard"}], "generate": [entry]}, "spec")
