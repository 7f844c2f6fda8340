"""Tables of objects by name, open to other packages: by `register`, or by entry points, which every process reads."""

from __future__ import annotations

import importlib
import inspect
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from tangency.errors import SpecError, TangencyError, quoted, unknown_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
_OUTSIDE = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
_PLAIN = (bool, int, float, str)  # types of an option of a reference or a spec


@dataclass(frozen=True)
class _Entry:
    """A row of a registry.

    Args:
        held: the object, or "module:attribute".
        origin: name and version of the distribution whose entry point it is; "" for our own, None for an object that
            was registered in this process.
        token: identifies an object that was registered in this process, which other processes do not have.
    """

    held: object
    origin: str | None = ""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)


class Registry(Generic[T]):
    """The objects of one kind by name, in the order in which they were registered.

    Our own names are plain; those of another package are `package/name`. An unknown name is looked up among the entry
    points of `group`, which are read once, so that a worker process has the same ones as its parent. An entry point is
    imported when its name is first used, and a broken one does not affect others.

    Args:
        what: the kind of object, for errors.
        group: of entry points; "" for none.
        own: our own objects, or "module:attribute".
        expected: description of a valid object, for errors.
        fits: whether an object is valid.
        error: raised for an unknown name, and for an object that cannot be imported.

    Example:
        >>> rules = Registry("rule", "", {"half": lambda x: x / 2}, "a function of a number", callable)
        >>> rules["half"](3.0), "third" in rules
        (1.5, False)
    """

    def __init__(
        self,
        what: str,
        group: str,
        own: Mapping[str, T | str],
        expected: str,
        fits: Callable[[Any], bool],
        error: type[TangencyError] = SpecError,
    ) -> None:
        self.what, self.group, self.expected, self.error = what, group, expected, error
        self._fits = fits
        self._entries = {name: _Entry(held) for name, held in own.items()}
        self._points: dict[str, list[EntryPoint]] | None = None

    @property
    def own(self) -> tuple[str, ...]:
        """Names of this package, for which no entry point is read."""
        return tuple(name for name, entry in self._entries.items() if entry.origin == "")

    def register(self, name: str, held: T | str | None = None) -> Any:
        """Give an object a name in this process; with the name alone, a decorator.

        Args:
            name: `package/name`; of letters, digits, - and _.
            held: the object, or "module:attribute", which is imported when it is first used.

        Returns:
            The object; without one, a decorator that registers its function.

        Raises:
            TangencyError: the name is taken or not of this form, or the object is of another kind.
        """
        if held is None:
            return lambda decorated: self.register(name, decorated)
        ours = isinstance(held, str) and held.startswith("tangency.")
        if not ours:
            self._check_name(name, f"{self.what} '{name}'")
        if name in self._entries or name in self._entry_points():
            raise self.error(f"{self.what} '{name}': the name is taken, expected one that is free.")
        if not isinstance(held, str):
            self._check(name, held, "what was registered")
        self._entries[name] = _Entry(held, "" if ours else None)
        return held

    def forget(self, name: str) -> None:
        """Free a name that was registered in this process, as a notebook does before it registers a new version."""
        if name not in self._entries or self._entries[name].origin is not None:
            raise self.error(
                f"{self.what} '{name}': was not registered in this process, so that it cannot be forgotten."
            )
        del self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._entry_points()

    def __iter__(self) -> Iterator[str]:
        """All names; those of entry points come last."""
        return iter(
            dict.fromkeys([*self._entries, *(name for name in self._entry_points() if _OUTSIDE.fullmatch(name))])
        )

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, name: str) -> T:
        """The object of that name.

        Raises:
            TangencyError: the name is unknown, or its object cannot be imported or is invalid.
        """
        if name not in self._entries:
            self._entries[name] = self._looked_up(name)
        entry = self._entries[name]
        if isinstance(entry.held, str):
            entry = replace(entry, held=self._imported(name, entry.held, "it is registered as"))
            self._check(name, entry.held, "what was registered")
            self._entries[name] = entry
        return cast(T, entry.held)

    def origin(self, name: str) -> str:
        """Name and version of the distribution of an object, a part of the identity of its results.

        "" for our own; for an object that was registered in this process, a text that no other process has.
        """
        self[name]
        entry = self._entries[name]
        return f"this process {entry.token}" if entry.origin is None else entry.origin

    def shared_origin(self, name: str) -> str:
        """`origin` of an object that other processes use.

        Raises:
            TangencyError: the name was registered in this process alone, so that no other one would know it.
        """
        origin = self.origin(name)
        if self._entries[name].origin is None:
            raise self.error(
                f"{self.what} '{name}': is registered in this process alone, so that neither the processes of a study "
                f"nor a later run would know it; expected an entry point of a package, in the group {self.group}."
            )
        return origin

    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        """The entry points by name, read once; several for a name that more than one distribution gives."""
        if self._points is None:
            from importlib.metadata import entry_points

            self._points = {}
            for point in entry_points(group=self.group) if self.group else ():
                self._points.setdefault(point.name, []).append(point)
        return self._points

    def _looked_up(self, name: str) -> _Entry:
        points = self._entry_points().get(name, [])
        if not points:
            raise self.error(unknown_name(self.what, name, self))
        owner = " and ".join(_distribution(point) for point in points)
        self._check_name(name, f"{self.what} '{name}' of {owner}")
        if len(points) > 1:
            raise self.error(f"{self.what} '{name}': {owner} both register it, expected one; uninstall the other.")
        held = self._imported(name, points[0].value, f"the entry point of {owner} is")
        self._check(name, held, f"the entry point of {owner}")
        return _Entry(held, owner)

    def _imported(self, name: str, place: str, source: str) -> object:
        module, _, attribute = place.replace(" ", "").partition(":")
        try:
            held: object = importlib.import_module(module)
            for part in attribute.split(".") if attribute else ():
                held = getattr(held, part)
        except Exception as error:  # a foreign module may raise anything when it is imported
            raise self.error(
                f"{self.what} '{name}': {source} {place}, which cannot be imported ({type(error).__name__}: "
                f"{quoted(error)}); expected {self.expected}. Mend or uninstall that package."
            ) from error
        return held

    def _check(self, name: str, held: object, source: str) -> None:
        if not self._fits(held):
            raise self.error(f"{self.what} '{name}': {source} is {_shown(held)}, expected {self.expected}.")

    def _check_name(self, name: str, subject: str) -> None:
        if not _OUTSIDE.fullmatch(name):
            raise self.error(
                f"{subject}: names of other packages are package/name, of letters, digits, - and _, such as "
                f"mine/{re.sub(r'[^A-Za-z0-9_-]', '-', name) or 'name'}."
            )


