"""How the tangent fraction is spread over images, as densities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tangency.measures.keys import FRACTION
from tangency.report.text.numbers import rounded
from tangency.study.summary.entries import TrialEntry

if TYPE_CHECKING:
    import polars

BINS = 60


def spread(trials: Sequence[TrialEntry], rows: polars.DataFrame) -> dict[str, Any]:
    """Density of the per-image tangent fraction for each objective and strength, seeds together."""
    import polars

    chosen = rows.filter(polars.col(FRACTION).is_finite()) if FRACTION in rows.columns else rows.clear()
    values = {name: part[FRACTION].to_numpy() for (name,), part in chosen.partition_by("trial", as_dict=True).items()}
    merged: dict[tuple[str, float], list[np.ndarray]] = {}
    for trial in trials:
        if trial.id in values:
            merged.setdefault((trial.objective, trial.strength), []).append(values[trial.id])
    out = []
    for (objective, strength), parts in sorted(merged.items(), key=lambda item: item[0]):
        together = np.concatenate(parts)
        quartiles = [rounded(float(q)) for q in np.quantile(together, (0.25, 0.5, 0.75))]
        curve = {"density": density(together), "quartiles": quartiles, "n": len(together)}
        out.append({"objective": objective, "strength": strength} | curve)
    return {"bins": BINS, "curves": out}


def density(values: np.ndarray) -> list[float]:
    """Histogram over [0, 1], smoothed by a Gaussian of two bins with reflected ends, scaled to a maximum of 1."""
    counts = np.histogram(np.clip(values, 0, 1), BINS, (0, 1))[0].astype(float)
    reach = np.arange(-6, 7)
    kernel = np.exp(-(reach**2) / (2 * 2.0**2))
    smooth = np.convolve(np.pad(counts, 6, mode="symmetric"), kernel, mode="valid")
    return [round(float(value), 3) for value in smooth / smooth.max()]
