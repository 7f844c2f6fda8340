"""Alignment with a score and attacks within a tangent space: exact answers of worlds, and slow versions by image."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from objective_support import OwnScore, OwnSpaces
from support import make_mixture
from tangency.errors import SpecError
from tangency.models import build
from tangency.objectives import make
from tangency.objectives.adversarial import tangent_attack
from tangency.objectives.alignment import score_alignment
from tangency.objectives.losses import InnerAttack, pgd_l2
from tangency.score import MixtureScore
from tangency.seeding import Draw
from tangency.tangents import FixedTangents, TangentSpace
from tangency.types import Direction

N, SHAPE, CLASSES = 6, (2, 9, 8), 3
D = math.prod(SHAPE)
SCALARS = ("log_odds", "margin", "logit_y", "lse")


def setting():
    model = build("convnet", SHAPE, CLASSES, seed=1, channels=(3, 4, 5)).double().train()
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.arange(N) % CLASSES, Draw(3, torch.arange(N), "test")


def cross_entropy(model, x, y):
    return F.cross_entropy(model(x), y, reduction="none")


def scalar_of(name, logits, label):
    others = torch.cat([logits[:label], logits[label + 1 :]])
    return {
        "log_odds": logits[label] - others.logsumexp(0),
        "margin": logits[label] - others.max(),
        "logit_y": logits[label],
        "lse": logits.logsumexp(0),
    }[name]


@pytest.mark.parametrize("scalar", SCALARS)
def test_alignment_of_each_image(scalar):
    model, x, y, draw = setting()
    score, wanted = OwnScore(), []
    targets = {"logit_y": score.score(x, 0.2, y), "lse": score.score(x, 0.2)}
    target = targets.get(scalar, score.bayes_direction(x, y, 0.2).direction)
    for i in range(N):
        one = torch.autograd.functional.jacobian(
            lambda z, i=i: scalar_of(scalar, model(z[None])[0], y[i]), x[i]
        ).flatten()
        angle = one @ target[i].flatten() / (one.norm() * target[i].norm())
        wanted.append(cross_entropy(model, x[i : i + 1], y[i : i + 1])[0] + 3 * (1 - angle))
    got = score_alignment(model, x, y, draw, 3.0, score=score, sigma=0.2, scalar=scalar)
    torch.testing.assert_close(got, torch.stack(wanted), rtol=1e-9, atol=1e-12)


class Joint(nn.Module):
    """Logits log p_σ(x, c) of a mixture by its dense covariances."""

    def __init__(self, mixture, sigma):
        super().__init__()
        self.mixture, k = mixture, len(mixture.means)
        eye = torch.eye(mixture.means.shape[1], dtype=torch.float64)
        covariance = mixture.loadings @ mixture.loadings.mT + torch.diag_embed(mixture.noise) + sigma**2 * eye
        self.parts = torch.distributions.MultivariateNormal(mixture.means, covariance)
        self.factor = nn.Parameter(torch.ones(k, dtype=torch.float64))

    def forward(self, x):
        joint = self.mixture.log_weights + self.factor * self.parts.log_prob(x.flatten(1)[:, None])
        classes = self.mixture.component_class
        return torch.stack([joint[:, classes == c].logsumexp(1) for c in range(int(classes.max()) + 1)], 1)


@pytest.mark.parametrize("scalar", SCALARS)
def test_the_joint_density_is_aligned_with_its_own_score(scalar):
    """No penalty for the true density, whichever scalar; for the margin among two classes, where it is the log-odds."""
    mixture = make_mixture((1, 4, 5), classes=2)
    x, y = mixture.sample(8, 1)
    draw, score = Draw(0, torch.arange(8)), MixtureScore(mixture)
    losses = score_alignment(Joint(mixture, 0.3), x, y, draw, 5.0, score=score, sigma=0.3, scalar=scalar)
    torch.testing.assert_close(losses, cross_entropy(Joint(mixture, 0.3), x, y), rtol=0, atol=1e-8)
    other = score_alignment(Joint(mixture, 0.3), x, y, draw, 5.0, score=score, sigma=1.0, scalar=scalar)
    assert (other - losses > 1e-3).any()


def test_alignment_of_a_linear_classifier():
    """The gradient of the margin of two classes is ±(w₁ − w₀) everywhere."""
    _, x, _, draw = setting()
    y, layer = torch.arange(N) % 2, nn.Linear(D, 2).double()
    w = (layer.weight[1] - layer.weight[0]) * (2 * y - 1)[:, None]
    target = OwnScore().bayes_direction(x, y, 0.25).direction.flatten(1)
    wanted = 1 - F.cosine_similarity(w, target)
    model = nn.Sequential(nn.Flatten(), layer)
    got = score_alignment(model, x, y, draw, 1.0, score=OwnScore(), scalar="margin")
    torch.testing.assert_close(got - cross_entropy(model, x, y), wanted)


@pytest.mark.parametrize("factor", [0.0, 1e-30])
def test_a_target_or_gradient_of_zero_is_a_right_angle_and_a_small_one_is_not(factor):
    model, x, y, draw = setting()

    class Scaled(OwnScore):
        def bayes_direction(self, x, y, sigma):
            return Direction(factor * x, (factor * x).flatten(1).norm(dim=1).log())

    losses = score_alignment(model.float(), x.float(), y, draw, 1.0, score=Scaled())
    penalty = losses - cross_entropy(model, x.float(), y)
    steep = torch.autograd.grad(penalty.sum(), list(model.parameters()), materialize_grads=True)
    assert all(torch.isfinite(g).all() for g in steep)
    if factor:
        assert (penalty - 1).abs().min() > 1e-4
    else:
        torch.testing.assert_close(penalty, torch.ones(N))


def test_a_target_that_is_not_finite_is_not_hidden():
    model, x, y, draw = setting()

    class Broken(OwnScore):
        def bayes_direction(self, x, y, sigma):
            return Direction(x / 0, x.flatten(1).sum(1))

    assert score_alignment(model, x, y, draw, 1.0, score=Broken()).isnan().all()


def projector(space, i):
    basis = space.basis[i]
    return basis @ basis.T


@pytest.mark.parametrize("part", ["on", "off"])
def test_an_attack_of_each_image_stays_in_its_space(part):
    model, x, y, draw = setting()
    spaces, steps, epsilon = OwnSpaces(), 3, 0.4
    got = tangent_attack(
        model, x, y, draw, epsilon, tangents=spaces, part=part, attack=InnerAttack(steps=steps, clip=False)
    )
    space = spaces.at(x, draw.ids)
    for i in range(N):
        own = Draw(3, torch.tensor([i]), "test").of("attack", "start")
        inside = projector(space, i)
        inside = inside if part == "on" else torch.eye(D, dtype=torch.float64) - inside
        start = own.of("direction").normal(SHAPE, torch.float64).flatten()
        delta = epsilon * start / start.norm() * own.of("radius").uniform((), torch.float64) ** (1 / D)
        delta = inside @ delta
        for _ in range(steps):
            moved = (x[i] + delta.reshape(SHAPE)).requires_grad_(True)
            loss = cross_entropy(model, moved[None], y[i : i + 1]).sum()
            gradient = inside @ torch.autograd.grad(loss, moved)[0].flatten()
            delta = delta + 2.5 * epsilon / steps * gradient / gradient.norm()
            delta = delta * min(1.0, float(epsilon / delta.norm()))
        assert float((delta - inside @ delta).norm()) < 1e-12
        wanted = cross_entropy(model, x[i : i + 1] + delta.reshape(1, *SHAPE), y[i : i + 1])[0]
        torch.testing.assert_close(got[i], wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("part", ["on", "off"])
def test_an_attack_on_a_linear_classifier(part):
    """Of two classes the loss at the best perturbation is softplus(−margin + ε ‖Q w‖); swapped parts fail by far."""
    _, x, _, draw = setting()
    y, layer = torch.arange(N) % 2, nn.Linear(D, 2).double()
    model = nn.Sequential(nn.Flatten(), layer)
    basis = torch.linalg.qr(torch.randn(D, 4, generator=torch.Generator().manual_seed(1)).double()).Q
    w = (layer.weight[1] - layer.weight[0]).detach()
    reach = (basis.T @ w).norm() if part == "on" else (w - basis @ (basis.T @ w)).norm()
    logits = model(x)
    margin = (logits[:, 1] - logits[:, 0]) * (2 * y - 1)
    tangents = FixedTangents(basis, "some")
    attack = InnerAttack(steps=60, relative_step=20.0, clip=False)
    got = tangent_attack(model, x, y, draw, 0.7, tangents=tangents, part=part, attack=attack)
    torch.testing.assert_close(got, F.softplus(-margin + 0.7 * reach), rtol=1e-4, atol=0)


class Whole(OwnSpaces):
    """All directions of the first half of the images, soft; none of the others."""

    def at(self, x, ids=None):
        rank = torch.where(ids < N // 2, D, 0)
        space = TangentSpace.shared(torch.eye(D, dtype=torch.float64), rank)
        return TangentSpace(space.basis, rank, weights=torch.full((len(x), D), 0.5))


def test_of_all_directions_it_is_pgd_and_of_none_nothing():
    """The weights of a soft space do not shrink an attack step by step."""
    model, x, y, draw = setting()
    attack = InnerAttack(steps=3, clip=False)
    got = tangent_attack(model, x, y, draw, 0.4, tangents=Whole(), attack=attack)
    free = pgd_l2(model, x, y, draw, 0.4, attack=attack)
    torch.testing.assert_close(got[: N // 2], free[: N // 2])
    torch.testing.assert_close(got[N // 2 :], cross_entropy(model, x, y)[N // 2 :])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make("score_alignment", 1), r"got no score, expected score by reference"),
        (lambda: make("score_alignment", 1, score="mfa", sigma=0), "sigma is 0, expected a number > 0"),
        (
            lambda: make("score_alignment", 1, score="mfa", scalar="loss"),
            "one of log_odds, margin, logit_y, lse",
        ),
        (lambda: make("tangent_attack", 1), r"got no tangents, expected tangents by reference"),
        (lambda: make("tangent_attack", 1, tangents="mfa", part="whole"), "part is 'whole', expected one of on, off"),
        (lambda: make("tangent_attack", 1, tangents="mfa", steps=0), "whole number >= 1"),
        (lambda: make("tangent_attack", 1, tangents="mfa", score="mfa"), "unknown option of objective tangent_attack"),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(SpecError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
