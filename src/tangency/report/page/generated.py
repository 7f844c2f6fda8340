"""The section of a study's page on generation: answers, figures, pictures, and the numbers of every network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tangency.generation.tasks.table import TASKS
from tangency.measures.keys import FRACTION
from tangency.report.draw.canvas import STYLE, png_uri
from tangency.report.draw.generation import generation_figures
from tangency.report.draw.pixels import data_uri, photograph
from tangency.report.read.run import RunFiles
from tangency.report.read.trials import BAYES, REFERENCES
from tangency.report.text.generation import (
    AGAINST,
    REFERENCE_NAMES,
    correlation_words,
    judge_words,
    peak_sentences,
    quality_label,
    quality_shown,
    task_lead,
)
from tangency.report.text.glossary import REGIMES, objective_name
from tangency.report.text.trials import trial_name

_SIDE = 96  # pixels of a side of a picture at most
_FIRST = ("truth", "real", "input", "score", "mixture", "bayes")  # order of the references above the pictures


def generated_section(run: RunFiles) -> dict[str, Any] | None:
    """The context of the section; None where the study generated nothing."""
    import matplotlib as mpl

    generation = run.summary.get("generation")
    if not generation:
        return None
    drawings = generation_figures(run)
    entries = []
    with mpl.rc_context(STYLE):
        for entry in generation["entries"]:
            section = _entry(run, entry, generation["about"])
            for place, tail in (("quality", ""), ("alignment", "-alignment")):
                draw = drawings.get(f"generation-{entry['name']}{tail}")
                figure = None if draw is None else draw(run)
                section["figures"][place] = None if figure is None else png_uri(figure)
            entries.append(section)
    judge = generation["judge"]
    return {
        "judge": judge_words(judge),
        "warning": judge["warning"],
        "method": generation["method"],
        "entries": entries,
    }


def _entry(run: RunFiles, entry: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """The context of one task."""
    shown = list(entry["qualities"])
    number = entry["name"].partition("-")[2]
    return {
        "id": entry["name"],
        "title": TASKS[entry["task"]].title + (f" ({number})" if number else ""),
        "lead": task_lead(entry),
        "peaks": peak_sentences(entry, quality_shown(entry)),
        "figures": {},
        "main": quality_label(quality_shown(entry)[0], {}) if shown else "",
        "heads": [{"title": quality_label(name, about[name]), "about": about[name]} for name in shown],
        "rows": _references(entry, shown) + _cells(entry, shown),
        "correlations": _correlations(entry, shown, about),
        "pictures": pictures_of(run, entry),
        "how": {REFERENCE_NAMES.get(source, source): made["how"] for source, made in entry["references"].items()},
        "unavailable": {name: why for name, why in entry["unavailable"].items() if not name.startswith("frechet_")},
    }


def _cells(entry: Mapping[str, Any], shown: list[str]) -> list[dict[str, Any]]:
    """A row for each objective and strength, with a cell for each quality."""
    return [
        {
            "name": trial_name(cell),
            "regime": REGIMES[cell["regime"]][0] if cell["regime"] in REGIMES else "",
            "cells": [cell["measures"].get(name) for name in shown],
            "excess": [cell["excess"].get(key) for key in (FRACTION, entry["alignment"])],
        }
        for cell in entry["cells"]
    ]


def _references(entry: Mapping[str, Any], shown: list[str]) -> list[dict[str, Any]]:
    """A row for each reference, with a cell for each quality."""
    rows = []
    for source in _FIRST:
        if source not in entry["references"]:
            continue
        cells = [entry["references"][source]["measures"].get(name) for name in shown]
        if any(cells):
            rows.append(
                {"name": REFERENCE_NAMES[source], "regime": "reference", "cells": cells, "excess": [None, None]}
            )
    return rows


def _correlations(entry: Mapping[str, Any], shown: list[str], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each scope and quantity correlated with, with a cell for each quality."""
    pairs = dict.fromkeys((each["scope"], each["against"]) for each in entry["correlations"])
    return [
        {
            "scope": "all" if scope == "all" else objective_name(scope),
            "against": AGAINST[against],
            "cells": [
                correlation_words(entry, name, against, scope).removeprefix("rank correlation ") for name in shown
            ],
        }
        for scope, against in pairs
    ]


def pictures_of(run: RunFiles, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of pictures: references, then the networks of the first seed by objective and strength."""
    name = entry["name"]
    labels = run.generated[f"{name}.labels"]
    classes = run.summary["data"]["classes"]
    rows = [
        {"name": REFERENCE_NAMES[source], "kind": "reference", "cells": _uris(pictures)}
        for source in _FIRST
        if (pictures := run.generated.get(f"{name}.reference.{source}")) is not None
    ]
    seed = min(trial["seed"] for trial in entry["trials"])
    for trial in entry["trials"]:
        if trial["seed"] == seed or trial["objective"] == BAYES:
            kind = "control" if trial["objective"] in REFERENCES else ""
            rows.append(
                {"name": trial_name(trial), "kind": kind, "cells": _uris(run.generated[f"{name}.trial.{trial['id']}"])}
            )
    return {"rows": rows, "labels": [str(classes[int(y)]) if y >= 0 else "" for y in labels], "seed": seed}


def _uris(pictures: np.ndarray) -> list[str]:
    return [data_uri(photograph(picture), _SIDE) for picture in pictures]
