"""The command line: parses, calls, prints."""

from __future__ import annotations

import errno
import io
import sys
from itertools import pairwise
from typing import NoReturn

from tangency.errors import SpecError, TangencyError

# System errors that are due to the path that the user gave.
_REFUSED = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP}
)
_SHOWN = 200  # letters of a name
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it; typer exits with it, too


def main() -> None:
    """Entry point of `tangency`; a user's mistake is one paragraph and exit code 2, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every console and code page has a σ
    try:
        from tangency.cli.app import app

        _refuse_empty(sys.argv)
        code = app(prog_name="tangency", standalone_mode=False)  # None, or that of an exit before the end
    except TangencyError as error:
        _leave(str(error))
    except OSError as error:
        if error.errno not in _REFUSED or error.filename is None:
            raise
        _leave(f"'{str(error.filename)[:_SHOWN]}': {error.strerror}. Choose another place or name, or make room there.")
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception as error:
        if (sentence := _usage(error)) is None:
            raise
        if sentence:
            _leave(sentence)
        code = 2  # without arguments, the help was printed
    if code == _INTERRUPTED:
        print(
            "interrupted; finished parts of a study, and of a measurement with --out, are kept: the same command "
            "continues from there.",
            file=sys.stderr,
        )
    sys.exit(code)


def _usage(error: Exception) -> str | None:
    """What was wrong with a call, in typer's words with ours behind; "" without arguments, None for other errors."""
    from typer import TyperException

    if not isinstance(error, TyperException):
        return None
    context, near = getattr(error, "ctx", None), list(getattr(error, "possibilities", None) or ())
    said = error.message if near else error.format_message()
    if not said:
        return ""
    hint = f" Did you mean {near[0]}?" if near else ""
    help_at = f" `{context.command_path} -h` explains it." if context is not None else ""
    return f"{said.rstrip('.')}.{hint}{help_at}".replace("?.", "?")


def _refuse_empty(arguments: list[str]) -> None:
    """Raise if an argument is empty, as from an unset shell variable: the folder "" would be the current one."""
    for before, argument in pairwise(arguments):
        if argument == "" or (argument.startswith("--") and argument.endswith("=")):
            raise SpecError(
                f"{argument or before}: got an empty argument, expected a value. Leave the option out, or set the "
                "shell variable."
            )


def _leave(text: str) -> NoReturn:
    """One paragraph on standard error, and exit code 2."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {_escaped(text)}")
    sys.exit(2)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(" ".join(text.split()))
