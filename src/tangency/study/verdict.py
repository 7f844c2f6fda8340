"""What an examination of a score comes to, in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_SCALE = 0.02  # relative error of E[sᵀx] that is worth a word
_CROOKED = 0.3  # asymmetry ‖J − Jᵀ‖/‖J‖
_FAINT = 3.0  # signal over noise
_COPIES = 0.1  # share of samples nearer to a training image than 99 % of new images
_BELOW = "Its denoising error is below that of every closed form"


def verdict(summary: dict[str, Any]) -> dict[str, Any]:
    """In words, and the σ at which the score is better than every closed form that it was compared with."""
    levels = summary["noise_levels"]
    better = [e["sigma"] for e in levels if e["gain"] and set(e["better_than"]) == set(e["gain"])]
    names = sorted({name for e in levels for name in e["gain"]})
    words = [_range_words(better, [e["sigma"] for e in levels], names)]
    doubts = _doubts(summary)
    words += doubts or ["No identity of a true score is seen to fail."]
    return {"better_at": better, "compared_with": names, "doubts": len(doubts), "words": " ".join(words)}


def _range_words(better: list[float], levels: list[float], names: list[str]) -> str:
    against = ", ".join(names)
    if not names:
        return "It was compared with nothing."
    if not better:
        return f"At no σ is its denoising error below that of every closed form ({against}): use the best of those."
    if better == levels:
        return f"{_BELOW} ({against}) at all σ from {better[0]:g} to {better[-1]:g}."
    where = ", ".join(f"{s:g}" for s in better)
    return f"{_BELOW} ({against}) at σ = {where} only; elsewhere use the best of those."


def _doubts(summary: dict[str, Any]) -> list[str]:
    """What speaks against the score, each in a sentence that names the noise levels."""
    found: list[str] = []
    levels = summary["noise_levels"]
    scaled = {e["sigma"]: s["mean"] for e in levels if _off_scale(s := e["identities"]["stein"])}
    if scaled:
        said = ", ".join(f"{value:.3f}" for value in scaled.values())
        found.append(f"−E[sᵀx]/d is {said} instead of 1 at {_at(scaled)}: sign, range or scale may be wrong.")
    shifted = {e["sigma"]: z for e in levels if (z := e["identities"]["mean_score_z"] or 0) > _z_limit(e["identities"])}
    if shifted:
        found.append(f"The mean score is not zero at {_at(shifted)} (|z| up to {max(shifted.values()):.1f}).")
    crooked = {e["sigma"]: a for e in levels if (a := e["identities"]["asymmetry"]["mean"] or 0) > _CROOKED}
    if crooked:
        found.append(
            f"Its Jacobian is not quite a gradient's at {_at(crooked)}: asymmetry up to {max(crooked.values()):.2f} (0 "
            "for a score, 1.41 for a random matrix)."
        )
    ratios = {e["sigma"]: (e.get("bayes_gradient") or {}).get("signal_to_noise") for e in levels}
    faint = {sigma: ratio for sigma, ratio in ratios.items() if ratio is not None and ratio < _FAINT}
    if faint:
        found.append(
            f"Its class gradient is at most {max(faint.values()):.1f} times as large as its own error at {_at(faint)}."
        )
    copies = summary["samples"].get("copies")
    if copies and copies["share"] > _COPIES:
        share = f"{copies['share']:.0%}"
        found.append(f"It copies: {share} of its samples are nearer to a training image than 99 % of new images are.")
    return found


def _at(levels: Iterable[float]) -> str:
    return f"σ = {', '.join(f'{sigma:g}' for sigma in levels)}"


def _off_scale(stein: dict[str, Any]) -> bool:
    return stein["low"] is not None and not stein["low"] <= 1 <= stein["high"] and abs(stein["mean"] - 1) > _SCALE


def _z_limit(identities: dict[str, Any]) -> float:
    """|z| that the largest of many exceeds by chance once in a thousand times (Bonferroni)."""
    from scipy.stats import norm

    return float(norm.isf(0.0005 / identities["comparisons"]))
