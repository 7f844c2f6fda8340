"""Measuring one saved classifier, beside or outside the study that made it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tangency.errors import ModelError, RunError, unknown_name
from tangency.files import atomic, write_json
from tangency.measures import NETWORK_ALIGNMENTS, MeasureConfig, Rows, measure
from tangency.models import Classifier, load_classifier
from tangency.score import Denoiser, load_score
from tangency.score.references import fingerprint
from tangency.seeding import permutation
from tangency.statistics import PairedBootstrap
from tangency.study.baseline import regime_against, regime_alone
from tangency.study.fit_tangents import check_tangents, study_tangents
from tangency.study.layout import Layout, read_json, weights_file
from tangency.study.measured import about_measured
from tangency.study.network import able, check_answers
from tangency.study.numbers import as_json, trial_numbers
from tangency.study.plan import BAYES, score_hash
from tangency.study.score import Estimators, new_estimators
from tangency.study.score import estimators as estimators_of
from tangency.study.significance import add_significance
from tangency.study.single_pictures import keep_pictures
from tangency.study.spec import ScoreSpec, StudySpec, load_spec
from tangency.tangents import Ground
from tangency.types import Card, Dataset
from tangency.worlds import load_dataset


@dataclass(frozen=True)
class Found:
    """A classifier that a reference names, with the study it comes from, where there is one."""

    classifier: Classifier
    path: Path
    run: Path | None
    spec: StudySpec | None


def find_classifier(reference: str, device: str) -> Found:
    """The classifier behind `run:RUN/trials/TRIAL` (id or hash) or a safetensors file written by tangency."""
    kind, _, location = reference.partition(":")
    if kind == "run" and location:
        folder = _trial_folder(Path(location), reference)
        path, run = folder / "model.safetensors", folder.parent.parent
        if not path.exists() and read_json(folder / "trial.json").get("objective") == BAYES:
            raise ModelError(
                f"model '{reference}': the Bayes rule has no weights; its numbers stand in '{run / 'summary.json'}', "
                "and tangency.BayesClassifier(tangency.make_world(…)) is the rule itself."
            )
        if not path.exists():
            raise ModelError(
                f"model '{reference}': '{path}' is not there; this trial is not trained yet, run the study."
            )
        if not (run / "spec.yaml").exists():
            raise RunError(f"model '{reference}': '{run}' holds no spec.yaml, expected a run directory of a study.")
        spec = load_spec(run / "spec.yaml")
        path = weights_file(folder, spec.weights)
        return Found(load_classifier(path, device), path, run, spec)
    path = Path(reference)
    if path.suffix != ".safetensors":
        raise ModelError(f"model '{reference}': expected run:RUN/trials/TRIAL or a .safetensors file with a card.")
    return Found(load_classifier(path, device), path, None, None)


def _trial_folder(named: Path, reference: str) -> Path:
    """RUN/trials/<hash> from that very path, or from RUN/trials/<id>."""
    if named.is_dir():
        return named
    ids = {read_json(path)["id"]: path.parent for path in sorted(named.parent.glob("*/trial.json"))}
    if named.name not in ids:
        raise ModelError(f"model '{reference}': {unknown_name('trial', named.name, ids) if ids else 'no such run.'}")
    return ids[named.name]


def _estimators(found: Found, reference: str, data: Dataset, device: str) -> Estimators:
    """The study's own fitted score where the data are the study's, else an exact one, or one fitted now."""
    if found.spec is not None and found.run is not None:
        stored = Layout(found.run).score(score_hash(found.spec, data))
        if stored.exists():
            return estimators_of(found.spec, stored, device)
    return new_estimators(reference, data, found.spec.score if found.spec else ScoreSpec(), device)


def _check_fits(card: Card, data: Dataset, model: str) -> None:
    """Raise where a label of the data would mean something else to the classifier."""
    if card.shape != data.test.shape:
        raise ModelError(
            f"model '{model}': takes images of shape {card.shape}, '{data.name}' has {data.test.shape}; choose data of "
            "the classifier's size, or a classifier trained on these."
        )
    if card.classes != data.test.classes:
        raise ModelError(
            f"model '{model}': its classes are {', '.join(card.classes)}, those of '{data.name}' are "
            f"{', '.join(data.test.classes)}; expected the same in the same order. Where only the names differ, "
            "name them with ?classes=a,b,c behind a parquet: or npz: reference."
        )


def _network(found: Found, asked: str | None, data: Dataset, device: str) -> tuple[Denoiser | None, MeasureConfig]:
    """The trained score that is compared with too, and what is measured: its targets where nobody named others."""
    config = found.spec.measures if found.spec else MeasureConfig()
    reference = asked or (found.spec.network_score if found.spec else "")
    if not reference:
        return None, config
    fingerprint(reference)  # a closed form is refused
    network = load_score(reference, data, device)
    if not config.network_targets:
        more = tuple(pair for pair in NETWORK_ALIGNMENTS if pair[1] in able(network))
        more = more or (("logit_y", "network_score_y"),)
        config = dataclasses.replace(config, alignments=(*config.alignments, *more))
    check_answers(network, reference, config)
    return network, config


def measure_reference(
    model: str,
    data: str | None = None,
    *,
    score: str | None = None,
    tangents: tuple[str, ...] = (),
    limit: int = 500,
    out: Path | None = None,
    device: str = "cpu",
    baseline: str | None = None,
) -> dict[str, Any]:
    """Every measure of one saved classifier on a data set, with intervals.

    Args:
        model: reference of the classifier.
        data: reference of the data set; that of the classifier's study by default.
        score: reference of a trained score that gradients are compared with too; that of the study by default.
        tangents: references of tangent spaces; those of its study by default, or of a mixture fitted now.
        limit: test images, a fixed random subset.
        out: folder for rows.parquet, summary.json and pictures.safetensors; nothing is written without it.
        baseline: reference of a standard-trained classifier of the same data, against which the regime is judged.

    Returns:
        {"model", "data", "measured", "measures": {key: estimate}, "excess": {key: estimate}, "regime": {…}}, and what
        `compare_measured` needs to know: "digest", "shape", "classes", "settings".
    """
    found = find_classifier(model, device)
    name = data or (found.spec.data if found.spec else str(found.classifier.card.provenance.get("data", "")))
    if not name:
        raise ModelError(f"model '{model}': its card names no data set; give one with --data.")
    if limit < 2:
        raise RunError(f"limit: got {limit}, expected at least 2 images, since the controls need another one.")
    if out is not None and out.exists() and not out.is_dir():
        raise RunError(f"output '{out}': got a file, expected a folder or a name that is free; use --out.")
    loaded = load_dataset(name)
    _check_fits(found.classifier.card, loaded, model)
    network, config = _network(found, score, loaded, device)
    closed_form, own = _estimators(found, name, loaded, device)
    asked = tangents or (found.spec.tangents if found.spec else ())
    check_tangents(asked, loaded)
    folder = found.run / "artefacts" if found.run is not None else out
    with TemporaryDirectory() as temporary:
        ground = Ground(loaded, device, network or closed_form)
        several = study_tangents(asked, own, ground, folder or Path(temporary))
    ids = permutation(len(loaded.test), 0, "measured images")[:limit].sort().values
    x, y = loaded.test.images(ids).to(device), loaded.test.labels[ids].to(device)

    def measured(classifier: Classifier) -> Rows:
        return measure(
            classifier,
            x,
            y,
            reference=loaded.train,
            score=closed_form,
            tangents=several,
            config=config,
            pool=loaded.test,
            ids=ids.to(device),
            network=network,
        )

    rows = measured(found.classifier)
    score_spec = found.spec.score if found.spec else ScoreSpec()
    named = score or (found.spec.network_score if found.spec else "")
    about = about_measured(loaded, name, config, score_spec, tangents=list(asked), network_score=named)
    summary = {"model": model, "data": loaded.name, "measured": len(ids), **about, **estimates(rows)}
    if baseline is None:
        summary["regime"] = regime_alone(summary)
    else:
        other = find_classifier(baseline, device).classifier
        _check_fits(other.card, loaded, baseline)
        summary["regime"] = regime_against(rows, measured(other), baseline, other.card, loaded)
    if out is not None:
        keep_pictures(out, found.classifier, closed_form, loaded.test, ids, config, device)
        _write(rows, summary, out)
    return summary


def estimates(rows: Rows, replicates: int = 2000) -> dict[str, Any]:
    """Rows to numbers with 95 % paired-bootstrap intervals, pooled κ and ρ₂ among them.

    Args:
        rows: of one classifier, from `measure`.
        replicates: bootstrap resamples of the images.

    Returns:
        {"measures": {key: {"mean", "low", "high", "n", "degenerate", "chance"}}, "excess": {key: the measure minus its
        best control, likewise, with "controls", one-sided permutation "p" and effect sizes "dz" and "null_sd"}}.
    """
    columns = {key: values.cpu().numpy() for key, values in rows.columns.items()}
    found = trial_numbers(columns, PairedBootstrap(len(rows.ids), replicates), rows.dimension, rows.classes)
    summary: dict[str, Any] = {
        "measures": {key: as_json(e, chance=found.chance[key]) for key, e in found.estimates.items()},
        "excess": {
            key: as_json(
                e.estimate,
                best_control=e.best,
                controls={name: as_json(found) for name, found in e.controls.items()},
            )
            for key, e in found.excess.items()
        },
    }
    add_significance(summary, columns)
    return summary


def _write(rows: Rows, summary: dict[str, Any], out: Path) -> None:
    order = torch.argsort(rows.ids)
    ordered = Rows(
        rows.ids[order], {key: values[order] for key, values in rows.columns.items()}, rows.dimension, rows.classes
    )
    with atomic(out / "rows.parquet") as temporary:
        ordered.frame().write_parquet(temporary)
    write_json(out / "summary.json", summary)
