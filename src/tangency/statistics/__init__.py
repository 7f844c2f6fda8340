"""Rows to numbers with intervals: paired bootstrap, excess over controls, regimes, rank correlations."""

from tangency.statistics.bootstrap import Estimate, PairedBootstrap
from tangency.statistics.correlation import RankCorrelation, spearman
from tangency.statistics.excess import Excess, excess_over_best
from tangency.statistics.regimes import Criteria, Thresholds, Verdict, classify, simultaneous_bands

__all__ = [
    "Criteria",
    "Estimate",
    "Excess",
    "PairedBootstrap",
    "RankCorrelation",
    "Thresholds",
    "Verdict",
    "classify",
    "excess_over_best",
    "simultaneous_bands",
    "spearman",
]
