"""The page of a study: context for the template, rendered with everything inlined."""

from __future__ import annotations

from typing import Any

from tangency.report.draw.pictures import PictureGrid, picture_columns
from tangency.report.page.explorer import explore
from tangency.report.page.generated import generated_section
from tangency.report.page.html import embedded_json, environment, resource
from tangency.report.page.payload import payload
from tangency.report.page.regimes import kappa_rows, margins, regimes_section
from tangency.report.page.score import examination
from tangency.report.page.sections import noise_section, tangents_section
from tangency.report.page.sweep import sweep_section
from tangency.report.page.tables import glance, provenance, tiles
from tangency.report.read.keys import all_keys
from tangency.report.read.run import RunFiles
from tangency.report.read.score import score_card
from tangency.report.read.sweep import twins
from tangency.report.read.trials import BAYES
from tangency.report.text import glossary
from tangency.report.text.measures import definitions
from tangency.report.text.panels import correlation_panels, panels
from tangency.report.text.score import EXACT, score_lead, world_sentence
from tangency.report.text.story import stories, story_lead
from tangency.report.text.thesis import control_words, correlation_sentence
from tangency.report.text.trials import networks_text, outside_sentence, regime_legend, regime_sentences, seed_warning
from tangency.report.text.verdict import verdict

SYMBOLS = (
    ("●", "weak"),
    ("◆", "Bayes-aligned"),
    ("■", "excessive"),
    ("○", "undetermined"),
    ("✕", "collapsed or diverged"),
)
SCRIPTS = ("core.js", "curves.js", "noise.js", "sorting.js", "page.js")  # parts of one script, in this order


def render_study(run: RunFiles) -> str:
    """The page as HTML text."""
    return environment().get_template("page.html.j2").render(context(run))


def context(run: RunFiles) -> dict[str, Any]:
    """Everything that the templates show."""
    summary, trials, card = run.summary, run.summary.trials, score_card(run.summary)
    columns, explorer = picture_columns(trials, run.pictures), explore(run)
    return verdict_context(run) | {
        "summary": summary,
        "spec": run.spec,
        "seed_warning": seed_warning([trial.seed for trial in trials]),
        "counted": networks_text(trials),
        "has_bayes": any(trial.objective == BAYES for trial in trials),
        "world_sentence": world_sentence(summary),
        "score_lead": score_lead(summary),
        "origin": "the law that the images are drawn from" if card.kind == EXACT else "a model of the data",
        "noise": noise_section(summary),
        "outside_sentence": outside_sentence(trials),
        "symbols": SYMBOLS,
        "panels": panels(trials),
        "pictures": PictureGrid.of(columns, run.pictures, summary.data.classes),
        "glance": glance(summary),
        "twins": twins(summary),
        "denoising": card.denoising,
        "tangents": tangents_section(run),
        "generation": generated_section(run),
        "network": card.network,
        "examined": examination(card.network, run.network) if card.network and run.network else None,
        "regimes": glossary.REGIMES,
        "definitions": definitions(all_keys(trials)),
        "glossary": glossary,
        "provenance": provenance(summary),
        "data_json": embedded_json(payload(summary, run.rows, explorer.content)),
        "blocks": list(explorer.blocks.items()),
        "plotly": resource("vendor/plotly-basic.min.js"),
        "script": resource(*(f"templates/{name}" for name in SCRIPTS)),
        "style": resource("templates/page.css"),
    }


def verdict_context(run: RunFiles) -> dict[str, Any]:
    """What the head of the page and the sections on sweeps, regimes and correlations show."""
    summary = run.summary
    return {
        "story_lead": story_lead(summary),
        "stories": stories(summary),
        "regime_sentences": regime_sentences(summary),
        "tiles": tiles(summary),
        "verdict": verdict(summary),
        "judged": regimes_section(summary),
        "kappa": kappa_rows(summary),
        "margins": margins(summary),
        "sweep": sweep_section(run),
        "correlations": correlation_panels(summary),
        "correlation_sentence": correlation_sentence(summary.correlations),
        "control_words": control_words,
        "regime_legend": regime_legend(summary),
    }
