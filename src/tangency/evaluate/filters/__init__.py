"""Fixed linear filters before a network, and the best of them: what smoothing alone does to its gradients."""

from tangency.evaluate.filters.bank import FilterSource, filter_bank, filter_named
from tangency.evaluate.filters.linear import Filtered, InputFilter, SeparableFilter, SpectralFilter
from tangency.evaluate.filters.search import (
    BestFilters,
    FilterCandidate,
    FilterSearch,
    bayes_directions,
    best_filter,
)

__all__ = [
    "BestFilters",
    "FilterCandidate",
    "FilterSearch",
    "FilterSource",
    "Filtered",
    "InputFilter",
    "SeparableFilter",
    "SpectralFilter",
    "bayes_directions",
    "best_filter",
    "filter_bank",
    "filter_named",
]
