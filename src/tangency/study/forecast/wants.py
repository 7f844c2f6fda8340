"""Data and weights that a study names, and which of them are not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tangency.data import KINDS
from tangency.errors import DataError, ModelError, RunError, quoted
from tangency.references import as_reference, parse
from tangency.score.references import fingerprint
from tangency.study.forecast.entries import Want
from tangency.study.guides import UNFITTED, guides_of, load_study_data
from tangency.study.spec import StudySpec
from tangency.types import Dataset

GUIDE = "sweep.options"  # the key of what objectives are given
_EDM = "https://nvlabs-fi-cdn.nvidia.com/edm/pretrained/"  # where the networks of Karras et al. (2022) are published


def wanted(spec: StudySpec) -> tuple[tuple[Want, ...], Dataset | None]:
    """What a spec names, each with why it cannot be had, and the data set where it can.

    Raises:
        TangencyError: the spec names what cannot be, whatever files there are.
    """
    loaded: list[Dataset] = []
    if parse(as_reference(spec.data).removeprefix("distractor:")).kind in KINDS:
        wants = [_want("data", spec.data, lambda: loaded.append(load_study_data(spec.data, spec.guide_fraction)))]
    else:  # a world, which needs no file
        wants, loaded = [Want(key="data", reference=spec.data)], [load_study_data(spec.data, spec.guide_fraction)]
    if spec.network_score:
        score = spec.network_score
        wants.append(_want("network_score", score, lambda: fingerprint(score), _home(score)))
    for guide in guides_of(entry.build(entry.strengths[0]) for entry in spec.sweep):
        if not guide.fitted and guide.reference not in UNFITTED:
            wants.append(_want(GUIDE, guide.reference, guide.identity))
    return tuple(wants), loaded[0] if loaded else None


def _want(key: str, reference: str, have: Callable[[], object], advice: str = "") -> Want:
    """A want, missing where the error says that a file is not there or cannot be read."""
    try:
        have()
    except (DataError, ModelError, RunError) as error:
        return Want(key=key, reference=reference, missing=quoted(error), advice=advice)
    return Want(key=key, reference=reference)


def _home(reference: str) -> str:
    """Where a trained score belongs, and where it is from if that is known."""
    parsed = parse(reference)
    path = Path(parsed.location or parsed.kind).expanduser().absolute()
    published = parsed.kind == "edm" and path.name.startswith("edm-")
    source = f"It is published as {_EDM}{path.name}. " if published else ""
    return (
        f"{source}Put it at {path}, or name another place in network_score; without that key, gradients are compared "
        "with the closed form alone."
    )
