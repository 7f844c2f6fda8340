"""Measuring saved classifiers, beside or outside the study that made them."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import nn

from tangency.errors import DataError, ModelError, RunError
from tangency.evaluate.classifiers.sanity import check_classifier
from tangency.evaluate.fitting.tangents import study_tangents, tangents_identity
from tangency.evaluate.numbers import as_json, trial_numbers
from tangency.evaluate.pictures import keep_pictures
from tangency.evaluate.request import MeasureRequest
from tangency.evaluate.significance import add_significance
from tangency.evaluate.stream import Shards, Target, fill_shards, identity_of, planned_shards
from tangency.files import read_json, write_json
from tangency.measures import (
    MapFile,
    MeasureConfig,
    ReferenceSource,
    Rows,
    WorkingSize,
    budget_warnings,
    cascade,
    control_warnings,
    masking_warnings,
    read_maps,
    unidentified,
)
from tangency.measures.registry import control_of, family
from tangency.measures.similarity.metrics import external_weights
from tangency.perceptual.weights_files import external_digests
from tangency.score import Denoiser
from tangency.score.references import fingerprint
from tangency.statistics import PairedBootstrap, SumCosine
from tangency.study.baseline import regime_against, regime_alone
from tangency.study.found import Found, check_fits, find_classifier, find_mapped, independent
from tangency.study.measured import about_measured
from tangency.study.measured_score import scored
from tangency.study.working import measures_at
from tangency.tangents import Ground
from tangency.types import Dataset
from tangency.worlds import load_dataset

Tell = Callable[[str, float], None]
_FEW, _FEWEST = 30, 2  # images
_ALLOW = "--allow-random (allow_random=True)"


@dataclass(frozen=True)
class _Setting:
    """All that the classifiers of a request share.

    Args:
        data: what they are measured on.
        working: where score and tangent spaces live.
        config: what is measured.
        score: the closed form; None for none.
        source: of references.
        maps: attribution maps of the first classifier.
        about: what summary.json says of images and settings.
        identity: of the rows, besides their classifier and the measures.
        warnings: about the data and the scores, in sentences.
    """

    data: Dataset
    working: WorkingSize
    config: MeasureConfig
    score: Denoiser | None
    source: ReferenceSource
    maps: MapFile | None
    about: dict[str, Any]
    identity: list[object]
    warnings: list[str]


def measure_models(asked: MeasureRequest, tell: Tell | None = None) -> list[dict[str, Any]]:
    """Every measure of saved classifiers on a data set, with intervals.

    Rows go to disk in shards of 250 images: memory does not grow with their number, and a measurement that was broken
    off goes on from its last shard.

    Args:
        asked: what is measured.
        tell: told what is done, and the share.

    Returns:
        For each classifier {"model", "reading", "check", "data", "measured", "warnings": [sentence], "measures": {key:
        estimate}, "excess": {key: estimate}, "regime": {…}}, what a comparison needs to know ("digest", "shape",
        "classes", "settings"), and "maps", "weights" and "cascade" where they were used.
    """
    given = load_dataset(asked.data) if asked.data else None
    found = [find_mapped(model, asked.device, given, asked.trust_code, asked.class_map) for model in asked.models]
    asked = dataclasses.replace(asked, models=tuple(one.reference for one in found))
    name = asked.data or (found[0].spec.data if found[0].spec else found[0].classifier.card.provenance.get("data"))
    if not name:
        raise ModelError(f"model '{asked.models[0]}': its card names no data set; give one with --data.")
    data = given or load_dataset(str(name))
    if len(data.test) < _FEWEST:
        raise DataError(
            f"'{data.name}': has one test image, expected at least {_FEWEST}, since the controls need another one."
        )
    base = find_classifier(asked.baseline, asked.device, data, asked.trust_code) if asked.baseline else None
    for one in [*found, *([base] if base else [])]:
        check_fits(one.classifier.card, data, f"model '{one.reference}'", str(name))
    found = [independent(one, data, _ALLOW, asked.allow_random) for one in found]
    base = independent(base, data, _ALLOW, asked.allow_random) if base is not None else None
    with TemporaryDirectory() as temporary:
        folder = asked.place or Path(temporary)
        setting = _setting(asked, found[0], str(name), data, folder)
        _refuse_others(asked, setting)
        rows = _rows(asked, setting, [*found, *([base] if base else [])], folder / "shards", tell)
        summaries = []
        for number, one in enumerate(found):
            summary = _summary(asked, setting, one, rows[number][0].rows())
            if number == 0 and asked.stages:
                summary |= _cascaded(rows[0][1:], found[0], asked.stages, summary)
            if base is None:
                summary["regime"] = regime_alone(summary)
            else:
                other = rows[-1][0].rows()
                summary["regime"] = regime_against(
                    rows[number][0].rows(), other, base.reference, base.classifier.card, data
                )
            _keep(asked, number, summary, rows[number][0], setting, one)
            summaries.append(summary)
    return summaries


def _setting(asked: MeasureRequest, first: Found, name: str, data: Dataset, folder: Path) -> _Setting:
    base = measures_at(asked.config(first.spec.measures if first.spec else MeasureConfig()), data, name)
    working = base.working(data.test.shape)
    shown = working.dataset(data)
    found = scored(asked, first, name, (data, shown), base)
    named, config = found.named, measures_at(found.config, data, name)
    maps = read_maps(asked.maps, len(data.test), data.test.shape) if asked.maps else None
    fitted = first.run / "artefacts" if first.run is not None else folder
    ground = Ground(shown, asked.device, found.network or found.closed)
    source = ReferenceSource(
        found.closed,
        study_tangents(found.tangents, found.own, ground, fitted),
        shown.test,
        shown.train,
        config.with_maps(maps.maps if maps else ()),
        asked.device,
        found.network,
        data.test,
    )
    about = about_measured(data, config, found.fit, tangents=list(found.tangents), network_score=named)
    identity: list[object] = [
        about["digest"],
        about["settings"],
        tangents_identity(found.tangents),
        fingerprint(named) if named else "",
        external_digests(external_weights(config.metrics)),
        maps.sha256 if maps else "",
    ]
    notes = [*data.notes, *found.notes, *([] if working.whole else [f"{working.sentence}."])]
    return _Setting(data, working, config, found.closed, source, maps, about, identity, notes)


def _rows(
    asked: MeasureRequest, setting: _Setting, found: Sequence[Found], folder: Path, tell: Tell | None
) -> list[list[Shards]]:
    """Shards of every classifier, measured where they are missing; of the first one's cascade, too."""
    several: list[list[Target]] = []
    for number, one in enumerate(found):
        maps = setting.maps if number == 0 else None
        classifiers: list[tuple[nn.Module, MapFile | None]] = [(one.classifier, maps)]
        if number == 0 and asked.stages:
            # copies, since each stage is the same object, changed
            classifiers += [(copy.deepcopy(changed), None) for _, changed in cascade(one.classifier, 0, asked.stages)]
        targets = []
        for classifier, own in classifiers:
            card = dataclasses.asdict(one.classifier.card) | {"provenance": None}
            told = [*setting.identity, one.reference, card, own is not None]
            identity = identity_of(classifier, told, setting.config)
            dimension, classes = math.prod(setting.working.shape), one.classifier.classes
            shards = planned_shards(setting.data.test, asked.limit, folder / identity, classes, dimension)
            targets.append(Target(shards, classifier, own))
        several.append(targets)
    everything = [target for targets in several for target in targets]
    fill_shards(everything, setting.data.test, setting.source, setting.config, tell, asked.batch_size)
    return [[target.shards for target in targets] for targets in several]


