"""PGD whose budgets are mixed: for each image, and for a whole batch as published."""

import pytest
import torch
from torch.nn import functional as F

from tangency.models import build
from tangency.objectives import make
from tangency.objectives.losses import mixed_shares
from tangency.seeding import Draw

SHAPE = (2, 11, 13)


def setting(n, norm="none"):
    model = build("convnet", SHAPE, 5, seed=1, channels=(3, 5, 7), norm=norm).double().train()
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, x, torch.arange(n) % 5, Draw(3, torch.arange(n), "test")


def test_budgets_are_an_eighth_a_half_and_the_whole_equally_often():
    shares = mixed_shares(Draw(0, torch.arange(9000), "step"), torch.zeros(9000, 1, 1, 1))
    counts = [int((shares == share).sum()) for share in (0.125, 0.5, 1.0)]
    assert sum(counts) == 9000
    assert max(abs(count - 3000) for count in counts) < 4 * (9000 * 2 / 9) ** 0.5  # four standard deviations


def test_each_image_is_attacked_at_a_budget_of_its_own():
    """The loss of each image is that of pgd_l2 at its budget; an eighth, a half and the whole all occur."""
    model, x, y, draw = setting(9)
    mixed = make("pgd_l2_mixed", 0.8, steps=3).losses(model, x, y, draw)
    shares = mixed_shares(draw, x).tolist()
    assert set(shares) == {0.125, 0.5, 1.0}
    for i, share in enumerate(shares):
        own = make("pgd_l2", 0.8 * share, steps=3).losses(model, x, y, draw)
        torch.testing.assert_close(mixed[i], own[i], rtol=1e-10, atol=0)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_published_one_draws_a_budget_for_the_batch(seed):
    """MNISTDistractorPGDTraining.ipynb, written out; the gradients of the attack are zeroed before the step."""
    model, x, y, _ = setting(6)
    draw = Draw(seed, torch.arange(6), "test")
    epsilon = 8.0 * float(mixed_shares(draw, x)[0])
    delta = draw.of("attack").of("start").uniform(SHAPE, torch.float64)
    delta = epsilon * delta / torch.linalg.norm(delta.flatten()) / 2
    for _ in range(10):
        delta.requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x + delta), y), delta)
        delta = delta.detach() + 2.5 * epsilon / 10 * gradient / torch.linalg.norm(gradient.flatten())
        norm = torch.linalg.norm(delta.flatten())
        if norm > epsilon:
            delta = epsilon * delta / norm
    wanted = F.cross_entropy(model(x + delta), y)
    found = make("pgd_l2_mixed", 8.0, legacy="pags").losses(model, x, y, draw).mean()
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-10)
    parameters = list(model.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(wanted, parameters), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)


def test_the_published_script_for_imagenet_adds_no_gradient_of_the_attack():
    model, x, y, draw = setting(5)
    parameters = list(model.parameters())
    plain, added = (
        make("pgd_l2", 0.5, legacy="pags", steps=3, **options).losses(model, x, y, draw).mean()
        for options in ({"added": False}, {})
    )
    assert float(plain.detach()) == float(added.detach())
    alone, both = (torch.autograd.grad(loss, parameters) for loss in (plain, added))
    assert any(not torch.allclose(one, two) for one, two in zip(alone, both, strict=True))
