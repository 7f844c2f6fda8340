"""The command line: parses, calls, prints."""

from __future__ import annotations

import sys

from tangency.errors import TangencyError


def main() -> None:
    """Entry point of `tangency`; a user's mistake is one paragraph and exit code 2, never a traceback."""
    from tangency.cli.app import app

    try:
        app()
    except TangencyError as error:
        from rich.console import Console

        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {_escaped(str(error))}")
        sys.exit(2)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(" ".join(text.split()))
