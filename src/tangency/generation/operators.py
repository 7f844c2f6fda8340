"""Linear measurements of images, random masks among them, and the exact projection on what agrees with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tangency.errors import NumericsError, SpecError, unknown_name
from tangency.generation.options import MASKS, Bounds
from tangency.seeding import Draw


class Operator(Protocol):
    """A with rows of disjoint support, so that A diag(ψ) Aᵀ is diagonal and every closed form stays exact."""

    def seen(self, like: Tensor) -> Tensor:
        """Which entries of A x are measured, bool, broadcastable to A x."""
        ...

    def apply(self, x: Tensor) -> Tensor:
        """A x, (N, C, H, W) to (N, C, h, w); entries that are not measured hold what they would be."""
        ...

    def adjoint(self, r: Tensor) -> Tensor:
        """Aᵀ r, (N, C, h, w) to (N, C, H, W)."""
        ...

    def variance(self, psi: Tensor) -> Tensor:
        """The diagonal of A diag(ψ) Aᵀ, (K, C, H, W) to (K, C, h, w)."""
        ...

    def project(self, x: Tensor, measured: Tensor, bounds: Bounds) -> Tensor:
        """The nearest image with A x = measured and pixels in bounds."""
        ...


@dataclass(frozen=True)
class Mask:
    """Some pixels are known.

    Args:
        keep: bool, (1 or N, 1 or C, H, W): True where a pixel is known.
    """

    keep: Tensor

    def __post_init__(self) -> None:
        if self.keep.dtype != torch.bool or self.keep.dim() != 4:
            raise NumericsError(
                f"mask: got {self.keep.dtype} of shape {tuple(self.keep.shape)}, expected bool of (N, C, H, W), True "
                "where a pixel is known; 1 for N or C stands for all."
            )

    def seen(self, like: Tensor) -> Tensor:
        """The known pixels."""
        got, wanted = self.keep.shape, like.shape
        if got[2:] != wanted[2:] or any(got[axis] not in (1, wanted[axis]) for axis in (0, 1)):
            raise NumericsError(
                f"mask: got shape {tuple(got)} for images {tuple(wanted)}, expected the same height and width, and 1 "
                "or as many images and channels."
            )
        return self.keep.to(like.device)

    def apply(self, x: Tensor) -> Tensor:
        """Every pixel; `seen` says which ones are known."""
        return x

    def adjoint(self, r: Tensor) -> Tensor:
        """Known pixels in their places, zero elsewhere."""
        return r * self.seen(r)

    def variance(self, psi: Tensor) -> Tensor:
        """ψ itself."""
        return psi

    def project(self, x: Tensor, measured: Tensor, bounds: Bounds) -> Tensor:
        """Known pixels as measured, bit for bit; the others clipped."""
        inside = x if bounds is None else x.clamp(*bounds)
        return torch.where(self.seen(x), measured, inside)


@dataclass(frozen=True)
class AveragePool:
    """The mean of each factor × factor block of pixels: what super-resolution starts from.

    Args:
        factor: at least 2, a divisor of both sides.
    """

    factor: int

    def _blocks(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, h, w, factor²)."""
        n, channels, height, width = x.shape
        f = self.factor
        if f < 2 or height % f or width % f:
            raise NumericsError(
                f"factor: got {f} for images of {height}x{width} pixels, expected at least 2, and a divisor of both "
                "sides."
            )
        blocks = x.reshape(n, channels, height // f, f, width // f, f).permute(0, 1, 2, 4, 3, 5)
        return blocks.reshape(n, channels, height // f, width // f, f * f)

    def _image(self, blocks: Tensor) -> Tensor:
        """The inverse of `_blocks`."""
        n, channels, h, w, _ = blocks.shape
        f = self.factor
        return blocks.reshape(n, channels, h, w, f, f).permute(0, 1, 2, 4, 3, 5).reshape(n, channels, h * f, w * f)

    def seen(self, like: Tensor) -> Tensor:
        """All of it."""
        return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=like.device)

    def apply(self, x: Tensor) -> Tensor:
        """The mean of each block."""
        return self._blocks(x).mean(4)

    def adjoint(self, r: Tensor) -> Tensor:
        """An equal share of r for each pixel of its block."""
        return self._image(r[..., None].expand(*r.shape, self.factor**2)) / self.factor**2

    def variance(self, psi: Tensor) -> Tensor:
        """Σ ψ/factor⁴ over a block."""
        return self._blocks(psi).sum(4) / self.factor**4

    def project(self, x: Tensor, measured: Tensor, bounds: Bounds) -> Tensor:
        """Every block shifted by one number, then clipped, so that its mean is as measured: the exact projection.

        The shift is found by bisection; a last step along the pixels that are not clipped removes what is left.
        """
        blocks, wanted = self._blocks(x), measured[..., None]
        shifted = blocks + wanted - blocks.mean(4, keepdim=True)
        if bounds is None or bool(((shifted >= bounds[0]) & (shifted <= bounds[1])).all()):
            return self._image(shifted)
        low, high = bounds[0] - blocks.amax(4, keepdim=True), bounds[1] - blocks.amin(4, keepdim=True)
        for _ in range(60 if x.dtype == torch.float64 else 30):
            middle = (low + high) / 2
            short = (blocks + middle).clamp(*bounds).mean(4, keepdim=True) < wanted
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)
        shifted = (blocks + high).clamp(*bounds)
        loose = (shifted > bounds[0]) & (shifted < bounds[1])
        left = (wanted - shifted.mean(4, keepdim=True)) * self.factor**2 / loose.sum(4, keepdim=True).clamp(min=1)
        return self._image((shifted + left * loose).clamp(*bounds))


