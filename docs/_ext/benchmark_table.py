"""The table of benchmarks/results.json, as it is when the site is built."""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results.json"


class Benchmarks(SphinxDirective):
    """What was compared, seconds of both, and their ratio."""

    def run(self) -> list[nodes.Node]:
        """One table, in the order of the file."""
        self.env.note_dependency(str(RESULTS))
        head = ("benchmark", "what is compared", "ours, s", "other, s", "other / ours")
        rows = [
            (name, found["what"], f"{found['ours_s']:.3g}", f"{found['other_s']:.3g}", f"{found['ratio']:.3g}")
            for name, found in json.loads(RESULTS.read_text(encoding="utf-8")).items()
        ]
        group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in (20, 50, 10, 10, 10)), cols=5)
        group += nodes.thead("", _row(head))
        group += nodes.tbody("", *map(_row, rows))
        return [nodes.table("", group)]


def _row(cells: tuple[str, ...]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.add_directive("benchmarks", Benchmarks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