def positional(function: Callable[..., object]) -> int:
    """Number of positional arguments of a function that have no default."""
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(p.kind in places and p.default is p.empty for p in parameters)


def defaults_of(function: Callable[..., object]) -> dict[str, Any]:
    """The options of a function, its keyword-only arguments, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def makes(*counts: int) -> Callable[[Any], bool]:
    """A test for functions of so many positional arguments whose keyword-only options have plain defaults.

    Example:
        >>> makes(2)(lambda x, y, *, rank=3: x), makes(2)(lambda x: x), makes(1)(lambda x, *, rank: x)
        (True, False, False)
    """

    def fits(held: Any) -> bool:
        try:
            return positional(held) in counts and all(type(d) in _PLAIN for d in defaults_of(held).values())
        except (TypeError, ValueError):  # not a function, or one without a signature
            return False

    return fits


def _distribution(point: EntryPoint) -> str:
    """Name and version of the distribution of an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unnamed distribution"


def _shown(held: object) -> str:
    try:
        signature = str(inspect.signature(held))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return f"of type {type(held).__name__}"
    return f"{getattr(held, '__name__', type(held).__name__)}{signature}"


# Kinds of saved models that are opened by a later room, which registers "module:callable" here; it is imported when a
# reference first names the kind. See `tangency.evaluate.classifiers.origin`.
OPENERS: Registry[Callable[..., Any]] = Registry(
    "kind of saved model", "", {}, "a callable of a location and the reference", callable
)
