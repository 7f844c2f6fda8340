"""Generative quality beside alignment: rank correlations over cells, and whether both peak at the same strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
        regime: of the cell, None where it is not judged.
        draws: (1 + B,) of each number: the estimate, then its resamples, the same seeds in each.
    """

    id: str
    objective: str
    strength: float
    regime: str | None
    draws: Mapping[str, Array]


def rank_correlations(
    cells: Sequence[SweepCell], qualities: Sequence[str], others: Mapping[str, str], standard: str
) -> list[dict[str, Any]]:
    """Spearman's ρ of each quality with each other number over cells, and with the strength of each objective.

    Args:
        cells: trained networks; the standard one belongs to every objective.
        qualities: keys of draws.
        others: key of draws to its name.
        standard: the objective of strength 0.

    Returns:
        {"quality", "against", "scope": "all" or an objective, "rho", "low", "high", "p", "n"}; "against" is a name of
        `others`, or "log_strength", over the positive strengths of one objective.
    """
    scopes = {"all": list(cells)} | {name: _of(cells, name, standard) for name in objectives(cells, standard)}
    correlations = []
    for quality in qualities:
        for scope, inside in scopes.items():
            usable = [cell for cell in inside if quality in cell.draws]
            for key, name in others.items():
                both = [cell for cell in usable if key in cell.draws]
                pair = [(cell.draws[key], cell.draws[quality]) for cell in both]
                correlations.append({"quality": quality, "against": name, "scope": scope} | _correlation(pair))
            if scope != "all":
                positive = [cell for cell in usable if cell.strength > 0]
                pair = [(np.full_like(c.draws[quality], np.log(c.strength)), c.draws[quality]) for c in positive]
                correlations.append(
                    {"quality": quality, "against": "log_strength", "scope": scope} | _correlation(pair)
                )
    return correlations


def _correlation(pairs: Sequence[tuple[Array, Array]]) -> dict[str, Any]:
    if len(pairs) < 3:
        return {"rho": None, "low": None, "high": None, "p": None, "n": len(pairs)}
    x, y = (np.stack(side) for side in zip(*pairs, strict=True))
    result = spearman(x, y)
    return {name: plain_number(getattr(result, name)) for name in ("rho", "low", "high", "p")} | {"n": result.n}


def objectives(cells: Sequence[SweepCell], standard: str) -> list[str]:
    """Objectives of the cells, without the standard one."""
    return list(dict.fromkeys(cell.objective for cell in cells if cell.objective != standard))


def _of(cells: Sequence[SweepCell], objective: str, standard: str) -> list[SweepCell]:
    """Cells of an objective with the standard one, by rising strength."""
    return sorted((c for c in cells if c.objective in (objective, standard)), key=lambda c: c.strength)


def peaks(
    cells: Sequence[SweepCell], qualities: Mapping[str, str], others: Mapping[str, str], standard: str
) -> list[dict[str, Any]]:
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
            inside = [
                c for c in _of(cells, objective, standard) if quality in c.draws and all(k in c.draws for k in others)
            ]
            if len(inside) < 3:
                continue
            sign = -1.0 if better == "lower" else 1.0
            best = _best(inside, quality, sign)
            entry = {"objective": objective, "quality": quality, "peak": _peak(inside, best)}
            for key, name in others.items():
                largest = _best(inside, key, 1.0)
                entry[name] = _peak(inside, largest) | {"together": float((best * largest)[:, 1:].sum(0).mean())}
            entry["words"] = peak_words(entry, list(others.values()))
            entries.append(entry)
    return entries


def _best(cells: Sequence[SweepCell], key: str, sign: float) -> Array:
    """Which cell is best, on the images themselves and in each resample, (cells, 1 + B); cells that tie share the 1."""
    values = sign * np.stack([cell.draws[key] for cell in cells])
    values = np.where(np.isfinite(values), values, -np.inf)
    best = (values == values.max(0)).astype(float)
    shared: Array = best / best.sum(0)
    return shared


def _peak(cells: Sequence[SweepCell], best: Array) -> dict[str, Any]:
    """The strength at the peak, the share of resamples that have it there, and that share for every strength."""
    place = int(best[:, 0].argmax())
    shares = best[:, 1:].mean(1)
    return {
        "strength": cells[place].strength,
        "cell": cells[place].id,
        "regime": cells[place].regime,
        "share": float(shares[place]),
        "shares": {f"{cell.strength:g}": float(share) for cell, share in zip(cells, shares, strict=True)},
        "end": "standard" if place == 0 else "largest" if place == len(cells) - 1 else None,
    }


def peak_words(entry: Mapping[str, Any], others: Sequence[str]) -> str:
    """The answer in a sentence for each other number."""
    peak = entry["peak"]
    quality = _SHORT.get(entry["quality"], entry["quality"].replace("_", " "))
    sentences = [f"Best {quality} at {_where(peak)}."]
    for name in others:
        other = entry[name]
        same, share = other["strength"] == peak["strength"], other["together"]
        if share >= SURE and other["end"] == peak["end"] == "largest":
            verdict = "both still rise at the end of the sweep, so neither peak is seen"
        elif share >= SURE:
            verdict = "they peak together"
        elif share <= 1 - SURE:
            verdict = "they do not peak together"
        else:
            verdict = f"the estimates {'agree' if same else 'differ'}, but the data do not settle it"
        sentences.append(
            f"Largest {name} at {_where(other)}: {verdict} (the same strength in {share:.0%} of resamples)."
        )
    return " ".join(sentences)


def _where(peak: Mapping[str, Any]) -> str:
    place = "the standard network" if peak["end"] == "standard" else f"strength {peak['strength']:g}"
    notes = ["the largest of the sweep"] if peak["end"] == "largest" else []
    notes.append(f"{peak['share']:.0%} of resamples")
    notes += [f"regime: {_REGIMES.get(peak['regime'], peak['regime'])}"] if peak["regime"] else []
    return f"{place} ({'; '.join(notes)})"
