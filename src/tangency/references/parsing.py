"""References: `name` or `kind:location[?key=value&…]`, the same for data, models and scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tangency.errors import DataError, SpecError, unknown_name
from tangency.references.registry import defaults_of


@dataclass(frozen=True)
class Reference:
    """A parsed reference.

    Args:
        text: as the user wrote it.
        kind: the text before the colon, or the whole name.
        location: a path, empty where there is none.
        options: those behind the question mark.
    """

    text: str
    kind: str
    location: str = ""
    options: dict[str, str] = field(default_factory=dict)

    def path(self, root: Path | None) -> Path:
        """The location as a path; a relative one is taken from `root`, or from the working directory."""
        path = Path(self.location).expanduser()
        return path if root is None else root / path

    def integer(self, option: str) -> int | None:
        """An option that must be a positive whole number; None where it is absent."""
        text = self.options.get(option)
        if text is None:
            return None
        if not text.isdecimal() or int(text) == 0:
            raise DataError(f"{self.text}: {option}={text}, expected a positive whole number such as {option}=32.")
        return int(text)

    def check_options(self, known: tuple[str, ...]) -> None:
        """Raise where an option is not among `known`."""
        for option in self.options:
            if not known:
                raise DataError(f"{self.text}: '{self.kind}' takes no options, got '{option}'.")
            if option not in known:
                raise DataError(f"{self.text}: {unknown_name(f'option of {self.kind}', option, known)}")


def parse(text: str) -> Reference:
    """Parse a reference.

    Example:
        >>> parse("parquet:train.parquet?label=fine_label").options
        {'label': 'fine_label'}
    """
    kind, colon, rest = text.partition(":")
    if not colon or "?" in kind:
        name, mark, query = text.partition("?")
        return Reference(text, name, "", parse_options(text, query) if mark else {})
    location, mark, query = rest.rpartition("?")
    return Reference(text, kind, location, parse_options(text, query)) if mark else Reference(text, kind, rest)


def as_reference(named: str | Path) -> str:
    """A reference of data as text; the path of an .npz or .parquet file, or of a folder, gets its kind.

    Example:
        >>> as_reference(Path("tiny.npz")), as_reference("mnist?train=500")
        ('npz:tiny.npz', 'mnist?train=500')
    """
    text = str(named)
    suffix = Path(text.partition("?")[0]).suffix
    if suffix in (".npz", ".parquet") and ":" not in text:
        return f"{suffix[1:]}:{text}"
    return f"folder:{text}" if isinstance(named, Path) and named.is_dir() else text


def maker_options(text: str, query: str, maker: Callable[..., object]) -> dict[str, Any]:
    """The options behind the question mark of `text` as keyword arguments of a maker, each of the type of its default.

    Raises:
        SpecError: an option that is no keyword-only argument, or a value of another type.
    """
    known = defaults_of(maker)
    options: dict[str, Any] = {}
    for key, value in (parse_options(text, query) if query else {}).items():
        if key not in known:
            raise SpecError(f"{text}: {unknown_name('option', key, known) if known else 'takes no options.'}")
        what, read = _KINDS[type(known[key])]
        try:
            options[key] = read(value)
        except (ValueError, KeyError):
            shown = str(known[key]).lower() if isinstance(known[key], bool) else known[key]
            raise SpecError(f"{text}: {key}={value}, expected {what} such as {key}={shown}.") from None
    return options


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise ValueError(text)
    return int(text)


_KINDS: dict[type, tuple[str, Callable[[str], Any]]] = {
    int: ("a whole number", _whole),
    float: ("a number", float),
    bool: ("true or false", {"true": True, "false": False}.__getitem__),
    str: ("text", str),
}


def parse_options(text: str, query: str) -> dict[str, str]:
    """The options behind the question mark of the reference `text`."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise DataError(f"{text}: '?{query}' is not of the form ?key=value&key=value.") from error
    options = dict(pairs)
    if len(options) < len(pairs):
        raise DataError(f"{text}: an option is given twice, expected each one once.")
    return options
