"""Measures: known answers, batch and order invariance, side effects, degenerate images."""

from __future__ import annotations

import math

import polars
import pytest
import torch
from torch import nn

from measure_support import measured, toy_world
from tangency.errors import DataError, NumericsError, SpecError
from tangency.measures import ComparisonSource, MeasureConfig, describe, measure, measure_batch
from tangency.measures.keys import CONTROLS, Key
from tangency.measures.registry import ingredients
from tangency.numerics import cosine
from tangency.score import MixtureScore
from tangency.tangents import MixtureTangents, TangentSpace
from tangency.types import LabelledImages

SHAPE, CLASSES = (1, 11, 13), 3
BOUNDED = ("accuracy", "tangent_fraction", "alignment_cosine", "alignment_lpips", "change_on", "change_off", "outside")


def world(n: int = 23, dtype: torch.dtype = torch.float32) -> tuple[object, LabelledImages]:
    return toy_world(SHAPE, n, dtype)


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 5, 3, 2), nn.BatchNorm2d(5), nn.SiLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(150, CLASSES)
        ).to(dtype)


class BayesRule(nn.Module):
    """Logits are the mixture's log class joints at σ, so gradients are exact Bayes gradients."""

    def __init__(self, mixture: object, sigma: float) -> None:
        super().__init__()
        self.mixture, self.sigma = mixture, sigma

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixture.log_class_joint(x, self.sigma).to(x.dtype)


def source(mixture: object, data: LabelledImages, config: MeasureConfig) -> ComparisonSource:
    return ComparisonSource(MixtureScore(mixture), {"mfa": MixtureTangents(mixture)}, data, data, config)


def rows(model: nn.Module, mixture: object, data: LabelledImages, config: MeasureConfig, batch: int) -> object:
    return measured(model, mixture, data, config, pool=data, batch_size=batch)


def tolerance(key: str, double: bool) -> dict[str, float]:
    if double and "lpips" not in key:  # LPIPS itself is float32
        return {"rtol": 1e-10, "atol": 1e-10}
    return {"rtol": 0, "atol": 1e-5} if Key.parse(key).family.startswith(BOUNDED) else {"rtol": 1e-4, "atol": 1e-6}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 7, 64])
def test_rows_do_not_depend_on_the_batch(dtype: torch.dtype, batch: int) -> None:
    mixture, data = world(dtype=dtype)
    whole = rows(network(dtype), mixture, data, MeasureConfig(), 23)
    parts = rows(network(dtype), mixture, data, MeasureConfig(), batch)
    assert set(whole.columns) == set(parts.columns)
    for key, values in whole.columns.items():
        torch.testing.assert_close(
            parts[key],
            values,
            equal_nan=True,
            msg=lambda m, key=key: f"{key}: {m}",
            **tolerance(key, dtype == torch.float64),
        )


def test_one_image_alone_has_its_own_row() -> None:
    mixture, data = world()
    whole = rows(network(), mixture, data, MeasureConfig(), 23)
    for i in (0, 9, 22):
        alone = measured(network(), mixture, data, at=torch.tensor([i]))
        for key, values in whole.columns.items():
            torch.testing.assert_close(alone[key][0], values[i], equal_nan=True, **tolerance(key, False))


