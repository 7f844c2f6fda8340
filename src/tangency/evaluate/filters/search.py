"""The best fixed filter before a network: how far smoothing alone brings its gradients to Bayes directions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tangency.autodiff import check_logits, differentiable, scalar, undisturbed
from tangency.data.partners import Partners
from tangency.errors import NumericsError
from tangency.evaluate.entries import fields_json
from tangency.evaluate.filters.bank import IDENTITY, filter_bank
from tangency.evaluate.filters.linear import Filtered, InputFilter
from tangency.measures.working import WorkingSize
from tangency.numerics import at_once, cosine
from tangency.score import Denoiser
from tangency.seeding import permutation
from tangency.types import LabelledImages

_SCALAR = "margin"
_QUANTILE = 1.6448536269514722  # of the normal distribution at .95
_IMAGES = 500
MARGIN = 0.05  # of accuracy


@dataclass(frozen=True)
class FilterCandidate:
    """A filter before a network, on the images of the search.

    Args:
        name: what `filter_named` rebuilds it from.
        alignment: L by direction: the mean cosine of the margin's gradient with the direction of the image, less that
            with the direction of another image; NaN where no image has one.
        accuracy: share of the images that are classified correctly.
        accuracy_low, accuracy_high: one-sided 95 % bounds of accuracy less that of the network alone, paired by image.
    """

    name: str
    alignment: Mapping[str, float]
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True)
class BestFilters:
    """The best fixed filter before a network for each direction, and what it was chosen from.

    Args:
        chosen: direction to the name of the filter of the highest L, of those whose accuracy is not shown inferior.
        slack: by how much another admitted filter may exceed the chosen one in L: the largest one-sided 95 % bound of
            their differences, paired by image, at least 0; infinite where fewer than two images have L. A network is
            beyond smoothing where it exceeds the chosen filter by more than this.
        candidates: all of the bank, the identity first.
        images: places of the images in their data set.
        data: digest of that data set.
        margin: δ: accuracy is inferior where its upper bound is at most −δ; None where accuracy does not count.
    """

    chosen: Mapping[str, str]
    slack: Mapping[str, float]
    candidates: tuple[FilterCandidate, ...]
    images: tuple[int, ...]
    data: str
    margin: float | None

    def to_json(self) -> dict[str, Any]:
        """As strict JSON has it."""
        return fields_json(self)


@dataclass(frozen=True)
class _Passes:
    """Of F filters and N images: what is right, (F, N) of 0 and 1, and by direction cos(g, b) − cos(g, b′), (F, N)."""

    right: Tensor
    excess: Mapping[str, Tensor]


@dataclass(frozen=True)
class FilterSearch:
    """What the search needs beside a network: it is the same for all networks of a study.

    Args:
        bank: candidates.
        images: those of the search.
        places: where they stand in their data set.
        data: digest of that data set.
        directions: Bayes directions by name, each (N, C, H, W).
        seed: of the other images.
        margin: δ of accuracy; None where it does not count.
        working: the size of directions, to which gradients are brought; None where that is the images' own.
    """

    bank: Sequence[InputFilter]
    images: LabelledImages
    places: tuple[int, ...]
    data: str
    directions: Mapping[str, Tensor]
    seed: int = 0
    margin: float | None = MARGIN
    working: WorkingSize | None = None

    @classmethod
    def prepared(
        cls,
        scores: Mapping[str, Denoiser],
        train: LabelledImages,
        sigma: float,
        images: LabelledImages | None = None,
        count: int = _IMAGES,
        seed: int = 0,
        device: str | torch.device = "cpu",
        working: WorkingSize | None = None,
    ) -> FilterSearch:
        """The bank of the training images and the Bayes directions at a fixed random subset of `images`.

        The images of the search must be others than those of a verdict, as the choice is fitted to them. Training
        images say nothing of accuracy: a network that knows them by heart loses more there than on new ones
        (Fashion-MNIST, Wiener c = .3: .948 to .834 against .861 to .839). Without `images` accuracy does not count
        therefore; a filter that costs accuracy then only raises what a network must surpass.

        Args:
            scores: by the name of the direction, such as bayes_gradient and network_bayes_gradient; what gives them.
            train: training images, from which the filters are made.
            sigma: noise level of the directions, in [0, 1] pixel units.
            images: new ones that the images of the search are drawn from; None takes training images.
            count: how many of them.
            seed: of their choice, and of the other images.
            device: where.
            working: the size of the images that the scores know; None for their own.

        Example:
            >>> from tangency.worlds import make_world
            >>> world = make_world("linear?rank=3&classes=2&shape=1x8x8")
            >>> drawn = world.sample(60, seed=0)
            >>> train = LabelledImages(drawn.x.float(), drawn.y, ("a", "b"), unit_range=False)
            >>> search = FilterSearch.prepared({"bayes_gradient": world}, train, 0.1)
            >>> best = search.best(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))
            >>> best.chosen["bayes_gradient"] in {one.name for one in best.candidates}
            True
        """
        pool = train if images is None else images
        places = permutation(len(pool), seed, "input filters")[:count].sort().values
        chosen = pool.subset(places)
        directions = {name: bayes_directions(score, chosen, sigma, device, working) for name, score in scores.items()}
        margin, drawn = None if images is None else MARGIN, tuple(places.tolist())
        return cls(filter_bank(train, device), chosen, drawn, pool.digest, directions, seed, margin, working)

    def best(
        self,
        net: nn.Module,
        batch_size: int = 128,
        device: str | torch.device = "cpu",
        on_share: Callable[[float], None] | None = None,
    ) -> BestFilters:
        """The best filters before a network; arguments are those of `best_filter`, and what hears of the share done."""
        bank = [InputFilter(IDENTITY), *(one for one in self.bank if one.name != IDENTITY)]
        passes = self._measured(net, bank, batch_size, device, on_share or (lambda _: None))
        candidates = tuple(
            FilterCandidate(
                one.name,
                {name: float(excess[row].nanmean()) for name, excess in passes.excess.items()},
                float(passes.right[row].mean()),
                *_bounds(passes.right[row] - passes.right[0]),
            )
            for row, one in enumerate(bank)
        )
        chosen = {name: best_of(candidates, name, self.margin) for name in self.directions}
        admitted = [row for row, one in enumerate(candidates) if _admitted(one, self.margin)]
        row_of = {one.name: row for row, one in enumerate(bank)}
        slack = {
            name: max(_bounds(excess[row] - excess[row_of[chosen[name]]])[1] for row in admitted)
            for name, excess in passes.excess.items()
        }
        return BestFilters(chosen, slack, candidates, self.places, self.data, self.margin)

    def _measured(
        self,
        net: nn.Module,
        bank: Sequence[InputFilter],
        batch_size: int,
        device: str | torch.device,
        on_share: Callable[[float], None],
    ) -> _Passes:
        """Every filter before the network, at every image."""
        images, working = self.images, self.working
        expected = (len(images), *(images.shape if working is None else working.shape))
        for name, direction in self.directions.items():
            if tuple(direction.shape) != expected:
                raise NumericsError(f"direction '{name}': got shape {tuple(direction.shape)}, expected {expected}.")
        partner, usable = Partners(images, self.seed).any(torch.arange(len(images)))
        right = torch.empty(len(bank), len(images), dtype=torch.float64)
        excess = {name: torch.empty_like(right) for name in self.directions}
        with undisturbed(net):
            for ids in torch.split(torch.arange(len(images)), at_once(images.pixels.shape, batch_size)):
                x, y = images.images(ids).to(device), images.labels[ids].to(device)
                both = {name: (b[ids].to(x), b[partner[ids]].to(x)) for name, b in self.directions.items()}
                for row, one in enumerate(bank):
                    correct, gradient = _passes(Filtered(one, net), x, y)
                    gradient = gradient if working is None else working.gradient(gradient)
                    right[row, ids] = correct.double().cpu()
                    for name, (own, other) in both.items():
                        difference = cosine(gradient, own) - cosine(gradient, other)
                        excess[name][row, ids] = difference.double().cpu()
                    on_share((int(ids[0]) + (row + 1) / len(bank) * len(ids)) / len(images))
        for values in excess.values():
            values[:, ~usable] = torch.nan
        return _Passes(right, excess)


def best_filter(
    net: nn.Module,
    bank: Sequence[InputFilter],
    images: LabelledImages,
    directions: Mapping[str, Tensor],
    seed: int = 0,
    margin: float | None = MARGIN,
    batch_size: int = 128,
    device: str | torch.device = "cpu",
) -> BestFilters:
    """Of filters A before a network f₀ the one with the highest L = mean [cos(g, b) − cos(g, b′)] for each direction b.

    g is the gradient of the hard margin f_y − max_{j≠y} f_j of f₀∘A, b′ the direction of another image. A filter is
    left out where accuracy is shown inferior: its difference to f₀'s, paired by image, has a one-sided 95 % bound at or
    under −δ. (To ask that it be shown not to be inferior would leave out good filters for want of images, and make an
    easy rival.) The identity is a candidate, so that the chosen filter is never worse than none. One forward and one
    backward pass per filter and image.

    Args:
        net: f₀; run in eval mode, left as it was found.
        bank: filters.
        images: N images with labels.
        directions: by name, b of each image, (N, C, H, W), of any length; NaN or zero for none.
        seed: of the other images, as `tangency.data.partners.Partners` draws them.
        margin: δ; None where accuracy does not count, as on images that the network was trained on.
        batch_size: images at once, fewer of large ones; it changes memory, not results.
        device: where.

    Raises:
        NumericsError: directions of another shape than the images, or results that are no logits.
    """
    places = tuple(range(len(images)))
    search = FilterSearch(bank, images, places, images.digest, directions, seed, margin)
    return search.best(net, batch_size, device)


def bayes_directions(
    score: Denoiser,
    images: LabelledImages,
    sigma: float,
    device: str | torch.device = "cpu",
    working: WorkingSize | None = None,
) -> Tensor:
    """∇ log p_σ(y | x) of labelled images, brought to a working size, as directions, (N, C, H, W) on the CPU."""
    parts = []
    for index in torch.split(torch.arange(len(images)), at_once(images.pixels.shape, 128)):
        x, y = images.images(index).to(device), images.labels[index].to(device)
        x = x if working is None else working.reduce(x)
        with torch.no_grad():
            parts.append(score.bayes_direction(x, y, sigma).direction.cpu())
    return torch.cat(parts)


def _passes(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each image is classified correctly, (N,), and the gradient of its margin, (N, C, H, W)."""
    with torch.inference_mode(False), torch.enable_grad():
        inputs = x.clone().requires_grad_(True)
        logits = differentiable(check_logits(model(inputs.clone()), len(x)))
        value = scalar(_SCALAR, logits, y).sum()
        (gradient,) = torch.autograd.grad(value, inputs, materialize_grads=True)
    return logits.detach().argmax(1) == y, gradient


def _bounds(differences: Tensor) -> tuple[float, float]:
    """One-sided 95 % normal bounds of a mean, without NaN; ±∞ of none, and of one that is not zero."""
    values = differences[~differences.isnan()]
    if len(values) and not bool(values.any()):
        return 0.0, 0.0
    if len(values) < 2:
        return -math.inf, math.inf
    mean, half = float(values.mean()), _QUANTILE * float(values.std()) / math.sqrt(len(values))
    return mean - half, mean + half


def _admitted(one: FilterCandidate, margin: float | None) -> bool:
    return margin is None or one.accuracy_high > -margin


def best_of(candidates: Sequence[FilterCandidate], direction: str, margin: float | None) -> str:
    """The filter of the highest L, the first of equals; the identity where L has no value.

    Args:
        candidates: a table.
        direction: of L.
        margin: δ, as for `best_filter`.
    """
    known = [one for one in candidates if _admitted(one, margin) and not math.isnan(one.alignment[direction])]
    return max(known, key=lambda one: one.alignment[direction]).name if known else IDENTITY
