"""The section on estimators of the tangent space: does the claim hold under all of them?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.report.draw.canvas import STYLE, png_uri
from tangency.report.draw.tangents import tangents_figure
from tangency.report.read.keys import fraction_key
from tangency.report.read.run import RunFiles
from tangency.report.text.numbers import number
from tangency.report.text.tangents import claim_sentence


def tangents_section(run: RunFiles) -> dict[str, Any] | None:
    """The context of the section; None for a study with one estimator."""
    import matplotlib as mpl

    summary = run.summary
    tangents = summary.get("tangents")
    if not tangents:
        return None
    with mpl.rc_context(STYLE):
        figure = tangents_figure(run)
    names = [entry["name"] for entry in tangents["estimators"]]
    return {
        "estimators": tangents["estimators"],
        "sentence": claim_sentence(tangents),
        "figure": None if figure is None else png_uri(figure),
        "rows": [
            {
                "name": trial["id"],
                "cells": [_cell(trial, fraction_key(place, name)) for place, name in enumerate(names)],
            }
            for trial in summary["trials"]
            if trial["excess"]
        ],
    }


def _cell(trial: Mapping[str, Any], key: str) -> dict[str, str]:
    """F² of a trial under one estimator, and minus its best control."""
    excess = trial["excess"][key]
    low, high = (number(excess[end], 3, signed=True) for end in ("low", "high"))
    return {
        "fraction": number(trial["measures"][key]["mean"], 3),
        "excess": number(excess["mean"], 3, signed=True),
        "interval": f"{low} … {high}",
        "control": excess["best_control"].replace("_", " "),
    }
