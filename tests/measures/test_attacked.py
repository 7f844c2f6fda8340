"""Worst cases and certificates as measures: closed forms, batches, degenerate images, and what may be asked for."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from measure_support import measured, toy_world
from tangency.errors import SpecError
from tangency.evaluate.numbers import trial_numbers
from tangency.measures import (
    Batch,
    Comparison,
    ComparisonSource,
    MeasureConfig,
    RobustnessConfig,
    budget_warnings,
    describe,
    masking_warnings,
    measure_batch,
    parse_attacks,
)
from tangency.measures.keys import Key
from tangency.measures.registry import ingredients, own_measures
from tangency.measures.robustness.attacked import attacked
from tangency.report.text.measures import describe as words
from tangency.score import MixtureScore
from tangency.statistics import PairedBootstrap
from tangency.tangents import MixtureTangents, TangentSpace
from tangency.types import LabelledImages

SHAPE, CLASSES, N, D = (1, 5, 7), 3, 17, 35
ALL = RobustnessConfig(
    attacks=("pgd_l2", "pgd_linf", "worst_case", "smoothing"),
    l2_epsilons=(0.1, 0.4),
    linf_epsilons=(0.02,),
    worst_epsilons=(0.3, 1.0),
    steps=4,
    restarts=2,
    sigmas=(0.1, 0.25),
    selection=10,
    draws=60,
    alpha=0.05,
    radii=(0.05, 0.1),
    gradient_draws=7,
)
CONFIG = MeasureConfig(alignments=(), sigmas=(0.5,), rho_sigmas=(0.1,), epsilons=(0.5,), directions=1, robustness=ALL)


def world() -> tuple[object, LabelledImages]:
    return toy_world(SHAPE, N)


def references(config: MeasureConfig = CONFIG) -> Comparison:
    mixture, data = world()
    source = ComparisonSource(MixtureScore(mixture), {"mfa": MixtureTangents(mixture)}, data, data, config)
    return source.at(data.images(), data.labels, torch.arange(N))


class Linear(nn.Module):
    """Logits ±w·(x − ½), and one that never wins."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(scale * torch.randn(D, generator=generator, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = (x.flatten(1) - 0.5) @ self.weight
        return torch.stack([value, -value, torch.full_like(value, -1e3)], 1)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = (
            nn.Conv2d(1, 5, 3),
            nn.BatchNorm2d(5),
            nn.SiLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(75, CLASSES),
        )
        return nn.Sequential(*parts).double()


def rows(model: nn.Module, batch: int, config: MeasureConfig = CONFIG) -> object:
    mixture, data = world()
    return measured(model, mixture, data, config, pool=data, batch_size=batch)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_worst_cases_of_a_linear_network_are_closed_forms(scale: float) -> None:
    """The margin falls by 2ε‖P w‖ in the tangent space and by 2ε‖(I − P) w‖ in the normal space."""
    found, model = references(), Linear(scale)
    with torch.no_grad():
        logits = model(found.x)
    columns = attacked(Batch(model, found, CONFIG))
    space = found.frames[0].space
    w = model.weight.detach().expand(N, D).reshape(N, *SHAPE)
    value = logits[:, 0]
    for side, part in (("on", space.project(w)), ("off", space.reject(w))):
        for epsilon in (0.3, 1.0):
            reached = value - value.sign() * epsilon * part.flatten(1).norm(dim=1)
            wanted = 2 * (torch.sigmoid(2 * reached) - torch.sigmoid(2 * value)).abs()
            torch.testing.assert_close(columns[f"worst_{side}.eps={epsilon:g}"], wanted, rtol=1e-6, atol=1e-9)
            right = torch.where(found.truth == 0, torch.minimum(value, reached) > 0, torch.maximum(value, reached) < 0)
            right &= found.truth < 2
            assert torch.equal(columns[f"accuracy_worst_{side}.eps={epsilon:g}"], right.double())


