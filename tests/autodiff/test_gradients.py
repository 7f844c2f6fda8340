"""Input gradients against hand-made answers, float64 references and side effects."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tangency.autodiff import SCALARS, double_backward, input_gradient, input_gradients, scalar, undisturbed
from tangency.errors import NumericsError
from tangency.numerics import cosine, norms


class Tiny(nn.Module):
    """f(x) = W tanh(V x) with batch normalisation and dropout, so that modes matter."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Flatten(), nn.Linear(2 * 3 * 5, 11), nn.BatchNorm1d(11), nn.Tanh(), nn.Dropout(0.5), nn.Linear(11, 7)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def batch(n: int = 13, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 2, 3, 5, generator=generator).to(dtype), torch.randint(7, (n,), generator=generator)


DIRECT = {  # each named quantity, written down independently
    "logp_y": lambda f, y: f.log_softmax(0)[y],
    "loss": lambda f, y: F.cross_entropy(f[None], torch.tensor([y])),
    "logit_y": lambda f, y: f[y],
    "logit_pred": lambda f, y: f[f.argmax()],
    "sum_logits": lambda f, y: f.sum(),
    "lse": lambda f, y: f.exp().sum().log(),
    "margin": lambda f, y: f[y] - max(v for j, v in enumerate(f) if j != y),
}


@pytest.mark.parametrize("name", SCALARS)
def test_every_scalar_equals_its_definition_differentiated_image_by_image(name: str) -> None:
    model = Tiny().double().eval()
    x, y = batch(dtype=torch.float64)
    found = input_gradient(model, x, y, name, batch_size=5)
    for i in range(len(x)):
        one = x[i : i + 1].clone().requires_grad_(True)
        logits = model(one).squeeze(0)
        value = DIRECT[name](logits, int(y[i]))
        (expected,) = torch.autograd.grad(value, one)
        assert float(cosine(found.direction[i : i + 1], expected)) == pytest.approx(1, abs=1e-12)
        assert float(found.log_norm[i]) == pytest.approx(float(norms(expected).log()), abs=1e-9)


def test_several_scalars_at_once_equal_one_at_a_time() -> None:
    model, (x, y) = Tiny(), batch()
    together = input_gradients(model, x, y, SCALARS)
    for name in SCALARS:
        torch.testing.assert_close(together[name].direction, input_gradient(model, x, y, name).direction)


def test_log_odds_direction_survives_saturation_where_the_direct_form_dies() -> None:
    model, (x, y) = nn.Sequential(nn.Flatten(), nn.Linear(30, 7)), batch()
    with torch.no_grad():
        model[1].weight.mul_(2e4)
    y = model(x).argmax(1)
    inputs = x.clone().requires_grad_(True)
    (direct,) = torch.autograd.grad(model(inputs).log_softmax(1).gather(1, y[:, None]).sum(), inputs)
    assert (norms(direct) == 0).any()
    found = input_gradient(model, x, y, "logp_y")
    exact = input_gradient(model.double(), x.double(), y, "logp_y")
    assert (norms(found.direction) > 0).all()
    assert float(cosine(found.direction.double(), exact.direction).min()) > 0.9999
    assert float(found.log_norm.min()) < -50  # a magnitude that float32 could not hold as a number


