"""The arms of a causal study: which part of the input gradient is penalised, in which tangent spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tangency.study.sweep import STANDARD, SweepEntry

OBJECTIVE = "projected_gradient_norm"
NONE, WHOLE, OFF, ON = "none", "whole", "off-own", "on-own"
Sham = Literal["other", "other_class", "pca", "dct", "random", "fresh"]


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        name: "none", "whole", "off-own", "on-own", or "off-SHAM".
        part: of the gradient that is penalised; "" for nothing.
        sham: what stands in place of an image's own tangent space; "none" for its own.
    """

    name: str
    part: str = ""
    sham: str = "none"

    @property
    def is_sham(self) -> bool:
        """Whether it is a control of `off-own`."""
        return self.sham != "none"

    def entry(self, guide: str, strengths: Sequence[float]) -> dict[str, Any]:
        """Its entry of a sweep, as a spec has it."""
        if not self.part:
            return {"objective": STANDARD}
        options = {"tangents": guide, "part": self.part, "sham": self.sham}
        return {"objective": OBJECTIVE, "strengths": list(strengths), "options": options}

    def built(self, guide: str, strength: float) -> Any:
        """The objective of its trials at one strength."""
        entry = SweepEntry(**self.entry(guide, [strength]))
        return entry.build(entry.strengths[0])


def arms_of(shams: Sequence[Sham]) -> list[Arm]:
    """All arms, controls last.

    Example:
        >>> [arm.name for arm in arms_of(["dct", "random"])]
        ['none', 'whole', 'off-own', 'on-own', 'off-dct', 'off-random']
    """
    own = [Arm(NONE), Arm(WHOLE, "whole"), Arm(OFF, "off"), Arm(ON, "on")]
    return own + [Arm(f"off-{sham}", "off", sham) for sham in shams]
