"""What an examination of tangent spaces comes to, in words."""

from __future__ import annotations

from typing import Any

_NAMES = {"neighbour": "steps to the nearest new image", "transformation": "shifts, turns and growth of the image"}
_CONTROLS = {
    "shuffled": "another image's tangent space",
    "shuffled_class": "a same-class image's tangent space",
    "dct": "low frequencies",
    "pca": "global principal components",
}


def tangent_verdict(summary: dict[str, Any]) -> dict[str, Any]:
    """Which estimators beat every control of equal rank, and how far they agree.

    Returns:
        {"beats_every_control": {probe: [names]}, "words": …}.
    """
    beats: dict[str, list[str]] = {probe: [] for probe in _NAMES}
    words = []
    for entry in summary["estimators"]:
        words.append(_about(entry))
        for probe in _NAMES:
            if probe in entry and (entry[probe]["excess"]["low"] or 0) > 0:
                beats[probe].append(entry["name"])
    words += [_pair(pair) for pair in _closest_and_farthest(summary["agreement"])]
    return {"beats_every_control": beats, "words": " ".join(words)}


def _about(entry: dict[str, Any]) -> str:
    rank = entry["rank"]
    least, most = f"{rank['least']:.3g}", f"{rank['most']:.3g}"
    spread = least if least == most else f"{least} to {most}"
    parts = [_held(entry[probe], name) for probe, name in _NAMES.items() if probe in entry]
    return f"{entry['name']} (rank {spread}) holds {'; '.join(parts)}."


def _held(numbers: dict[str, Any], name: str) -> str:
    share, excess = numbers["share"], numbers["excess"]
    if share["mean"] is None:
        return f"an undefined share of {name}"
    held = f"{share['mean']:.2f} of {name}"
    if excess["mean"] is None or excess["low"] is None:
        return f"{held}, with no control of its rank to compare with"
    best = _CONTROLS[excess["best_control"]]
    if excess["low"] > 0:
        said = "more than"
    elif excess["high"] < 0:
        said = "less than"
    else:
        said = "not distinguishably more or less than"
    few = "" if excess["n"] == share["n"] else f", over the {excess['n']} images whose partners have the rank"
    interval = f"[{excess['low']:+.3f}, {excess['high']:+.3f}]"
    return f"{held}, {said} {best} at equal rank ({excess['mean']:+.3f} {interval}{few})"


def _closest_and_farthest(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ordered = sorted((p for p in pairs if p["overlap"]["mean"] is not None), key=lambda pair: pair["overlap"]["mean"])
    return ordered if len(ordered) < 2 else [ordered[-1], ordered[0]]


def _pair(pair: dict[str, Any]) -> str:
    return (
        f"{pair['first']} and {pair['second']} share {pair['overlap']['mean']:.2f} of the smaller space (chance "
        f"{pair['chance']['mean']:.3f}), at a mean angle of {pair['mean_angle']['mean']:.0f}°."
    )
