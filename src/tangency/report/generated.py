"""The section of a study's page on generation: what was found, figures, pictures, and the numbers of every cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tangency.generate.tasks.table import TASKS
from tangency.report.canvas import STYLE
from tangency.report.generated_figures import (
    LEVELS,
    correlation_words,
    generation_figures,
    quality_label,
    quality_shown,
)
from tangency.report.glossary import REFERENCES, REGIMES, objective_name
from tangency.report.inputs import RunFiles
from tangency.report.pictures import data_uri, photograph
from tangency.report.trusted import png_uri
from tangency.report.words import capital, strength_label

_SIDE = 96  # pixels of a picture at most
_FIRST = ("truth", "real", "input", "score", "mixture", "bayes")  # order of the references above the pictures
_AGAINST = {"F²": "F² minus shuffled", "alignment": "alignment minus shuffled", "log_strength": "log strength"}


def generated_section(run: RunFiles) -> dict[str, Any] | None:
    """What the template shows; None where the study generated nothing."""
    import matplotlib as mpl

    told = run.summary.get("generation")
    if not told:
        return None
    drawings = generation_figures(run)
    entries = []
    with mpl.rc_context(STYLE):
        for entry in told["entries"]:
            found = _entry(run, entry, told["about"])
            for place, tail in (("quality", ""), ("alignment", "-alignment")):
                draw = drawings.get(f"generation-{entry['name']}{tail}")
                figure = None if draw is None else draw(run)
                found["figures"][place] = None if figure is None else png_uri(figure)
            entries.append(found)
    judge = told["judge"]
    words = {"judge": judge_words(judge), "warning": judge["warning"]}
    return words | {"method": told["method"], "entries": entries}


def judge_words(judge: Mapping[str, Any]) -> str:
    """The judge in words, with how good it is."""
    if "reference" in judge:
        who = f"the saved network {judge['reference']}"
    else:
        options = ", ".join(f"{name} {value}" for name, value in judge["options"].items())
        kind = f"{judge['architecture']}{f' ({options})' if options else ''}"
        who = f"a {kind} of seed {judge['seed']}, trained by this study"
    return f"{who}, with {accuracy_words(judge['accuracy'])}"


def accuracy_words(found: Mapping[str, Any]) -> str:
    """The accuracy of a judge, with its interval and chance."""
    return (
        f"accuracy {found['mean']:.1%} on {found['n']} test images ({found['low']:.1%} to {found['high']:.1%}; "
        f"chance {found['chance']:.1%})"
    )


def _entry(run: RunFiles, entry: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    shown = list(entry["qualities"])
    number = entry["name"].partition("-")[2]
    return {
        "id": entry["name"],
        "title": TASKS[entry["task"]].title + (f" ({number})" if number else ""),
        "lead": _lead(entry),
        "peaks": _peaks(entry, quality_shown(entry)),
        "figures": {},
        "main": quality_label(quality_shown(entry)[0], {}) if shown else "",
        "heads": [{"title": quality_label(name, about[name]), "about": about[name]} for name in shown],
        "rows": _references(entry, shown) + _cells(entry, shown),
        "correlations": _correlations(entry, shown, about),
        "pictures": pictures_of(run, entry),
        "how": {LEVELS.get(s, (s,))[0]: told["how"] for s, told in entry["references"].items()},
        "unavailable": {name: why for name, why in entry["unavailable"].items() if not name.startswith("frechet_")},
    }


def _lead(entry: Mapping[str, Any]) -> str:
    settings = entry["settings"]
    climb, described = settings["climb"], TASKS[entry["task"]].described(settings)
    what = f", {described}" if described else ""
    ways = f"at most {climb['steps']} {climb['rule']} steps, " if "steps" in climb else ""
    return (
        f"{entry['count']} images for each network{what}; {ways}the same seeds for every network. References get as "
        "many passes of a network."
    )


def _peaks(entry: Mapping[str, Any], shown: list[str]) -> list[str]:
    """The answer for each objective, of the first quality."""
    return [
        f"{capital(objective_name(found['objective']))}: {found['words'][0].lower()}{found['words'][1:]}"
        for found in entry["peaks"]
        if shown and found["quality"] == shown[0]
    ]


def _cells(entry: Mapping[str, Any], shown: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": objective_name(cell["objective"])
            + (f" {strength_label(cell['strength'])}" if cell["strength"] else ""),
            "regime": REGIMES[cell["regime"]][0] if cell["regime"] in REGIMES else "",
            "cells": [cell["measures"].get(name) for name in shown],
            "excess": [cell["excess"].get(key) for key in ("tangent_fraction.logp_y", entry["alignment"])],
        }
        for cell in entry["cells"]
    ]


def _references(entry: Mapping[str, Any], shown: list[str]) -> list[dict[str, Any]]:
    sources = [source for source in _FIRST if source in entry["references"]]
    rows = []
    for source in sources:
        cells = [entry["references"][source]["measures"].get(name) for name in shown]
        name = LEVELS.get(source, (source, "", ""))[0]
        if any(cells):
            rows.append({"name": name, "regime": "reference", "cells": cells, "excess": [None, None]})
    return rows


def _correlations(entry: Mapping[str, Any], shown: list[str], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each scope and other number, a cell for each quality."""
    pairs = dict.fromkeys((found["scope"], found["against"]) for found in entry["correlations"])
    return [
        {
            "scope": "all" if scope == "all" else objective_name(scope),
            "against": _AGAINST[against],
            "cells": [
                correlation_words(entry, name, against, scope).removeprefix("rank correlation ") for name in shown
            ],
        }
        for scope, against in pairs
    ]


def pictures_of(run: RunFiles, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of pictures: references, then the networks of the first seed by objective and strength."""
    held, name = run.generated, entry["name"]
    labels = held[f"{name}.labels"]
    classes = run.summary["data"]["classes"]
    rows = [
        {"name": "truth" if source == "truth" else LEVELS[source][0], "kind": "reference", "cells": _uris(found)}
        for source in _FIRST
        if (found := held.get(f"{name}.reference.{source}")) is not None
    ]
    seed = min(trial["seed"] for trial in entry["trials"])
    for trial in entry["trials"]:
        if trial["seed"] == seed or trial["objective"] == "bayes":
            kind = "control" if trial["objective"] in REFERENCES else ""
            label = objective_name(trial["objective"])
            label += f" {strength_label(trial['strength'])}" if trial["strength"] else ""
            rows.append({"name": label, "kind": kind, "cells": _uris(held[f"{name}.trial.{trial['id']}"])})
    return {"rows": rows, "labels": [str(classes[int(y)]) if y >= 0 else "" for y in labels], "seed": seed}


def _uris(pictures: np.ndarray) -> list[str]:
    return [data_uri(photograph(picture), _SIDE) for picture in pictures]
