"""The page: context for the template, rendered with everything inlined."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

from tangency.report import glossary, pictures, words, worlds
from tangency.report.generated import generated_section
from tangency.report.inputs import RunFiles
from tangency.report.noise import noise_section
from tangency.report.payload import FRACTION, all_keys, denoising, panels, payload, story_keys
from tangency.report.tangents import tangents_section
from tangency.report.trusted import trusted

if TYPE_CHECKING:
    from jinja2 import Environment

GLANCE = ("accuracy", "fraction", "on", "off", "alignment")  # roles of the story figure, as columns at a glance
KAPPA, RISK = "kappa.logp_y", "excess_risk"
SYMBOLS = (("●", "weak"), ("◆", "Bayes-aligned"), ("■", "excessive"), ("○", "undetermined"), ("✕", "collapsed"))
SCRIPTS = ("core.js", "curves.js", "noise.js", "sorting.js", "page.js")  # parts of one script, in this order
STORY = ("accuracy", "on", "off", "fraction", "alignment")


def render(run: RunFiles) -> str:
    """The page as HTML text."""
    template = environment().get_template("page.html.j2")
    return template.render(context(run))


def environment() -> Environment:
    """Templates of this package; every value is escaped, a missing one is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("tangency.report", "templates")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters |= {"number": words.entry, "estimate": words.estimate, "capital": words.capital, "soften": soften}
    return jinja


def context(run: RunFiles) -> dict[str, Any]:
    """Everything that the templates show."""
    summary = run.summary
    trials = summary["trials"]
    return {
        "summary": summary,
        "spec": run.spec,
        "verdict": words.verdict(summary),
        "tiles": tiles(summary),
        "seed_warning": words.seed_warning([trial["seed"] for trial in trials]),
        "regime_sentences": words.regime_sentences(trials),
        "counted": words.counted(trials),
        "has_bayes": any(trial["objective"] == glossary.BAYES for trial in trials),
        "world_sentence": worlds.world_sentence(summary),
        "score_lead": worlds.score_lead(summary),
        "origin": worlds.origin(summary),
        "noise": noise_section(summary),
        "outside_sentence": words.outside_sentence(trials),
        "stories": stories(summary),
        "symbols": SYMBOLS,
        "panels": panels(trials),
        **picture_context(run),
        "glance": glance(summary),
        "regime_rows": regime_rows(summary),
        "margins": margins(summary),
        "correlations": correlations(summary),
        "denoising": denoising(summary),
        "tangents": tangents_section(run),
        "generation": generated_section(run),
        "trusted": trusted(summary["score"]["network"], run.network) if run.network else None,
        "regimes": glossary.REGIMES,
        "definitions": [(family, glossary.describe(glossary.parse(family))) for family in glossary.MEASURES],
        "glossary": glossary,
        "provenance": provenance(summary),
        "data_json": embedded_json(payload(summary, run.rows)),
        "plotly": resource("vendor/plotly-basic.min.js"),
        "script": resource(*(f"templates/{name}" for name in SCRIPTS)),
        "style": resource("templates/page.css"),
    }


def picture_context(run: RunFiles) -> dict[str, Any]:
    """What the picture grid shows."""
    shown = pictures.columns(run.summary["trials"], run.pictures)
    rows, side = pictures.grid(shown, run.pictures, run.summary["data"]["classes"])
    return {
        "columns": shown,
        "column_groups": pictures.groups(shown),
        "group_starts": [i for i in range(1, len(shown)) if shown[i].group != shown[i - 1].group],
        "picture_rows": rows,
        "picture_side": side,
    }


def resource(*names: str) -> Any:
    """Files of this package, joined, as text that is ours to inline unescaped."""
    from markupsafe import Markup

    folder = package_files("tangency.report")
    return Markup("".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names))


def soften(sentence: str) -> Any:
    """The sentence as HTML with its [intervals] set quieter and kept on one line."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"\[[^\[\]]*\]", r'<span class="interval">\g<0></span>', str(escape(sentence))))


def embedded_json(content: Mapping[str, Any]) -> Any:
    """JSON that cannot close the script element that it stands in."""
    from markupsafe import Markup

    text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def tiles(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """The few numbers under the verdict."""
    headline = summary["headline"]
    if headline is None:
        return []
    control = glossary.control_name(headline["tangent_excess"]["best_control"])
    alignment = heading(headline["alignment"])
    rows = (
        ("F² minus best control", headline["tangent_excess"], f"control: {control}"),
        ("Rise of that over standard", headline["tangent_excess_rise"], "paired over images"),
        ("Alignment minus shuffled", headline["alignment_excess"], alignment),
        ("Rise of that over standard", headline["alignment_excess_rise"], "paired over images"),
    )
    return [
        {"label": label, "value": words.estimate(e, signed=True).partition(" ")[0], "interval": span(e), "note": note}
        for label, e, note in rows
    ]


def span(e: Mapping[str, Any]) -> str:
    """The interval alone, in words."""
    bracket = words.estimate(e).partition(" ")[2]
    return f"95 % interval {bracket}" if bracket else "no interval"


def stories(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry per objective of the first figure, with the text that a screen reader gets."""
    trials, keys = summary["trials"], story_keys(summary)
    out = []
    for objective in glossary.swept(trials):
        of = sorted(
            (t for t in trials if t["objective"] in (objective, glossary.STANDARD)),
            key=lambda t: (t["strength"], t["seed"]),
        )
        shown = [keys[role] for role in STORY if role in keys]
        text = [words.curve_text(words.capital(heading(key)), curve(of, key)) for key in shown]
        gone = [t for t in of if t["outcome"] != "ok"]
        fallen = [f"{t['outcome']} at {words.strength_label(t['strength'])}" for t in gone]
        name = words.capital(glossary.objective_name(objective))
        out.append({"id": objective, "name": name, "text": " ".join(text), "fallen": list(dict.fromkeys(fallen))})
    return out