def test_shift_of_all_logits_moves_only_the_scalars_that_are_not_identified() -> None:
    model, (x, y) = Tiny().eval(), batch()

    class Shifted(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return model(z) + 50 * z.flatten(1)[:, :1].square()

    before, after = (input_gradients(m, x, y, SCALARS) for m in (model, Shifted()))
    for name in SCALARS:
        same = torch.allclose(before[name].direction, after[name].direction, atol=1e-4)
        assert same == (name in ("logp_y", "loss", "margin")), name


class Fixed(nn.Module):
    """Logits W x + b."""

    def __init__(self, rows: list[list[float]], biases: list[float]) -> None:
        super().__init__()
        self.register_buffer("rows", torch.tensor(rows, dtype=torch.float64))
        self.register_buffer("biases", torch.tensor(biases, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.rows.mT + self.biases


ROWS = [[1.0, 2.0], [3.0, -1.0], [-2.0, 0.5], [4.0, 1.0]]


@pytest.mark.parametrize(
    ("biases", "runners"),
    [
        ([5.0, 1.0, 0.0, -1.0], [1]),  # no tie
        ([5.0, 1.0, 1.0, -1.0], [1, 2]),  # two classes come second
        ([5.0, 1.0, 1.0, 1.0], [1, 2, 3]),
        ([1.0, 1.0, 0.0, 0.0], [1]),  # a tie with the first one is none of the runners-up
        ([0.0, 3.0, 3.0, 1.0], [1, 2]),  # the image is misclassified, and two classes win
    ],
)
def test_a_margin_with_tied_runners_up_has_the_mean_of_their_gradients(biases: list[float], runners: list[int]) -> None:
    """An element of the generalised gradient that no order of the classes changes."""
    x, y = torch.zeros(1, 1, 1, 2, dtype=torch.float64), torch.tensor([0])
    wanted = torch.tensor(ROWS[0]) - torch.tensor([ROWS[j] for j in runners]).mean(0)
    for c in (1.0, 0.03, 30.0):
        found = input_gradient(Fixed([[c * v for v in row] for row in ROWS], [c * b for b in biases]), x, y)
        torch.testing.assert_close(found.direction.flatten(), (c * wanted).double())
        assert float(found.log_norm[0]) == pytest.approx(float((c * wanted).norm().log()))


def test_of_two_classes_the_margin_is_the_difference_of_the_logits_and_parallel_to_the_log_odds() -> None:
    model, x = Fixed(ROWS[:2], [0.3, -0.2]), torch.rand(4, 1, 1, 2, dtype=torch.float64)
    difference = torch.tensor(ROWS[0]) - torch.tensor(ROWS[1])
    for y, sign in ((0, 1), (1, -1)):
        both = input_gradients(model, x, torch.full((4,), y), ["margin", "logp_y"])
        torch.testing.assert_close(both["margin"].direction.flatten(1), (sign * difference).double().expand(4, 2))
        torch.testing.assert_close(cosine(both["margin"].direction, both["logp_y"].direction), torch.ones(4).double())


def test_nothing_of_the_caller_changes_also_after_an_exception() -> None:
    model, (x, y) = Tiny(), batch()
    model.body[4].eval()
    model.body[1].weight.requires_grad_(False)
    model(x).sum().backward()
    modes = [part.training for part in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    rng = torch.get_rng_state()

    def unchanged() -> bool:
        return (
            [part.training for part in model.modules()] == modes
            and [p.requires_grad for p in model.parameters()] == flags
            and all(
                (a is None and p.grad is None) or torch.equal(a, p.grad)
                for a, p in zip(grads, model.parameters(), strict=True)
            )
            and all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
            and torch.equal(torch.get_rng_state(), rng)
        )

    input_gradient(model, x, y)
    assert unchanged()
    with pytest.raises(RuntimeError):
        input_gradient(model, torch.zeros(2, 1, 1, 1), y[:2])
    assert unchanged()
    with pytest.raises(ZeroDivisionError), undisturbed(model, train=True):
        raise ZeroDivisionError
    assert unchanged()
    assert not x.requires_grad


def test_gradient_is_found_under_no_grad_and_for_an_empty_batch() -> None:
    model, (x, y) = Tiny(), batch()
    with torch.no_grad():
        assert norms(input_gradient(model, x, y).direction).min() > 0
    assert input_gradient(model, x[:0], y[:0]).direction.shape == (0, 2, 3, 5)


def test_a_constant_classifier_has_a_zero_gradient_and_log_norm_minus_infinity() -> None:
    class Constant(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(z), 3) + 0 * z.sum()

    x, _ = batch(3)
    found = input_gradient(Constant(), x, torch.tensor([0, 1, 2]))
    assert found.log_norm.tolist() == [-torch.inf] * 3


class Attention(nn.Module):
    """One attention block over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x.flatten(1).reshape(len(x), 1, -1, 8)).chunk(3, -1)
        return self.head(F.scaled_dot_product_attention(q, k, v).mean((1, 2)))


def test_attention_has_double_backward_and_forward_mode_on_the_cpu() -> None:
    model = Attention().double()
    x = torch.rand(2, 1, 4, 8, generator=torch.Generator().manual_seed(0)).double().requires_grad_(True)
    with double_backward():
        (g,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
        penalty = g.square().sum()
        (found,) = torch.autograd.grad(penalty, model.qkv.weight)
        tangent = torch.ones_like(x)
        _, jvp = torch.func.jvp(model, (x.detach(),), (tangent,))
        h = 1e-6
        numeric_jvp = (model(x.detach() + h * tangent) - model(x.detach() - h * tangent)) / (2 * h)
        torch.testing.assert_close(jvp, numeric_jvp, rtol=1e-6, atol=1e-9)
        with torch.no_grad():
            values = []
            for step in (h, -h):
                model.qkv.weight[3, 2] += step
                with torch.enable_grad():
                    (moved,) = torch.autograd.grad(model(x).square().sum(), x)
                values.append(float(moved.square().sum()))
                model.qkv.weight[3, 2] -= step
    assert float(found[3, 2]) == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5)


def test_unknown_scalar_and_wrong_logits_are_refused() -> None:
    with pytest.raises(NumericsError, match="Did you mean 'logit_y'"):
        scalar("logits_y", torch.rand(2, 3), torch.tensor([0, 1]))
    with pytest.raises(NumericsError, match="at least 2 classes"):
        scalar("lse", torch.rand(2, 1), torch.tensor([0, 0]))


class Overwriting(Tiny):
    """Normalises its input in place, as published models do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.sub_(0.5))


def test_a_model_that_overwrites_its_input_has_its_gradient_and_leaves_the_images() -> None:
    x, y = batch()
    kept = x.clone()
    found = input_gradient(Overwriting(), x, y)
    assert torch.equal(x, kept)
    shifted = Tiny()
    expected = input_gradient(shifted, x - 0.5, y)
    torch.testing.assert_close(found.direction, expected.direction)


def test_gradients_exist_inside_inference_mode_and_of_its_tensors() -> None:
    x, y = batch()
    model = Tiny()
    expected = input_gradient(model, x, y).direction
    with torch.inference_mode():
        made, labels = x.clone(), y.clone()
        torch.testing.assert_close(input_gradient(model, x, y).direction, expected)
    torch.testing.assert_close(input_gradient(model, made, labels).direction, expected)
    torch.testing.assert_close(input_gradient(model, x, y.int()).direction, expected)


def test_outputs_that_are_no_logits_are_named() -> None:
    x, y = batch()

    class Wrapped(nn.Module):
        def __init__(self, change: object) -> None:
            super().__init__()
            self.inner, self.change = Tiny(), change

        def forward(self, x: torch.Tensor) -> object:
            return self.change(self.inner(x))

    with pytest.raises(NumericsError, match="got tuple for 13 images"):
        input_gradient(Wrapped(lambda f: (f, f)), x, y)
    with pytest.raises(NumericsError, match=r"shape \(13, 1\)"):
        input_gradient(Wrapped(lambda f: f[:, :1]), x, y)
    with pytest.raises(NumericsError, match="no input gradient"):
        input_gradient(Wrapped(lambda f: f.detach()), x, y)
