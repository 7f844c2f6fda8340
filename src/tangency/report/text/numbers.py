"""Numbers and intervals as the report prints them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tangency.evaluate.entries import IntervalEntry

UNDEFINED = "undefined"


def number(value: float | None, decimals: int | None = None, signed: bool = False) -> str:
    """A number with three significant digits (or the given decimals) and a true minus sign."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    if decimals is None and value and not 1e-4 <= abs(value) < 1e5:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        text = f"{mantissa}·10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    elif decimals is None:
        decimals = 0 if not value else max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:.{decimals}f}"
    else:
        text = f"{value:.{decimals}f}"
    text = text.replace("-", "−")
    if text.startswith("−") and not any(digit in text for digit in "123456789"):
        text = text[1:]  # no "−0.00"
    return f"+{text}" if signed and value > 0 else text


def estimate(e: IntervalEntry | None, signed: bool = False) -> str:
    """A mean with its interval, "0.314 [0.304, 0.324]", to one or two digits of the interval's half-width."""
    if e is None or e.mean is None:
        return UNDEFINED
    decimals = _settled(e)
    mean = number(e.mean, decimals, signed)
    if e.low is None or e.high is None or (decimals is None and not _tiny(e)):
        return mean
    return f"{mean} [{number(e.low, decimals)}, {number(e.high, decimals)}]"


def half_width(e: IntervalEntry | None, signed: bool = False) -> str:
    """A mean and half the width of its interval, "0.314 ± 0.010", to the digits of `estimate`."""
    if e is None or e.mean is None:
        return UNDEFINED
    decimals = _settled(e)
    mean = number(e.mean, decimals, signed)
    if e.low is None or e.high is None or (decimals is None and not _tiny(e)):
        return mean
    return f"{mean} ± {number((e.high - e.low) / 2, decimals)}"


def _tiny(e: IntervalEntry) -> bool:
    """Whether a whole interval is so small that its numbers need powers of ten."""
    return e.low is not None and e.high is not None and e.low < e.high and max(abs(e.low), abs(e.high)) < 1e-4


def _settled(e: IntervalEntry) -> int | None:
    """The decimals that an interval settles; None where it has no width, or one that no decimal would show."""
    if e.low is None or e.high is None or e.high <= e.low or _tiny(e):
        return None
    half = (e.high - e.low) / 2
    if half < 5e-7:
        return None  # no digit shown would tell the ends apart
    exponent = math.floor(math.log10(half))
    return min(6, max(0, -exponent + (half < 3 * 10.0**exponent)))  # a second digit after a leading 1 or 2


def number_or_dash(value: float | None, decimals: int | None = None, signed: bool = False) -> str:
    """A number as a table shows it; a dash where there is none."""
    text = number(value, decimals, signed)
    return "–" if text == UNDEFINED else text


def band(ends: Sequence[float]) -> str:
    """An interval alone, "[0.413, 0.562]"."""
    return f"[{number(ends[0])}, {number(ends[1])}]"


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def above_zero(e: IntervalEntry) -> bool:
    """Whether the whole interval is above zero."""
    return e.low is not None and e.low > 0


def below_zero(e: IntervalEntry) -> bool:
    """Whether the whole interval is below zero."""
    return e.high is not None and e.high < 0


def negated(e: IntervalEntry) -> IntervalEntry:
    """The estimate of minus the quantity."""
    mean, low, high = (None if value is None else -value for value in (e.mean, e.high, e.low))
    return IntervalEntry(mean=mean, low=low, high=high)


def rounded(value: float | None) -> float | None:
    """Five significant digits; NaN and infinity become None, as strict JSON has neither."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")
