"""Images with labels: the embedded sample, published sets, Parquet, folders and NumPy archives."""

from tangency.data.build import Source, labelled
from tangency.data.partners import measured_order
from tangency.data.registry import KINDS, Kind, load, load_split

__all__ = ["KINDS", "Kind", "Source", "labelled", "load", "load_split", "measured_order"]
