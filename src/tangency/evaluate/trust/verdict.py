"""The verdict on a score, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tangency.evaluate.trust.results import Identities, NoiseLevel, SampleCheck, ScoreVerdict

FEWEST = 30  # images, below which no identity is judged
_LEVEL = 0.001  # chance of a false alarm, of each identity
_SCALE = 0.02  # relative error of E[sᵀx] that is worth a word
_CROOKED = 0.3  # asymmetry ‖J − Jᵀ‖/‖J‖
_FAINT = 3.0  # signal over noise
_COPIES = 0.1  # share of samples nearer to a training image than 99 % of new images
_BELOW = "Its denoising error is below that of everything it was compared with"


def verdict(levels: list[NoiseLevel], probed: int, samples: SampleCheck | None, conditional: bool) -> ScoreVerdict:
    """In words, and the σ at which the score is better than everything that it was compared with.

    Args:
        levels: the results at each σ.
        probed: images whose identities were looked at.
        samples: images drawn from the score; None for none.
        conditional: whether it takes no image without a label.
    """
    better = [e.sigma for e in levels if e.gain and set(e.better_than) == set(e.gain)]
    worse = {e.sigma: e.worse_than for e in levels if e.worse_than}
    names = sorted({name for e in levels for name in e.gain})
    words = [_range_words(better, worse, [e.sigma for e in levels], names)]
    doubts = _doubts(levels, probed, samples)
    if probed < FEWEST:
        words.append(f"With {probed} images the identities of a true score cannot be checked.")
    words += doubts or (["No identity of a true score is seen to fail."] if probed >= FEWEST else [])
    if conditional:
        words.append("It was given the true labels, since it answers with labels only.")
    return ScoreVerdict(better, names, len(doubts), " ".join(words))


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


def _doubts(levels: list[NoiseLevel], n: int, samples: SampleCheck | None) -> list[str]:
    """What speaks against the score, each in a sentence that names the noise levels."""
    sentences = _broken_identities(levels, n) if n >= FEWEST else []
    ratios = {e.sigma: e.bayes_gradient.signal_to_noise for e in levels if e.bayes_gradient}
    faint = {sigma: ratio for sigma, ratio in ratios.items() if ratio is not None and ratio < _FAINT}
    if faint:
        sentences.append(
            f"Its class gradient is at most {max(faint.values()):.1f} times as large as its own error at {_at(faint)}."
        )
    copies = samples.copies if samples else None
    if copies and copies.p < _LEVEL and copies.share > _COPIES:
        sentences.append(
            f"It copies: {copies.share:.0%} of its samples are nearer to a training image than 99 % of new images are."
        )
    return sentences


def _broken_identities(levels: list[NoiseLevel], n: int) -> list[str]:
    """Identities that fail by more than chance allows over all noise levels and directions together."""
    sentences: list[str] = []
    of = {e.sigma: e.identities for e in levels}

    def beyond(z: Callable[[Identities], float | None], comparisons: Callable[[Identities], int]) -> dict[float, float]:
        values = {sigma: z(i) or 0.0 for sigma, i in of.items()}
        return {s: value for s, value in values.items() if value > _z_limit(n, len(levels) * comparisons(of[s]))}

    scaled = [s for s in beyond(lambda i: i.stein_z, lambda i: 1) if abs(of[s].stein.mean - 1) > _SCALE]
    if scaled:
        means = ", ".join(f"{of[s].stein.mean:.3f}" for s in scaled)
        sentences.append(f"−E[sᵀx]/d is {means} instead of 1 at {_at(scaled)}: sign, range or scale may be wrong.")
    for wrong, text in (
        (beyond(lambda i: i.mean_score_z, lambda i: i.mean_score_comparisons), "The mean score is not zero"),
        (beyond(lambda i: i.score_image_z, lambda i: i.score_image_comparisons), "E[s xᵀ] is not −I"),
        (beyond(lambda i: i.sure_z, lambda i: 1), "SURE is not the error"),
    ):
        if wrong:
            sentences.append(f"{text} at {_at(wrong)} (|z| up to {max(wrong.values()):.1f}).")
    crooked = {s: i.asymmetry.mean for s, i in of.items() if i.asymmetry.mean > _CROOKED}
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