def _refuse_others(asked: MeasureRequest, setting: _Setting) -> None:
    """Raise where the folder holds the numbers of another classifier, or of other data or settings."""
    if asked.place is not None and len(asked.models) > 1 and (asked.place / "summary.json").exists():
        raise RunError(f"output '{asked.out}': holds one measured classifier, expected a free name for several.")
    for number, model in enumerate(asked.models):
        folder = asked.folder(number)
        if folder is None or not (folder / "summary.json").exists():
            continue
        held = read_json(folder / "summary.json")
        known = (held.get("model"), held.get("digest"), held.get("settings"))
        if known != (model, setting.about["digest"], setting.about["settings"]):
            raise RunError(
                f"output '{folder}': holds the numbers of '{known[0]}' on '{held.get('data')}', or of other settings; "
                "expected the same as asked for now, or a free name; use --out."
            )


def _told(setting: _Setting, network: Found, rows: Rows, maps: MapFile | None) -> list[str]:
    """What a reader of the numbers should know: in sentences."""
    config = setting.config
    found = cast("list[str]", network.classifier.card.provenance.get("warnings", []))
    found = found + setting.warnings + budget_warnings(config.robustness, config.epsilons, setting.data.test.shape)
    found += unidentified(config.quantities) + masking_warnings(rows.columns)
    found += control_warnings(rows.columns)
    if len(rows.ids) < _FEW:
        found.append(f"{len(rows.ids)} images are few: intervals, p-values and ranks of so small a sample say little.")
    if "cka" in setting.config.metrics:
        found += _about_cka(len(rows.ids), len(setting.data.test), setting.config.candidates + 1)
    for name, values in (maps.at(rows.ids) if maps else {}).items():
        zero = int((values.flatten(1) == 0).all(1).sum())
        if zero:
            found.append(f"map '{name}': is zero for {zero} of {len(rows.ids)} images, which have no direction.")
    return found


