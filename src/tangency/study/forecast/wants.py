"""Data and weights that a study names, and which of them are not there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tangency.data import KINDS
from tangency.errors import DataError, ModelError, RunError, quoted
from tangency.evaluate.classifiers.saved import find_classifier
from tangency.references import as_reference, parse
from tangency.score.references import fingerprint
from tangency.study.forecast.entries import Want
from tangency.study.given import load_given
from tangency.study.guides import UNFITTED, guides_of, load_study_data
from tangency.study.spec import StudySpec
from tangency.study.sweep import given_references, trained_entries
from tangency.types import Dataset

_STAND_INS = "stand-ins"  # folder of what the small twins of the ImageNet studies name
NETWORKS = "sweep.networks"  # key of a want
_TRANSFER = ("resnet18_l2_eps", "resnet50_l2_eps", "wide_resnet50_2_l2_eps")
_ROBUST = "https://github.com/microsoft/robust-models-transfer"  # the networks of Salman et al. (2020)
GUIDE = "sweep.options"  # the key of what objectives are given
_EDM = "https://nvlabs-fi-cdn.nvidia.com/edm/pretrained/"  # where the networks of Karras et al. (2022) are published


def wanted(spec: StudySpec) -> tuple[tuple[Want, ...], Dataset | None]:
    """What a spec names, each with why it cannot be had, and the data set where it can.

    Raises:
        TangencyError: the spec names what cannot be, whatever files there are.
    """
    loaded: list[Dataset] = []
    if parse(as_reference(spec.data).removeprefix("distractor:")).kind in KINDS:
        have = partial(_load_data, spec, loaded)
        wants = [_want("data", spec.data, have, stand_in(spec.data))]
    else:  # a world, which needs no file
        wants, loaded = [Want(key="data", reference=spec.data)], [load_study_data(spec.data, spec.guide_fraction)]
    if spec.network_score:
        score = spec.network_score
        wants.append(_want("network_score", score, lambda: fingerprint(score), _home(score)))
    data = loaded[0] if loaded else None
    for given in given_references(spec.sweep):
        wants.append(_want(NETWORKS, given, partial(_load, given, data), _given_home(given)))
    for guide in guides_of(entry.build(entry.strengths[0]) for entry in trained_entries(spec.sweep)):
        if not guide.fitted and guide.reference not in UNFITTED:
            wants.append(_want(GUIDE, guide.reference, guide.identity))
    return tuple(wants), data


def _load_data(spec: StudySpec, loaded: list[Dataset]) -> None:
    loaded.append(load_study_data(spec.data, spec.guide_fraction))


def stand_in(reference: str) -> str:
    """How a stand-in is made, in a sentence; "" for anything else."""
    if _STAND_INS not in Path(parse(reference).location).parts:
        return ""
    return f"It is a stand-in: `python scripts/stand_ins.py {_STAND_INS}`, in a checkout of tangency, makes it. "


def _load(reference: str, data: Dataset | None) -> None:
    if data is None:  # then only the file is looked for
        find_classifier(reference, "cpu")
    else:
        load_given(reference, data, "cpu")


def _given_home(reference: str) -> str:
    """Where a given network belongs, and where it is from if that is known."""
    parsed = parse(reference)
    path = Path(parsed.options.get("weights") or parsed.location or parsed.kind).expanduser().absolute()
    transferred = parsed.kind == "robustness" and path.name.startswith(_TRANSFER)
    source = stand_in(reference)
    if transferred and not source:
        source = f"One of this name is published at {_ROBUST}. "
    return f"{source}Put it at {path}, or leave it out of sweep.networks."


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
    source = f"It is published as {_EDM}{path.name}. " if published else stand_in(reference)
    return (
        f"{source}Put it at {path}, or name another place in network_score; without that key, gradients are compared "
        "with the closed form alone."
    )
