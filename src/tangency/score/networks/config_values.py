"""Settings in JSON files of other libraries, each value checked before anything is made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.errors import ModelError, quoted
from tangency.formats.plain import brief

_LARGEST = 1e30


@dataclass(frozen=True)
class Settings:
    """A mapping from a JSON file.

    Args:
        values: as in the file.
        where: the file, for messages.
    """

    values: Mapping[str, Any]
    where: str

    def get(self, name: str, default: Any = None) -> Any:
        """The value as in the file."""
        return self.values.get(name, default)

    def refused(self, problem: str) -> ModelError:
        """An error that names the file."""
        return ModelError(f"{self.where}: {problem}")

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number within bounds; the default, if there is one, stands for an absent one or null."""
        value = self.get(name)
        if value is None and default is not None:
            return default
        if type(value) is not int or not least <= value <= most:
            raise self.refused(f"{name} is {_shown(value)}, expected a whole number from {least} to {most}.")
        return value

    def wholes(self, name: str, least: int, most: int, longest: int) -> tuple[int, ...]:
        """A list of whole numbers within bounds, at least one."""
        value = self.get(name)
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= longest:
            raise self.refused(f"{name} is {_shown(value)}, expected a list of 1 to {longest} whole numbers.")
        return tuple(Settings({name: each}, self.where).whole(name, least, most) for each in value)

    def pair(self, name: str, most: int) -> tuple[int, int]:
        """(height, width), each from 1 to `most`."""
        sides = self.wholes(name, 1, most, 2)
        if len(sides) != 2:
            raise self.refused(f"{name} is {list(sides)}, expected (height, width).")
        return sides[0], sides[1]

    def positive(self, name: str, default: float | None = None) -> float:
        """A finite number above 0; the default, if there is one, stands for an absent one or null."""
        value = self.get(name)
        if value is None and default is not None:
            return default
        number = float(value) if type(value) is float or (type(value) is int and abs(value) < _LARGEST) else math.nan
        if not 0 < number < _LARGEST:
            raise self.refused(f"{name} is {_shown(value)}, expected a positive number.")
        return number


def read_settings(path: Path, what: str) -> Settings:
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


def parsed_settings(text: str, where: str) -> Settings:
    """The mapping that JSON text holds."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: not readable as JSON ({quoted(error)}); fetch or write it again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{where}: got {type(content).__name__}, expected a mapping of settings.")
    return Settings(content, where)


def _shown(value: object) -> str:
    return "absent" if value is None else brief(value)
