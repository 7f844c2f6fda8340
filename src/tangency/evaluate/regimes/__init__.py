"""Regimes in memory: classifiers against a standard-trained one, bare and behind the best fixed filter."""

from tangency.evaluate.regimes.filtered import FilteredBaseline, filtered_baseline
from tangency.evaluate.regimes.rows import regimes

__all__ = ["FilteredBaseline", "filtered_baseline", "regimes"]
