"""What the page says of a study whose images are drawn from a law that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.report.glossary import SCORES
from tangency.report.words import estimate, score_sentence

EXACT, NO_SCORE = "exact", "none"


def is_exact(summary: Mapping[str, Any]) -> bool:
    """Whether score, targets and tangent spaces are the world's own."""
    return bool(summary["score"]["kind"] == EXACT)


def score_name(score: Mapping[str, Any]) -> str:
    """Where the score comes from, in words; an unknown kind is shown by its name."""
    return SCORES.get(score["kind"], str(score["kind"]))


def world_sentence(summary: Mapping[str, Any]) -> str:
    """Which world the images are drawn from, its optimum, and where score and tangent spaces come from."""
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


def score_lead(summary: Mapping[str, Any]) -> str:
    """What targets and tangent spaces rest on, and how good that is where it is used."""
    score = summary["score"]
    if is_exact(summary):
        lead = (
            "Targets and tangent spaces are exact: they come from the world's own law. No denoiser has a smaller "
            "expected error than the one below."
        )
        return f"{lead} {score_sentence(score)}".strip()
    if score["kind"] == NO_SCORE:
        return without_score(summary)
    facts = [score_name(score)]
    facts += [f"{score['components']} components"] if "components" in score else []
    rank = f" of rank {score['rank']}" if "rank" in score else ""
    seconds = f", made in {score['seconds']:.1f} s" if "seconds" in score else ""
    given = "Targets and tangent spaces are" if score["kind"] == "mfa" else "Targets are"
    lead = f"{given} only as good as the score they come from:"
    return f"{lead} {', '.join(facts)}{rank}{seconds}. {score_sentence(score)}".strip()


def without_score(summary: Mapping[str, Any]) -> str:
    """What is not measured without a closed form."""
    if "network" in summary["score"]:
        return (
            "No closed form is fitted: gradients are compared with the trained score alone, and tangent spaces come "
            "from elsewhere."
        )
    return (
        "There is no score: alignment is not measured. Accuracy, F² with its controls, κ, steps and ρ₂ need none; "
        "their tangent spaces come from elsewhere."
    )


def origin(summary: Mapping[str, Any]) -> str:
    """Where tangent spaces and targets come from, as the explanation at the end of the page says it."""
    if is_exact(summary):
        return "the law that the images are drawn from"
    return "a model of the data"
