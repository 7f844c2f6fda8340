"""Classifier, images, score and tangents to one row per image."""

from tangency.measures.asked import asked_config
from tangency.measures.batch import Batch
from tangency.measures.batching import BatchSize, check_batch_size, fitting_batch
from tangency.measures.cascade import cascade
from tangency.measures.config import NETWORK_ALIGNMENTS, MeasureConfig, check_signal
from tangency.measures.definition import Columns, Measure, Sample, Scale
from tangency.measures.frames import control_warnings
from tangency.measures.keys import Key
from tangency.measures.map_files import MapFile, read_maps
from tangency.measures.quantities import check_given, unidentified
from tangency.measures.references import References, ReferenceSource, check_closed, check_network
from tangency.measures.registry import MEASURES, describe
from tangency.measures.robustness.attacked import masking_warnings
from tangency.measures.robustness.config import ATTACKS, RobustnessConfig, budget_warnings, parse_attacks
from tangency.measures.rows import Rows
from tangency.measures.run import measure, measure_batch
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
    "Columns",
    "Key",
    "MapFile",
    "Measure",
    "MeasureConfig",
    "Metric",
    "PairMetric",
    "ReferenceSource",
    "References",
    "RobustnessConfig",
    "Rows",
    "Sample",
    "Scale",
    "WorkingSize",
    "asked_config",
    "budget_warnings",
    "cascade",
    "check_batch_size",
    "check_closed",
    "check_given",
    "check_network",
    "check_signal",
    "check_size",
    "control_warnings",
    "describe",
    "fitting_batch",
    "linear_cka",
    "masking_warnings",
    "measure",
    "measure_batch",
    "parse_attacks",
    "parse_working",
    "read_maps",
    "unidentified",
]