def _about_cka(images: int, pool: int, gallery: int) -> list[str]:
    found = []
    if images < SumCosine.fewest:
        found.append(
            f"alignment_cka: has no interval: of fewer than {SumCosine.fewest} images (these are {images}) none holds "
            "the truth as often as it says."
        )
    elif pool < 2 * gallery:
        found.append(
            f"alignment_cka: its interval is too narrow (where the truth is known it holds it 70 to 90 % of the time, "
            f"not 95 %), since most of the {pool} test images are in the gallery that they are compared with."
        )
    return found


def _summary(asked: MeasureRequest, setting: _Setting, found: Found, rows: Rows) -> dict[str, Any]:
    weights = external_digests(external_weights(setting.config.metrics))
    maps = setting.maps
    return {
        "model": found.reference,
        "reading": found.classifier.card.provenance.get("reading", []),
        "check": check_classifier(found.classifier, setting.data),
        "data": setting.data.name,
        "measured": len(rows.ids),
        "warnings": _told(setting, found, rows, maps if found.reference == asked.models[0] else None),
        **setting.about,
        **estimates(rows),
        **({"weights": weights} if weights else {}),
        **({"maps": {"file": str(maps.path), "sha256": maps.sha256, "names": list(maps.maps)}} if maps else {}),
    }


def _cascaded(shards: Sequence[Shards], found: Found, stages: int, summary: dict[str, Any]) -> dict[str, Any]:
    """The measures with more and more layers drawn anew, and those with all of them as the control "untrained"."""
    measures, warnings = summary["measures"], list(summary["warnings"])
    names = [name for name, _ in cascade(found.classifier, 0, stages)]
    told = [{"from_layer": name, **estimates(own.rows())} for name, own in zip(names, shards, strict=True)]
    last = told[-1]["measures"]
    untrained = {
        f"{key}.untrained": last[key]
        for key in measures
        if key in last and control_of(key) is None and family(key).startswith(("alignment", "tangent_fraction"))
    }
    if len(names) < stages:
        warnings.append(
            f"cascade: {stages} stages asked for, but only {len(names)} layers hold weights: {len(names)} run."
        )
    return {"cascade": told, "measures": measures | untrained, "warnings": warnings}


def estimates(rows: Rows, replicates: int = 2000) -> dict[str, Any]:
    """Rows to numbers with 95 % paired-bootstrap intervals, pooled κ and ρ₂ among them.

    Args:
        rows: of one classifier, from `measure`.
        replicates: bootstrap resamples of the images.

    Returns:
        {"measures": {key: {"mean", "low", "high", "n", "degenerate", "chance"}}, "excess": {key: F² minus its best
        control, alignments minus the shuffled one, likewise, with the excess over each control under "controls",
        one-sided permutation "p" and effect sizes "dz" and "null_sd"}}.
    """
    columns = {key: values.cpu().numpy() for key, values in rows.columns.items()}
    found = trial_numbers(columns, PairedBootstrap(len(rows.ids), replicates), rows.dimension, rows.classes)
    summary: dict[str, Any] = {
        "measures": {key: as_json(e, chance=found.chance[key]) for key, e in found.estimates.items()},
        "excess": {
            key: as_json(e.estimate, best_control=e.best, controls={n: as_json(c) for n, c in e.controls.items()})
            for key, e in found.excess.items()
        },
    }
    add_significance(summary, columns)
    return summary


def _keep(
    asked: MeasureRequest, number: int, summary: dict[str, Any], shards: Shards, setting: _Setting, found: Found
) -> None:
    out = asked.folder(number)
    if out is None:
        return
    ids = torch.cat(shards.images).sort().values
    keep_pictures(out, found.classifier, setting.score, setting.data.test, ids, setting.config, asked.device)
    shards.write_long(out / "rows.parquet")
    write_json(out / "summary.json", summary)
