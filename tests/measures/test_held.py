"""What is computed of an image is computed once, and serves the images whose partner it is."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch
from torch import Tensor, nn

from evaluations import counted
from measure_support import measured, toy_world
from tangency.data.partners import BLOCK, Partners, measured_order
from tangency.measures import ComparisonSource, MeasureConfig, measure_batch
from tangency.measures.comparison.held import Held
from tangency.score import FunctionScore, MixtureScore
from tangency.tangents import MixtureTangents, TangentSpace
from tangency.types import LabelledImages


def counted_rows(pool: int, rows: int, most: int = 1 << 20) -> tuple[Held, list[int]]:
    made: list[int] = []

    def make(ids: Tensor) -> dict[str, Tensor]:
        made.extend(ids.tolist())
        width = int((ids % 3).max()) + 1
        wide = torch.arange(1.0, width + 1) * (torch.arange(width) <= ids[:, None] % 3)
        return {"plain": ids.double(), "wide": ids[:, None, None] * wide[:, None]}

    return Held(make, pool, rows, most), made


def check(held: Held, ids: Tensor) -> None:
    found = held.at(ids)
    assert torch.equal(found["plain"], ids.double())
    wide = ids[:, None] * torch.arange(1.0, 4) * (torch.arange(3) <= ids[:, None] % 3)
    width = found["wide"].shape[-1]
    assert torch.equal(found["wide"][:, 0], wide[:, :width])
    assert not wide[:, width:].any()


@pytest.mark.parametrize("rows", [0, 1, 7, 40])
def test_rows_are_right_whatever_is_kept(rows: int) -> None:
    """In any order, with repeats, with a ring that is smaller than what is asked for at once."""
    held, _ = counted_rows(40, rows)
    g = torch.Generator().manual_seed(0)
    for _ in range(200):
        check(held, torch.randint(40, (int(torch.randint(1, 12, (1,), generator=g)),), generator=g))


def test_each_row_is_made_once_where_there_is_room() -> None:
    held, made = counted_rows(40, 40)
    for part in torch.arange(40).repeat(3)[torch.randperm(120, generator=torch.Generator().manual_seed(0))].split(7):
        check(held, part)
    assert sorted(made) == list(range(40))
    small, again = counted_rows(40, 40, most=100)  # bytes for a few rows
    check(small, torch.arange(40))
    check(small, torch.arange(40))
    assert len(again) > 40


def test_partners_are_of_the_block_where_it_has_one() -> None:
    n = 3 * BLOCK + 40
    g = torch.Generator().manual_seed(0)
    labels, kinds = torch.randint(10, (n,), generator=g), torch.randint(20, (n,), generator=g)
    ends = measured_order(n)[[0, -1]]
    labels[ends], kinds[ends] = 10, torch.tensor([0, 1])  # a class of two images, in different blocks
    pool = LabelledImages(torch.zeros(n, 1, 1, 1), labels, tuple("abcdefghijk"))
    partners, ids = Partners(pool, 0, kinds), torch.arange(n)
    assert partners.blocks[measured_order(n)].tolist() == [0] * BLOCK + [1] * BLOCK + [2] * (BLOCK + 40)
    other, usable = partners.any(ids)
    assert usable.all()
    assert torch.equal(partners.blocks[other], partners.blocks)
    same, usable = partners.of_class(ids, labels)
    near = partners.blocks[same] == partners.blocks
    there = (
        (partners.blocks[:, None] == partners.blocks) & (labels[:, None] == labels) & (kinds[:, None] != kinds)
    ).any(1)
    assert torch.equal(near[usable], there[usable])
    assert not there[usable].all()  # the class of two has its partner elsewhere
    assert torch.equal(labels[same], labels)


class Counting:
    """An estimator that counts the images that it is asked for."""

    def __init__(self, inner: MixtureTangents) -> None:
        self.inner, self.asked = inner, 0
        self.kind, self.where, self.max_rank, self.card = inner.kind, inner.where, inner.max_rank, inner.card

    def which(self, x: Tensor) -> Tensor | None:
        return self.inner.which(x)

    def homes(self) -> Tensor | None:
        return self.inner.homes()

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        self.asked += len(x)
        return self.inner.at(x, ids)


@pytest.mark.parametrize(
    "batch", [pytest.param(10, marks=pytest.mark.slow), pytest.param(25, marks=pytest.mark.slow), 125]
)
def test_scores_embeddings_and_spaces_are_evaluated_once_an_image(batch: int) -> None:
    mixture, data = toy_world((1, 8, 8), 2 * BLOCK, torch.float32)
    exact = MixtureScore(mixture)
    config = MeasureConfig(
        sigmas=(0.25, 0.5),
        alignments=(
            ("logit_y", "network_score_y"),
            ("sum_logits", "network_score"),
            ("logp_y", "network_bayes_gradient"),  # shares both values of the denoiser with the others
        ),
        metrics=("cosine", "lpips"),
        network_controls=("shuffled", "shuffled_class"),
        epsilons=(),
        rho_sigmas=(),
    )
    network = FunctionScore(exact.denoise, data.shape, 3, data_range=(0.0, 1.0))
    tangents = Counting(MixtureTangents(mixture))
    source = ComparisonSource(None, {"": tangents}, data, data, config, network=network)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    order = torch.arange(len(data))[source.order(torch.arange(len(data)))]
    with counted(FunctionScore) as made:
        for ids in order.split(batch):
            measure_batch(model, source.of(ids), config)
    n = len(data)
    assert made.labelled(True) <= 1.05 * 2 * n  # two levels of noise, each with a label and without one
    assert made.labelled(False) <= 1.05 * 2 * n
    assert len(set(made.scores)) == 4 * n
    # of targets: three kinds at two levels; of gradients: three quantities
    assert len(made.embedded) <= 1.05 * 6 * n + 3 * n
    assert tangents.asked <= 1.05 * n


@pytest.mark.parametrize("wrong", [0, 4, 12])
def test_targets_of_other_labels_are_those_of_any_images(wrong: int) -> None:
    """Predicted labels may differ from the true ones for none, some or all images."""
    mixture, data = toy_world((1, 8, 8), 12, torch.float32)
    config = MeasureConfig(sigmas=(0.25,), directions=1)
    score, tangents = MixtureScore(mixture), {"": MixtureTangents(mixture)}
    ids, y = torch.arange(12), data.labels.clone()
    y[:wrong] = (y[:wrong] + 1) % 3
    kept = ComparisonSource(score, tangents, data, data, config).of(ids, y)
    anew = ComparisonSource(score, tangents, data, data, config).at(data.images(), y, ids, data.labels)
    assert torch.equal(kept.truth, anew.truth)
    pairs = [(kept.targets, anew.targets)]
    pairs += [(kept.others[control][1], anew.others[control][1]) for control in anew.others]
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        for key, signal in theirs.items():
            torch.testing.assert_close(ours[key].values, signal.values, equal_nan=True)
            assert ours[key].kept.keys() == signal.kept.keys()
            for metric, rows in signal.kept.items():
                torch.testing.assert_close(ours[key].kept[metric], rows, equal_nan=True)


@pytest.mark.parametrize("images", [torch.float32, torch.float64])
def test_a_pool_of_another_precision_than_the_images(images: torch.dtype) -> None:
    """Equal numbers of another type are not the images that the classifier is given."""
    mixture, data = toy_world((1, 8, 8), 12, torch.float32)
    other = torch.float64 if images == torch.float32 else torch.float32
    pool = dataclasses.replace(data, pixels=data.pixels.to(other))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).to(images).eval()
    config = MeasureConfig(sigmas=(0.25,), directions=1, metrics=("cosine",))
    own = {"images": data.pixels.to(images), "ids": torch.arange(12), "config": config}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network in double precision is measured in single
        mixed = measured(model, mixture, data, pool=pool, **own)
        plain = measured(model, mixture, data, pool=data, **own)
    for key, values in plain.columns.items():
        torch.testing.assert_close(mixed[key], values, rtol=1e-4, atol=1e-4, equal_nan=True, msg=key)
