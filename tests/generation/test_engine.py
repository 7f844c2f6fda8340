"""The engine: each image on its own, degenerate images told, models left as they were, constraints exact."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tangency.errors import NumericsError, SpecError, TangencyError
from tangency.generation.constraints import BallInBox
from tangency.generation.counterfactuals import counterfactual
from tangency.generation.engine import Plan, ascend
from tangency.generation.objectives import ClassObjective, total_variation
from tangency.generation.operators import AveragePool, Mask, make_mask
from tangency.generation.options import OBJECTIVES, Climb
from tangency.generation.seeds import noise_seed
from tangency.generation.steps import AdamStep, GradientStep, NormalisedStep
from tangency.generation.tasks.change import sketch
from tangency.generation.tasks.climb import towards
from tangency.generation.tasks.denoise import denoise, estimate_noise
from tangency.generation.tasks.feature import unit_objective, visualise
from tangency.generation.tasks.restoration import first_guess, restore
from tangency.models import build
from tangency.seeding import Draw

SHAPE = (1, 8, 8)


def net(classes: int = 4, **options: object) -> nn.Module:
    return build("convnet", SHAPE, classes, 0, channels=(4, 4, 4), **options)


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def ids(n: int) -> Draw:
    return Draw(3, torch.arange(n))


def every_task(model: nn.Module, x: torch.Tensor, y: torch.Tensor, draw: Draw) -> dict[str, torch.Tensor]:
    climb = Climb(steps=6, noise=0.01, average=0.5)
    mask = make_mask("rectangle", SHAPE, 0.3, draw)
    pool = AveragePool(2)
    noisy = x + 0.2 * draw.of("noisy").normal(SHAPE)
    measured = pool.apply(x)
    return {
        "generation": towards(model, noise_seed(SHAPE, draw), y, climb, draw=draw).images,
        "adam": towards(model, x, y, Climb(steps=6, rule="adam", length=0.02), draw=draw).images,
        "linf": towards(model, x, y, Climb(steps=6, norm="linf", radius=0.1), draw=draw).images,
        "denoise": denoise(model, noisy, climb, draw=draw, sigma=0.2).ascent.images,
        "blind": denoise(model, noisy, climb, draw=draw, label="energy").ascent.images,
        "inpaint": restore(model, mask, x, first_guess(mask, x, x), climb, draw=draw).ascent.images,
        "superres": restore(model, pool, measured, first_guess(pool, measured, x), climb, draw=draw).ascent.images,
        "counterfactual": counterfactual(model, x, y, steps=3).images,
        "feature": visualise(model, "module.features.0", y, x, climb, draw=draw).images,
    }


def test_an_image_is_the_same_alone_and_in_a_batch() -> None:
    model, x, y = net(), images(5), torch.tensor([0, 1, 2, 3, 1])
    whole = every_task(model, x, y, ids(5))
    alone = every_task(model, x[3:4], y[3:4], Draw(3, torch.tensor([3])))
    order = torch.tensor([4, 3, 0, 1, 2])
    turned = every_task(model, x[order], y[order], Draw(3, order))
    for task, found in whole.items():
        assert torch.allclose(found[3:4], alone[task], atol=1e-5), task
        assert torch.allclose(found[order], turned[task], atol=1e-5), task
        assert 0 <= found.min() <= found.max() <= 1, task
    assert not torch.allclose(
        whole["generation"][0], every_task(model, x, y, Draw(4, torch.arange(5)))["generation"][0]
    )


def test_models_are_left_as_they_were() -> None:
    model = net(norm="batch").train()
    model.module.head.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hooks = sum(len(part._forward_hooks) for part in model.modules())
    every_task(model, images(3), torch.tensor([0, 1, 2]), ids(3))
    assert model.training
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert sum(len(part._forward_hooks) for part in model.modules()) == hooks
    with pytest.raises(ValueError, match="odd"), unit_objective(model, "module.head", 0):
        raise ValueError("odd")
    assert sum(len(part._forward_hooks) for part in model.modules()) == hooks


class Patchy(nn.Module):
    """Logits that are constant, infinite or well behaved, as the first pixel says."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kind = x[:, 0, 0, 0].detach()
        mean = x[:, :, 1:].mean((1, 2, 3))
        factor = torch.where(kind < 0.1, 0.0, torch.where(kind > 0.9, torch.inf, 1.0))
        return torch.stack([mean * factor, 1 - mean * factor], 1)


