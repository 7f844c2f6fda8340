"""The command line: parses, calls, prints."""

from __future__ import annotations

import io
import sys

from tangency.errors import TangencyError

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it; typer exits with it, too


def main() -> None:
    """Entry point of `tangency`; a user's mistake is one paragraph and exit code 2, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every console and code page has a σ
    try:
        from tangency.cli.app import app

        app()
    except TangencyError as error:
        from rich.console import Console

        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {_escaped(str(error))}")
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != _INTERRUPTED:
            raise
        print(
            "interrupted; what a study has finished is kept, and so are whole shards of a measurement with --out: the "
            "same command goes on from there.",
            file=sys.stderr,
        )
        sys.exit(_INTERRUPTED)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(" ".join(text.split()))
