"""Rows to numbers with intervals: bootstrap, permutation tests, effect sizes, excess over controls, peaks, regimes."""

from tangency.statistics.bootstrap import Estimate, PairedBootstrap
from tangency.statistics.correlation import RankCorrelation, spearman
from tangency.statistics.crossings import Crossing, drop_crossing, fall_crossing, rise_crossing
from tangency.statistics.effects import cohens_dz, null_sd_units, pair_dz
from tangency.statistics.excess import Excess, excess_over_best, excesses_over_best
from tangency.statistics.hierarchical import SeedBootstrap
from tangency.statistics.intervals import Interval, bca_interval, percentile_interval
from tangency.statistics.peaks import InteriorPeak, StrengthMean, interior_peak, shared_image_covariance
from tangency.statistics.permutation import flip_p, holm, matching_p, permutation_p, swap_p
from tangency.statistics.pooled import Contrast, Kappa, Mean, Pooled, Ratio, SumCosine, paired
from tangency.statistics.regimes import Criteria, Thresholds, Verdict, classify, simultaneous_bands
from tangency.statistics.resamples import SignFlips

__all__ = [
    "Contrast",
    "Criteria",
    "Crossing",
    "Estimate",
    "Excess",
    "InteriorPeak",
    "Interval",
    "Kappa",
    "Mean",
    "PairedBootstrap",
    "Pooled",
    "RankCorrelation",
    "Ratio",
    "SeedBootstrap",
    "SignFlips",
    "StrengthMean",
    "SumCosine",
    "Thresholds",
    "Verdict",
    "bca_interval",
    "classify",
    "cohens_dz",
    "drop_crossing",
    "excess_over_best",
    "excesses_over_best",
    "fall_crossing",
    "flip_p",
    "holm",
    "interior_peak",
    "matching_p",
    "null_sd_units",
    "pair_dz",
    "paired",
    "percentile_interval",
    "permutation_p",
    "rise_crossing",
    "shared_image_covariance",
    "simultaneous_bands",
    "spearman",
    "swap_p",
]
