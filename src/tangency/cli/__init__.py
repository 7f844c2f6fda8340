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
        app()
    except TangencyError as error:
        _leave(str(error))
    except OSError as error:
        if error.errno not in _REFUSED or error.filename is None:
            raise
        _leave(f"'{str(error.filename)[:_SHOWN]}': {error.strerror}. Choose another place or name, or make room there.")
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != _INTERRUPTED:
            raise
        print(
            "interrupted; finished parts of a study, and of a measurement with --out, are kept: the same command "
            "continues from there.",
            file=sys.stderr,
        )
        sys.exit(_INTERRUPTED)


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