def test_zero_gradients_and_divergence_are_told_and_touch_no_other_image() -> None:
    x = images(3) * 0.5 + 0.2
    x[:, 0, 0, 0] = torch.tensor([0.0, 1.0, 0.5])
    found = towards(Patchy(), x, torch.zeros(3, dtype=torch.int64), Climb(steps=4, noise=0.1), draw=ids(3))
    assert found.stalled.tolist() == [True, False, False]
    assert found.diverged.tolist() == [False, True, False]
    assert torch.equal(found.images[:2], x[:2])
    assert found.steps.tolist() == [0, 0, 4]
    assert found.evaluations.tolist() == [2, 2, 5]
    assert found.values.isnan().tolist() == [False, True, False]
    assert not torch.equal(found.images[2], x[2])


def test_a_run_that_explodes_keeps_its_last_finite_iterate() -> None:
    start = torch.full((2, 1, 1, 1), 2.0)
    start[1] = 1e-3
    plan = Plan(GradientStep(1.0), 200)
    found = ascend(lambda x: x.pow(4).sum((1, 2, 3)), start, plan, draw=ids(2))
    assert found.diverged[0]
    assert found.images.isfinite().all()
    assert found.images[0] > 1e3
    assert not found.diverged[1]


def test_images_stop_each_at_their_own_time() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), images(6)
    y = torch.zeros(6, dtype=torch.int64)
    sure = Climb(steps=80, confidence=0.6, radius=8.0, length=0.05)
    found = towards(model, x, y, sure, draw=ids(6))
    with torch.no_grad():
        p = model(found.images).softmax(1)[:, 0]
    assert (p[found.stopped] >= 0.6).all()
    assert found.stopped.any()
    assert len(found.steps.unique()) > 1
    early = found.steps < 80  # the pass at which an image is found to be done is one more
    assert (found.evaluations == found.steps + 1 + early.long()).all()


def test_frames_average_and_decay() -> None:
    start = torch.zeros(2, 1, 1, 2) + 0.1
    plan = Plan(NormalisedStep(0.1), 10, frames=3)
    found = ascend(lambda x: x.sum((1, 2, 3)), start, plan, draw=ids(2))
    assert found.frame_steps == (0, 5, 10)
    lengths = (found.frames - start).flatten(2).norm(dim=2)
    assert torch.allclose(lengths, torch.tensor([0.0, 0.5, 1.0])[:, None].expand(3, 2), atol=1e-6)
    assert torch.equal(found.frames[-1], found.images)
    fading = ascend(lambda x: x.sum((1, 2, 3)), start, Plan(NormalisedStep(0.1), 10, decay=True), draw=ids(2))
    assert float((fading.images - start).flatten(1).norm(dim=1)[0]) == pytest.approx(
        0.1 * sum(1 - t / 10 for t in range(10))
    )
    mean = ascend(lambda x: x.sum((1, 2, 3)), start, Plan(NormalisedStep(0.1), 2, average=0.5), draw=ids(2))
    assert float((mean.images - start).flatten(1).norm(dim=1)[0]) == pytest.approx(0.5 * 0.2 + 0.25 * 0.1)


def test_adam_is_that_of_torch() -> None:
    target = images(2, 1)
    x = nn.Parameter(images(2))
    theirs = torch.optim.Adam([x], lr=0.03, eps=1e-12)
    for _ in range(7):
        theirs.zero_grad()
        (x - target).square().sum().backward()
        theirs.step()
    plan = Plan(AdamStep(0.03), 7)
    ours = ascend(lambda z: -(z - target).square().sum((1, 2, 3)), images(2), plan, draw=ids(2)).images
    assert torch.allclose(ours, x.detach(), atol=1e-5)


@given(st.integers(0, 200), st.sampled_from([1, 2]))
def test_projections_are_the_nearest_points(seed: int, kind: int) -> None:
    """⟨x − Πx, z − Πx⟩ ≤ 0 for every z of the set: the property that the nearest point alone has."""
    generator = torch.Generator().manual_seed(seed)
    x = 0.5 + torch.randn(3, 1, 4, 4, generator=generator, dtype=torch.float64)
    other = torch.rand(3, 1, 4, 4, generator=generator, dtype=torch.float64)
    if kind == 1:
        centre = 0.5 + 0.6 * torch.randn(3, 1, 4, 4, generator=generator, dtype=torch.float64)
        least = (centre - centre.clamp(0, 1)).flatten(1).norm(dim=1)
        ball = BallInBox(centre, least + 0.3)
        found = ball(x)
        assert ((found - centre).flatten(1).norm(dim=1) <= least + 0.3 + 1e-9).all()
        inside = ball(other)
    else:
        pool, truth = AveragePool(2), torch.rand(3, 1, 4, 4, generator=generator, dtype=torch.float64)
        found = pool.project(x, pool.apply(truth), (0.0, 1.0))
        assert torch.allclose(pool.apply(found), pool.apply(truth), atol=1e-12)
        inside = pool.project(other, pool.apply(truth), (0.0, 1.0))
    assert 0 <= found.min() <= found.max() <= 1
    assert ((x - found) * (inside - found)).flatten(1).sum(1).max() < 1e-9


