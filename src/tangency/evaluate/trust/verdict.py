"""What an examination of a score comes to, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

FEWEST = 30  # images, below which no identity is judged
_LEVEL = 0.001  # chance of a false alarm, of each identity
_SCALE = 0.02  # relative error of E[sᵀx] that is worth a word
_CROOKED = 0.3  # asymmetry ‖J − Jᵀ‖/‖J‖
_FAINT = 3.0  # signal over noise
_COPIES = 0.1  # share of samples nearer to a training image than 99 % of new images
_BELOW = "Its denoising error is below that of everything it was compared with"


def verdict(summary: dict[str, Any]) -> dict[str, Any]:
    """In words, and the σ at which the score is better than everything that it was compared with."""
    levels = summary["noise_levels"]
    better = [e["sigma"] for e in levels if e["gain"] and set(e["better_than"]) == set(e["gain"])]
    worse = {e["sigma"]: e["worse_than"] for e in levels if e["worse_than"]}
    names = sorted({name for e in levels for name in e["gain"]})
    words = [_range_words(better, worse, [e["sigma"] for e in levels], names)]
    doubts = _doubts(summary)
    if summary["probed"] < FEWEST:
        words.append(f"With {summary['probed']} images the identities of a true score cannot be told.")
    words += doubts or (["No identity of a true score is seen to fail."] if summary["probed"] >= FEWEST else [])
    if summary.get("conditional"):
        words.append("It was asked with the true labels, since it cannot be asked without.")
    return {"better_at": better, "compared_with": names, "doubts": len(doubts), "words": " ".join(words)}


def _range_words(better: list[float], worse: dict[float, list[str]], levels: list[float], names: list[str]) -> str:
    if not names:
        return "Its denoising error was compared with nothing."
    against = f"({', '.join(names)})"
    if better == levels:
        where = f"σ = {better[0]:g}" if len(better) == 1 else f"all σ from {better[0]:g} to {better[-1]:g}"
        return f"{_BELOW} {against} at {where}."
    below = (
        f"{_BELOW} {against} at {_at(better)}" if better else f"At no σ is it shown to be below everything {against}"
    )
    if worse:
        parts = "; ".join(f"σ = {sigma:g}: {', '.join(than)}" for sigma, than in worse.items())
        return f"{below}, and above that of others at {parts}. There, use those."
    return f"{below}; elsewhere the difference is within the error."


def _doubts(summary: dict[str, Any]) -> list[str]:
    """What speaks against the score, each in a sentence that names the noise levels."""
    sentences: list[str] = []
    levels, n = summary["noise_levels"], summary["probed"]
    if n >= FEWEST:
        sentences += _broken_identities(levels, n)
    ratios = {e["sigma"]: e["bayes_gradient"]["signal_to_noise"] for e in levels if e["bayes_gradient"]}
    faint = {sigma: ratio for sigma, ratio in ratios.items() if ratio is not None and ratio < _FAINT}
    if faint:
        sentences.append(
            f"Its class gradient is at most {max(faint.values()):.1f} times as large as its own error at {_at(faint)}."
        )
    copies = summary["samples"].get("copies")
    if copies and copies["p"] < _LEVEL and copies["share"] > _COPIES:
        share = f"{copies['share']:.0%}"
        sentences.append(
            f"It copies: {share} of its samples are nearer to a training image than 99 % of new images are."
        )
    return sentences


def _broken_identities(levels: list[dict[str, Any]], n: int) -> list[str]:
    """Identities that fail by more than chance allows over all noise levels and directions together."""
    sentences: list[str] = []
    of = {e["sigma"]: e["identities"] for e in levels}

    def beyond(z: str, comparisons: Callable[[dict[str, Any]], int]) -> dict[float, float]:
        return {s: i[z] for s, i in of.items() if (i[z] or 0) > _z_limit(n, len(levels) * comparisons(i))}

    scaled = [s for s in beyond("stein_z", lambda i: 1) if abs(of[s]["stein"]["mean"] - 1) > _SCALE]
    if scaled:
        said = ", ".join(f"{of[s]['stein']['mean']:.3f}" for s in scaled)
        sentences.append(f"−E[sᵀx]/d is {said} instead of 1 at {_at(scaled)}: sign, range or scale may be wrong.")
    for z, name, text in (
        ("mean_score_z", "mean_score_comparisons", "The mean score is not zero"),
        ("score_image_z", "score_image_comparisons", "E[s xᵀ] is not −I"),
    ):
        if wrong := beyond(z, itemgetter(name)):
            sentences.append(f"{text} at {_at(wrong)} (|z| up to {max(wrong.values()):.1f}).")
    if wrong := beyond("sure_z", lambda i: 1):
        sentences.append(f"SURE is not the error at {_at(wrong)} (|z| up to {max(wrong.values()):.1f}).")
    crooked = {s: a for s, i in of.items() if (a := i["asymmetry"]["mean"] or 0) > _CROOKED}
    if crooked:
        sentences.append(
            f"Its Jacobian is not quite a gradient's at {_at(crooked)}: asymmetry up to {max(crooked.values()):.2f} (0 "
            "for a score, 1.41 for a random matrix)."
        )
    return sentences


def _at(levels: Iterable[float]) -> str:
    return f"σ = {', '.join(f'{sigma:g}' for sigma in levels)}"


def _z_limit(n: int, comparisons: int) -> float:
    """|z| of n images that the largest of many exceeds by chance once in a thousand times (Bonferroni, Student's t)."""
    from scipy.stats import t

    return float(t.isf(_LEVEL / (2 * comparisons), n - 1))
