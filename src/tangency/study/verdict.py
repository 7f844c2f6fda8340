"""What an examination of a score comes to, in words."""

from __future__ import annotations

from typing import Any

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
    """What speaks against the score, each in a sentence."""
    found = []
    for entry in summary["noise_levels"]:
        told, sigma = entry["identities"], f"σ = {entry['sigma']:g}"
        stein = told["stein"]
        if stein["low"] is not None and not stein["low"] <= 1 <= stein["high"] and abs(stein["mean"] - 1) > 0.02:
            found.append(f"At {sigma} E[sᵀx]/d is −{stein['mean']:.3f}, not −1: sign, range or scale may be wrong.")
        limit = _z_limit(told["comparisons"])
        if told["mean_score_z"] is not None and told["mean_score_z"] > limit:
            found.append(f"At {sigma} the mean score is not zero (z = {told['mean_score_z']:.1f}).")
        crooked = told["asymmetry"]["mean"]
        if crooked is not None and crooked > 0.3:
            found.append(f"At {sigma} the Jacobian is no gradient's: asymmetry {crooked:.2f}.")
        ratio = (entry.get("bayes_gradient") or {}).get("signal_to_noise")
        if ratio is not None and ratio < 3:
            found.append(f"At {sigma} the class gradient is mostly error: signal over noise at most {ratio:.1f}.")
    copies = summary["samples"].get("copies")
    if copies and copies["share"] > 0.1:
        found.append(
            f"It copies: {copies['share']:.0%} of its samples are nearer to a training image than 99 % of new images."
        )
    return found


def _z_limit(comparisons: int) -> float:
    """|z| that the largest of many exceeds by chance once in a thousand times (Bonferroni)."""
    from scipy.stats import norm

    return float(norm.isf(0.0005 / comparisons))