def test_pgd_accuracy_of_a_linear_network_is_that_of_the_dual_norm() -> None:
    """Images in the middle of the box, so that clipping does not matter: right where the margin is above ε‖w‖."""
    config = dataclasses.replace(CONFIG, robustness=dataclasses.replace(ALL, restarts=1, steps=40))
    found, model = references(config), Linear()
    inside = dataclasses.replace(found, x=found.x * 0.02 + 0.49)
    with torch.no_grad():
        logits = model(inside.x)
    w = model.weight.detach()
    margin = torch.where(inside.truth == 0, logits[:, 0], -logits[:, 0]).where(inside.truth < 2, -1.0)
    epsilons = tuple(sorted(float(margin[margin > 0].sort().values[i]) for i in (1, 3)))
    l2 = tuple(1.02 * e / float(w.norm()) for e in epsilons)
    robust = dataclasses.replace(
        config.robustness, l2_epsilons=l2, linf_epsilons=(1.02 * epsilons[0] / float(w.abs().sum()),)
    )
    columns = attacked(Batch(model, inside, dataclasses.replace(config, robustness=robust)))
    for epsilon in l2:
        wanted = (margin > epsilon * w.norm()).double()
        assert torch.equal(columns[f"accuracy_pgd_l2.eps={epsilon:g}"], wanted)
    epsilon = robust.linf_epsilons[0]
    assert torch.equal(columns[f"accuracy_pgd_linf.eps={epsilon:g}"], (margin > epsilon * w.abs().sum()).double())
    half = columns[f"accuracy_pgd_l2.eps={l2[1]:g}.steps=20"]
    assert torch.equal(half, columns[f"accuracy_pgd_l2.eps={l2[1]:g}"])


def test_certified_radii_of_a_linear_network_stay_below_the_true_ones() -> None:
    found, model = references(), Linear()
    columns = measure_batch(model, found, CONFIG, None).columns
    with torch.no_grad():
        margin = model(found.x)[:, 0]
    true = margin.abs() / model.weight.norm()
    wins = found.truth < 2  # of the classes ±w; to first order, and exactly for a linear network
    signed = torch.where(found.truth == 0, margin, -margin) / model.weight.norm()
    torch.testing.assert_close(columns["radius"][wins], signed[wins])
    right = torch.where(margin > 0, 0, 1) == found.truth
    radius = columns["certified_radius.sigma=0.25"]
    assert int((radius > true).sum()) <= 3  # 17 images at alpha = 0.05
    assert bool((radius[~right] == 0).all())
    assert float(radius.max()) > 0
    for least in (0.05, 0.1):
        key = f"certified_accuracy.radius={least:g}.sigma=0.25"
        assert torch.equal(columns[key], (radius > least).double())
    assert torch.equal(columns["accuracy_smoothed.sigma=0.25"], (radius > 0).double())
    gone = columns["abstains.sigma=0.25"] == 1
    assert bool((radius[gone] == 0).all())
    # The smoothed gradient of a linear network is along w, as the plain one.
    torch.testing.assert_close(
        columns["tangent_fraction.smoothed_logp_y.sigma=0.25"], columns["tangent_fraction.margin"]
    )


@pytest.mark.parametrize("batch", [1, 5])
def test_rows_do_not_depend_on_the_batch_and_the_network_is_left_alone(batch: int) -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole, parts = rows(model, 64), rows(model, batch)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert set(whole.columns) == set(parts.columns)
    for key, values in whole.columns.items():
        torch.testing.assert_close(parts[key], values, rtol=1e-7, atol=1e-7, equal_nan=True, msg=lambda m, k=key: k + m)


def test_every_measure_has_a_registry_row_a_text_a_chance_level_and_its_range() -> None:
    found = rows(network(), 64)
    for key, values in found.columns.items():
        if Key.parse(key).family in ingredients():
            continue
        info, finite = describe(key), values[values.isfinite()]
        assert bool(((finite >= info.scale.low - 1e-6) & (finite <= info.scale.high + 1e-6)).all()), key
        assert Key.parse(key).family in own_measures(), key
        assert "{" not in words(Key.parse(key)).what
        assert words(Key.parse(key)).better == info.better, key
    columns = {key: values.numpy() for key, values in found.columns.items()}
    numbers = trial_numbers(columns, PairedBootstrap(N, 50), found.dimension, found.classes)
    for key in found.columns:
        if Key.parse(key).family.startswith(("accuracy", "certified_accuracy")):
            assert numbers.chance[key] == pytest.approx(1 / 3)
    assert math.isfinite(numbers.estimates["kappa.smoothed_logp_y.sigma=0.25"].mean)
    key = Key.parse("certified_accuracy.radius=0.05.sigma=0.25")
    assert (key.parameter, key.value, key.control, key.panel) == ("radius", 0.05, "", "certified_accuracy.sigma=0.25")


def test_without_a_gradient_worst_cases_are_nan_and_counted() -> None:
    found = rows(Linear(0.0), 64)
    lost = found.degenerate()
    for key in found.columns:
        if key.startswith(("worst", "accuracy_worst", "accuracy_pgd", "tangent_fraction.smoothed")):
            assert lost[key] == N, key
        if key.startswith(("certified", "abstains", "accuracy_smoothed")):
            assert lost[key] == 0, key


