"""Groups of commands, whose help names what an option takes, and nothing where it takes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from tangency.errors import TangencyError

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def _without_types(params: list[Any]) -> list[Any]:
    """The parameters, without the type that typer would name behind flags, and behind the names of arguments."""
    for each in params:
        if each.param_type_name == "argument" or each.is_flag:
            each.display_type_rich = lambda ctx: None
    return params


class App(typer.Typer):
    """A group of commands; -h and --help explain each, and without arguments it explains itself.

    Args:
        text: its help.
        options: others of `typer.Typer`.
    """

    def __init__(self, text: str, **options: Any) -> None:
        super().__init__(
            help=text,
            cls=_Group,
            no_args_is_help=True,
            pretty_exceptions_enable=False,
            rich_markup_mode="rich",
            context_settings={"help_option_names": ["-h", "--help"]},
            **options,
        )

    def command(self, name: str | None = None, **options: Any) -> Callable[[_Function], _Function]:
        """A decorator that makes a function a command."""
        return super().command(name, cls=_Command, **options)


@contextmanager
def as_typed(flags: Mapping[str, str]) -> Iterator[None]:
    """Errors call an option as it stands on the command line.

    Args:
        flags: from the name in front of an error to the option.
    """
    try:
        yield
    except TangencyError as error:
        name, colon, rest = str(error).partition(":")
        if not colon or name not in flags:
            raise
        raise type(error)(f"{flags[name]}:{rest}") from None
