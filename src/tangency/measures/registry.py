"""The measures by name: ours, the alignments of every metric, and those of other packages."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from tangency.errors import NumericsError, SpecError, unknown_name
from tangency.measures.definition import Function, Measure
from tangency.measures.keys import Key
from tangency.measures.similarity.metrics import PREFIX, as_measure, metric_of
from tangency.references import Registry

# Files with a table `MEASURES` are found in these folders; columns are in the order of the files named here.
_FOLDERS = ("robustness", "similarity")
_FIRST = ("changes", "radius", "signal", "attacked", "smoothed", "energy", "aligned")

MEASURES: Registry[Measure] = Registry(
    "measure",
    "tangency.measures",
    {},
    "a Measure with a function (batch)",
    lambda held: isinstance(held, Measure) and callable(held.function),
)


@cache
def own_measures() -> Mapping[str, Measure]:
    """The measures of this package, by family: every table `MEASURES` of the files of robustness/ and similarity/."""
    files = [
        (info.name, f"{__package__}.{folder}.{info.name}")
        for folder in _FOLDERS
        for info in pkgutil.iter_modules([str(Path(__file__).parent / folder)])
    ]
    files.sort(key=lambda file: _FIRST.index(file[0]) if file[0] in _FIRST else len(_FIRST))
    tables = (getattr(importlib.import_module(module), "MEASURES", {}) for _, module in files)
    return {family: measure for table in tables for family, measure in table.items()}


def measure_of(family: str) -> Measure | None:
    """The measure behind a family of keys; None for rows that are none, such as the ranks of tangent spaces."""
    if family in own_measures():
        return own_measures()[family]
    if family in MEASURES:
        return MEASURES[family]
    return None if metric_of(family) is None else as_measure(family.removeprefix(PREFIX))  # of another package


def describe(key: str | Key) -> Measure:
    """The measure behind a key of rows or of a summary.

    Raises:
        NumericsError: there is no such measure.

    Example:
        >>> describe("rho.logits.sigma=0.05").better
        'lower'
    """
    family = Key.parse(str(key)).family
    if (measure := measure_of(family)) is None:
        raise NumericsError(unknown_name("measure", family, [*own_measures(), *MEASURES]))
    return measure


def is_fixed(key: Key) -> bool:
    """Whether a measure is the same for every classifier."""
    measure = measure_of(key.family)
    return measure is not None and measure.fixed


def has_controls(key: Key) -> bool:
    """Whether a key is that of a measure, not of a control, which is compared with controls."""
    measure = measure_of(key.family)
    return not key.control and measure is not None and bool(measure.controls)


@cache
def ingredients() -> frozenset[str]:
    """Families of rows that exist only so that a pooled number or a chance level can be formed from them."""
    return frozenset(name for measure in own_measures().values() for name in measure.ingredients)


def pooled() -> Iterator[tuple[str, Measure]]:
    """The measures that are pooled from rows, by family: first κ, then ratios, then CKA."""
    for aggregate in ("kappa", "ratio", "cka"):
        yield from ((name, own) for name, own in own_measures().items() if own.aggregate == aggregate)


def functions(extra: Iterable[str]) -> dict[Function, str]:
    """The functions that make all columns, each with the family of the first measure that it is of.

    Args:
        extra: measures of other packages that are wanted beside ours.
    """
    made: dict[Function, str] = {}
    for name, measure in (*own_measures().items(), *((name, MEASURES[name]) for name in extra)):
        if measure.function is not None:
            made.setdefault(measure.function, name)
    return made


def check_extra(names: tuple[str, ...]) -> None:
    """Raise unless the names are distinct measures of other packages."""
    for name in names:
        MEASURES[name]  # raises where it is unknown or broken
    if len(set(names)) < len(names):
        raise SpecError(f"extra: got {list(names)}, expected each once.")
