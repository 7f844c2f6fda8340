"""Number and rank of the components that a mixture of many classes can have within memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tangency.errors import DataError
from tangency.mixtures.em import FitReport, fit_mixture
from tangency.mixtures.model import Mixture
from tangency.types import LabelledImages

BUDGET = 512_000_000  # bytes, whatever the machine has free: a number that depends on it could not be repeated
_BYTES = 4  # a number of means and loadings, which large mixtures hold in single precision


@dataclass(frozen=True)
class Affordable:
    """Components of each class and their rank, and a sentence on what was cut; empty if nothing was."""

    components: int
    rank: int
    note: str = ""


def mixture_bytes(classes: int, d: int, components: int, rank: int) -> int:
    """Memory of means, loadings and noise: classes · components · (rank + 2) · d numbers of 4 bytes."""
    return classes * components * (rank + 2) * d * _BYTES


def affordable(classes: int, d: int, components: int, rank: int, fullest: int | None = None) -> Affordable:
    """Components and rank, reduced to 512 MB: first the components, then the rank.

    Args:
        classes: number of classes.
        d: pixels of an image.
        components, rank: requested.
        fullest: images of the fullest class; a rank that they do not span is cut before anything else.

    Raises:
        DataError: not even one component of rank 1 fits.

    Example:
        >>> affordable(1000, 12_288, 4, 12).components, affordable(1000, 12_288, 4, 12).rank
        (1, 8)
    """
    if mixture_bytes(classes, d, components, rank) <= BUDGET:
        return Affordable(components, rank)
    spanned = rank if fullest is None else max(1, min(rank, fullest - 1))
    for own, width in [(c, spanned) for c in range(components, 0, -1)] + [(1, k) for k in range(spanned - 1, 0, -1)]:
        if mixture_bytes(classes, d, own, width) <= BUDGET:
            return Affordable(own, width, _note(classes, d, (components, rank), (own, width)))
    raise DataError(
        f"mixture of {classes:,} classes of images of {d:,} values: one component of rank 1 a class takes "
        f"{_gigabytes(mixture_bytes(classes, d, 1, 1))}, expected at most {_gigabytes(BUDGET)}. Give the score smaller "
        "images (--working-size, or ?size= of the data), or choose --score none or --score network:REF."
    )


def fit_affordable(
    data: LabelledImages, components: int = 4, rank: int = 12, **options: Any
) -> tuple[Mixture, FitReport, str]:
    """`fit_mixture` within memory, and a sentence on what was cut; empty if nothing was."""
    size = affordable(len(data.classes), math.prod(data.shape), components, rank, int(data.class_counts.max()))
    return *fit_mixture(data, size.components, size.rank, **options), size.note


def _note(classes: int, d: int, requested: tuple[int, int], granted: tuple[int, int]) -> str:
    words = [f"{c} {'component' if c == 1 else 'components'} of rank {k}" for c, k in (granted, requested)]
    return (
        f"the mixture has {words[0]} a class, not {words[1]}: of {classes:,} classes of images of {d:,} values these "
        f"would take {_gigabytes(mixture_bytes(classes, d, *requested))}, more than the limit of {_gigabytes(BUDGET)}."
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2g} GB"
