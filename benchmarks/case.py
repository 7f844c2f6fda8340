"""What a benchmark case is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Case:
    """Two ways to the same numbers.

    Args:
        what: stands in the results.
        ours, other: return tensors that must agree to `tolerance` (absolute, in the result's unit).
        tolerance: see there.
        more: from our seconds to further numbers of the result.
    """

    what: str
    ours: Callable[[], Tensor]
    other: Callable[[], Tensor]
    tolerance: float
    more: Callable[[float], dict[str, float]] | None = None
