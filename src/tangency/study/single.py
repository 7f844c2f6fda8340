"""Measuring one saved classifier, beside or outside the study that made it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tangency.data import load
from tangency.errors import ModelError, RunError
from tangency.files import atomic, write_json
from tangency.measures import MeasureConfig, Rows, measure
from tangency.mixtures import Mixture, fit_mixture, load_mixture
from tangency.models import Classifier, load_classifier
from tangency.score import MixtureScore
from tangency.seeding import permutation
from tangency.statistics import PairedBootstrap
from tangency.study.layout import Layout
from tangency.study.numbers import as_json, trial_numbers
from tangency.study.plan import score_hash
from tangency.study.spec import StudySpec, load_spec
from tangency.tangents import MixtureTangents
from tangency.types import Dataset


@dataclass(frozen=True)
class Found:
    """A classifier that a reference names, with the study it comes from, where there is one."""

    classifier: Classifier
    path: Path
    run: Path | None
    spec: StudySpec | None


def find_classifier(reference: str, device: str) -> Found:
    """The classifier behind `run:RUN/trials/<hash>` or a safetensors file written by tangency."""
    kind, _, location = reference.partition(":")
    if kind == "run" and location:
        folder = Path(location)
        path, run = folder / "model.safetensors", folder.parent.parent
        if not path.exists():
            raise ModelError(
                f"model '{reference}': '{path}' is not there; give run:RUN/trials/<hash> of a trained trial."
            )
        if not (run / "spec.yaml").exists():
            raise RunError(f"model '{reference}': '{run}' holds no spec.yaml, expected a run directory of a study.")
        return Found(load_classifier(path, device), path, run, load_spec(run / "spec.yaml"))
    path = Path(reference)
    if path.suffix != ".safetensors":
        raise ModelError(f"model '{reference}': expected run:RUN/trials/<hash> or a .safetensors file with a card.")
    return Found(load_classifier(path, device), path, None, None)


def _score(found: Found, data: Dataset, device: str) -> Mixture:
    """The study's own fitted score where the data are the study's, else one fitted now."""
    if found.spec is not None and found.run is not None:
        stored = Layout(found.run).score(score_hash(found.spec, data))
        if stored.exists():
            return load_mixture(stored, device)[0]
    return fit_mixture(data.train, device=device)[0]


def measure_reference(
    model: str, data: str | None = None, *, limit: int = 500, out: Path | None = None, device: str = "cpu"
) -> dict[str, Any]:
    """Every measure of one saved classifier on a data set, with intervals.

    Args:
        model: reference of the classifier.
        data: reference of the data set; that of the classifier's study by default.
        limit: test images, a fixed random subset.
        out: folder for rows.parquet and summary.json; nothing is written without it.

    Returns:
        {"model", "data", "measured", "measures": {key: estimate}, "excess": {key: estimate}}.
    """
    found = find_classifier(model, device)
    name = data or (found.spec.data if found.spec else str(found.classifier.card.provenance.get("data", "")))
    if not name:
        raise ModelError(f"model '{model}': its card names no data set; give one with --data.")
    if limit < 2:
        raise RunError(f"limit: got {limit}, expected at least 2 images, since the controls need another one.")
    loaded = load(name)
    config = found.spec.measures if found.spec else MeasureConfig()
    mixture = _score(found, loaded, device)
    ids = permutation(len(loaded.test), 0, "measured images")[:limit].sort().values
    x, y = loaded.test.images(ids).to(device), loaded.test.labels[ids].to(device)
    rows = measure(
        found.classifier,
        x,
        y,
        reference=loaded.train,
        score=MixtureScore(mixture),
        tangents=MixtureTangents(mixture),
        config=config,
        pool=loaded.test,
        ids=ids.to(device),
    )
    summary = {"model": model, "data": loaded.name, "measured": len(ids), **_numbers(rows, loaded)}
    if out is not None:
        _write(rows, summary, out)
    return summary


def _numbers(rows: Rows, data: Dataset) -> dict[str, Any]:
    columns = {key: values.cpu().numpy() for key, values in rows.columns.items()}
    found = trial_numbers(columns, PairedBootstrap(len(rows.ids)), math.prod(data.test.shape), len(data.test.classes))
    return {
        "measures": {key: as_json(e, chance=found.chance[key]) for key, e in found.estimates.items()},
        "excess": {key: as_json(e.estimate, best_control=e.best) for key, e in found.excess.items()},
    }


def _write(rows: Rows, summary: dict[str, Any], out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RunError(f"output '{out}': got a file, expected a folder or a name that is free; use --out.")
    order = torch.argsort(rows.ids)
    ordered = Rows(rows.ids[order], {key: values[order] for key, values in rows.columns.items()}, rows.dimension)
    with atomic(out / "rows.parquet") as temporary:
        ordered.frame().write_parquet(temporary)
    write_json(out / "summary.json", summary)
