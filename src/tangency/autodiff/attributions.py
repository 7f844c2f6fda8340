"""Attribution maps of a named scalar: gradient × input, SmoothGrad and integrated gradients.

A map is named by its method and its scalar, "smoothgrad(margin)", and may stand wherever a scalar's gradient does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tangency.autodiff.contexts import undisturbed
from tangency.autodiff.gradients import input_gradients
from tangency.autodiff.scalars import CALIBRATED, SCALARS, check_logits
from tangency.errors import SpecError, unknown_name
from tangency.numerics import norms, per_example
from tangency.seeding import Draw
from tangency.types import Direction


@dataclass(frozen=True)
class AttributionOptions:
    """How maps are made.

    Args:
        samples: noisy copies of SmoothGrad, at least 1.
        sigma: their noise, in [0, 1] pixel units, not clipped.
        steps: Gauss–Legendre nodes of integrated gradients, at least 1.
        baseline: grey level at which integrated gradients start, in [0, 1].
        seed: of SmoothGrad's noise, drawn for each image by its id.
    """

    samples: int = 25
    sigma: float = 0.1
    steps: int = 32
    baseline: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.steps < 1:
            raise SpecError(
                f"attributions: got {self.samples} samples and {self.steps} steps, expected at least 1 of each."
            )
        if not (self.sigma > 0 and 0 <= self.baseline <= 1):
            raise SpecError(
                f"attributions: got sigma {self.sigma} and baseline {self.baseline}, expected a sigma above 0 and a "
                "baseline in [0, 1]."
            )


# A point at which the gradient is taken, and its weight in the mean.
Points = Iterator[tuple[Tensor, float]]


def _itself(x: Tensor, ids: Tensor, options: AttributionOptions) -> Points:
    yield x, 1.0


def _noisy(x: Tensor, ids: Tensor, options: AttributionOptions) -> Points:
    for sample in range(options.samples):
        noise = Draw(options.seed, ids, f"smoothgrad {sample}").normal(x.shape[1:], x.dtype)
        yield x + options.sigma * noise, 1 / options.samples


def _along(x: Tensor, ids: Tensor, options: AttributionOptions) -> Points:
    nodes, weights = np.polynomial.legendre.leggauss(options.steps)
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        yield options.baseline + (1 + node) / 2 * (x - options.baseline), weight / 2


_POINTS: dict[str, Callable[[Tensor, Tensor, AttributionOptions], Points]] = {
    "gradient_x_input": _itself,
    "smoothgrad": _noisy,
    "integrated_gradients": _along,
}
ATTRIBUTIONS: tuple[str, ...] = tuple(_POINTS)


def split_attribution(name: str) -> tuple[str, str]:
    """Method and scalar of a quantity: "smoothgrad(margin)" is ("smoothgrad", "margin"), "margin" is ("", "margin").

    Raises:
        SpecError: for an unknown method or scalar.

    Example:
        >>> split_attribution("integrated_gradients(margin)")
        ('integrated_gradients', 'margin')
    """
    match = re.fullmatch(r"(\w+)\((\w+)\)", name)
    method, scalar = (match[1], match[2]) if match else ("", name)
    if method and method not in ATTRIBUTIONS:
        raise SpecError(unknown_name("attribution method", method, ATTRIBUTIONS))
    if scalar not in (*SCALARS, CALIBRATED):
        raise SpecError(unknown_name("scalar", scalar, (*SCALARS, CALIBRATED, *(f"{m}(margin)" for m in ATTRIBUTIONS))))
    return method, scalar


def attribution_maps(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    names: Sequence[str],
    ids: Tensor,
    options: AttributionOptions | None = None,
    batch_size: int = 256,
) -> dict[str, Direction]:
    """x ⊙ ∇f(x), E_n ∇f(x + σn), and (x − b) ⊙ ∫₀¹ ∇f(b + t(x − b)) dt, of several scalars f of the logits.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits; run in eval mode, left as it was found.
        x: (N, C, H, W), in [0, 1].
        y: (N,) int64.
        names: as in "integrated_gradients(margin)".
        ids: (N,) identity of each image: SmoothGrad's noise follows from it and the seed, not from the batch.
        options: numbers of samples and steps, noise and baseline.
        batch_size: images at once; it changes memory, not results.

    Returns:
        For each name a `Direction`: (N, C, H, W) parallel to the map, and (N,) log of its l2 norm. Gradients are those
        of the named quantity itself, ∇ log p(y|x) for logp_y, also where p_y is so near 1 that they underflow;
        `logit_pred` keeps the class that is predicted at x.

    Raises:
        SpecError: for an unknown method or scalar.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
        >>> x, y = torch.rand(2, 1, 2, 2), torch.tensor([0, 2])
        >>> name = "integrated_gradients(logit_y)"
        >>> map_ = attribution_maps(model, x, y, [name], torch.arange(2))[name]
        >>> closed_form = x * model[1].weight[y].reshape(x.shape)
        >>> torch.allclose(torch.nn.functional.normalize(map_.direction.flatten(1)),
        ...                torch.nn.functional.normalize(closed_form.flatten(1)), atol=1e-5)
        True

    Source: Shrikumar et al., arXiv 1605.01713 (×); Smilkov et al., arXiv 1706.03825; Sundararajan et al., ICML 2017.
    """
    options = options or AttributionOptions()
    scalars_of: dict[str, list[str]] = {}
    for name in names:
        method, scalar = split_attribution(name)
        scalars_of.setdefault(method, []).append(scalar)
    maps: dict[str, Direction] = {}
    for method, scalars in scalars_of.items():
        means = _means(model, x, y, scalars, _POINTS[method](x, ids, options), batch_size)
        factor = {"gradient_x_input": x, "integrated_gradients": x - options.baseline}.get(method)
        for scalar, mean in zip(scalars, means, strict=True):
            maps[f"{method}({scalar})"] = mean if factor is None else _times(mean, factor)
    return maps


def _means(
    model: nn.Module, x: Tensor, y: Tensor, scalars: list[str], points: Points, batch_size: int
) -> list[Direction]:
    """Weighted mean over points of each scalar's gradient."""
    predicted = _predicted(model, x, batch_size) if "logit_pred" in scalars else y
    plain = [name for name in scalars if name != "logit_pred"]
    totals = [_Total(x) for _ in scalars]
    for at, weight in points:
        gradients = input_gradients(model, at, y, plain, batch_size)
        if "logit_pred" in scalars:  # the class that is predicted at x stays
            gradients["logit_pred"] = input_gradients(model, at, predicted, ["logit_y"], batch_size)["logit_y"]
        for name, total in zip(scalars, totals, strict=True):
            total.add(gradients[name], weight)
    return [total.mean() for total in totals]


