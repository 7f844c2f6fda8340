"""Figures as files: vector PDF with its fonts, SVG, and PNG, each of which says what made it and from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tangency.files import atomic
from tangency.report.draw.canvas import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("pdf", "svg", "png")
_DPI = 300  # of PNG


@dataclass(frozen=True)
class FigureSource:
    """Where a figure comes from.

    Args:
        title: of what is shown.
        command: which writes it again.
        hashes: name to hash of what it is drawn from.
    """

    title: str
    command: str
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """Command and hashes in one line."""
        return "; ".join([self.command, *(f"{name} {value}" for name, value in self.hashes.items())])

    def metadata(self, kind: str) -> dict[str, Any]:
        """The entries of a format, without dates, so that the same figure is the same file."""
        maker = f"tangency {version('tangency')}"
        if kind == "pdf":
            return {"Title": self.title, "Subject": self.sentence, "Creator": maker, "CreationDate": None}
        if kind == "svg":
            return {"Title": self.title, "Description": self.sentence, "Creator": maker, "Date": None}
        return {"Title": self.title, "Description": self.sentence, "Software": maker}


def save_figure(figure: Figure, path: Path, made: FigureSource) -> list[Path]:
    """Write a figure as PATH.pdf, PATH.svg and PATH.png, laid out once; returns the files."""
    import matplotlib

    written = []
    with matplotlib.rc_context(STYLE):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # all formats have the same layout
        for kind in KINDS:
            written.append(path.with_name(f"{path.name}.{kind}"))
            with atomic(written[-1]) as temporary:
                figure.savefig(temporary, format=kind, dpi=_DPI, metadata=made.metadata(kind))
    return written
