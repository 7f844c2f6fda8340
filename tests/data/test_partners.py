"""Who stands in for whom: uniform over images of another kind, from the image's place alone."""

from __future__ import annotations

import pytest
import torch

from tangency.data.partners import Partners
from tangency.errors import NumericsError
from tangency.types import LabelledImages

N, CLASSES = 60, 3


def pool() -> tuple[LabelledImages, torch.Tensor]:
    """Classes and kinds of very different size; kinds run over classes, as components do."""
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (N,), generator=g)
    kinds = torch.multinomial(torch.tensor([6.0, 3.0, 1.0, 0.5]), N, replacement=True, generator=g)
    return LabelledImages(torch.zeros(N, 1, 2, 2), labels, ("a", "b", "c")), kinds


@pytest.mark.parametrize("given", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("within", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_partners_are_uniform_over_what_is_allowed(given: bool, within: bool) -> None:
    """Against brute force: over many seeds, each allowed image as often as any other, and none that is not."""
    data, kinds = pool()
    ids, counts, seeds = torch.arange(N), torch.zeros(N, N), 1500
    for seed in range(seeds):
        partners = Partners(data, seed, 5 * kinds - 7 if given else None)
        found, usable = partners.of_class(ids, data.labels) if within else partners.any(ids)
        counts[ids[usable], found[usable]] += 1
    allowed = kinds[:, None] != kinds if given else ~torch.eye(N, dtype=torch.bool)
    if within:
        allowed &= data.labels[:, None] == data.labels
    assert torch.equal(counts > 0, allowed)
    expected = seeds / allowed.sum(1)
    spread = (counts - expected[:, None]).abs() / expected[:, None].sqrt()
    assert float(spread[allowed].max()) < 5


def test_the_class_that_is_asked_for_need_not_be_the_images_own() -> None:
    data, kinds = pool()
    other = (data.labels + 1) % CLASSES
    found, usable = Partners(data, 3, kinds).of_class(torch.arange(N), other)
    assert usable.all()
    assert torch.equal(data.labels[found], other)
    assert not (kinds[found] == kinds).any()


def test_partners_follow_from_the_place_alone() -> None:
    data, kinds = pool()
    whole, _ = Partners(data, 1, kinds).of_class(torch.arange(N), data.labels)
    turned = torch.arange(N).flip(0)[:17]
    some, _ = Partners(data, 1, kinds).of_class(turned, data.labels[turned])
    assert torch.equal(some, whole[turned])


def test_an_image_without_another_kind_has_no_partner() -> None:
    data, _ = pool()
    kinds = torch.where(data.labels == 1, 9, torch.arange(N) % 3)  # class b is of one kind
    found, usable = Partners(data, 1, kinds).of_class(torch.arange(N), data.labels)
    assert torch.equal(usable, data.labels != 1)
    assert torch.equal(found[~usable], torch.arange(N)[~usable])
    assert Partners(data, 1, kinds).any(torch.arange(N))[1].all()
    assert not Partners(data, 1, torch.zeros(N)).any(torch.arange(N))[1].any()


def test_only_typical_images_stand_in_for_their_class() -> None:
    data, kinds = pool()
    typical = torch.arange(N) % 4 > 0
    found = torch.stack(
        [Partners(data, s, kinds, typical).of_class(torch.arange(N), data.labels)[0] for s in range(50)]
    )
    assert typical[found].all()
    assert torch.equal(data.labels[found], data.labels.expand(50, N))
    assert not (kinds[found] == kinds).any()
    free = torch.stack([Partners(data, s, kinds, typical).any(torch.arange(N))[0] for s in range(50)])
    assert not typical[free].all()


def test_a_class_of_one_kind_has_no_partners_for_a_stray_image_either() -> None:
    data, _ = pool()
    kinds = data.labels.clone()
    kinds[:2] = (kinds[:2] + 1) % CLASSES  # two images look like another class
    typical = kinds == data.labels
    _, usable = Partners(data, 1, kinds, typical).of_class(torch.arange(N), data.labels)
    assert not usable.any()
    _, usable = Partners(data, 1, kinds).of_class(torch.arange(N), data.labels)
    assert usable.any()


def test_places_outside_the_pool_are_refused() -> None:
    with pytest.raises(NumericsError, match="0 to 59"):
        Partners(pool()[0], 0).any(torch.tensor([60]))
