"""Rows to numbers with intervals: bootstrap, permutation tests, effect sizes, excess over controls, regimes."""

from tangency.statistics.bootstrap import Estimate, PairedBootstrap
from tangency.statistics.correlation import RankCorrelation, spearman
from tangency.statistics.effects import cohens_dz, null_sd_units, pair_dz
from tangency.statistics.excess import Excess, excess_over_best, excesses_over_best
from tangency.statistics.hierarchical import SeedBootstrap
from tangency.statistics.intervals import Interval, bca_interval, percentile_interval
from tangency.statistics.permutation import flip_p, holm, matching_p, permutation_p, swap_p
from tangency.statistics.pooled import Contrast, Kappa, Mean, Median, Pooled, Ratio, Statistic, SumCosine, paired
from tangency.statistics.regimes import Criteria, Thresholds, Verdict, classify, simultaneous_bands
from tangency.statistics.resamples import SignFlips

__all__ = [
    "Contrast",
    "Criteria",
    "Estimate",
    "Excess",
    "Interval",
    "Kappa",
    "Mean",
    "Median",
    "PairedBootstrap",
    "Pooled",
    "RankCorrelation",
    "Ratio",
    "SeedBootstrap",
    "SignFlips",
    "Statistic",
    "SumCosine",
    "Thresholds",
    "Verdict",
    "bca_interval",
    "classify",
    "cohens_dz",
    "excess_over_best",
    "excesses_over_best",
    "flip_p",
    "holm",
    "matching_p",
    "null_sd_units",
    "pair_dz",
    "paired",
    "percentile_interval",
    "permutation_p",
    "simultaneous_bands",
    "spearman",
    "swap_p",
]