def _predicted(model: nn.Module, x: Tensor, batch_size: int) -> Tensor:
    with undisturbed(model), torch.no_grad():
        return torch.cat(
            [check_logits(model(part.clone()), len(part)).argmax(1) for part in torch.split(x, batch_size)]
        )


class _Total:
    """A weighted sum of directions of any magnitude: a sum, times exp of the largest log factor."""

    def __init__(self, x: Tensor) -> None:
        self.sum, self.scale = torch.zeros_like(x), x.new_full((len(x),), -torch.inf)

    def add(self, gradient: Direction, weight: float) -> None:
        """Add one gradient of each image."""
        length = norms(gradient.direction)
        factor = torch.where(length > 0, gradient.log_norm - length.log(), torch.nan).nan_to_num(-torch.inf)
        largest = torch.maximum(self.scale, factor)
        old, new = ((log - largest).exp().nan_to_num(0.0) for log in (self.scale, factor))  # −∞ − −∞: nothing yet
        self.sum = self.sum * per_example(old, self.sum) + weight * per_example(new, self.sum) * gradient.direction
        self.scale = largest

    def mean(self) -> Direction:
        """The sum; its length in logarithm is −∞ where it is zero."""
        log_norm = norms(self.sum).log() + torch.where(self.scale.isfinite(), self.scale, 0.0)
        return Direction(self.sum, log_norm)


def _times(gradient: Direction, factor: Tensor) -> Direction:
    """Element by element."""
    product = gradient.direction * factor
    stretch = norms(product).log() - norms(gradient.direction).log()
    return Direction(product, (gradient.log_norm + stretch).nan_to_num(-torch.inf))  # −∞ − −∞ where both are zero