def test_a_space_without_directions_has_no_worst_case() -> None:
    found = references()
    frame = found.frames[0]
    space = TangentSpace.shared(torch.eye(D, dtype=torch.float64), torch.tensor([0, D, 3] * 6)[:N])
    changed = dataclasses.replace(found, frames=(dataclasses.replace(frame, space=space),))
    model = Linear()
    with torch.no_grad():
        columns = attacked(Batch(model, changed, CONFIG))
    assert columns["worst_on.eps=1"][:3].isnan().tolist() == [True, False, False]
    assert columns["worst_off.eps=1"][:3].isnan().tolist() == [False, True, False]


def test_one_image_is_enough() -> None:
    mixture, data = world()
    one = measured(network(), mixture, data, CONFIG, at=torch.tensor([3]))
    whole = rows(network(), 64)
    for key, values in one.columns.items():
        torch.testing.assert_close(values[0], whole[key][3], rtol=1e-7, atol=1e-7, equal_nan=True)


def test_falling_success_is_put_into_words() -> None:
    full = torch.ones(30, dtype=torch.float64)
    columns = {
        "accuracy_pgd_l2.eps=0.5": 0 * full,
        "accuracy_pgd_l2.eps=1": full,
        "accuracy_pgd_linf.eps=0.1": full,
        "accuracy_pgd_linf.eps=0.1.steps=10": 0 * full,
    }
    found = masking_warnings(columns)
    assert len(found) == 2
    assert found[0].startswith("pgd_l2: success falls from ε = 0.5 to ε = 1: 30 images")
    assert found[1].startswith("pgd_linf: success falls from ε = 0.1 with steps = 10 to ε = 0.1: 30")
    assert masking_warnings(dict.fromkeys(columns, 0 * full)) == []
    assert masking_warnings({"accuracy": full}) == []


def test_budgets_within_which_everything_lies() -> None:
    """Of 3×2×2 images: the l2 distance of black from white is √12 = 3.46."""
    shape = (3, 2, 2)
    assert budget_warnings(parse_attacks("pgd_linf:8/255:1,pgd_l2:3.4,worst_case:0.5"), (9.0,), shape) == []
    assert budget_warnings(parse_attacks("smoothing:0.25"), (9.0,), shape) == []
    found = budget_warnings(parse_attacks("pgd_linf:1:2:8,pgd_l2:3:3.5"), (9.0,), shape)
    assert [("2, 8 lies" in found[1]), ("3.5 lies" in found[0]), ("2/255, 8/255." in found[1])] == [True] * 3
    assert "9 lies beyond" in budget_warnings(parse_attacks("worst_case"), (1.0, 9.0), shape)[0]
    both = RobustnessConfig(attacks=("autoattack",), l2_epsilons=(4.0,), linf_epsilons=(4.0,))
    assert len(budget_warnings(both, (), shape)) == 2


def test_what_may_be_asked_for() -> None:
    found = parse_attacks("pgd_linf:8/255:2/255, worst_case:2,smoothing:0.12")
    assert found.attacks == ("pgd_linf", "worst_case", "smoothing")
    assert (found.linf_epsilons, found.worst_epsilons, found.sigmas) == ((2 / 255, 8 / 255), (2.0,), (0.12,))
    for text, said in (
        ("pgd", "Did you mean 'pgd_l2'"),
        ("pgd_l2,pgd_l2", "each one once"),
        ("pgd_l2:one", "a number such as 0.5 or 8/255"),
        ("pgd_l2:1/0", "a number such as"),
        ("pgd_l2:0", "distinct positive numbers"),
        ("autoattack:1", "autoattack takes the budgets of pgd_l2"),
        ("", "unknown attack"),
    ):
        with pytest.raises(SpecError, match=said):
            parse_attacks(text)
    for field, value, said in (
        ("draws", 9, "always abstains, expected at least 10"),
        ("alpha", 1.5, "alpha"),
        ("steps", 1, "steps"),
        ("restarts", 0, "restarts"),
        ("radii", (0.5, 0.25), "from the smallest"),
        ("attacks", ("worst",), "Did you mean 'worst_case'"),
    ):
        with pytest.raises(SpecError, match=said):
            RobustnessConfig(**{field: value})
    changed = dataclasses.replace(CONFIG, robustness=RobustnessConfig())
    assert changed.digest() != CONFIG.digest()


def test_autoattack_is_refused_for_images_beyond_the_unit_range() -> None:
    found = dataclasses.replace(references(), bounded=False)
    asked = dataclasses.replace(CONFIG, robustness=RobustnessConfig(attacks=("autoattack",)))
    with pytest.raises(SpecError, match="not confined to"):
        attacked(Batch(Linear(), found, asked))