def test_masks_hide_what_they_say() -> None:
    draw = Draw(0, torch.arange(400))
    for kind, share in (("rectangle", 0.25), ("random", 0.7), ("half", 0.5)):
        mask = make_mask(kind, (3, 8, 8), share, draw)
        assert mask.keep.shape == (400, 1, 8, 8)
        assert float((~mask.keep).double().mean()) == pytest.approx(share, abs=0.01)
        x = torch.rand(400, 3, 8, 8)
        restored = mask.project(torch.rand(400, 3, 8, 8) * 3 - 1, x, (0.0, 1.0))
        known = mask.keep.expand_as(x)
        assert torch.equal(restored[known], x[known])
        assert 0 <= restored.min() <= restored.max() <= 1
        assert not torch.equal(mask.keep[0], mask.keep[1]) or not torch.equal(mask.keep[0], mask.keep[2])


def test_the_noise_of_an_image_is_found() -> None:
    ramp = torch.linspace(0.2, 0.8, 64).expand(200, 1, 64, 64)
    for sigma in (0.05, 0.25):
        found = estimate_noise(ramp + sigma * Draw(0, torch.arange(200)).normal((1, 64, 64)))
        assert float(found.mean()) == pytest.approx(sigma, rel=0.02)
    assert (estimate_noise(ramp) < 1e-6).all()


def test_denoising_stays_within_its_budget_and_stops_on_it() -> None:
    model = net()
    noisy = images(6) + 0.3 * ids(6).normal(SHAPE)
    found = denoise(model, noisy, Climb(steps=40), draw=ids(6), sigma=0.3, label="predicted")
    distance = (found.ascent.images - noisy).flatten(1).norm(dim=1)
    assert (distance <= 0.3 * 8 * (1 + 1e-5)).all()
    assert (distance[found.ascent.stopped] >= 0.3 * 8 * (1 - 2e-5)).all()
    with torch.no_grad():
        assert torch.equal(found.labels, model(noisy.clamp(0, 1)).argmax(1))


def test_objectives_are_what_they_say() -> None:
    model, x, y = net(), images(4), torch.tensor([0, 1, 2, 3])
    logits = model(x).detach()
    own = logits.gather(1, y[:, None]).squeeze(1)
    exact = {
        "cross_entropy": logits.log_softmax(1).gather(1, y[:, None]).squeeze(1),
        "log_odds": torch.logit(logits.double().softmax(1).gather(1, y[:, None]).squeeze(1)).float(),
        "logit": own,
        "margin": own - logits.scatter(1, y[:, None], -torch.inf).amax(1),
        "energy": logits.logsumexp(1),
    }
    assert set(exact) == set(OBJECTIVES)
    for name, value in exact.items():
        assert torch.allclose(ClassObjective(model, name, y)(x), value, atol=1e-5), name
    assert total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 3.0]]]])).item() == 1 + 3 + 0 + 2


