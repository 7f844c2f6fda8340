"""What each measure is, in one line: title, definition, unit, chance level, and which direction is better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tangency.measures.definition import Better
from tangency.measures.keys import Key
from tangency.measures.registry import measure_of, own_measures
from tangency.report.read.keys import ORDER
from tangency.report.text.glossary import PARTS, SCALARS, TARGETS
from tangency.report.text.numbers import capital


@dataclass(frozen=True)
class MeasureText:
    """What the page says of a measure, with its scalar and its target.

    Args:
        title: a few words, with the symbol.
        what: one line that defines it.
        unit: unit and range.
        chance: the value for a gradient that is unrelated to the image.
        better: "higher", "lower" or "neither".
        reading: what a value in the better direction means.
    """

    title: str
    what: str
    unit: str
    chance: str
    better: Better
    reading: str


def describe(key: Key) -> MeasureText:
    """The measure's texts with its scalar and target filled in; an unknown measure is shown by its key."""
    measure = measure_of(key.family)
    if measure is None:
        title = PARTS.get(key.family, key.panel)
        return MeasureText(title, "A measure for which this page has no text.", "", "", "neither", "")
    title = (measure.heading or capital(measure.title)).format(**_words(key))
    what = measure.what.format(**_words(key)) or f"{capital(measure.title)}."
    level = measure.level
    chance = measure.chance or ("none" if level is None or callable(level) else f"{level:g}")
    variant = f" ({key.variant})" if key.variant else ""
    return MeasureText(title + variant, what, str(measure.scale), chance, measure.better, measure.reading)


def definitions(keys: Iterable[Key]) -> list[tuple[str, MeasureText]]:
    """The measures of these keys, by family, in the order of the page."""
    taken = [key.family for key in keys if measure_of(key.family)]
    families = dict.fromkeys([*ORDER, *own_measures(), *taken])
    return [(family, describe(Key(family))) for family in families if family in taken]


def _words(key: Key) -> dict[str, str]:
    """What stands for {scalar}, {target} and {target_long} in the texts of a measure."""
    target, target_long = TARGETS.get(key.target, (key.target or "target", key.target or "the target"))
    scalar = SCALARS.get(key.quantity, key.quantity or "the chosen scalar")
    return {"scalar": scalar, "target": target, "target_long": target_long}


def short_label(key: Key) -> str:
    """A measure with its target and parameter, short enough for an axis: "cos Bayes gradient, σ = 0.5"."""
    measure = measure_of(key.family)
    name = measure.axis.format(**_words(key)) if measure and measure.axis else describe(key).title
    return ", ".join(part for part in (name, parameter_label(key).partition(" (")[0]) if part)


def parameter_label(key: Key) -> str:
    """ "σ = 0.5 (1 in [−1, 1] units)", "ε = 2", or nothing."""
    if key.value is None:
        return ""
    if key.parameter == "sigma" and key.value == 0:
        return "σ = 0 (clean images)"
    if key.parameter == "sigma":
        return f"σ = {key.value:g} ({2 * key.value:g} in [−1, 1] units)"
    return f"{'ε' if key.parameter == 'eps' else key.parameter} = {key.value:g}"


def heading(text: str) -> str:
    """The heading of a column or a curve, from the measure's key."""
    return short_label(Key.parse(text))
