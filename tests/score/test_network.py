"""Networks as scores: preconditioning, range, σ of each image, labels, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tangency.autodiff import double_backward
from tangency.errors import DataError, ModelError, NumericsError, SpecError, TangencyError
from tangency.score import Denoiser, FunctionScore, NetworkScore, ScoreCard, build_network, load_network, save_score
from tangency.score.networks.parametrisation import coefficients, edm_coefficients, edm_weight
from tangency.score.networks.unet import PRESETS, ScoreUNet, ScoreUNetOptions, groups
from tangency.worlds import make_world

CLASSES = ("cat", "dog", "cow")


def network(shape: tuple[int, int, int] = (1, 8, 8), **changes: Any) -> NetworkScore:
    options = {"channels": shape[0], "classes": len(CLASSES), "size": "tiny"}
    score = build_network(ScoreCard("unet", "edm", shape, options, classes=CLASSES, **changes), seed=1)
    draw = torch.Generator().manual_seed(2)
    for parameter in score.module.parameters():  # nothing that is zero at the start stays so
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=draw)
    return score


@given(st.floats(1e-3, 1e3), st.floats(0.05, 2.0))
def test_the_weight_makes_every_target_a_unit_one(sigma: float, sigma_data: float) -> None:
    level = torch.tensor([sigma], dtype=torch.float64)
    c = edm_coefficients(level, sigma_data)
    assert float(edm_weight(level, sigma_data) * c.out**2) == pytest.approx(1.0, rel=1e-12)
    # The target (y − c_skip(y + n))/c_out and the input c_in(y + n) have unit variance.
    assert float((c.inside**2) * (sigma_data**2 + sigma**2)) == pytest.approx(1.0, rel=1e-12)
    target = ((1 - c.skip) ** 2 * sigma_data**2 + c.skip**2 * sigma**2) / c.out**2
    assert float(target) == pytest.approx(1.0, rel=1e-9)


def test_no_noise_means_no_change() -> None:
    score, x = network(), torch.rand(3, 1, 8, 8)
    assert torch.equal(score.denoise(x, 0.0), x)
    gaps = [float((score.denoise(x, sigma) - x).abs().max()) for sigma in (1e-2, 1e-3, 1e-4, 1e-5)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-4


def test_answers_do_not_depend_on_the_batch_or_on_how_sigma_is_given() -> None:
    score, x, y = network(), torch.rand(5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    levels = torch.tensor([0.1, 0.0, 0.5, 0.1, 2.0])
    together = score.denoise(x, levels, y)
    for i, level in enumerate(levels.tolist()):
        torch.testing.assert_close(together[i : i + 1], score.denoise(x[i : i + 1], level, y[i : i + 1]))
    torch.testing.assert_close(score.denoise(x, 0.3), score.denoise(x, torch.full((5,), 0.3)))


@pytest.mark.parametrize("world", ["linear?rank=3&classes=2&shape=1x8x8", "torus?rank=2&shape=1x8x8"])
def test_closed_forms_take_a_sigma_for_each_image_too(world: str) -> None:
    exact = make_world(world)
    drawn = exact.sample(5, 0)
    x, y, levels = drawn.x, drawn.y, torch.tensor([0.3, 0.1, 0.3, 0.2, 0.1], dtype=torch.float64)
    direction = exact.bayes_direction(x, y, levels)
    for i, level in enumerate(levels.tolist()):
        one, label = x[i : i + 1], y[i : i + 1]
        torch.testing.assert_close(exact.denoise(x, levels, y)[i : i + 1], exact.denoise(one, level, label))
        torch.testing.assert_close(exact.score(x, levels)[i : i + 1], exact.score(one, level))
        alone = exact.bayes_direction(one, label, level)
        torch.testing.assert_close(direction.direction[i : i + 1], alone.direction)
        torch.testing.assert_close(direction.log_norm[i : i + 1], alone.log_norm)


def test_sign_and_the_factor_two_of_the_range() -> None:
    """A network on [−1, 1] that is exact for N(m, v I) there is exact for N((m + 1)/2, v/4 I) on [0, 1]."""
    mean, variance, sigma = 0.2, 0.09, 0.15

    def exact(u: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        gain = variance / (variance + levels[:, None, None, None] ** 2)
        return mean + gain * (u - mean)

    score, x = FunctionScore(exact, (1, 4, 4)), torch.rand(3, 1, 4, 4, dtype=torch.float64)
    wanted = -(x - (mean + 1) / 2) / (variance / 4 + sigma**2)
    torch.testing.assert_close(score.score(x, sigma), wanted, rtol=1e-9, atol=1e-9)
    assert isinstance(score, Denoiser)


class _Linear(nn.Module):
    """F = a c_in u + b t: what every parametrisation says about a network that anyone can compute."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None) -> Tensor:
        return self.a * x + 0.01 * time[:, None, None, None]


