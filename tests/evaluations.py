"""How often a score and LPIPS are evaluated, and on how many distinct questions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

from torch import Tensor

from tangency.perceptual.lpips import LPIPS
from tangency.score.derived import ScoreOfDenoiser


@dataclass
class Evaluations:
    """What was evaluated, in the order of time.

    Args:
        scores: of each image that a score answered for: its bytes, σ, and its label or None.
        embedded: of each picture that LPIPS embedded, its bytes.
    """

    scores: list[tuple[bytes, float, int | None]] = field(default_factory=list)
    embedded: list[bytes] = field(default_factory=list)

    @property
    def per_score(self) -> float:
        """Evaluations of the score over the distinct (image, σ, condition)."""
        return len(self.scores) / len(set(self.scores))

    @property
    def per_embedding(self) -> float:
        """Embeddings over the distinct pictures."""
        return len(self.embedded) / len(set(self.embedded))

    def labelled(self, given: bool) -> int:
        """How many evaluations of the score had a label, or had none."""
        return sum((y is not None) == given for _, _, y in self.scores)


@contextmanager
def counted(score: type[ScoreOfDenoiser]) -> Iterator[Evaluations]:
    """Count what scores of a class, and LPIPS, evaluate meanwhile."""
    made = Evaluations()
    answer, embed = score._denoise, LPIPS.embed

    def answered(self: ScoreOfDenoiser, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        labels = [None] * len(x) if y is None else y.tolist()
        made.scores += zip(_bytes(x), levels.tolist(), labels, strict=True)
        return answer(self, x, levels, y)

    def embedded(self: LPIPS, pictures: Tensor, batch: int = 64) -> Tensor:
        made.embedded += _bytes(pictures)
        return embed(self, pictures, batch)

    with mock.patch.object(score, "_denoise", answered), mock.patch.object(LPIPS, "embed", embedded):
        yield made


def _bytes(pictures: Tensor) -> list[bytes]:
    return [picture.float().numpy().tobytes() for picture in pictures.detach().cpu()]
