"""The page of a study: context for the template, rendered with everything inlined."""

from __future__ import annotations

from typing import Any

from tangency.report.draw.pictures import column_groups, picture_columns, picture_rows
from tangency.report.page.examination import examination
from tangency.report.page.generated import generated_section
from tangency.report.page.html import embedded_json, environment, resource
from tangency.report.page.noise import noise_section
from tangency.report.page.payload import payload
from tangency.report.page.provenance import provenance
from tangency.report.page.regimes import margins, regime_rows
from tangency.report.page.stories import stories
from tangency.report.page.tables import glance, tiles
from tangency.report.page.tangents import tangents_section
from tangency.report.read.keys import all_keys
from tangency.report.read.levels import denoising
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import BAYES
from tangency.report.text import glossary
from tangency.report.text.measures import definitions
from tangency.report.text.panels import correlation_panels, panels
from tangency.report.text.score import origin, score_lead
from tangency.report.text.trials import networks_text, outside_sentence, regime_sentences, seed_warning
from tangency.report.text.verdict import verdict
from tangency.report.text.world import world_sentence

SYMBOLS = (("●", "weak"), ("◆", "Bayes-aligned"), ("■", "excessive"), ("○", "undetermined"), ("✕", "collapsed"))
SCRIPTS = ("core.js", "curves.js", "noise.js", "sorting.js", "page.js")  # parts of one script, in this order


def render_study(run: RunFiles) -> str:
    """The page as HTML text."""
    template = environment().get_template("page.html.j2")
    return template.render(context(run))


def context(run: RunFiles) -> dict[str, Any]:
    """Everything that the templates show."""
    summary = run.summary
    trials = summary["trials"]
    return {
        "summary": summary,
        "spec": run.spec,
        "verdict": verdict(summary),
        "tiles": tiles(summary),
        "seed_warning": seed_warning([trial["seed"] for trial in trials]),
        "regime_sentences": regime_sentences(trials),
        "counted": networks_text(trials),
        "has_bayes": any(trial["objective"] == BAYES for trial in trials),
        "world_sentence": world_sentence(summary),
        "score_lead": score_lead(summary),
        "origin": origin(summary),
        "noise": noise_section(summary),
        "outside_sentence": outside_sentence(trials),
        "stories": stories(summary),
        "symbols": SYMBOLS,
        "panels": panels(trials),
        **picture_context(run),
        "glance": glance(summary),
        "regime_rows": regime_rows(summary),
        "margins": margins(summary),
        "correlations": correlation_panels(summary),
        "denoising": denoising(summary),
        "tangents": tangents_section(run),
        "generation": generated_section(run),
        "examined": examination(summary["score"]["network"], run.network) if run.network else None,
        "regimes": glossary.REGIMES,
        "definitions": definitions(all_keys(trials)),
        "glossary": glossary,
        "provenance": provenance(summary),
        "data_json": embedded_json(payload(summary, run.rows)),
        "plotly": resource("vendor/plotly-basic.min.js"),
        "script": resource(*(f"templates/{name}" for name in SCRIPTS)),
        "style": resource("templates/page.css"),
    }


def picture_context(run: RunFiles) -> dict[str, Any]:
    """What the picture grid shows."""
    shown = picture_columns(run.summary["trials"], run.pictures)
    rows, side = picture_rows(shown, run.pictures, run.summary["data"]["classes"])
    return {
        "columns": shown,
        "column_groups": column_groups(shown),
        "group_starts": [i for i in range(1, len(shown)) if shown[i].group != shown[i - 1].group],
        "picture_rows": rows,
        "picture_side": side,
    }
