"""What the page says of a study whose images are drawn from a law that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.report.text.numbers import estimate
from tangency.report.text.score import NO_SCORE, is_exact, score_name


def world_sentence(summary: Mapping[str, Any]) -> str:
    """The world that the images are drawn from, its optimum, and where score and tangent spaces come from."""
    world = summary.get("world")
    if not world:
        return ""
    parts = [
        f"The images are drawn from the world {world['name']}, of dimension {world['dimension']} and intrinsic "
        f"dimension {world['intrinsic_dimension']}."
    ]
    if best := world.get("bayes_accuracy"):
        parts.append(f"Its Bayes rule has accuracy {estimate(best)}, over {best['n']:,} fresh draws.")
    if is_exact(summary):
        parts.append("Score, targets and tangent spaces are the world's own: exact, not fitted.")
    elif summary["score"]["kind"] == NO_SCORE:
        parts.append("No closed form is fitted.")
    elif summary["score"]["kind"] == "mfa":
        parts.append(f"Score, targets and tangent spaces are fitted: {score_name(summary['score'])}.")
    else:
        parts.append(f"Score and targets are fitted: {score_name(summary['score'])}.")
    parts += [f"Undefined: {quantity}, since {reason}." for quantity, reason in (world.get("undefined") or {}).items()]
    return " ".join(parts)
