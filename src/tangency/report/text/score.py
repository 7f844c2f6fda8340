"""Where targets and tangent spaces come from, and how good the score is at the noise levels used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tangency.report.text.glossary import SCORES
from tangency.report.text.numbers import capital, number

EXACT, NO_SCORE = "exact", "none"


def is_exact(summary: Mapping[str, Any]) -> bool:
    """Whether score, targets and tangent spaces are the world's own."""
    return bool(summary["score"]["kind"] == EXACT)


def score_name(score: Mapping[str, Any]) -> str:
    """The kind of score in words; an unknown kind is shown by its name."""
    return SCORES.get(score["kind"], str(score["kind"]))


def score_lead(summary: Mapping[str, Any]) -> str:
    """Where targets and tangent spaces come from, and how good that score is at the noise levels used."""
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
    """Which measures are missing without a closed form."""
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
    """Where tangent spaces and targets come from, in the words of the explanation at the end of the page."""
    if is_exact(summary):
        return "the law that the images are drawn from"
    return "a model of the data"


def _beside_gaussian(denoising: Sequence[Mapping[str, Any]]) -> list[str]:
    """The noise levels at which a single Gaussian denoises better than the score."""
    known = [d for d in denoising if d.get("gaussian") is not None and d["mse"] is not None]
    worse = [d["sigma"] for d in known if d["mse"] > d["gaussian"]]
    if not known:
        return []
    if not worse:
        return ["It is better than one Gaussian at all of them."]
    return [f"One Gaussian is better at σ = {', '.join(f'{sigma:g}' for sigma in worse)}."]


def score_sentence(score: Mapping[str, Any]) -> str:
    """How good the score is: its likelihood, and its denoising errors at the noise levels used."""
    parts = [f"{capital(score['cut'])}"] if score.get("cut") else []
    likelihood = score.get("log_likelihood") or {}
    if likelihood.get("train") is not None and likelihood.get("test") is not None:
        gap = likelihood["train"] - likelihood["test"]
        parts.append(
            f"Mean log-likelihood {number(likelihood['train'], 1)} nats per training image and "
            f"{number(likelihood['test'], 1)} per test image, a gap of {number(gap, 1)}."
        )
    better = [d for d in score.get("denoising") or [] if d["mse"] is not None and d["mse"] < d["identity"]]
    total = len(score.get("denoising") or [])
    if total:
        parts.append(f"It removes noise at {len(better)} of the {total} noise levels tried.")
        parts += _beside_gaussian(score["denoising"])
    return " ".join(parts)
