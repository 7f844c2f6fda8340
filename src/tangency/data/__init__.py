"""Images with labels: the embedded sample, published sets, Parquet, folders and NumPy archives."""

from tangency.data.registry import KINDS, load, load_split

__all__ = ["KINDS", "load", "load_split"]