def _vp_time(sigma: float) -> float:
    low, high = 0.0, 10.0
    for _ in range(200):  # bisection of σ(t)² = exp(½ 19.9 t² + 0.1 t) − 1
        t = (low + high) / 2
        low, high = (t, high) if math.expm1(0.5 * 19.9 * t * t + 0.1 * t) < sigma**2 else (low, t)
    return low


@pytest.mark.parametrize("prediction", ["edm", "vp", "ve", "epsilon", "v", "sample"])
def test_every_parametrisation_is_its_formula(prediction: str) -> None:
    levels = tuple(torch.logspace(-2, 2, 50, dtype=torch.float64).tolist())
    card = ScoreCard("linear", prediction, (1, 2, 2), levels=levels)
    score, x = NetworkScore(_Linear(), card), torch.rand(2, 1, 2, 2, dtype=torch.float64)
    for s in (0.05, 0.5, 3.0):
        u, shrink = 2 * x - 1, 1 / math.sqrt(1 + s**2)
        step = (math.log(s) - math.log(levels[0])) / (math.log(levels[1]) - math.log(levels[0]))

        def f(inside: Tensor, time: float) -> Tensor:
            return 0.7 * inside + 0.01 * time

        total = s**2 + 0.25
        wanted = {
            "edm": 0.25 / total * u + s * 0.5 / math.sqrt(total) * f(u / math.sqrt(total), math.log(s) / 4),
            "vp": u - s * f(u * shrink, 999 * _vp_time(s)),
            "ve": u + s * f(u, math.log(s / 2)),
            "epsilon": u - s * f(u * shrink, step),
            "v": u * shrink**2 - s * shrink * f(u * shrink, step),
            "sample": f(u * shrink, step),
        }[prediction]
        torch.testing.assert_close(2 * score.denoise(x, s / 2) - 1, wanted, rtol=1e-9, atol=1e-9)


def test_the_time_of_the_vp_network() -> None:
    """THEORY §2.4: 144.7 at σ = ½."""
    card = ScoreCard("linear", "vp", (1, 2, 2))
    assert float(coefficients(card, torch.tensor([0.5])).time) == pytest.approx(144.7, abs=0.05)


def test_a_bayes_gradient_is_the_difference_over_sigma_squared() -> None:
    score, x, y = network(), torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 2])
    found = score.bayes_direction(x, y, 0.2)
    wanted = score.score(x, 0.2, y) - score.score(x, 0.2)
    length = wanted.flatten(1).norm(dim=1)
    torch.testing.assert_close(found.log_norm, length.log().double(), rtol=1e-4, atol=1e-4)
    unit = found.direction / found.direction.flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(unit, wanted / length[:, None, None, None], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 7, 9), (3, 5, 5), (2, 8, 12), (1, 1, 3)])
def test_sides_that_cannot_be_halved_are_padded_and_cropped(shape: tuple[int, int, int]) -> None:
    assert network(shape).denoise(torch.rand(2, *shape), 0.3).shape == (2, *shape)


@pytest.mark.parametrize("size", PRESETS)
def test_groups_divide_every_width(size: str) -> None:
    widths = PRESETS[size].widths
    count = groups(widths)
    assert all(width % count == 0 for width in widths)
    assert min(widths) // count >= 4


