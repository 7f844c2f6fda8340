"""What the curves of a sweep lack: cells whose networks all diverged, and seeds that their cells share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tangency.evaluate.verdicts.recipes import shared_seeds
from tangency.study.summary.sweep import LostCell, Sweep, curves_of
from tangency.study.summary.sweep_entries import SweepCurveEntry


def lacking(lost: Sequence[LostCell], objective: str, strengths: Sequence[float]) -> list[str]:
    """The lost cells of a curve over `strengths`, each in words."""
    own = [cell for cell in lost if cell.objective == objective]
    return [f"{cell.words}; {_where(cell.strength, strengths)}" for cell in own]


def _where(strength: float, strengths: Sequence[float]) -> str:
    return "the curve ends before it" if strength > max(strengths) else "the curve has no point there"


def absent(sweep: Sweep, curves: Iterable[SweepCurveEntry]) -> list[str]:
    """What is missing, in sentences: cells without a network, and objectives without a curve.

    Args:
        sweep: of the study.
        curves: of its objectives; none by rule: kappa.
    """
    by_objective = {curve.objective: curve for curve in curves}
    sentences = []
    for cell in sweep.diverged:
        curve = by_objective.get(cell.objective)
        where = f"; {_where(cell.strength, curve.strengths)}" if curve else ""
        sentences.append(f"{cell.objective}, {cell.words}{where}.")
    return sentences


def unshared(sweep: Sweep) -> list[str]:
    """The objectives that have no curve as their cells share no seed, in sentences."""
    return [
        f"{objective} has no curve: no seed is shared by the networks of {', '.join(r.name for r in recipes)}."
        for objective, recipes in curves_of(sweep.rows).items()
        if not shared_seeds(*recipes)
    ]
