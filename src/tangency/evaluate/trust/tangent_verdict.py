"""The verdict on tangent spaces, in words."""

from __future__ import annotations

import math

from tangency.evaluate.trust.results import EstimatorCheck, PairAgreement, ProbeShare, TangentVerdict

_NAMES = {"neighbour": "steps to the nearest new image", "transformation": "shifts, turns and growth of the image"}
_CONTROLS = {
    "shuffled": "another image's tangent space",
    "shuffled_class": "a same-class image's tangent space",
    "dct": "low frequencies",
    "pca": "global principal components",
}


def tangent_verdict(checks: list[EstimatorCheck], agreement: list[PairAgreement]) -> TangentVerdict:
    """Which estimators beat every control of equal rank, and how far they agree."""
    beats = {
        probe: [c.name for c in checks if probe in c.shares and c.shares[probe].excess.estimate.low > 0]
        for probe in _NAMES
    }
    words = [*map(_about, checks), *map(_pair, _closest_and_farthest(agreement))]
    return TangentVerdict(beats, " ".join(words))


def _about(check: EstimatorCheck) -> str:
    least, most = f"{check.rank.least:.3g}", f"{check.rank.most:.3g}"
    spread = least if least == most else f"{least} to {most}"
    parts = [_held(check.shares[probe], name) for probe, name in _NAMES.items() if probe in check.shares]
    return f"{check.name} (rank {spread}) holds {'; '.join(parts)}."


def _held(probe: ProbeShare, name: str) -> str:
    share, excess = probe.share, probe.excess.estimate
    if math.isnan(share.mean):
        return f"an undefined share of {name}"
    held = f"{share.mean:.2f} of {name}"
    if math.isnan(excess.low):
        return f"{held}, with no control of its rank to compare with"
    best = _CONTROLS[probe.excess.best]
    if excess.low > 0:
        comparison = "more than"
    elif excess.high < 0:
        comparison = "less than"
    else:
        comparison = "not distinguishably more or less than"
    few = "" if excess.n == share.n else f", over the {excess.n} images whose partners have the rank"
    interval = f"[{excess.low:+.3f}, {excess.high:+.3f}]"
    return f"{held}, {comparison} {best} at equal rank ({excess.mean:+.3f} {interval}{few})"


def _closest_and_farthest(pairs: list[PairAgreement]) -> list[PairAgreement]:
    ordered = sorted((p for p in pairs if not math.isnan(p.overlap.mean)), key=lambda pair: pair.overlap.mean)
    return ordered if len(ordered) < 2 else [ordered[-1], ordered[0]]


def _pair(pair: PairAgreement) -> str:
    return (
        f"{pair.first} and {pair.second} share {pair.overlap.mean:.2f} of the smaller space (chance "
        f"{pair.chance.mean:.3f}), at a mean angle of {pair.mean_angle.mean:.0f}°."
    )
