"""Generative quality beside alignment: rank correlations over cells, and whether both peak at the same strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tangency.evaluate.entries import plain_number
from tangency.statistics import spearman
from tangency.statistics.resamples import Array
from tangency.study.generation.cells import SweepCell
from tangency.study.generation.entries import Correlation, Peak, SweepPeaks

_REGIMES = {"bayes_aligned": "Bayes-aligned"}
_SHORT = {"psnr": "PSNR", "psnr_gain": "PSNR gain", "ssim": "SSIM", "lpips": "LPIPS", "kid": "KID"}
_ONE = " This is of one network at each strength: other seeds may peak elsewhere."
SURE = 0.95  # share of resamples from which something is said to be so


def rank_correlations(
    cells: Sequence[SweepCell], qualities: Sequence[str], others: Mapping[str, str], standard: str
) -> list[Correlation]:
    """Spearman's ρ of each quality with each other number over cells, and with the strength of each objective.

    Args:
        cells: trained networks; the standard one belongs to every objective.
        qualities: keys of draws.
        others: key of draws to its name.
        standard: the objective of strength 0.
    """
    scopes = {"all": list(cells)} | {name: _of(cells, name, standard) for name in objectives(cells, standard)}
    correlations = []
    for quality in qualities:
        for scope, inside in scopes.items():
            usable = [cell for cell in inside if quality in cell.draws]
            for key, name in others.items():
                pairs = [(cell.draws[key], cell.draws[quality]) for cell in usable if key in cell.draws]
                correlations.append(_correlation(pairs, quality, name, scope))
            if scope != "all":
                positive = [cell for cell in usable if cell.strength > 0]
                pairs = [(np.full_like(c.draws[quality], np.log(c.strength)), c.draws[quality]) for c in positive]
                correlations.append(_correlation(pairs, quality, "log_strength", scope))
    return correlations


def _correlation(pairs: Sequence[tuple[Array, Array]], quality: str, against: str, scope: str) -> Correlation:
    if len(pairs) < 3:
        return Correlation(quality, against, scope, None, None, None, None, len(pairs))
    x, y = (np.stack(side) for side in zip(*pairs, strict=True))
    result = spearman(x, y)
    rho, low, high, p = map(plain_number, (result.rho, result.low, result.high, result.p))
    return Correlation(quality, against, scope, rho, low, high, p, result.n)


def objectives(cells: Sequence[SweepCell], standard: str) -> list[str]:
    """Objectives of the cells, without the standard one."""
    return list(dict.fromkeys(cell.objective for cell in cells if cell.objective != standard))


def _of(cells: Sequence[SweepCell], objective: str, standard: str) -> list[SweepCell]:
    """Cells of an objective with the standard one, by rising strength."""
    return sorted((c for c in cells if c.objective in (objective, standard)), key=lambda c: c.strength)


def peaks(
    cells: Sequence[SweepCell], qualities: Mapping[str, str], others: Mapping[str, str], standard: str, networks: int
) -> list[SweepPeaks]:
    """At which strength each quality is best, where each other number is largest, and whether that is one strength.

    Args:
        cells: as of `rank_correlations`.
        qualities: key of draws to which way is better, "higher" or "lower".
        others: key of draws to its name.
        standard: as of `rank_correlations`.
        networks: of each cell; of one, the words say that other seeds may peak elsewhere.
    """
    entries = []
    for objective in objectives(cells, standard):
        for quality, better in qualities.items():
            inside = [c for c in _of(cells, objective, standard) if {quality, *others} <= set(c.draws)]
            if len(inside) < 3:
                continue
            best = _best(inside, quality, -1.0 if better == "lower" else 1.0)
            largest = {name: _best(inside, key, 1.0) for key, name in others.items()}
            together = {name: float((best * other)[:, 1:].sum(0).mean()) for name, other in largest.items()}
            places = {name: _peak(inside, other) for name, other in largest.items()}
            peak = _peak(inside, best)
            entries.append(
                SweepPeaks(
                    objective=objective,
                    quality=quality,
                    peak=peak,
                    others=places,
                    together=together,
                    words=_words(quality, peak, places, together) + (_ONE if networks == 1 else ""),
                )
            )
    return entries


def _best(cells: Sequence[SweepCell], key: str, sign: float) -> Array:
    """Which cell is best, on the images themselves and in each resample, (cells, 1 + B); cells that tie share the 1."""
    values = sign * np.stack([cell.draws[key] for cell in cells])
    values = np.where(np.isfinite(values), values, -np.inf)
    best = (values == values.max(0)).astype(float)
    shared: Array = best / best.sum(0)
    return shared


def _peak(cells: Sequence[SweepCell], best: Array) -> Peak:
    place = int(best[:, 0].argmax())
    shares = [float(share) for share in best[:, 1:].mean(1)]
    by_strength = {f"{cell.strength:g}": share for cell, share in zip(cells, shares, strict=True)}
    end = "standard" if place == 0 else "largest" if place == len(cells) - 1 else None
    cell = cells[place]
    return Peak(cell.strength, cell.id, cell.regime, shares[place], by_strength, end)


def _place(peak: Peak) -> str:
    """The place of a peak in words, and how sure it is."""
    place = "the standard network" if peak.end == "standard" else f"strength {peak.strength:g}"
    notes = ["the largest of the sweep"] if peak.end == "largest" else []
    notes.append(f"{peak.share:.0%} of resamples")
    notes += [f"regime: {_REGIMES.get(peak.regime, peak.regime)}"] if peak.regime else []
    return f"{place} ({'; '.join(notes)})"


def _words(quality: str, peak: Peak, others: Mapping[str, Peak], together: Mapping[str, float]) -> str:
    """Where a quality is best, and in a sentence for each other number whether that peaks at the same strength."""
    sentences = [f"Best {_SHORT.get(quality, quality.replace('_', ' '))} at {_place(peak)}."]
    for name, other in others.items():
        share = together[name]
        if share >= SURE and other.end == peak.end == "largest":
            verdict = "both still rise at the end of the sweep, so neither peak is seen"
        elif share >= SURE:
            verdict = "they peak together"
        elif share <= 1 - SURE:
            verdict = "they do not peak together"
        else:
            agreement = "agree" if other.strength == peak.strength else "differ"
            verdict = f"the estimates {agreement}, but the data do not settle it"
        sentences.append(
            f"Largest {name} at {_place(other)}: {verdict} (the same strength in {share:.0%} of resamples)."
        )
    return " ".join(sentences)
