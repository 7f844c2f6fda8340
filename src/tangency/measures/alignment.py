"""How much two signals look alike: signed cosine and 1 − LPIPS."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.measures.lpips import LPIPS, embedding_distance, max_normalised
from tangency.measures.registry import number
from tangency.numerics import cosine, per_example


@dataclass(frozen=True)
class Signal:
    """A gradient or a score as a picture, (N, C, H, W), with its LPIPS embedding (N, F) where LPIPS is measured."""

    values: Tensor
    embedding: Tensor | None

    @staticmethod
    def of(values: Tensor, lpips: LPIPS | None) -> Signal:
        """Embed max-normalised values, as the paper does."""
        return Signal(values, None if lpips is None else lpips.embed(max_normalised(values)))

    def nan_where(self, mask: Tensor) -> Signal:
        """The same with NaN for the images in mask (N,) bool, which have no such signal."""
        values = self.values.masked_fill(per_example(mask, self.values), torch.nan)
        return Signal(values, None if self.embedding is None else self.embedding.masked_fill(mask[:, None], torch.nan))


def compared(a: Signal, b: Signal, scalar: str, target: str, sigma: float, control: str = "") -> dict[str, Tensor]:
    """Columns alignment_cosine.… and alignment_lpips.… of a pair, (N,) each."""
    key = f"{scalar}.{target}.sigma={number(sigma)}{'.' if control else ''}{control}"
    columns = {f"alignment_cosine.{key}": cosine(a.values.double(), b.values.double())}
    if a.embedding is not None and b.embedding is not None:
        columns[f"alignment_lpips.{key}"] = 1 - embedding_distance(a.embedding, b.embedding).double()
    return columns
