"""The temperature of a classifier: the one scale of its logits that validation images identify."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from torch import Tensor, nn

from tangency.autodiff.scalars import CALIBRATED, check_logits
from tangency.errors import NumericsError

_LEVEL = 0.95
_Z = NormalDist().inv_cdf((1 + _LEVEL) / 2)
_FEWEST = math.ceil(_Z**2)  # errors of equal margin: fewer leave T no lower bound
_STEPS = 200  # of log β, before a search is given up


class TemperatureScaled(nn.Module):
    """f(x)/T: a classifier (N, C, H, W) to (N, classes) whose logits f are divided by a fixed temperature T > 0."""

    def __init__(self, net: nn.Module, temperature: float) -> None:
        super().__init__()
        self.net, self.temperature = net, temperature

    def forward(self, x: Tensor) -> Tensor:
        """Logits over T, (N, classes)."""
        logits: Tensor = self.net(x)
        return logits / self.temperature


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Args:
        value: T > 0, in units of the logits.
        low, high: ends of its 95 % interval.
        images: validation images that it was fitted to.
        errors: how many of them the classifier gets wrong.
    """

    value: float
    low: float
    high: float
    images: int
    errors: int

    @property
    def sentence(self) -> str:
        """The temperature with what it rests on."""
        return (
            f"temperature {self.value:.4g} [{self.low:.4g}, {self.high:.4g}], of the least negative log-likelihood on "
            f"{self.images} validation images with {self.errors} errors"
        )


def fit_temperature(logits: Tensor, labels: Tensor) -> Temperature:
    """T of the least negative log-likelihood L(T) = −Σᵢ log softmax(fᵢ/T)_yᵢ, with a 95 % interval.

    With β = 1/T the derivative of L is Σᵢ sᵢ(β), sᵢ = Σⱼ pⱼ fⱼ − f_y with p = softmax(βf), which rises in β: T is its
    only zero. The interval holds each β with 2 [L(β) − min L] ≤ 1.96² Σ s²/Σ Var_p f, the profile likelihood's bound
    where some T makes the probabilities right, and adjusted by the variance of s where none does. T = 0 and T = ∞ have
    to be ruled out, each by |√n·mean s/sd s| > 1.96. As T goes to 0, s goes to the margin by which each error is wrong
    and to 0 for the others: k errors of equal margin give √k, so that fewer than 4 do not identify T.

    Args:
        logits: (N, classes), of images that the classifier was not trained on.
        labels: (N,) integers.

    Raises:
        NumericsError: logits that are not finite, labels of another shape, or a temperature that is not identified.

    Example:
        >>> import torch
        >>> logits = 3 * torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
        >>> labels = torch.distributions.Categorical(logits=logits / 1.5).sample()
        >>> T = fit_temperature(logits, labels)
        >>> T.low < T.value < T.high, 1.2 < T.value < 1.8
        (True, True)

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017. Deviation: the interval, and the refusal
        of a temperature that is not identified, are ours.
    """
    gaps, scale = _gaps(logits, labels)
    errors = int((gaps.amax(1) > 0).sum())

    def derivative(log_beta: float) -> Tensor:
        return (math.exp(log_beta) * gaps).softmax(1).mul(gaps).sum(1)

    def loss(log_beta: float) -> float:
        return float((math.exp(log_beta) * gaps).logsumexp(1).sum())

    _refuse_unidentified(gaps, errors)
    small = _beyond(lambda at: float(derivative(at).mean()) < 0, 0.0, -1)
    large = _beyond(lambda at: float(derivative(at).mean()) > 0, 0.0, 1)
    best = _root(lambda at: float(derivative(at).mean()), small, large)
    slopes, least = derivative(best), loss(best)
    spread = (math.exp(best) * gaps).softmax(1).mul(gaps.square()).sum() - slopes.square().sum()
    bound = _Z**2 * float(slopes.square().sum() / spread)
    above, below = (_end(lambda at: 2 * (loss(at) - least) - bound, best, step) for step in (-1, 1))
    value, low, high = (scale * math.exp(-at) for at in (best, below, above))
    return Temperature(value, low, high, len(gaps), errors)


def _gaps(logits: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    """fⱼ − f_y in units of their mean size, (N, classes) float64, and that size."""
    logits = check_logits(logits, len(logits)).detach().double().cpu()
    if labels.shape != (len(logits),) or labels.is_floating_point():
        raise NumericsError(
            f"labels: got {labels.dtype} of shape {tuple(labels.shape)} for logits of {len(logits)} images, expected "
            "an integer for each."
        )
    if len(logits) and not bool(logits.isfinite().all()):
        raise NumericsError("logits: got NaN or infinite ones on validation images, expected finite ones.")
    gaps = logits - logits.gather(1, labels.cpu().long()[:, None])
    scale = float(gaps.abs().mean()) if gaps.any() else 1.0
    return gaps / scale, scale


def _refuse_unidentified(gaps: Tensor, errors: int) -> None:
    """Raise unless the interval of 1/T is bounded, and does not reach 0."""
    images, worst = len(gaps), gaps.amax(1)
    way_out = "or use margin, which needs no temperature."
    if not _studentised(worst) > _Z:
        equal = float(worst.sum() ** 2 / worst.square().sum()) if errors else 0.0
        raise NumericsError(
            f"{CALIBRATED}: got {errors} errors on {images} validation images, by margins that count as {equal:.1f} "
            f"of equal size; expected at least {_FEWEST}, since with fewer the temperature's 95 % interval reaches 0 "
            f"and nothing identifies it. Give more validation images, {way_out}"
        )
    if not _studentised(gaps.mean(1)) < -_Z:
        raise NumericsError(
            f"{CALIBRATED}: got logits that do not predict the labels of {images} validation images ({errors} errors), "
            "expected ones that do: the temperature's 95 % interval reaches infinity and nothing identifies it. Give "
            f"a trained classifier and more validation images, {way_out}"
        )


def _studentised(values: Tensor) -> float:
    """√n·mean/sd of values (n,); NaN where all are 0, or there is one."""
    return float(values.mean() / values.std() * math.sqrt(len(values))) if len(values) > 1 else math.nan


def _end(function: Callable[[float], float], start: float, step: int) -> float:
    """Where a function that is negative at the start becomes positive on one side of it."""
    return _root(function, start, _beyond(lambda at: function(at) > 0, start, step))


def _beyond(reached: Callable[[float], bool], start: float, step: int) -> float:
    """The first log β in steps from the start at which a condition holds."""
    at = next((start + step * number for number in range(_STEPS) if reached(start + step * number)), None)
    if at is None:
        raise NumericsError(
            f"{CALIBRATED}: got logits to which no bounded interval of temperatures can be fitted; give more "
            "validation images, or use margin, which needs none."
        )
    return at


def _root(function: Callable[[float], float], start: float, stop: float) -> float:
    from scipy.optimize import brentq

    root: Any = brentq(function, start, stop, xtol=1e-13)
    return float(root)
