"""How things are named: references of data, models and scores, and the registries behind their names."""

from tangency.references.parsing import Reference, as_reference, maker_options, parse, parse_options
from tangency.references.registry import OPENERS, Registry, defaults_of, makes, positional

__all__ = [
    "OPENERS",
    "Reference",
    "Registry",
    "as_reference",
    "defaults_of",
    "maker_options",
    "makes",
    "parse",
    "parse_options",
    "positional",
]
