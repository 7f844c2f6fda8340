"""References of data, models and scores, and registries of named objects."""

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