def test_attention_has_forward_mode_and_double_backward() -> None:
    score, x = network(), torch.rand(1, 1, 8, 8, dtype=torch.float64)
    assert any("attention" in name for name, _ in score.module.named_modules())
    score.module.double()
    v = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with double_backward():
        _, forward = torch.func.jvp(lambda x: score.denoise(x, 0.3), (x,), (v,))
        numeric = (score.denoise(x + 1e-6 * v, 0.3) - score.denoise(x - 1e-6 * v, 0.3)) / 2e-6
        leaf = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad((score.denoise(leaf, 0.3) * v).sum(), leaf, create_graph=True)
        (twice,) = torch.autograd.grad(gradient.square().sum(), leaf)
    torch.testing.assert_close(forward, numeric, rtol=1e-5, atol=1e-6)
    assert float(twice.abs().max()) > 0


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_patches_become_channels_and_pixels_again(patch: int) -> None:
    net = ScoreUNet(ScoreUNetOptions(2, 2, (4, 8), 1, (), patch=patch, modulated=True)).eval()
    x = torch.rand(2, 2, 7, 12, generator=torch.Generator().manual_seed(0))
    assert net(x, torch.zeros(2)).shape == x.shape
    assert net.net.config.in_channels == 2 * patch**2
    net.net.forward = lambda u, *_, **__: (u,)  # an inner network that does nothing gives the image back
    torch.testing.assert_close(net(x, torch.zeros(2)), x)
    with pytest.raises(SpecError, match="patches of side 0"):
        ScoreUNetOptions(1, 0, (4, 8), 1, (), patch=0)


def test_the_noise_level_scales_features_where_it_modulates_them() -> None:
    plain, modulated = (ScoreUNet(ScoreUNetOptions(1, 0, (4, 8), 1, (), modulated=m)) for m in (False, True))
    assert plain.net.mid_block.resnets[0].time_emb_proj.out_features == 8
    assert modulated.net.mid_block.resnets[0].time_emb_proj.out_features == 16  # a scale and a shift each


def test_mirrored_images_have_labels_of_their_own_which_are_off_when_it_is_asked() -> None:
    net = ScoreUNet(ScoreUNetOptions(1, 2, (12, 24, 36), 1, (2,), mirrored=True)).eval()
    x, time, y = torch.rand(2, 1, 8, 8), torch.zeros(2), torch.tensor([0, 1])
    with torch.no_grad():
        net.net.class_embedding.weight.copy_(torch.randn(net.net.class_embedding.weight.shape))
        plain, told = net(x, time, y), net(x, time, y, torch.tensor([True, True]))
        assert torch.equal(plain, net(x, time, y, torch.tensor([False, False])))
    assert float((plain - told).abs().max()) > 1e-4


@pytest.mark.parametrize("half", [False, True])
def test_a_file_gives_the_same_answers(tmp_path: Any, half: bool) -> None:
    score, x = network(provenance={"data": "made up"}), torch.rand(2, 1, 8, 8)
    save_score(score, tmp_path / "net.safetensors", half=half)
    again = load_network(tmp_path / "net.safetensors")
    assert again.settings == score.settings
    assert next(again.module.parameters()).dtype == torch.float32
    tolerance = 1e-2 if half else 0.0
    torch.testing.assert_close(again.denoise(x, 0.3), score.denoise(x, 0.3), rtol=tolerance, atol=tolerance)


IMAGES = torch.rand(2, 1, 8, 8)
LABELS = torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("x", "sigma", "y", "message"),
    [
        (IMAGES, -0.1, LABELS, "-0.1"),
        (IMAGES, math.nan, LABELS, "nan"),
        (IMAGES, math.inf, LABELS, "inf"),
        (IMAGES, 41.0, LABELS, "the largest"),
        (IMAGES, torch.tensor([0.1, -1.0]), LABELS, "-1.0"),
        (IMAGES, torch.tensor([0.1, 0.2, 0.3]), LABELS, "one for each image"),
        (IMAGES[:, :, :7], 0.1, LABELS, "the size that"),
        (IMAGES.expand(2, 3, 8, 8), 0.1, LABELS, "the size that"),
        (IMAGES[0], 0.1, LABELS, "batch axis"),
        (IMAGES.half(), 0.1, LABELS, "float32 or float64"),
        (IMAGES.bfloat16(), 0.1, LABELS, "float32 or float64"),
        ((255 * IMAGES).byte(), 0.1, LABELS, "divide bytes"),
        (torch.full((2, 1, 8, 8), math.nan), 0.1, LABELS, "NaN"),
        (torch.full((2, 1, 8, 8), math.inf), 0.1, LABELS, "infinite"),
        (IMAGES, 0.1, torch.tensor([0, 3]), "expected 0 to 2"),
        (IMAGES, 0.1, torch.tensor([0]), "for 2 images"),
        (IMAGES, 0.1, torch.tensor([0.0, 1.0]), "integers"),
    ],
)
def test_bad_questions_are_refused(x: Tensor, sigma: Any, y: Tensor, message: str) -> None:
    with pytest.raises(TangencyError, match=message):
        network().denoise(x, sigma, y)


