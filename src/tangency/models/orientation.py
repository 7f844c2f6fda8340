"""Images turned before a network: the eight symmetries of a rectangle's grid, by name."""

from __future__ import annotations

from torch import Tensor, arange

Shape = tuple[int, int, int]  # (C, H, W) of an image

# Name -> whether rows and columns change places, and which axes of (N, C, H, W) are then reversed.
ORIENTATIONS: dict[str, tuple[bool, tuple[int, ...]]] = {
    "transposed": (True, ()),
    "mirrored": (False, (3,)),
    "flipped": (False, (2,)),
    "rotated90": (True, (2,)),
    "rotated180": (False, (2, 3)),
    "rotated270": (True, (3,)),
    "antitransposed": (True, (2, 3)),
}


def turned(x: Tensor, orientation: str | None) -> Tensor:
    """Images (N, C, H, W) turned as `orientation` says; None leaves them unchanged.

    "transposed" swaps rows and columns, "mirrored" left and right, "flipped" top and bottom; rotations are
    anticlockwise.

    Example:
        >>> turned(arange(4).view(1, 1, 2, 2), "transposed").flatten().tolist()
        [0, 2, 1, 3]
    """
    if orientation is None:
        return x
    swapped, reversed_axes = ORIENTATIONS[orientation]
    return (x.transpose(2, 3) if swapped else x).flip(reversed_axes)


def swaps_sides(orientation: str | None) -> bool:
    """Whether an image of H×W becomes one of W×H."""
    return orientation is not None and ORIENTATIONS[orientation][0]


def turned_sides(sides: tuple[int, int], orientation: str | None) -> tuple[int, int]:
    """(H, W) after, or before, the turn."""
    return (sides[1], sides[0]) if swaps_sides(orientation) else sides


def composed(first: str | None, second: str | None) -> str | None:
    """The one orientation that equals `first` and then `second`.

    Example:
        >>> composed("transposed", "flipped")
        'rotated90'
    """
    grid = arange(6).view(1, 1, 2, 3)
    both = turned(turned(grid, first), second).tolist()
    return next(name for name in (None, *ORIENTATIONS) if turned(grid, name).tolist() == both)
