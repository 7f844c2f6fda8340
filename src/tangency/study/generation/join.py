"""Generative quality beside alignment: rank correlations over cells, and whether both peak at the same strength."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tangency.evaluate.numbers import plain_number
from tangency.statistics import spearman
from tangency.statistics.resamples import Array

_REGIMES = {"bayes_aligned": "Bayes-aligned"}
_SHORT = {"psnr": "PSNR", "psnr_gain": "PSNR gain", "ssim": "SSIM", "lpips": "LPIPS", "kid": "KID"}
SURE = 0.95  # share of resamples from which something is said to be so


@dataclass(frozen=True)
class SweepCell:
    """Trials that differ in their seed only.

    Args:
        id, objective, strength: of the trials.
        regime: of the cell, None where it has none.
        draws: (1 + B,) of each number: the estimate, then its resamples, the same seeds in each.
    """

    id: str
    objective: str
    strength: float
    regime: str | None
    draws: Mapping[str, Array]


@dataclass(frozen=True)
class Correlation:
    """Spearman's ρ over cells, with its interval and p; None where there are fewer than three cells, or they tie.

    Args:
        quality: of the pictures.
        against: another number, or "log_strength", over the positive strengths of one objective.
        scope: "all", or an objective.
        n: cells.
    """

    quality: str
    against: str
    scope: str
    rho: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int

    def to_json(self) -> dict[str, float | str | None]:
        """As it stands in summary.json."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Peak:
    """Where a number is best over the strengths of one objective.

    Args:
        strength, cell, regime: of the best cell.
        share: of the resamples that have the peak there.
        shares: strength to that share.
        end: "standard" or "largest" where it is the first or the last cell of the sweep.
    """

    strength: float
    cell: str
    regime: str | None
    share: float
    shares: dict[str, float]
    end: str | None

    @property
    def words(self) -> str:
        """The place, and how sure it is."""
        place = "the standard network" if self.end == "standard" else f"strength {self.strength:g}"
        notes = ["the largest of the sweep"] if self.end == "largest" else []
        notes.append(f"{self.share:.0%} of resamples")
        notes += [f"regime: {_REGIMES.get(self.regime, self.regime)}"] if self.regime else []
        return f"{place} ({'; '.join(notes)})"


@dataclass(frozen=True)
class SweepPeaks:
    """Where a quality and other numbers peak over the strengths of one objective.

    Args:
        objective, quality: which.
        peak: of the quality.
        others: name of each other number to its peak.
        together: the share of resamples in which it is at the same strength as that of the quality.
    """

    objective: str
    quality: str
    peak: Peak
    others: dict[str, Peak]
    together: dict[str, float]

    @property
    def words(self) -> str:
        """The answer in a sentence for each other number."""
        quality = _SHORT.get(self.quality, self.quality.replace("_", " "))
        sentences = [f"Best {quality} at {self.peak.words}."]
        for name, other in self.others.items():
            share = self.together[name]
            if share >= SURE and other.end == self.peak.end == "largest":
                verdict = "both still rise at the end of the sweep, so neither peak is seen"
            elif share >= SURE:
                verdict = "they peak together"
            elif share <= 1 - SURE:
                verdict = "they do not peak together"
            else:
                agreement = "agree" if other.strength == self.peak.strength else "differ"
                verdict = f"the estimates {agreement}, but the data do not settle it"
            sentences.append(
                f"Largest {name} at {other.words}: {verdict} (the same strength in {share:.0%} of resamples)."
            )
        return " ".join(sentences)

    def to_json(self) -> dict[str, object]:
        """As it stands in summary.json; the other numbers stand beside the peak, by their names."""
        others = {
            name: dataclasses.asdict(peak) | {"together": self.together[name]} for name, peak in self.others.items()
        }
        peak = dataclasses.asdict(self.peak)
        return {"objective": self.objective, "quality": self.quality, "peak": peak, **others, "words": self.words}


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
    cells: Sequence[SweepCell], qualities: Mapping[str, str], others: Mapping[str, str], standard: str
) -> list[SweepPeaks]:
    """At which strength each quality is best, where each other number is largest, and whether that is one strength.

    Args:
        cells: as of `rank_correlations`.
        qualities: key of draws to which way is better, "higher" or "lower".
        others: key of draws to its name.
        standard: as of `rank_correlations`.
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
            entries.append(SweepPeaks(objective, quality, _peak(inside, best), places, together))
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