def test_rows_do_not_depend_on_the_order_of_models_and_all_see_the_same_directions() -> None:
    mixture, data = world()
    config = MeasureConfig(metrics=("cosine",))
    prepared = source(mixture, data, config)
    ids = torch.arange(len(data))
    references = prepared.at(data.images(), data.labels, ids)
    models = [network(), nn.Sequential(nn.Flatten(), nn.Linear(143, 3))]
    first = [measure_batch(m, references, config) for m in models]
    again = prepared.at(data.images(), data.labels, ids)
    second = [measure_batch(m, again, config) for m in reversed(models)][::-1]
    for a, b in zip(first, second, strict=True):
        for key, values in a.columns.items():
            torch.testing.assert_close(values, b[key], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(references.frames[0].on, again.frames[0].on, rtol=0, atol=0)


def test_the_bayes_rule_is_perfectly_aligned_with_its_own_gradient() -> None:
    mixture, data = world()
    pairs = (("logp_y", "bayes_gradient"), ("logit_y", "score_y"))
    config = MeasureConfig(sigmas=(0.25,), directions=1, alignments=pairs)
    found = rows(BayesRule(mixture, 0.25).double(), mixture, data, config, 64)
    key = "logp_y.bayes_gradient.sigma=0.25"
    assert float(found[f"alignment_cosine.{key}"].min()) > 1 - 1e-5
    assert float(found[f"alignment_lpips.{key}"].min()) > 1 - 1e-3
    assert float(found["alignment_cosine.logit_y.score_y.sigma=0.25"].min()) > 1 - 1e-5  # ∇ log p(x, y) = score of y
    assert float(found[f"alignment_cosine.{key}.shuffled"].mean()) < 0.9
    assert float(found[f"alignment_lpips.{key}.shuffled"].mean()) < float(found[f"alignment_lpips.{key}"].mean())


class Linear(nn.Module):
    """f(x) = (w·x, 0, −w·x): the log-odds gradient of class 0 is along w everywhere."""

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("w", w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = x.flatten(1) @ self.w
        return torch.stack([f, torch.zeros_like(f), -f], 1)


@pytest.mark.parametrize("inside", [0.0, 0.3, 1.0])
def test_a_linear_classifier_has_the_tangency_that_was_built_in(inside: float) -> None:
    k, d = 4, 143
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(d, k, generator=generator, dtype=torch.float64))[0]
    outside = torch.randn(d, generator=generator, dtype=torch.float64)
    outside = outside - basis @ (basis.T @ outside)
    w = math.sqrt(inside) * basis[:, 0] + math.sqrt(1 - inside) * outside / outside.norm()

    class Fixed:
        kind = "fixed"
        max_rank = k

        def at(self, x: torch.Tensor, ids: torch.Tensor | None = None) -> TangentSpace:
            return TangentSpace(basis.to(x.dtype).expand(len(x), d, k), torch.full((len(x),), k))

    mixture, data = world(40, torch.float64)
    config = MeasureConfig(sigmas=(0.5,), rho_sigmas=(0.05,), epsilons=(0.01,), directions=40, metrics=("cosine",))
    found = measured(Linear(w), mixture, data, config, labels=torch.zeros(40, dtype=torch.int64), tangents=Fixed())
    torch.testing.assert_close(
        found["tangent_fraction.margin"], torch.full((40,), inside, dtype=torch.float64), rtol=0, atol=1e-12
    )
    rho = found["rho_off.logits.sigma=0.05"].sum() / found["rho_all.logits.sigma=0.05"].sum()
    assert float(rho) == pytest.approx(1 - inside, abs=0.12)  # ρ₂ of a linear function is exactly ρ₁ = 1 − F²
    if 0 < inside < 1:
        kappa = (1 - inside) / inside * k / (d - k)
        assert float(found["log_kappa.margin"].mean()) == pytest.approx(math.log(kappa), abs=1e-10)
        on, off = found["change_on.eps=0.01"].square().mean(), found["change_off.eps=0.01"].square().mean()
        assert float(off / on) < 3 * kappa  # change per step follows the energy per dimension
    if inside == 1:
        assert float(found["change_off.eps=0.01"].max()) < 1e-10
    if inside == 0:
        assert float(found["change_on.eps=0.01"].max()) < 1e-10


def test_common_shift_of_all_logits_leaves_measures_of_margin_and_logp_y_alone() -> None:
    mixture, data = world()
    pairs = (("margin", "bayes_gradient"), ("logp_y", "bayes_gradient"), ("sum_logits", "score"))
    config = MeasureConfig(("margin", "logp_y"), pairs, metrics=("cosine",), sigmas=(0.5,))
    model = network().eval()

    class Shifted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return model(x) + 30 * x.flatten(1)[:, 5:6].square()

    a, b = (rows(m, mixture, data, config, 64) for m in (model, Shifted()))
    for key in a.columns:
        if ".margin" in key or ".logp_y" in key or key == "radius":
            torch.testing.assert_close(a[key], b[key], rtol=1e-3, atol=1e-3)
    moved = "alignment_cosine.sum_logits.score.sigma=0.5"
    assert float((a[moved] - b[moved]).abs().max()) > 0.1


def test_the_callers_model_and_random_state_are_left_alone_also_after_an_exception() -> None:
    mixture, data = world()
    model = network()
    model[4].eval()
    model(data.images()).sum().backward()
    before = [p.grad.clone() for p in model.parameters()], [m.training for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.get_rng_state()

    def unchanged() -> bool:
        return (
            all(torch.equal(g, p.grad) for g, p in zip(before[0], model.parameters(), strict=True))
            and [m.training for m in model.modules()] == before[1]
            and all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
            and torch.equal(torch.get_rng_state(), random)
        )

    rows(model, mixture, data, MeasureConfig(directions=1), 64)
    assert unchanged()

    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = model, 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls > 3:
                raise ZeroDivisionError
            return self.inner(x)

    with pytest.raises(ZeroDivisionError):
        rows(Failing(), mixture, data, MeasureConfig(directions=1), 64)
    assert unchanged()


def test_a_zero_gradient_is_counted_and_no_neighbour_is_spoiled() -> None:
    mixture, data = world()
    flat_for = data.images()[3].clone()

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network().eval()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            near = ((x - flat_for).flatten(1).abs().amax(1) < 1e-9).float()[:, None]
            return self.inner(x) * (1 - near)

    found = rows(Flat(), mixture, data, MeasureConfig(), 64)
    for key in ("tangent_fraction.margin", "log_kappa.margin", "alignment_lpips.margin.bayes_gradient.sigma=0.5"):
        assert found[key].isnan().nonzero().flatten().tolist() == [3], key
    assert found.degenerate()["accuracy"] == 0
    assert math.isfinite(found.mean()["tangent_fraction.margin"])


def test_partners_are_other_images_of_the_pool_and_of_the_class() -> None:
    mixture, data = world(200)
    prepared = source(mixture, data, MeasureConfig(metrics=("cosine",)))
    ids = torch.arange(200)
    partner, usable = prepared.partners.any(ids)
    assert usable.all()
    assert not (partner == ids).any()
    assert len(partner.unique()) > 100
    same, usable = prepared.partners.of_class(ids, data.labels)
    assert usable.all()
    assert not (same == ids).any()
    assert torch.equal(data.labels[same], data.labels)


def test_an_only_image_has_no_shuffled_control() -> None:
    mixture, data = world()
    one = data.subset(slice(0, 1))
    config = MeasureConfig(sigmas=(0.5,), directions=1)
    found = measured(network(), mixture, data, config, images=one.images(), labels=one.labels)
    for key, values in found.columns.items():
        assert bool(values.isnan().all()) == (Key.parse(key).control in ("shuffled", "shuffled_class")), key


@pytest.mark.filterwarnings("ignore:classifier. it is right for:tangency.TangencyWarning")
def test_predicted_labels_change_gradient_and_score_alike_but_not_accuracy() -> None:
    mixture, data = world()
    wrong = LabelledImages(data.pixels, (data.labels + 1) % 3, data.classes)
    model = BayesRule(mixture, 0.25).double()
    pairs = (("logp_y", "bayes_gradient"),)
    config = MeasureConfig(alignments=pairs, sigmas=(0.25,), directions=1, metrics=("cosine",), label="predicted")
    found = rows(model, mixture, wrong, config, 64)
    assert float(found["accuracy"].mean()) < 0.2
    assert float(found["alignment_cosine.logp_y.bayes_gradient.sigma=0.25"].min()) > 1 - 1e-5


def test_random_stand_in_has_the_null_of_a_random_direction() -> None:
    mixture, data = world(2000)
    prepared = source(mixture, data, MeasureConfig(metrics=("cosine",), sigmas=(0.5,), directions=1))
    references = prepared.at(data.images(), data.labels, torch.arange(2000))
    c = references.constant["alignment_cosine.margin.bayes_gradient.sigma=0.5.random"]
    assert float(c.std()) == pytest.approx(1 / math.sqrt(143), rel=0.06)
    centred = data.images() - data.images().flatten(1).mean(1).reshape(-1, 1, 1, 1)
    target = references.targets["bayes_gradient", 0.5].values
    torch.testing.assert_close(
        references.constant["alignment_cosine.margin.bayes_gradient.sigma=0.5.image"],
        cosine(centred.double(), target.double()),
    )


def test_every_key_is_described_and_within_its_range() -> None:
    mixture, data = world()
    found = rows(network(), mixture, data, MeasureConfig(), 64)
    for key, values in found.columns.items():
        if Key.parse(key).family in ingredients():
            continue
        info = describe(key)
        finite = values[values.isfinite()]
        assert float(finite.min()) >= info.scale.low - 1e-9, key
        assert float(finite.max()) <= info.scale.high + 1e-9, key
        assert Key.parse(key).control in ("", *CONTROLS)
    with pytest.raises(NumericsError, match="unknown measure 'lpisp'"):
        describe("lpisp.x")


def test_frames_have_a_row_for_each_image_and_a_column_for_each_measure() -> None:
    mixture, data = world()
    found = rows(network(), mixture, data, MeasureConfig(metrics=("cosine",)), 64)
    table = found.frame("t", 3)
    assert table.columns == ["trial", "seed", "image", *found.keys()]
    assert len(table) == 23
    assert set(table.select(found.keys()).dtypes) == {polars.Float64}


def test_bad_input_is_named() -> None:
    mixture, data = world()
    x, y = data.images(), data.labels
    with pytest.raises(NumericsError, match="train_data: got None"):
        measure(network(), x, y)
    with pytest.raises(NumericsError, match=r"values in \[0, 255\]|expected \[0, 1\]"):
        measure(network(), x * 255, y, train_data=data)
    with pytest.raises(DataError, match="3 classes"):
        measure(network(), x, y + 2, train_data=data)
    with pytest.raises(NumericsError, match=r"NaN or infinite pixels in images \[2\]"):
        measure(network(), x.index_fill(0, torch.tensor([2]), torch.nan), y, train_data=data)
    with pytest.raises(NumericsError, match="output of shape"):
        rows(nn.Flatten(0), mixture, data, MeasureConfig(), 64)
    with pytest.raises(SpecError, match="Did you mean 'logp_y'"):
        MeasureConfig(tangent_scalars=("logpy",))
    with pytest.raises(SpecError, match="epsilons: got"):
        MeasureConfig(epsilons=(0.0, 1.0))


def test_rows_say_what_they_are_and_name_near_keys() -> None:
    mixture, data = world()
    found = rows(network(), mixture, data, MeasureConfig(metrics=("cosine",)), 64)
    assert repr(found) == f"Rows(23 images × {len(found.keys())} measures, d = 143)"
    assert repr(data) == "LabelledImages('tensors': 23 images of 1×11×13, 3 classes)"
    with pytest.raises(NumericsError, match=r"no measure 'tangent_fraction'.*Known are tangent_fraction\.margin, "):
        found["tangent_fraction"]
    with pytest.raises(NumericsError, match="pooled ratios"):
        found["kappa.margin"]


def test_what_is_no_tensor_or_of_another_shape_is_named_before_anything_is_fitted() -> None:
    _, data = world()
    with pytest.raises(NumericsError, match="images: got ndarray, expected a tensor"):
        measure(network(), data.images().numpy(), data.labels, train_data=data)
    with pytest.raises(NumericsError, match=r"got Tensor, expected tangency\.LabelledImages"):
        measure(network(), data.images(), data.labels, train_data=data.images())
    turned = LabelledImages(data.pixels.transpose(2, 3), data.labels, data.classes)
    with pytest.raises(NumericsError, match=r"images of shape \(1, 13, 11\)"):
        measure(network(), data.images(), data.labels, train_data=turned)