def test_a_network_has_no_score_at_clean_images() -> None:
    score = network()
    with pytest.raises(NumericsError, match="knows the density of noisy images only"):
        score.score(IMAGES, 0.0)
    with pytest.raises(NumericsError, match="knows the density of noisy images only"):
        score.bayes_direction(IMAGES, LABELS, torch.tensor([0.1, 0.0]))


def test_a_missing_label_is_an_error_and_never_a_zero() -> None:
    conditional = network(unconditional=False)
    with pytest.raises(NumericsError, match="conditional only"):
        conditional.denoise(IMAGES, 0.1)
    options = {"channels": 1, "classes": 0, "size": "tiny"}
    unlabelled = build_network(ScoreCard("unet", "edm", (1, 8, 8), options))
    with pytest.raises(NumericsError, match="takes none"):
        unlabelled.denoise(IMAGES, 0.1, LABELS)
    assert unlabelled.denoise(IMAGES, 0.1).shape == IMAGES.shape


def test_no_images_give_no_images() -> None:
    assert network().denoise(IMAGES[:0], 0.1).shape == (0, 1, 8, 8)
    assert network().denoise(IMAGES[:0], torch.zeros(0), LABELS[:0]).shape == (0, 1, 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction": "epsilom"}, "did you mean 'epsilon'|epsilon"),
        ({"shape": (1, 0, 8)}, "all positive"),
        ({"data_range": (1.0, -1.0)}, "low < high"),
        ({"sigma_range": (1.0, 0.5)}, "least < largest"),
        ({"unconditional": False}, "must be unconditional"),
        ({"levels": (0.1, 0.1)}, "rise"),
        ({"sigma_data": 0.0}, "positive"),
        ({"network": "resnet"}, "unet"),
        ({"options": {"channels": 1, "classes": 2, "size": "huge"}}, "medium"),
        ({"options": {"channels": 1, "classes": 0, "colours": 2}}, "cannot be built"),
        ({"options": {"channels": 1, "classes": 0, "widths": (2, 4)}}, "at least 4"),
        ({"options": {"channels": 1, "classes": 2}}, "expected the same"),
        ({"options": {"channels": 3, "classes": 0}}, "expected the same"),
        ({"prediction": "epsilon"}, "every time step"),
    ],
)
def test_bad_cards_are_refused(changes: dict[str, Any], message: str) -> None:
    content: dict[str, Any] = {"network": "unet", "prediction": "edm", "shape": (1, 8, 8)}
    content["options"] = {"channels": 1, "classes": 0, "size": "tiny"}
    with pytest.raises((ModelError, SpecError), match=message):
        build_network(ScoreCard(**(content | changes)))


def test_a_classifier_is_no_score(tmp_path: Any) -> None:
    from tangency.models import build, save_classifier

    save_classifier(build("convnet", (1, 8, 8), 3), tmp_path / "net.safetensors")
    with pytest.raises(ModelError, match="may hold a classifier"):
        load_network(tmp_path / "net.safetensors")


def test_a_function_that_answers_wrongly_is_named() -> None:
    score = FunctionScore(lambda u, sigma, y: u[:, :, :2], (1, 4, 4), kind="mine")
    with pytest.raises(NumericsError, match="'mine': returned"):
        score.denoise(torch.rand(2, 1, 4, 4), 0.1)
    with pytest.raises(DataError, match="labels"):
        network().denoise(IMAGES, 0.1, torch.tensor([[0], [1]]))
