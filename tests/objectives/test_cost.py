"""What an objective declares to cost is what its products take, counted; and what a package may leave out."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from objective_support import complete
from tangency.models import build
from tangency.objectives import LEGACY, OBJECTIVES, make
from tangency.objectives.cost import declaration, declare
from tangency.seeding import Draw
from tangency.study import parse_spec
from tangency.study.plan import plan_trials
from tangency.worlds import load_dataset

CLASSES, SHAPE = 10, (3, 16, 16)
WORLD = "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10"


class Products(TorchDispatchMode):
    """Counts the floating-point operations of products and convolutions, in every order of differentiation."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def products(objective, model, size=2):
    """Of a training step."""
    x = torch.rand(size, *SHAPE, generator=torch.Generator().manual_seed(0))
    with Products() as counted:
        objective.losses(model, x, torch.arange(size), Draw(0, torch.arange(size))).mean().backward()
    model.zero_grad()
    return counted.total


def resnet(norm):
    """Its first convolution, whose input gradient the standard objective does without, is 0.5 % of a pass."""
    return build("resnet18", SHAPE, CLASSES, seed=0, norm=norm, width=16).train()


CASES = [(name, {}) for name in OBJECTIVES.own if name != "standard"]
CASES += [("jacobian", {"exact": True}), ("jacobian", {"projections": 3}), ("pgd_l2", {"steps": 3})]
CASES += [("trades", {"steps": 2, "norm": "linf"}), ("tangent_attack", {"steps": 2, "part": "off"})]
ONE_PASS = {
    "noise_augmentation",
    "pgd_l2",
    "pgd_l2_mixed",
    "pgd_linf",
    "tangent_attack",
}  # at images that differ: there is no penalty


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_passes_are_those_of_its_products(name, options, norm):
    """Counted over declared between 0.95 and 1.1; a penalty under batch normalisation has one pass more."""
    model, objective = resnet(norm), complete(name, 0.3, **options)
    declared = objective.passes(CLASSES) + (norm == "batch" and name not in ONE_PASS)
    assert 0.95 < products(objective, model) / products(make("standard"), model) / declared < 1.1


@pytest.mark.parametrize("name", [name for name in OBJECTIVES.own if name != "standard"])
def test_strength_zero_is_a_bare_pass(name):
    model, objective = resnet("batch"), complete(name, 0.0)
    assert products(objective, model) == products(make("standard"), model)
    assert objective.passes(CLASSES) == 1


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in LEGACY["pags"] if name != "standard"), ("pgd_l2", {"added": False})]
)
def test_published_losses_declare_theirs(name, options):
    model, objective = resnet("none"), make(name, 0.3, legacy="pags", **options)
    counted = products(objective, model) / products(make("standard"), model)
    assert 0.95 < counted / objective.passes(CLASSES) < 1.1


def test_a_package_may_declare_nothing():
    def loss(model, x, y, draw, strength): ...

    assert declaration(loss).passes({}, 3) == 1
    declare(lambda options, classes: classes + options["more"])(loss)
    assert declaration(loss).passes({"more": 2}, 3) == 5


def test_a_plan_reads_the_passes():
    sweep = [{"objective": "standard"}, {"objective": "pgd_l2", "strengths": [0, 1.0], "options": {"steps": 3}}]
    sweep += [{"objective": "jacobian", "strengths": [0.1], "options": {"exact": True}}]
    spec = parse_spec({"data": WORLD, "score": "exact", "sweep": sweep, "train": {"epochs": 4}}, "test")
    costs = {trial.name: trial.cost for trial in plan_trials(spec, load_dataset(WORLD), "") if trial.objective}
    assert costs == {"standard": 240, "pgd_l2": 720, "jacobian": 720}
