"""The page of a study: context for the template, rendered with everything inlined."""

from __future__ import annotations

from typing import Any

from tangency.report.page.explorer import AGAINST_BUDGET, BLOCKS_BUDGET, Explorer, explore
from tangency.report.page.generated import generated_section
from tangency.report.page.html import embedded_json, environment, resource
from tangency.report.page.numbers import headline_keys
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
from tangency.report.text.panels import correlation_panels, panels, story_keys
from tangency.report.text.score import EXACT, score_doubt, score_lead, world_sentence
from tangency.report.text.story import stories, story_lead
from tangency.report.text.thesis import control_words, correlation_sentence
from tangency.report.text.trials import networks_text, outside_sentence, regime_legend, regime_sentences, seed_warning
from tangency.report.text.verdict import verdict
from tangency.study.summary.entries import StudySummary
from tangency.study.summary.sweep_entries import CellEntry

SYMBOLS = (
    ("●", "weak"),
    ("◆", "Bayes-aligned"),
    ("■", "excessive"),
    ("○", "undetermined"),
    ("✕", "collapsed or diverged"),
)
SCRIPT = "page/bundle/explorer.js"  # built from web/
EXPORT_SCHEMA = 1


def render_study(run: RunFiles, against: RunFiles | None = None) -> str:
    """The page as HTML text, with the numbers of a second run where there is one."""
    return environment().get_template("page.html.j2").render(context(run, against))


def exported(run: RunFiles) -> dict[str, Any]:
    """The numbers of a page with those of the headline image by image, for the page of another run to load."""
    explorer = explore(run, keys=headline_keys(run.summary.trials), pictures=False)
    data = payload(run.summary, run.rows, explorer.content)
    return {"schema": EXPORT_SCHEMA, "data": data, "blocks": explorer.blocks}


def context(run: RunFiles, against: RunFiles | None = None) -> dict[str, Any]:
    """Everything that the templates show."""
    summary, trials, card = run.summary, run.summary.trials, score_card(run.summary)
    other = explore(against, AGAINST_BUDGET, "r2-", pictures=False) if against else Explorer({})
    explorer = explore(run, BLOCKS_BUDGET - other.size)
    return verdict_context(run) | {
        "summary": summary,
        "spec": run.spec,
        "seed_warning": seed_warning([trial.seed for trial in trials]),
        "counted": networks_text(trials),
        "has_bayes": any(trial.objective == BAYES for trial in trials),
        "world_sentence": world_sentence(summary),
        "score_lead": score_lead(summary),
        "score_doubt": score_doubt(summary),
        "origin": "the law that the images are drawn from" if card.kind == EXACT else "a model of the data",
        "exact": card.kind == EXACT,
        "noise": noise_section(summary),
        "outside_sentence": outside_sentence(trials),
        "symbols": SYMBOLS,
        "panels": panels(trials),
        "first_measure": first_measure(summary),
        **_explored(explorer.content),
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
        "other_json": embedded_json(payload(against.summary, against.rows, other.content)) if against else None,
        "blocks": list((explorer.blocks | other.blocks).items()),
        "script": resource(SCRIPT),
        "style": resource("templates/page.css"),
    }


def _explored(content: dict[str, Any]) -> dict[str, Any]:
    """What the explorer of images has, for its tab to show and to leave out."""
    return {
        "pictured": bool(content["pictures"]),
        "imaged": bool(content["keys"]),
        "left_out": content["left_out"],
        "estimators": content["estimators"],
        "ordered_by_l": bool(content["directions"]),
    }


def first_measure(summary: StudySummary) -> str:
    """The measure that is picked at first: the tangent fraction, or what stands first."""
    return story_keys(summary).get("fraction") or next((panel.options[0][1] for panel in panels(summary.trials)), "")


def headline_cell(summary: StudySummary) -> CellEntry | None:
    """The recipe that the verdict is about."""
    recipe = summary.headline.recipe if summary.headline else ""
    return next((cell for cell in summary.cells if cell.id == recipe), None)


def verdict_context(run: RunFiles) -> dict[str, Any]:
    """What the head of the page and the sections on sweeps, regimes and correlations show."""
    summary = run.summary
    return {
        "story_lead": story_lead(summary),
        "stories": stories(summary),
        "best": headline_cell(summary),
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
