"""The page of a run that is not finished: that it is not, what there is of it, and how it goes on."""

from __future__ import annotations

from tangency.report.page.html import environment, resource
from tangency.report.read.unfinished import Unfinished


def render_unfinished(run: Unfinished) -> str:
    """The page as HTML text."""
    measured = sum(trial.measured > 0 for trial in run.trials)
    template = environment().get_template("unfinished.html.j2")
    return template.render(run=run, measured=measured, style=resource("templates/page.css"))
