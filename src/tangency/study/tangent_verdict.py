"""What an examination of tangent spaces comes to, in words."""

from __future__ import annotations

from typing import Any

_NAMES = {"neighbour": "steps to the nearest new image", "transformation": "shifts, turns and growth of the image"}
_CONTROLS = {
    "shuffled": "another image's tangent space",
    "shuffled_class": "that of another image of the class",
    "dct": "low frequencies",
    "pca": "global principal components",
}


def tangent_verdict(summary: dict[str, Any]) -> dict[str, Any]:
    """Which estimators beat every control of equal rank, and how far they agree.

    Returns:
        {"beats_every_control": {probe: [names]}, "words": …}.
    """
    beats: dict[str, list[str]] = {}
    words = []
    for entry in summary["estimators"]:
        words.append(_about(entry))
        for probe in _NAMES:
            if probe in entry and entry[probe]["excess"]["low"] is not None and entry[probe]["excess"]["low"] > 0:
                beats.setdefault(probe, []).append(entry["name"])
    words += [_pair(pair) for pair in _closest_and_farthest(summary["agreement"])]
    return {"beats_every_control": beats, "words": " ".join(words)}


def _about(entry: dict[str, Any]) -> str:
    rank = entry["rank"]
    spread = f"{rank['least']:.0f} to {rank['most']:.0f}" if rank["least"] < rank["most"] else f"{rank['mean']:.0f}"
    parts = []
    for probe, name in _NAMES.items():
        if probe not in entry:
            continue
        share, excess = entry[probe]["share"], entry[probe]["excess"]
        best = _CONTROLS[excess["best_control"]]
        gain = (
            f"{excess['mean']:+.3f} [{excess['low']:+.3f}, {excess['high']:+.3f}]"
            if excess["mean"] is not None
            else "–"
        )
        said = "more than" if (excess["low"] or 0) > 0 else "less than" if (excess["high"] or 0) < 0 else "as much as"
        parts.append(f"{share['mean']:.2f} of {name}, {said} {best} of equal rank ({gain})")
    return f"{entry['name']} (rank {spread}) holds {'; '.join(parts)}."


def _closest_and_farthest(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not pairs:
        return []
    ordered = sorted(pairs, key=lambda pair: pair["overlap"]["mean"] or 0.0)
    return ordered[:1] if len(ordered) == 1 else [ordered[-1], ordered[0]]


def _pair(pair: dict[str, Any]) -> str:
    return (
        f"{pair['first']} and {pair['second']} share {pair['overlap']['mean']:.2f} of the smaller space (chance "
        f"{pair['chance']['mean']:.3f}), at a mean angle of {pair['mean_angle']['mean']:.0f}°."
    )
