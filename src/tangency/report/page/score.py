"""The page of a score's examination: the verdict, its error beside closed forms, and what it draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tangency.report.page.examination import examination
from tangency.report.page.html import environment, resource
from tangency.report.text import glossary


def render_score(summary: Mapping[str, Any], pictures: Mapping[str, np.ndarray], figure: Any) -> str:
    """The page as HTML text; the figure is that of the error beside closed forms."""
    template = environment().get_template("score.html.j2")
    return template.render(
        summary=summary,
        examined=examination(summary, pictures, figure),
        glossary=glossary,
        style=resource("templates/page.css"),
    )
