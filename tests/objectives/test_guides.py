"""What an objective is given besides numbers: words of a closed list, and guides that are bound before training."""

import dataclasses
import json
from typing import Literal

import pytest
import torch
import yaml
from torch.nn import functional as F

from objective_support import OwnSpaces, complete
from tangency.errors import RunError, SpecError
from tangency.models import build
from tangency.objectives import OBJECTIVES, make
from tangency.seeding import Draw
from tangency.study.sweep import SweepEntry
from tangency.training import TrainConfig, train
from tangency.types import LabelledImages

SHAPE = (1, 8, 9)
IMAGES = LabelledImages(
    torch.rand(30, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3, ("a", "b", "c")
)
PENALTY = "projected_gradient_norm"


def test_options_guides_and_defaults_are_told_apart():
    objective = make(PENALTY, 0.5, tangents="mfa?rank=3", part="on")
    assert objective.guides == {"tangents": "mfa?rank=3"}
    assert objective.options == {"part": "on", "scalar": "loss", "sham": "none"}
    assert make("gradient_norm", 0.5).guides == {}


def test_on_and_off_are_words_where_yaml_makes_switches_of_them():
    """YAML 1.1 reads `part: off` as false."""
    entry = yaml.safe_load(
        "{objective: projected_gradient_norm, strengths: [1], options: {tangents: exact, part: off}}"
    )
    assert entry["options"]["part"] is False
    assert SweepEntry(**entry).options == {"tangents": "exact", "part": "off"}
    assert make(PENALTY, 1, tangents="exact", part=True).options["part"] == "on"
    assert make("pgd_l2", 1, clip=False).options["clip"] is False


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(PENALTY, 1), r"got no tangents, expected tangents by reference, for example tangents: 'mfa"),
        (lambda: make(PENALTY, 1, tangents=OwnSpaces()), r"objects are bound by Objective.guided\(tangents=…\)"),
        (lambda: make(PENALTY, 1, tangents=""), "expected a reference"),
        (lambda: make(PENALTY, 1, tangents="exact", part="of"), "part is 'of', expected one of whole, on, off"),
        (lambda: make(PENALTY, 1, tangents="exact", part=1), "expected one of whole, on, off"),
        (lambda: make(PENALTY, 1, tangents="exact", scalar=False), "expected one of loss, log_odds"),
        (lambda: make(PENALTY, 1, tangents="exact", scalar="lse"), "one of loss, log_odds, margin, logit_y"),
        (
            lambda: make(PENALTY, 1, tangents="exact", sham="others"),
            "one of none, other, other_class, pca, dct, random",
        ),
        (lambda: make(PENALTY, 1, tangent="exact"), "Did you mean 'tangents'"),
        (lambda: make("gradient_norm", 1, tangents="exact"), "unknown option of objective gradient_norm 'tangents'"),
        (lambda: make(PENALTY, 1, tangents="exact", legacy="pags"), "Leave out legacy"),
        (lambda: make(PENALTY, -1, tangents="exact"), "finite number >= 0"),
        (lambda: make("gradient_norm", 1).guided(tangents=OwnSpaces()), "unknown guide of objective gradient_norm"),
        (lambda: make(PENALTY, 1, tangents="a", sham="pca").guided(tangents=OwnSpaces()), "got no images for sham pca"),
    ],
)
def test_wrong_choices_are_named(call, message):
    with pytest.raises(SpecError, match=message):
        call()


def test_an_objective_whose_guides_are_mere_references_is_refused():
    x, y = IMAGES.images(slice(0, 4)), IMAGES.labels[:4]
    model, draw = build("convnet", SHAPE, 3, seed=0), Draw(0, torch.arange(4))
    with pytest.raises(SpecError, match=r"its tangents, 'exact', are not loaded.*load_tangents\('exact', data\)"):
        make(PENALTY, 0.1, tangents="exact").losses(model, x, y, draw)


def test_bound_guides_are_no_part_of_equality_but_of_what_a_training_is_known_by():
    objective = make(PENALTY, 0.1, tangents="mine")
    bound = objective.guided(tangents=OwnSpaces())
    assert bound == objective
    assert bound != make(PENALTY, 0.1, tangents="another")
    assert "own" not in repr(bound)
    assert json.loads(json.dumps(bound.identity))["cards"] == {"tangents": {"kind": "own"}}
    assert bound.identity != objective.identity
    assert dataclasses.replace(bound, strength=0.2).bound == bound.bound
    assert make("gradient_norm", 0.1).identity == {
        "name": "gradient_norm",
        "strength": 0.1,
        "options": {},
        "legacy": None,
    }  # as trainings of earlier versions have it


def test_another_package_has_words_and_guides_of_its_own():
    def aligned(model, x, y, draw, strength, *, tangents, mode: Literal["left", "right"] = "left", steps=2):
        space = tangents.at(x, draw.ids)
        assert mode == "right"
        return F.cross_entropy(model(x), y, reduction="none") + strength * steps * space.rank

    def with_text(model, x, y, draw, strength, *, mode="left"):
        return model(x)

    def with_default(model, x, y, draw, strength, *, tangents="mfa"):
        return model(x)

    OBJECTIVES.register("mine/aligned", aligned)
    try:
        assert make("mine/aligned", 1, tangents="exact", mode="right").options["steps"] == 2
        with pytest.raises(SpecError, match="expected one of left, right"):
            make("mine/aligned", 1, tangents="exact", mode="up")
        objective = make("mine/aligned", 1, tangents="exact", mode="right").guided(tangents=OwnSpaces())
        model, x, y = build("convnet", SHAPE, 3, seed=0), IMAGES.images(slice(0, 4)), IMAGES.labels[:4]
        more = objective.losses(model, x, y, Draw(0, torch.arange(4))) - F.cross_entropy(model(x), y, reduction="none")
        torch.testing.assert_close(more, 2.0 * (2 + torch.arange(4) % 2))
    finally:
        OBJECTIVES.forget("mine/aligned")
    for bad in (with_text, with_default):
        with pytest.raises(SpecError, match="expected a function"):
            OBJECTIVES.register("mine/bad", bad)


def test_the_guide_is_asked_at_the_images_of_the_step_by_their_places():
    objective = complete(PENALTY, 0.1)
    model, x, y = build("convnet", SHAPE, 3, seed=0), IMAGES.images(slice(0, 4)), IMAGES.labels[:4]
    objective.losses(model, x, y, Draw(0, torch.tensor([9, 2, 5, 4])))
    ((seen, ids),) = objective.bound["tangents"].seen
    assert torch.equal(seen, x)
    assert ids.tolist() == [9, 2, 5, 4]


def test_a_training_with_other_guides_is_another_training(tmp_path):
    others = OwnSpaces()
    others.card = {"kind": "own", "fitted": "anew"}
    objective, config = make(PENALTY, 0.1, tangents="mine"), TrainConfig(epochs=1, batch_size=10)

    def trained(guide):
        net = build("convnet", SHAPE, IMAGES.classes, seed=0)
        return train(net, IMAGES, objective if guide is None else objective.guided(tangents=guide), config, tmp_path)

    with pytest.raises(SpecError, match="are not loaded"):
        trained(None)
    assert not list(tmp_path.iterdir())
    assert trained(OwnSpaces()).record.settings["objective"]["cards"] == {"tangents": {"kind": "own"}}
    trained(OwnSpaces())
    with pytest.raises(RunError, match="another training"):
        trained(others)
