"""Classifier, images, score and tangents to one row per image."""

from tangency.measures.attacked import masking_warnings
from tangency.measures.config import NETWORK_ALIGNMENTS, MeasureConfig
from tangency.measures.lpips import LPIPS
from tangency.measures.references import References, ReferenceSource, check_network
from tangency.measures.registry import MeasureInfo, describe
from tangency.measures.robustness_config import ATTACKS, RobustnessConfig, parse_attacks
from tangency.measures.rows import Rows
from tangency.measures.run import measure, measure_batch
from tangency.measures.signal import check_signal

__all__ = [
    "ATTACKS",
    "LPIPS",
    "NETWORK_ALIGNMENTS",
    "MeasureConfig",
    "MeasureInfo",
    "ReferenceSource",
    "References",
    "RobustnessConfig",
    "Rows",
    "check_network",
    "check_signal",
    "describe",
    "masking_warnings",
    "measure",
    "measure_batch",
    "parse_attacks",
]
