"""Classifier, images, score and tangents to one row per image."""

from tangency.measures.batch import Batch
from tangency.measures.batching import BatchSize, check_batch_size
from tangency.measures.calibration import Calibration, check_unmeasured, model_temperature, validation_images
from tangency.measures.cascade import cascade
from tangency.measures.comparison.frames import control_warnings
from tangency.measures.comparison.source import Comparison, ComparisonSource, check_closed, check_network
from tangency.measures.config import NETWORK_ALIGNMENTS, MeasureConfig, check_signal
from tangency.measures.definition import Columns, LevelContext, Measure, Scale
from tangency.measures.driver import Driver, Subject, measure_batch, write_measured
from tangency.measures.keys import Key
from tangency.measures.map_files import MapFile, read_maps
from tangency.measures.quantities import check_given, unidentified
from tangency.measures.registry import MEASURES, describe
from tangency.measures.robustness.attacked import masking_warnings
from tangency.measures.robustness.config import ATTACKS, RobustnessConfig, budget_warnings, parse_attacks
from tangency.measures.rows import Rows
from tangency.measures.run import measure
from tangency.measures.similarity.cka import linear_cka
from tangency.measures.similarity.metric import Metric, PairMetric
from tangency.measures.similarity.metrics import METRICS, check_size
from tangency.measures.working import WorkingSize, parse_working

__all__ = [
    "ATTACKS",
    "MEASURES",
    "METRICS",
    "NETWORK_ALIGNMENTS",
    "Batch",
    "BatchSize",
    "Calibration",
    "Columns",
    "Comparison",
    "ComparisonSource",
    "Driver",
    "Key",
    "LevelContext",
    "MapFile",
    "Measure",
    "MeasureConfig",
    "Metric",
    "PairMetric",
    "RobustnessConfig",
    "Rows",
    "Scale",
    "Subject",
    "WorkingSize",
    "budget_warnings",
    "cascade",
    "check_batch_size",
    "check_closed",
    "check_given",
    "check_network",
    "check_signal",
    "check_size",
    "check_unmeasured",
    "control_warnings",
    "describe",
    "linear_cka",
    "masking_warnings",
    "measure",
    "measure_batch",
    "model_temperature",
    "parse_attacks",
    "parse_working",
    "read_maps",
    "unidentified",
    "validation_images",
    "write_measured",
]
