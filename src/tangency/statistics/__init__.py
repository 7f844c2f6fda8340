"""Rows to numbers with intervals: bootstrap, permutation tests, effect sizes, excess over controls, peaks, regimes."""

from tangency.statistics.bootstrap import Estimate, PairedBootstrap
from tangency.statistics.correlation import (
    ControlCorrelation,
    RankCorrelation,
    SweepPair,
    WithinSeeds,
    spearman,
    within_seeds,
)
from tangency.statistics.crossed import (
    CrossedEstimate,
    crossed,
    crossed_difference,
    crossed_log_ratio,
    crossed_mean,
    crossed_sets,
)
from tangency.statistics.crossed_draws import CrossedDraws
from tangency.statistics.crossings import Crossing, drop_crossing, fall_crossing, rise_crossing
from tangency.statistics.effects import cohens_dz, null_sd_units, pair_dz
from tangency.statistics.excess import Excess, excess_over_best, excesses_over_best
from tangency.statistics.intervals import Interval, bca_interval, percentile_interval
from tangency.statistics.kappa_rule import (
    KappaCriteria,
    KappaThresholds,
    KappaVerdict,
    classify_by_kappa,
    simultaneous_bands,
)
from tangency.statistics.peaks import InteriorPeak, StrengthMean, interior_peak, shared_image_covariance
from tangency.statistics.permutation import flip_p, holm, matching_p, permutation_p, swap_p
from tangency.statistics.pooled import Contrast, Kappa, Mean, Median, Pooled, Ratio, Statistic, SumCosine, paired
from tangency.statistics.resamples import SignFlips

__all__ = [
    "Contrast",
    "ControlCorrelation",
    "CrossedDraws",
    "CrossedEstimate",
    "Crossing",
    "Estimate",
    "Excess",
    "InteriorPeak",
    "Interval",
    "Kappa",
    "KappaCriteria",
    "KappaThresholds",
    "KappaVerdict",
    "Mean",
    "Median",
    "PairedBootstrap",
    "Pooled",
    "RankCorrelation",
    "Ratio",
    "SignFlips",
    "Statistic",
    "StrengthMean",
    "SumCosine",
    "SweepPair",
    "WithinSeeds",
    "bca_interval",
    "classify_by_kappa",
    "cohens_dz",
    "crossed",
    "crossed_difference",
    "crossed_log_ratio",
    "crossed_mean",
    "crossed_sets",
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
    "within_seeds",
]