def make_mask(kind: str, shape: tuple[int, int, int], share: float, draw: Draw) -> Mask:
    """Which pixels are known, one mask for each image, the same for all channels.

    Args:
        kind: "rectangle" hides one at a random place, of the image's proportions; "random" each pixel with chance
            `share`; "half" the left, right, upper or lower half.
        shape: (C, H, W).
        share: of the pixels that is hidden, in (0, 1); of no meaning for "half".
        draw: of the images.

    Example:
        >>> mask = make_mask("rectangle", (1, 8, 8), 0.25, Draw(0, torch.arange(3)))
        >>> (~mask.keep).sum((1, 2, 3))
        tensor([16, 16, 16])
    """
    if kind not in MASKS:
        raise SpecError(unknown_name("mask", kind, MASKS))
    if not 0 < share < 1:
        raise SpecError(f"share: got {share}, expected a share of the pixels to hide, above 0 and below 1.")
    height, width = shape[1:]
    if kind == "random":
        return Mask(draw.of("mask").uniform((1, height, width)) >= share)
    hide = _half(draw, height, width) if kind == "half" else _rectangle(draw, height, width, share)
    return Mask(~hide[:, None])


def _rectangle(draw: Draw, height: int, width: int, share: float) -> Tensor:
    tall, wide = (max(1, round(side * share**0.5)) for side in (height, width))
    top = draw.of("mask top").integers(height - tall + 1)[:, None]
    left = draw.of("mask left").integers(width - wide + 1)[:, None]
    row, column = (torch.arange(side, device=top.device) for side in (height, width))
    rows, columns = (row >= top) & (row < top + tall), (column >= left) & (column < left + wide)
    hidden: Tensor = rows[:, :, None] & columns[:, None, :]
    return hidden


def _half(draw: Draw, height: int, width: int) -> Tensor:
    row = torch.arange(height, device=draw.ids.device)[:, None].expand(height, width)
    column = torch.arange(width, device=draw.ids.device).expand(height, width)
    halves = torch.stack(
        [column < width // 2, column >= width - width // 2, row < height // 2, row >= height - height // 2]
    )
    return halves[draw.of("mask half").integers(4)]
