"""AutoAttack through its package: what it is asked, what is made of its answer, and what is said without it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tangency.attacks import autoattack
from tangency.errors import NumericsError, RunError

N, SHAPE = 5, (1, 6, 5)


def linear(classes: int) -> nn.Module:
    layer = nn.Linear(30, classes, dtype=torch.float64)
    layer.weight.data = torch.randn(classes, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return nn.Sequential(nn.Flatten(), nn.Dropout(), layer)


def images() -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Package:
    """Stands for pyautoattack: one step along the loss gradient, and global random numbers."""

    def __init__(self, reach: float = 1.0) -> None:
        self.reach, self.made, self.seen = reach, [], []

    def AutoAttack(self, model, *, eps, norm, seed, device, version, attacks=None):
        parts = {"apgd_targeted": SimpleNamespace(n_target_classes=9), "fab": SimpleNamespace(n_target_classes=9)}
        made = SimpleNamespace(eps=eps, norm=norm, seed=seed, version=version, attacks=attacks, **parts)

        def run(x, y, *, batch_size):
            self.seen.append((len(x), batch_size))
            torch.manual_seed(seed)
            torch.rand(3)
            with torch.enable_grad():
                inputs = x.clone().requires_grad_(True)
                loss = nn.functional.cross_entropy(model(inputs), y, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, inputs)
            rows = gradient.flatten(1)
            step = rows.sign() if norm == "Linf" else rows / rows.norm(dim=1, keepdim=True)
            return x + self.reach * eps * step.reshape(x.shape), y

        made.run_standard_evaluation = run
        self.made.append(made)
        return made


@pytest.mark.parametrize(("norm", "theirs"), [("l2", "L2"), ("linf", "Linf")])
def test_what_the_package_is_asked_and_what_comes_back(monkeypatch, norm, theirs):
    package, model, x = Package(), linear(5).train(), images()
    monkeypatch.setitem(sys.modules, "pyautoattack", package)
    y = model.eval()(x).argmax(1)
    model.train()
    state = torch.random.get_rng_state()
    found = autoattack(model, x, y, 0.1, norm, seed=3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert {(made.norm, made.eps, made.version) for made in package.made} == {(theirs, 0.1, "standard")}
    assert len({made.seed for made in package.made}) == 1
    assert package.made[0].apgd_targeted.n_target_classes == package.made[0].fab.n_target_classes == 4
    assert package.seen == [(1, 1)] * N
    assert torch.equal(found.fooled, model.eval()(found.images).argmax(1) != y)
    delta = (found.images - x).flatten(1)
    length = delta.norm(dim=1) if norm == "l2" else delta.abs().amax(1)
    torch.testing.assert_close(length, torch.full((N,), 0.1, dtype=torch.float64))
    whole = autoattack(model, x, y, 0.1, norm, seed=3, batch_size=3)
    assert package.seen[N:] == [(3, 3), (2, 2)]
    torch.testing.assert_close(whole.images, found.images)


def test_few_classes_leave_the_targeted_losses_out(monkeypatch):
    package, model, x = Package(), linear(2), images()
    monkeypatch.setitem(sys.modules, "pyautoattack", package)
    autoattack(model, x[:1], torch.zeros(1, dtype=torch.int64), 0.1)
    assert package.made[0].version == "custom"
    assert package.made[0].attacks == ["apgd-ce", "fab", "square"]


def test_images_outside_the_ball_or_the_box_are_refused(monkeypatch):
    model, x, y = linear(4), images(), torch.zeros(N, dtype=torch.int64)
    monkeypatch.setitem(sys.modules, "pyautoattack", Package(reach=2.0))
    with pytest.raises(RunError, match=r"up to 0\.2 away"):
        autoattack(model, x, y, 0.1)
    monkeypatch.setitem(sys.modules, "pyautoattack", Package())
    with pytest.raises(RunError, match=r"expected at most 0\.9 and \[0, 1\]"):
        autoattack(model, x, y, 0.9)


def test_without_the_package_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(RunError, match=r"pip install 'tangency\[autoattack\]', or attack with pgd_l2"):
        autoattack(linear(4), images(), torch.zeros(N, dtype=torch.int64), 0.1)


def test_wrong_arguments_are_named():
    model, x, y = linear(4), images(), torch.zeros(N, dtype=torch.int64)
    with pytest.raises(NumericsError, match="Did you mean 'linf'"):
        autoattack(model, x, y, 0.1, "inf")
    with pytest.raises(NumericsError, match="normalisation"):
        autoattack(model, 3 * x, y, 0.1)
    with pytest.raises(NumericsError, match="sides of at least 5"):
        autoattack(model, x[:, :, :4], y, 0.1, "l2")
    with pytest.raises(NumericsError, match="batch_size"):
        autoattack(model, x, y, 0.1, batch_size=0)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize(("classes", "shape"), [(2, (1, 8, 8)), (5, (3, 6, 9))])
def test_the_real_package_fools_a_linear_network_exactly_where_it_can_be(classes, shape, norm):
    """Skipped where the extra is not installed. Fooled if and only if a margin is below ε times its dual norm."""
    pytest.importorskip("pyautoattack", reason="the extra tangency[autoattack] is not installed")
    generator = torch.Generator().manual_seed(classes)
    size = shape[0] * shape[1] * shape[2]
    weight = torch.randn(classes, size, generator=generator) / size
    layer = nn.Linear(size, classes, bias=False)
    layer.weight.data = weight
    model = nn.Sequential(nn.Flatten(), layer)
    x = 0.4 + 0.2 * torch.rand(4, *shape, generator=generator)
    with torch.no_grad():
        logits = model(x)
    y = logits.argmax(1)
    margins = logits.gather(1, y[:, None]) - logits
    gaps = (weight[y][:, None] - weight[None]).norm(p=2 if norm == "l2" else 1, dim=2)
    least = (margins / gaps.clamp(min=1e-9)).masked_fill(nn.functional.one_hot(y, classes).bool(), torch.inf).amin(1)
    ranked = least.sort().values
    epsilon = float(ranked[1] + ranked[2]) / 2
    found = autoattack(model, x, y, epsilon, norm)
    assert torch.equal(found.fooled, least < epsilon)
    assert int(found.fooled.sum()) == 2
