"""Penalties on a part of the gradient, against loops over images with explicit projectors, and in closed form."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from objective_support import OwnSpaces
from tangency.devices import arithmetic, autocast
from tangency.models import build
from tangency.objectives import make, projected
from tangency.seeding import Draw
from tangency.tangents import open_tangents
from tangency.tangents.references import Ground
from tangency.training import TrainConfig, train
from tangency.training.batches import load_batch
from tangency.types import LabelledImages
from tangency.worlds import load_dataset

N, SHAPE, CLASSES = 6, (2, 8, 9), 4
D = 144
PARTS, SCALARS = ("whole", "on", "off"), ("loss", "log_odds", "margin", "logit_y")
PENALTY = "projected_gradient_norm"
WORLD = "world:linear?rank=5&classes=2&shape=1x8x8&train=150&test=20"


def setting():
    model = build("convnet", SHAPE, CLASSES, seed=1, channels=(3, 5, 7)).double().train()
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.arange(N) % CLASSES, Draw(3, 10 + torch.arange(N), "test")


def penalised(part, scalar="loss", strength=0.7, **options):
    return make(PENALTY, strength, tangents="own", part=part, scalar=scalar, **options).guided(tangents=OwnSpaces(True))


def value(scalar, logits, label):
    """The slow definition, of the logits of one image."""
    others = torch.cat([logits[:label], logits[label + 1 :]])
    if scalar == "loss":
        return -logits.log_softmax(0)[label]
    if scalar == "log_odds":
        p = logits.softmax(0)[label]
        return (p / (1 - p)).log()
    return logits[label] - (others.max() if scalar == "margin" else 0)


def by_hand(part, scalar, strength=0.7):
    """Image by image, with projectors (d, d) from the outer products of the basis vectors."""
    model, x, y, draw = setting()
    wanted = []
    for i in range(N):
        image = x[i : i + 1].clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(value(scalar, model(image)[0], int(y[i])), image)
        space = OwnSpaces(True).at(x[i : i + 1], draw.ids[i : i + 1])
        projector = sum(torch.outer(u, u) for u in space.basis[0].T[: int(space.rank)])
        kept = {"whole": torch.eye(D).double(), "on": projector, "off": torch.eye(D).double() - projector}[part]
        loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        wanted.append(loss + strength * (kept @ gradient.flatten()).square().sum())
    return torch.stack(wanted)


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_the_loop_over_images(part, scalar):
    torch.testing.assert_close(penalised(part, scalar).losses(*setting()), by_hand(part, scalar), rtol=1e-9, atol=1e-12)


def swapped(monkeypatch):
    part_of, other = projected.part_of, {"on": "off", "off": "on"}
    monkeypatch.setattr(projected, "part_of", lambda gradients, space, part: part_of(gradients, space, other[part]))


def transposed(monkeypatch):
    at = OwnSpaces.at

    def turned(self, x, ids=None):
        space = at(self, x, ids)
        return dataclasses.replace(space, basis=space.basis.mT.reshape(space.basis.shape))

    monkeypatch.setattr(OwnSpaces, "at", turned)


@pytest.mark.parametrize("mistake", [swapped, transposed])
@pytest.mark.parametrize("part", ["on", "off"])
def test_swapped_parts_and_a_transposed_basis_would_be_found(part, mistake, monkeypatch):
    wanted = by_hand(part, "loss")
    mistake(monkeypatch)
    got = penalised(part).losses(*setting())
    clean = F.cross_entropy(setting()[0](setting()[1]), setting()[2], reduction="none")
    assert bool(((got - wanted).abs() > 1e-4 * (wanted - clean)).all())


@pytest.mark.parametrize("scalar", SCALARS)
def test_the_parts_add_up_to_the_whole(scalar):
    model, x, y, draw = setting()
    whole, on, off = (penalised(part, scalar).losses(model, x, y, draw) for part in PARTS)
    clean = F.cross_entropy(model(x), y, reduction="none")
    torch.testing.assert_close(on + off - clean, whole, rtol=1e-12, atol=1e-13)
    assert bool((on > clean).all() and (off > on).all())


def test_the_whole_of_the_loss_is_the_gradient_norm():
    model, x, y, draw = setting()
    assert torch.equal(
        penalised("whole").losses(model, x, y, draw), make("gradient_norm", 0.7).losses(model, x, y, draw)
    )


@pytest.mark.parametrize(("part", "scalar"), [("on", "loss"), ("off", "loss"), ("off", "margin"), ("on", "log_odds")])
def test_the_derivative_is_that_of_finite_differences(part, scalar):
    model, x, y, draw = setting()
    objective, weight = penalised(part, scalar, 3.0), model.module.features[0].weight
    (gradient,) = torch.autograd.grad(objective.losses(model, x, y, draw).mean(), weight)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(4)).double()
    values = []
    for step in (1e-5, -1e-5):
        weight.data += step * direction
        values.append(float(objective.losses(model, x, y, draw).mean().detach()))
        weight.data -= step * direction
    assert float((gradient * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 64, generator=torch.Generator().manual_seed(2)).double())

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


@pytest.mark.parametrize("part", ["on", "off"])
def test_a_linear_classifier_on_the_linear_world_in_closed_form(part):
    """∇ℓ = −(1 − p_y) v and ∇margin = v, v = w_y − w_j; the exact space is one U: penalty λ‖Q v‖², derivative 2λQv."""
    data = load_dataset(WORLD)
    exact = open_tangents("exact", Ground(data))
    x, y = data.test.images().double(), data.test.labels
    basis = exact.at(x[:1]).basis[0]
    inside = basis @ basis.T
    kept = inside if part == "on" else torch.eye(64).double() - inside
    net, draw = Linear(), Draw(0, torch.arange(len(x)))
    v = (net.weight[y] - net.weight[1 - y]).detach()
    odds = 1 - net(x).softmax(1)[torch.arange(len(x)), y].detach()
    clean = F.cross_entropy(net(x), y, reduction="none").detach()
    for scalar, factor in (("loss", odds), ("margin", torch.ones_like(odds))):
        objective = make(PENALTY, 0.6, tangents="exact", part=part, scalar=scalar).guided(tangents=exact)
        wanted = clean + 0.6 * factor.square() * (v @ kept).square().sum(1)
        torch.testing.assert_close(objective.losses(net, x, y, draw).detach(), wanted, rtol=1e-9, atol=1e-12)
    penalty = objective.losses(net, x, y, draw) - F.cross_entropy(net(x), y, reduction="none")
    (gradient,) = torch.autograd.grad(penalty.sum(), net.weight)
    wanted = torch.zeros_like(net.weight)
    for label, slope in zip(y.tolist(), 2 * 0.6 * v @ kept, strict=True):
        wanted[label] += slope
        wanted[1 - label] -= slope
    torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sham", ["none", "other", "pca", "dct", "random", "fresh"])
def test_the_penalty_of_an_image_does_not_depend_on_its_batch(sham):
    model, x, y, draw = setting()
    pool = LabelledImages(torch.rand(30, *SHAPE), torch.arange(30) % CLASSES, ("a", "b", "c", "d"))
    objective = make(PENALTY, 0.7, tangents="own", sham=sham).guided(tangents=OwnSpaces(True), images=pool)
    order = torch.tensor([5, 1, 3])
    some = objective.losses(model, x[order], y[order], Draw(3, draw.ids[order], "test"))
    torch.testing.assert_close(some, objective.losses(model, x, y, draw)[order], rtol=1e-6, atol=1e-9)


def test_spaces_are_those_of_the_augmented_images_by_their_places_in_the_training_data(tmp_path):
    data = LabelledImages(
        torch.randint(0, 256, (40, *SHAPE), generator=torch.Generator().manual_seed(0)).to(torch.uint8),
        torch.arange(40) % CLASSES,
        ("a", "b", "c", "d"),
    )
    config = TrainConfig(epochs=2, batch_size=16, flip=True, crop=1, validation_fraction=0.2)
    objective = penalised("off")
    train(build("convnet", SHAPE, data.classes, seed=0, channels=(3, 5, 7)), data, objective, config, tmp_path)
    seen = objective.bound["tangents"].seen
    for number, (x, ids) in enumerate(seen):
        batch = load_batch(data, ids, config, number * 2 // len(seen), torch.device("cpu"))
        assert torch.equal(x, batch.x)
    assert not all(torch.equal(x, data.images(ids)) for x, ids in seen)
    assert torch.cat([ids for _, ids in seen]).bincount(minlength=40).unique().tolist() == [
        0,
        2,
    ]  # held out, two epochs


class Recording(OwnSpaces):
    """Notes the precision of products where spaces are made."""

    def at(self, x, ids=None):
        self.precisions = {(x @ x.mT).dtype, torch.backends.cuda.matmul.fp32_precision}
        return super().at(x, ids)


def test_under_tf32_spaces_and_parts_are_in_float32(monkeypatch):
    model, x, y, draw = setting()
    recording, kept = Recording(True), []
    part_of = projected.part_of

    def watched(gradients, space, part):
        kept.append(part_of(gradients, space, part))
        return kept[-1]

    monkeypatch.setattr(projected, "part_of", watched)
    objective = make(PENALTY, 0.7, tangents="own").guided(tangents=recording)
    with arithmetic("tf32"):
        objective.losses(model.float(), x.float(), y, draw)
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    assert recording.precisions == {torch.float32, "ieee"}
    assert kept[0].dtype == torch.float32


def test_under_bfloat16_only_the_network_is_in_bfloat16():
    model, x, y, draw = setting()
    model, x, recording = model.float(), x.float(), Recording(True)
    with autocast("bfloat16", x.device):
        whole, on, off = (
            make(PENALTY, 0.7, tangents="own", part=part).guided(tangents=recording).losses(model, x, y, draw)
            for part in PARTS
        )
        clean = F.cross_entropy(model(x), y, reduction="none")
        exact = make(PENALTY, 0.7, tangents="own").guided(tangents=recording).losses(model, x, y, draw)
    assert recording.precisions == {torch.float32, "ieee"}
    # parts of one gradient, which is rounded to bfloat16; projections of 2⁻⁸ would leave 1e-3 and more
    torch.testing.assert_close(on + off - clean - whole, torch.zeros_like(whole), rtol=0, atol=2e-6)
    assert torch.equal(exact, off)


@pytest.mark.parametrize("weighted", [False, True])
def test_parts_are_those_of_the_tangent_space(weighted):
    space = OwnSpaces().at(torch.rand(N, *SHAPE).double(), torch.arange(N))
    if weighted:
        space = dataclasses.replace(space, weights=torch.rand(N, 3).double())
    g = torch.randn(N, D, generator=torch.Generator().manual_seed(3)).double()
    torch.testing.assert_close(projected.part_of(g, space, "on"), space.project(g))
    torch.testing.assert_close(projected.part_of(g, space, "off"), space.reject(g))
