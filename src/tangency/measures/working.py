"""A working size: where score and tangent spaces live, beside a classifier that sees its images at their own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.errors import NumericsError, SpecError, unknown_name
from tangency.numerics import flat, per_example
from tangency.types import Dataset, LabelledImages

Shape = tuple[int, int, int]
HELD_REDUCED = 1 << 30  # bytes of reduced images that are kept; more are made anew for each use
_AT_ONCE = 1 << 22  # pixels that are reduced at once


def _area(side: int, small: int) -> Tensor:
    """Share of each old pixel in each new one, for exact averages over blocks of side/small pixels, whole or not."""
    edges = torch.arange(small + 1, dtype=torch.float64) * side / small
    low, high = edges[:-1, None], edges[1:, None]
    pixel = torch.arange(side, dtype=torch.float64)
    overlap = (torch.minimum(high, pixel + 1) - torch.maximum(low, pixel)).clamp(min=0)
    return overlap / overlap.sum(1, keepdim=True)


def _interpolated(mode: str) -> Callable[[int, int], Tensor]:
    def matrix(side: int, small: int) -> Tensor:
        eye = torch.eye(side, dtype=torch.float64)[None, None]
        rows = F.interpolate(eye, size=(small, side), mode=mode, align_corners=False, antialias=True)[0, 0]
        return (rows / rows.sum(1, keepdim=True)).contiguous()

    return matrix


# (side, new side) to (new side, side) weights with rows that sum to 1
FILTERS: dict[str, Callable[[int, int], Tensor]] = {
    "area": _area,
    "bilinear": _interpolated("bilinear"),
    "bicubic": _interpolated("bicubic"),
}


@dataclass(frozen=True)
class WorkingSize:
    """The linear map R of images to a smaller size, with what belongs to it; R = R_h ⊗ R_w, the same in each channel.

    Images are R x, with rows of R that sum to 1. A step δ at the working size is c·Rᵀδ at the images' own, with
    c = HW/hw, so that the derivative of f(x + c·Rᵀδ) in δ at 0 is c·R ∇f: gradients are resized by the filter that
    images are. Where H/h and W/w are whole numbers, `area` averages blocks, a lifted step repeats each pixel, and
    R(c·Rᵀδ) = δ.

    Args:
        own: (C, H, W) of the images.
        size: (h, w), at most the own.
        filter: "area" (exact averages over blocks, also of a fractional width), "bilinear" or "bicubic" (antialiased,
            as `torch.nn.functional.interpolate` has them).

    Raises:
        NumericsError: an unknown filter, or a size that is larger than the images or has no pixels.

    Example:
        >>> working = WorkingSize((1, 4, 4), (2, 2))
        >>> working.reduce(torch.arange(16.0).reshape(1, 1, 4, 4)).flatten().tolist()
        [2.5, 4.5, 10.5, 12.5]
    """

    own: Shape
    size: tuple[int, int]
    filter: str = "area"

    def __post_init__(self) -> None:
        if self.filter not in FILTERS:
            raise NumericsError(unknown_name("filter of the working size", self.filter, FILTERS))
        if not all(1 <= small <= side for small, side in zip(self.size, self.own[1:], strict=True)):
            raise NumericsError(
                f"working_size: got {self.size[0]}x{self.size[1]} for images of {self.own[1]}x{self.own[2]} pixels, "
                "expected at least 1 and at most their own size; images are never enlarged."
            )

    @property
    def whole(self) -> bool:
        """Whether it is the images' own size: then every method hands back what it is given."""
        return self.size == self.own[1:]

    @property
    def shape(self) -> Shape:
        """(C, h, w)."""
        return self.own[0], *self.size

    @property
    def c(self) -> float:
        """HW/hw, the pixels of the images for each of the working size."""
        return math.prod(self.own[1:]) / math.prod(self.size)

    @property
    def share(self) -> float:
        """hw/HW, the expected share of a random gradient's energy that the working size keeps."""
        return 1 / self.c

    @property
    def words(self) -> str:
        """The sizes and the filter, for sentences."""
        return f"{self.size[0]}x{self.size[1]} of {self.own[1]}x{self.own[2]} by {self.filter}"

    @property
    def sentence(self) -> str:
        """What a reader of the numbers should know."""
        return (
            f"score and tangent spaces are at {self.words}, and so are the gradients that they are compared with "
            f"(working_share says how much of a gradient's energy that keeps, by chance {self.share:.3g}); the "
            "classifier, its accuracy, noise and attacks are at the images' own size; --working-size (working_size) "
            "chooses another, or own"
        )

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor]:
        """R_h (h, H) and R_w (w, W), float64."""
        make = FILTERS[self.filter]
        return make(self.own[1], self.size[0]), make(self.own[2], self.size[1])

    @cached_property
    def _bases(self) -> tuple[Tensor, Tensor]:
        """Orthonormal bases (h, H) and (w, W) of the spans of their rows."""
        height, width = (torch.linalg.qr(rows.mT).Q.mT for rows in self._rows)
        return height, width

    def reduce(self, x: Tensor) -> Tensor:
        """R x, images (N, C, H, W) at the working size, (N, C, h, w)."""
        return x if self.whole else _applied(self._rows, x)

    def gradient(self, g: Tensor) -> Tensor:
        """c·R g, gradients (N, C, H, W) of f as those of δ ↦ f(x + lift(δ)), (N, C, h, w)."""
        return g if self.whole else self.c * self.reduce(g)

    def lift(self, step: Tensor) -> Tensor:
        """c·Rᵀδ, steps (N, C, h, w) at the images' own size, (N, C, H, W)."""
        if self.whole:
            return step
        height, width = self._rows
        return self.c * _applied((height.mT, width.mT), step)

    def direction(self, u: Tensor) -> Tensor:
        """lift(u)/‖lift(u)‖₂ of unit vectors u, so that a step's length is counted in the pixels of the images."""
        if self.whole:
            return u
        lifted = self.lift(u)
        return lifted / per_example(flat(lifted).double().square().sum(1).sqrt().to(lifted), lifted)

    def noise(self, n: Tensor) -> Tensor:
        """√c·Rᵀn of normal noise (N, C, h, w): isotropic, of the same σ, in what the working size keeps.

        For `area` at whole ratios this is the part of isotropic noise at the images' own size that lies in them.
        """
        return n if self.whole else self.lift(n) / math.sqrt(self.c)

    def moved(self, x: Tensor, end: Tensor) -> Tensor:
        """x + lift(e − R x): images (N, C, H, W) that were moved to e (N, C, h, w) at the working size."""
        return end if self.whole else x + self.lift(end - self.reduce(x))

    def kept(self, g: Tensor) -> Tensor:
        """‖P g‖²/‖g‖² with P onto the span of R's rows, (N,) float64 in [0, 1]; NaN for a zero gradient."""
        scaled = g.double() / per_example(flat(g).double().abs().amax(1), g)
        inside = _applied(self._bases, scaled)
        return (flat(inside).square().sum(1) / flat(scaled).square().sum(1)).clamp(max=1)

    def inside(self, x: Tensor) -> Tensor:
        """P x, the part of (N, C, H, W) in the span of R's rows, to which all lifted steps belong."""
        if self.whole:
            return x
        height, width = self._bases
        return _applied((height.mT, width.mT), _applied((height, width), x))

    def images(self, data: LabelledImages) -> LabelledImages:
        """The same images at the working size, float32 (float64 where they are).

        Up to a gigabyte of them is made at once, in small batches, and kept; more are made anew for each use.
        """
        if self.whole:
            return data
        digest = f"{data.digest} at {self.words}"
        made = dataclasses.replace(data, digest=digest, signal=None, drawn=None, pixels=self._held(data))
        if len(made.pixels) == len(data):
            return made
        return dataclasses.replace(made, drawn=lambda index: self.reduce(data.images(index)))

    def _held(self, data: LabelledImages) -> Tensor:
        if 4 * len(data) * math.prod(self.shape) > HELD_REDUCED:
            return torch.empty(0, *self.shape)
        precise = data.pixels.dtype == torch.float64
        pixels = torch.empty(len(data), *self.shape, dtype=torch.float64 if precise else torch.float32)
        for index in torch.split(torch.arange(len(data)), max(1, _AT_ONCE // math.prod(self.own))):
            pixels[index] = self.reduce(data.images(index))
        return pixels

    def dataset(self, data: Dataset) -> Dataset:
        """Both splits at the working size."""
        if self.whole:
            return data
        return dataclasses.replace(data, train=self.images(data.train), test=self.images(data.test))


def parse_working(text: str) -> tuple[int | tuple[int, int] | Literal["own"], str | None]:
    """Size and filter of "64", "48x64", "64:bilinear", "own" or "none"; the filter is None where it is not given.

    Example:
        >>> parse_working("64"), parse_working("48x64:bicubic"), parse_working("none")
        ((64, None), ((48, 64), 'bicubic'), ('own', None))
    """
    size, _, named = text.partition(":")
    if named and named not in FILTERS:
        raise SpecError(unknown_name("filter of --working-size", named, FILTERS))
    if size in ("own", "none") and not named:
        return "own", None
    sides = size.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and side.isascii() and int(side) > 0 for side in sides):
        raise SpecError(
            f"--working-size: got '{text[:40]}', expected own, or pixels of the shorter side or height x width, as in "
            f"64 or 48x64, with one of {', '.join(FILTERS)} behind a colon if it is another filter than area."
        )
    numbers = [int(side) for side in sides]
    return (numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])), named or None


def _applied(matrices: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    height, width = (matrix.to(x) for matrix in matrices)
    return height @ (x @ width.mT)
