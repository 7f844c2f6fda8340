"""Objects that are checked when they are made, whether in Python, by a command line or by a spec."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from tangency.errors import SpecError, TangencyError, unknown_name

Location = tuple[int | str, ...]
Keys = Callable[[Location], Sequence[str]]
_T = TypeVar("_T")
_COMPLAINTS = 5  # in an error
_NEAR = 0.75  # likeness from which a key of another place is suggested
_RANGES = {  # kinds of complaints to what is expected
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "finite_number": "finite numbers",
    "too_short": "at least {min_length}",
}
_OTHERS = {"int_parsing": "a whole number", "float_parsing": "a number", "missing": "a value"}


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def validated(cls: type[_T]) -> type[_T]:
    """A frozen dataclass whose fields have the types and the ranges that they are declared with.

    Lists become tuples and whole numbers floats where these are declared. What does not fit is a `SpecError` that names
    the field, what was got and what is expected; the description of a field (`pydantic.Field`) follows.
    """
    made: Any = dataclass(frozen=True, config=ConfigDict(extra="forbid"))(cls)
    names = [field.name for field in dataclasses.fields(made)]
    make = made.__init__

    @functools.wraps(make)
    def checked(self: _T, *args: Any, **values: Any) -> None:
        named = dict(zip(names, args, strict=False))
        if len(args) <= len(names) and not named.keys() & values.keys():  # complaints name fields, not places
            args, values = (), named | values
        try:
            make(self, *args, **values)
        except ValidationError as error:
            raise SpecError(f"{complaints(error, made, lambda _: names)}.") from None

    made.__init__ = checked
    return cast("type[_T]", made)


def complaints(error: ValidationError, model: type, keys: Keys, everywhere: Sequence[str] = ()) -> str:
    """What is wrong with an object, without a full stop: the first five complaints, and how many more there are.

    Args:
        error: of pydantic.
        model: class of the object.
        keys: from the location of an unknown key to the keys that are known there.
        everywhere: known keys of all places, with dots, of which one may have been meant.
    """
    groups: dict[tuple[Location, str], list[Any]] = {}
    errors = error.errors()
    for item in errors:
        place = item["loc"]
        if item["type"] == "too_short" and any(other["loc"][: len(place)] == place != other["loc"] for other in errors):
            continue  # its members are wrong, which another complaint says
        of_list = item["type"] in _RANGES and isinstance(item["loc"][-1], int) and _plain(item["input"])
        place = item["loc"][:-1] if of_list else item["loc"]
        groups.setdefault((place, item["type"]), []).append(item)
    sentences = [_complaint(place, items, model, keys, everywhere) for (place, _), items in groups.items()]
    more = f"; and {len(sentences) - _COMPLAINTS} more" if len(sentences) > _COMPLAINTS else ""
    return "; ".join(sentences[:_COMPLAINTS]) + more


def _complaint(place: Location, items: Sequence[Any], model: type, keys: Keys, everywhere: Sequence[str]) -> str:
    first, name = items[0], ".".join(map(str, place)) or "spec"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return _unknown_key(name, keys(place), everywhere)
    message = str(first["msg"])
    if isinstance(own := first.get("ctx", {}).get("error"), TangencyError):  # one that is a ValueError, too
        return str(own).removesuffix(".")
    if message.startswith("Value error, "):
        return f"{name}: {message.removeprefix('Value error, ').removesuffix('.')}"
    values = [item["input"] for item in items]
    if first["type"] == "literal_error" and isinstance(values[0], str):
        sentence = unknown_name(
            name, values[0], first["ctx"]["expected"].replace(" or ", ", ").strip("'").split("', '")
        )
        if "Did you mean" in sentence:
            return sentence.removesuffix(".")
    got = values if first["loc"] != place else values[0]
    if first["type"] in _RANGES:
        expected = _RANGES[first["type"]].format(**first.get("ctx", {})) + _description(model, place)
    else:
        expected = _OTHERS.get(first["type"], message.removeprefix("Input should be "))
    shown = f"got {got!r:.200}, " if _plain(values[0]) else ""
    if expected == message:  # a sentence of its own
        return f"{name}: {shown}{message[:1].lower()}{message[1:]}"
    return f"{name}: {shown}expected {expected}"


def _unknown_key(name: str, beside: Sequence[str], everywhere: Sequence[str]) -> str:
    """Sentence for an unknown key, without a full stop; where a nearer one is known elsewhere, it names that place."""
    last = name.rpartition(".")[2]
    near = max((_alike(last, key) for key in beside), default=0.0)
    nearest = max((_alike(last, key) for key in everywhere), default=0.0)
    if near >= _NEAR or nearest <= near or nearest < _NEAR:
        return unknown_name("key", name, beside).removesuffix(".")
    places = [repr(key) for key in everywhere if _alike(last, key) == nearest]
    return f"unknown key '{name}'. Did you mean {' or '.join(places[:3])}? This is where it belongs"


def _alike(name: str, key: str) -> float:
    """How alike a name and the last part of a key are, in [0, 1]."""
    return difflib.SequenceMatcher(None, name, key.rpartition(".")[2]).ratio()


def _plain(value: object) -> bool:
    """Whether a value is short enough for a sentence."""
    return value is None or isinstance(value, bool | int | float | str)


def _description(model: Any, place: Location) -> str:
    """The description of the field at a place behind a space; "" where it has none."""
    description = ""
    for part in place:
        field = getattr(model, "__pydantic_fields__", {}).get(part)
        if field is None:
            return ""
        description, model = field.description or "", field.annotation
    return f" {description}" if description else ""