def curve(trials: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float | None]]:
    """(strength, mean) of one measure."""
    return [(trial["strength"], trial["measures"].get(key, {}).get("mean")) for trial in trials]


@dataclass(frozen=True)
class Head:
    """A column of the table at a glance: where its estimate stands in a trial's entry, and how it is shown."""

    title: str
    key: str
    kind: str = "measures"
    signed: bool = False

    @property
    def source(self) -> str:
        """The key as the heading's tip gives it."""
        return {"excess": f"{self.key}, excess"}.get(self.kind, self.key)

    def of(self, trial: Mapping[str, Any]) -> Any:
        """The trial's estimate, or None."""
        return trial.get(self.key) if self.kind == "trial" else trial[self.kind].get(self.key)


def glance(summary: Mapping[str, Any]) -> dict[str, Any]:
    """All trials by a handful of measures, for the table that needs no script."""
    keys, trials = story_keys(summary), summary["trials"]
    heads = [Head(heading(keys[role]), keys[role]) for role in GLANCE if role in keys]
    heads.insert(2, Head("κ (pooled)", KAPPA))
    if any(trial.get(RISK) for trial in trials):
        heads.insert(1, Head("Error above the Bayes rule", RISK, "trial", signed=True))
    signal = next((key.text for key in all_keys(trials) if key.family == "signal_fraction" and not key.control), None)
    heads += [Head(heading(signal), signal)] if signal else []
    alignment = keys.get("alignment", "")
    minus = f"{heading(alignment) if alignment else 'Alignment'}, minus shuffled"
    heads += [Head("F² minus best control", FRACTION, "excess", True), Head(minus, alignment, "excess", True)]
    rows = []
    for trial in trials:
        cells = [head.of(trial) for head in heads]
        rows.append(
            {"trial": trial, "name": words.trial_name(trial), "label": words.regime_label(trial), "cells": cells}
        )
    return {"heads": heads, "rows": rows}


def heading(key: str) -> str:
    """A measure's key as a column or a curve is headed."""
    return glossary.short_label(glossary.parse(key))


def regime_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each trial against the standard trial of its seed: the ratios that the thresholds are laid on."""
    trials = summary["trials"]
    baselines = {t["seed"]: t for t in trials if t["objective"] == glossary.STANDARD}
    keys = story_keys(summary)
    out = []
    for trial in trials:
        if trial["objective"] in (glossary.STANDARD, *glossary.REFERENCES):
            continue
        baseline = baselines.get(trial["seed"])
        kappa, accuracy, on = (means(trial, baseline, key) for key in (KAPPA, "accuracy", keys.get("on", "")))
        out.append(
            {
                "trial": trial,
                "label": words.regime_label(trial),
                "kappa": kappa[0],
                "kappa_ratio": ratio(*kappa),
                "accuracy_change": None if None in accuracy else accuracy[0] - accuracy[1],
                "on_ratio": ratio(*on),
                "bands": trial.get("regime_bands"),
                "sensitivity": [(trial["regime_sensitivity"] or {}).get(margin) for margin in margins(summary)],
            }
        )
    return out


def margins(summary: Mapping[str, Any]) -> list[str]:
    """The accuracy margins that regimes were tried with, besides the chosen one."""
    tried = {margin for trial in summary["trials"] for margin in trial["regime_sensitivity"] or {}}
    chosen = summary["regimes"]["thresholds"]["accuracy_margin"]
    return sorted((margin for margin in tried if float(margin) != chosen), key=float)


def means(trial: Mapping[str, Any], baseline: Mapping[str, Any] | None, key: str) -> tuple[Any, Any]:
    """The measure's mean for a trial and for its baseline."""
    now = trial["measures"].get(key, {}).get("mean")
    return now, baseline["measures"].get(key, {}).get("mean") if baseline else None


def ratio(now: float | None, before: float | None) -> float | None:
    """now / before, where both are there."""
    return now / before if now is not None and before else None


def correlations(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The correlations, one entry per pair of axes, with its σ values to choose from."""
    out: dict[str, dict[str, Any]] = {}
    for item in summary["correlations"]:
        key = glossary.parse(item["y"])
        entry = out.setdefault(
            key.panel, {"id": key.panel, "text": glossary.describe(key), "x": item["x"], "items": []}
        )
        entry["items"].append(item | {"option": glossary.parameter_label(key), "value": key.value or 0.0})
    for entry in out.values():
        entry["items"].sort(key=lambda item: item["value"])
        entry["chosen"] = min(range(len(entry["items"])), key=lambda i: abs(entry["items"][i]["value"] - 0.5))
    return list(out.values())


def provenance(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions, hashes, seeds and times as pairs of words."""
    source = summary["provenance"]
    data = summary["data"]
    out = [("Data", f"{data['name']}, {data['train']} training and {data['measured']} measured images")]
    out += [("Licence of the data", data["licence"]), ("Hash of the data", data["digest"])]
    out.append(("Hash of the spec", summary["spec_hash"]))
    for name, value in source.items():
        if isinstance(value, Mapping):
            kept = {key: item for key, item in value.items() if not key.startswith("trial ")}  # have their own table
            out += [(f"{words.capital(name.replace('_', ' '))}: {key}", str(item)) for key, item in kept.items()]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            out.append((words.capital(name.replace("_", " ")), text))
    return out
