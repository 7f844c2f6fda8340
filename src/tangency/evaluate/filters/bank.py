"""Filters by name, "pca-50", "dct-8x8", "blur-0.5", "wiener-0.3", "wiener-0.3^2", and the bank of candidates."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch

from tangency.errors import SpecError
from tangency.evaluate.filters.linear import (
    InputFilter,
    SeparableFilter,
    SpectralFilter,
    gaussian_blur,
    low_pass,
)
from tangency.tangents import PrincipalAxes, principal_axes
from tangency.types import LabelledImages

IDENTITY = "identity"
BLURS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)  # σ in pixels
# c, the variance of noise, in [0, 1]² pixel units
WIENERS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)
_SQUARE = "^2"
_RANKS, _SIDES = 10, 8  # projections of each kind, log-spaced
_NAME = re.compile(r"(pca)-(\d+)|(dct)-(\d+)x(\d+)|(blur)-([\d.e+-]+)|(wiener)-([\d.e+-]+)")
_FULL = 4096  # pixels up to which all principal directions are known
_LEADING = 64  # principal directions above that
# Axes by device, for as long as their training images are held: they do not depend on the network behind a filter.
_AXES: WeakKeyDictionary[LabelledImages, dict[str, PrincipalAxes]] = WeakKeyDictionary()


class FilterSource:
    """Filters from the training images, which share one eigendecomposition of their covariance in a process.

    "pca-K" projects on the K leading principal directions about the mean. "wiener-C" is V diag(λ/(λ + C)) Vᵀ about the
    mean, with λ the variances along the principal directions: the best linear removal of white noise of variance C, in
    the unit of pixels in [0, 1], squared. "dct-RxC" projects each channel on its R × C lowest cosines. "blur-S" is a
    Gaussian blur of S pixels, mirrored at the border. "NAME^2" is the filter applied twice.

    Up to 4,096 pixels all principal directions are known. Above, the 64 leading ones of 512 images (a fixed random
    subset) are, and Wiener filters take the rest of the variance as spread evenly over all other directions.

    Args:
        train: training images.
        device: of the filters.
    """

    def __init__(self, train: LabelledImages, device: str | torch.device = "cpu") -> None:
        self.train, self.device = train, device
        self.pixels = math.prod(train.shape)

    @property
    def axes(self) -> PrincipalAxes:
        """Mean, principal directions and their variances, in float32 on the device but for the variances."""
        held = _AXES.setdefault(self.train, {})
        if str(self.device) not in held:
            held[str(self.device)] = self._axes()
        return held[str(self.device)]

    def _axes(self) -> PrincipalAxes:
        rank = self.pixels if self.pixels <= _FULL else self.largest_rank
        axes = principal_axes(self.train, rank)
        mean, vectors = (t.float().to(self.device) for t in (axes.mean, axes.vectors))
        return PrincipalAxes(mean, vectors, axes.variances, axes.total)

    @property
    def largest_rank(self) -> int:
        """How many principal directions there are at most."""
        known = self.pixels if self.pixels <= _FULL else _LEADING
        return max(1, min(known, len(self.train) - 1))

    def named(self, name: str) -> InputFilter:
        """The filter of this name.

        Raises:
            SpecError: no such name, or a number out of its range.
        """
        base = name.removesuffix(_SQUARE)
        power = 1 if base == name else 2
        if base == IDENTITY:
            return InputFilter(name)
        match = _NAME.fullmatch(base)
        if match is None:
            raise SpecError(
                f"filter: got '{name}', expected identity, pca-K, dct-RxC, blur-S or wiener-C with numbers, such as "
                f"wiener-0.3, or one of these followed by {_SQUARE}: applied twice."
            )
        kind, *numbers = [part for part in match.groups() if part is not None]
        made: InputFilter = getattr(self, f"_{kind}")(name, power, *numbers)
        return made

    def _pca(self, name: str, power: int, rank: str) -> InputFilter:
        k = int(rank)
        _check(name, 1 <= k <= self.largest_rank, f"1 to {self.largest_rank} principal directions")
        gains = torch.ones(k, device=self.device)
        return SpectralFilter(name, self.axes.mean, self.axes.vectors[:, :k], gains)

    def _wiener(self, name: str, power: int, noise: str) -> InputFilter:
        c = _positive(name, noise)
        variances, total = self.axes.variances, self.axes.total
        others = self.pixels - len(variances)
        rest = max(0.0, total - float(variances.sum())) / others if others else 0.0
        gains = (variances / (variances + c)) ** power
        tail = (rest / (rest + c)) ** power
        return SpectralFilter(name, self.axes.mean, self.axes.vectors, gains.float().to(self.device), tail)

    def _dct(self, name: str, power: int, rows: str, columns: str) -> InputFilter:
        _, height, width = self.train.shape
        r, c = int(rows), int(columns)
        _check(name, 1 <= r <= height and 1 <= c <= width, f"1 to {height} by 1 to {width} cosines")
        return self._separable(name, 1, low_pass(height, r), low_pass(width, c))

    def _blur(self, name: str, power: int, sigma: str) -> InputFilter:
        _, height, width = self.train.shape
        s = _positive(name, sigma)
        return self._separable(name, power, gaussian_blur(height, s), gaussian_blur(width, s))

    def _separable(self, name: str, power: int, columns: torch.Tensor, rows: torch.Tensor) -> InputFilter:
        both = (torch.linalg.matrix_power(matrix, power).float().to(self.device) for matrix in (columns, rows))
        return SeparableFilter(name, *both)

    def bank(self) -> list[InputFilter]:
        """Identity, projections, blurs, Wiener filters, and the squares of those that are no projections."""
        return [self.named(name) for name in bank_names(self.train.shape, self.largest_rank)]


def bank_names(shape: tuple[int, int, int], largest_rank: int) -> list[str]:
    """Names of the bank for images of a shape; ranks of PCA go up to a quarter of the pixels."""
    channels, height, width = shape
    ranks = _spaced(4, min(largest_rank, channels * height * width // 4), _RANKS)
    shares = [side / max(height, width) for side in _spaced(4, max(height, width) - 1, _SIDES)]
    sides = [(max(1, round(share * height)), max(1, round(share * width))) for share in shares]
    twice = [f"blur-{s:g}" for s in BLURS] + [f"wiener-{c:g}" for c in WIENERS]
    projections = [f"pca-{k}" for k in ranks] + [f"dct-{r}x{c}" for r, c in sides]
    return [IDENTITY, *projections, *twice, *(name + _SQUARE for name in twice)]


def filter_bank(train: LabelledImages, device: str | torch.device = "cpu") -> list[InputFilter]:
    """The candidates of `best_filter`: identity, PCA, DCT, blurs, Wiener filters and squares, from training images."""
    return FilterSource(train, device).bank()


def filter_named(name: str, train: LabelledImages, device: str | torch.device = "cpu") -> InputFilter:
    """The filter of a name, as `FilterSource` defines them, from the training images.

    Args:
        name: "identity", "pca-50", "dct-8x8", "blur-0.5", "wiener-0.3", or one of these with "^2".
        train: training images.
        device: of the filter.

    Raises:
        SpecError: no such name, or a number out of its range.

    Example:
        >>> train = LabelledImages(torch.rand(9, 1, 4, 4), torch.zeros(9, dtype=torch.int64), ("a", "b"))
        >>> filter_named("dct-1x1", train)(torch.eye(4)[None, None]).unique().tolist()
        [0.25]
    """
    return FilterSource(train, device).named(name)


def _spaced(low: int, high: int, count: int) -> Sequence[int]:
    """Whole numbers from low to high, log-spaced, without repeats; high alone where it is the smaller."""
    if high <= low:
        return [max(1, high)]
    return sorted({round(low * (high / low) ** (i / (count - 1))) for i in range(count)})


def _positive(name: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    _check(name, 0 < value < math.inf, "a positive number")
    return value


def _check(name: str, fits: bool, expected: str) -> None:
    if not fits:
        raise SpecError(f"filter: got '{name}', expected {expected} behind the hyphen.")
