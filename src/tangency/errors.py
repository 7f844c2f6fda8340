"""The exception family: each says what was got, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TangencyError(Exception):
    """Base of all errors that a user can cause; the command line prints it as one paragraph, exit code 2.

    Example:
        >>> import tangency
        >>> try:
        ...     tangency.load_data("no-such-data")
        ... except tangency.TangencyError as error:
        ...     print(type(error).__name__)
        DataError
    """


class TangencyWarning(UserWarning):
    """How an ambiguous input was understood.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", TangencyWarning)  # each one stops the program
    """


class DataError(TangencyError):
    """A data set is missing, unreadable or inconsistent."""


class ModelError(TangencyError):
    """A classifier or its weights are missing, unreadable or do not fit the data."""


class SpecError(TangencyError):
    """A study specification or an option is invalid."""


class RunError(TangencyError):
    """A run directory is missing, busy, or does not hold what was requested."""


class NumericsError(TangencyError, ValueError):
    """An argument of a computation has the wrong shape, range or dtype."""


_LISTED, _SHOWN = 10, 200  # names in an error, and letters of one
_QUOTED = 300  # letters of another library's message


def listed(names: Iterable[object], most: int = _LISTED) -> str:
    """Names with commas between; of many the first, and how many more there are.

    Example:
        >>> listed(range(3)), listed(range(1000), most=2)
        ('0, 1, 2', '0, 1 and 998 more')
    """
    words = [str(name) for name in names]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def unknown_name(kind: str, got: str, known: Iterable[str]) -> str:
    """Sentence for an unknown name: what was got, the nearest known name, and all of them, or the ten nearest."""
    known = sorted(known)
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    if len(known) > _LISTED:
        nearest = difflib.get_close_matches(got, known, n=_LISTED, cutoff=0.0)
        known = nearest + sorted(set(known) - set(nearest))
    return f"unknown {kind} '{got[:_SHOWN]}{'…' if len(got) > _SHOWN else ''}'.{hint} Known: {listed(known) or 'none'}."


def quoted(error: BaseException) -> str:
    """What an exception says, as a part of a sentence: our own whole, another's in one line of at most 300 letters.

    Example:
        >>> quoted(ValueError("no such  number")), quoted(ValueError())
        ('no such number', 'ValueError')
    """
    if isinstance(error, TangencyError):
        return str(error)
    return " ".join(str(error).split())[:_QUOTED].rstrip(" .") or type(error).__name__


def counted(number: int, one: str) -> str:
    """A number of things in words: "1 file", "2,000 files".

    Example:
        >>> counted(1, "class"), counted(2000, "file")
        ('1 class', '2,000 files')
    """
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"