def test_total_variation_flattens_and_units_are_raised() -> None:
    model, x, y = net(), images(3), torch.zeros(3, dtype=torch.int64)
    plain = towards(model, x, y, Climb(steps=30), draw=ids(3)).images
    flattened = towards(model, x, y, Climb(steps=30, variation=10.0), draw=ids(3)).images
    assert (total_variation(flattened) < total_variation(plain)).all()
    channel = torch.tensor([0, 1, 2])
    raised = visualise(model, "module.features.3", channel, x, Climb(steps=20), draw=ids(3))
    with unit_objective(model, "module.features.3", channel) as objective, torch.no_grad():
        assert (objective(raised.images) > objective(x)).all()
    lines = sketch(x)
    assert lines.shape == x.shape
    assert 0 <= lines.min() <= lines.max() <= 1
    assert torch.equal(sketch(torch.full((1, 3, 8, 8), 0.4)), torch.ones(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, x, y: restore(m, Mask(torch.ones(1, 1, 4, 4, dtype=torch.bool)), x, x, Climb(), draw=ids(2)),
            "mask",
        ),
        (
            lambda m, x, y: restore(m, Mask(torch.ones(5, 1, 8, 8, dtype=torch.bool)), x, x, Climb(), draw=ids(2)),
            "mask",
        ),
        (lambda m, x, y: Mask(torch.ones(1, 1, 8, 8)), "bool"),
        (lambda m, x, y: restore(m, AveragePool(3), x, x, Climb(), draw=ids(2)), "divisor"),
        (lambda m, x, y: restore(m, AveragePool(2), x, x, Climb(), draw=ids(2)), "measured"),
        (
            lambda m, x, y: restore(m, AveragePool(2), 2 * x[..., ::2, ::2], x, Climb(), draw=ids(2)),
            "expected \\[0, 1\\]",
        ),
        (lambda m, x, y: towards(m, x, y + 4, Climb(), draw=ids(2)), "target classes"),
        (lambda m, x, y: counterfactual(m, x, y - 1), "target classes"),
        (lambda m, x, y: counterfactual(m, 3 * x, y), "expected \\[0, 1\\]"),
        (lambda m, x, y: towards(m, x / 0, y, Climb(), draw=ids(2)), "NaN or infinite"),
        (lambda m, x, y: towards(m, x, y, Climb(), draw=ids(3)), "identities"),
        (lambda m, x, y: visualise(m, "module.hed", y, x, Climb(), draw=ids(2)), "module.head"),
        (lambda m, x, y: visualise(m, "module.head", y + 9, x, Climb(), draw=ids(2)), "channel"),
        (lambda m, x, y: ascend(lambda z: z.sum(), x, Plan(GradientStep(1.0)), draw=ids(2)), "one number for each"),
        (
            lambda m, x, y: ascend(lambda z: z.detach().sum((1, 2, 3)), x, Plan(GradientStep(1.0)), draw=ids(2)),
            "no grad",
        ),
        (lambda m, x, y: Plan(GradientStep(1.0), average=1.0), "average"),
        (lambda m, x, y: BallInBox(x, torch.tensor([1.0, -1.0])), "radius"),
        (lambda m, x, y: ClassObjective(m, "logits", y), "logit"),
        (lambda m, x, y: denoise(m, x, Climb(), draw=ids(2), sigma=-1.0), "sigma"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(TangencyError, match=message):
        call(net(), images(2), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "logodds"}, "log_odds"),
        ({"rule": "sgd"}, "normalised"),
        ({"rule": "adam"}, "length"),
        ({"radius": 0.0}, "radius"),
        ({"confidence": 1.0}, "confidence"),
        ({"confidence": 0.5, "objective": "energy"}, "no probability"),
        ({"steps": -1}, "steps: got -1"),
        ({"frames": -1}, "frames: got -1"),
        ({"norm": "l3"}, "norm: unknown norm"),
        ({"noise": math.inf}, "noise: got inf"),
        ({"average": 1.0}, "average: got 1.0"),
        ({"variation": math.nan}, "variation: got nan"),
        ({"variation": -1.0}, "variation: got -1.0"),
        ({"bounds": (1.0, 0.0)}, "bounds: got"),
        ({"bounds": (0.0, math.inf)}, "bounds: got"),
    ],
)
def test_bad_settings_are_named(options: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Climb(**options)


def test_a_module_that_does_not_run_is_told_with_those_that_do() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ModuleDict({"idle": nn.ReLU()}))
    model.forward = lambda x: model[0](x)  # the second part never runs
    with unit_objective(model, "1.idle", 0) as objective, pytest.raises(NumericsError, match=r"ran 0 times.* do: 0\."):
        objective(torch.rand(2, 1, 8, 8))


def test_labels_are_predicted_unless_an_oracle_is_asked_for() -> None:
    model, x, y = net(), images(2), torch.tensor([0, 1])
    for label, truth in (("predicted", y), ("energy", y), ("oracle", None), ("true", None)):
        with pytest.raises(SpecError, match="label"):
            denoise(model, x, Climb(steps=1), draw=ids(2), sigma=0.1, label=label, y=truth)
    assert torch.equal(denoise(model, x, Climb(steps=1), draw=ids(2), sigma=0.1, label="oracle", y=y).labels, y)
