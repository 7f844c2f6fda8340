"""Settings in JSON files of other libraries: read whole, and each value checked before anything is made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tangency.errors import ModelError, quoted
from tangency.formats.plain import brief

_LARGEST = 1e30


def read_settings(path: Path, what: str) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        ModelError: no such file, or other content; `what` says what was expected in its folder.
    """
    if not path.is_file():
        raise ModelError(f"'{path.parent}': no {path.name} in it, expected {what}.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as text ({quoted(error)}); fetch or write it again.") from error
    return parsed_settings(text, str(path))


def parsed_settings(text: str, where: str) -> dict[str, Any]:
    """The mapping that JSON text holds."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: not readable as JSON ({quoted(error)}); fetch or write it again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{where}: got {type(content).__name__}, expected a mapping of settings.")
    return content


def whole(
    settings: Mapping[str, Any], name: str, where: object, least: int, most: int, default: int | None = None
) -> int:
    """A whole number within bounds; an absent one or null is the default, if there is one."""
    value = settings.get(name)
    if value is None and default is not None:
        return default
    if type(value) is not int or not least <= value <= most:
        raise ModelError(f"{where}: {name} is {_shown(value)}, expected a whole number from {least} to {most}.")
    return value


def wholes(settings: Mapping[str, Any], name: str, where: object, least: int, most: int, longest: int) -> list[int]:
    """A list of whole numbers within bounds, at least one."""
    value = settings.get(name)
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= longest:
        raise ModelError(f"{where}: {name} is {_shown(value)}, expected a list of 1 to {longest} whole numbers.")
    return [whole({name: each}, name, where, least, most) for each in value]


def positive(settings: Mapping[str, Any], name: str, where: object, default: float | None = None) -> float:
    """A finite number above 0; an absent one or null is the default, if there is one."""
    value = settings.get(name)
    if value is None and default is not None:
        return default
    number = float(value) if type(value) is float or (type(value) is int and abs(value) < _LARGEST) else math.nan
    if not 0 < number < _LARGEST:
        raise ModelError(f"{where}: {name} is {_shown(value)}, expected a positive number.")
    return number


def _shown(value: object) -> str:
    return "absent" if value is None else brief(value)
