"""Whether finite steps on and off the manifold agree with what the gradient says of infinitesimal ones."""

from __future__ import annotations

import numpy as np

from tangency.evaluate.numbers import Columns
from tangency.measures.definition import rank_key
from tangency.measures.keys import FRACTION, KAPPA, Key
from tangency.statistics import Estimate, Kappa, PairedBootstrap
from tangency.statistics.resamples import Array

_REPLICATES = 1000


def step_warnings(columns: Columns, dimension: int) -> list[str]:
    """Sentences about estimators under which κ and finite steps disagree, with the lengths at which they do.

    κ < 1 says that a step on the manifold changes the margin more than one off it, to first order; where steps of a
    length ε off the manifold are shown to move the softmax more, κ speaks of shorter steps only. Likewise for κ > 1.
    Both have to be shown, by 95 % intervals over images.

    Args:
        columns: measure to (N,) values.
        dimension: d of an image at the working size.
    """
    boot = PairedBootstrap(len(next(iter(columns.values()), [])) or 1, _REPLICATES)
    fractions = [key for key in map(Key.parse, columns) if key.begins(FRACTION) and not key.control]
    return [sentence for key in fractions for sentence in _disagreement(columns, dimension, key, boot)]


def _disagreement(columns: Columns, dimension: int, fraction: Key, boot: PairedBootstrap) -> list[str]:
    """The sentence of one estimator, or none."""
    (draws,) = boot.evaluate([Kappa(columns[str(fraction)], columns[str(rank_key(fraction))], dimension)])
    kappa = Estimate.of(draws, len(columns[str(fraction)]))
    sign = 1 if kappa.high < 1 else -1 if kappa.low > 1 else 0
    differences = _differences(columns, fraction.tangents)
    if not sign or not differences:
        return []
    shown = [Estimate.of(own, 1) for own in boot.mean(np.stack(list(differences.values())))]
    lengths = [eps for eps, e in zip(differences, shown, strict=True) if (e.low if sign > 0 else -e.high) > 0]
    if not lengths:
        return []
    name = f"{KAPPA} {f'under {fraction.tangents} ' if fraction.tangents else ''}"
    less, more = ("below", "off") if sign > 0 else ("above", "on")
    other = {"off": "on", "on": "off"}[more]
    return [
        f"Infinitesimal and finite measures disagree: {name}is {kappa.mean:.3f} [{kappa.low:.3f}, {kappa.high:.3f}], "
        f"{less} 1, and yet steps {more} the manifold move the softmax more than steps {other} it at ε = "
        f"{', '.join(lengths)}; κ speaks of shorter steps only."
    ]


def _differences(columns: Columns, tangents: str) -> dict[str, Array]:
    """ε to the change along steps off the manifold less that along steps on it, (N,), under an estimator."""
    changes = [key for key in map(Key.parse, columns) if key.family == "change_on" and key.tangents == tangents]
    pairs = {key.setting("eps"): (str(key), str(key.of("change_off"))) for key in changes if not key.control}
    return {eps: columns[off] - columns[on] for eps, (on, off) in sorted(pairs.items(), key=_length) if off in columns}


def _length(pair: tuple[str, object]) -> float:
    return float(pair[0])
