"""Measuring saved classifiers, beside or outside the study that made them."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import torch

from tangency.data.partners import measured_order
from tangency.devices import arithmetic
from tangency.errors import DataError, ModelError, RunError
from tangency.evaluate.baseline import (
    KappaAgainst,
    MeasuredBaseline,
    RegimeAgainst,
    RegimeAlone,
    kappa_against,
    regime_against,
    regime_alone,
)
from tangency.evaluate.cautions import cautions
from tangency.evaluate.classifiers.alike import architecture_warnings
from tangency.evaluate.classifiers.calibrated import Temperatures
from tangency.evaluate.classifiers.saved import SavedClassifier, check_fits, find_classifier, find_mapped, independent
from tangency.evaluate.fitting.posterior import posterior_accuracy
from tangency.evaluate.fitting.tangents import study_tangents, tangents_identity
from tangency.evaluate.measured import CascadeStage, MeasuredModel, MeasuredOn, estimates, read_summary
from tangency.evaluate.pictures import keep_pictures
from tangency.evaluate.regimes.chosen import ChosenFilters, FilterSetting, chosen_filters
from tangency.evaluate.regimes.filtered import behind_filters, searched
from tangency.evaluate.request import MeasureRequest
from tangency.evaluate.rests import (
    Columns,
    Rests,
    columns_file,
    keep_columns,
    known_columns,
    known_directions,
)
from tangency.evaluate.scores import choose_scores
from tangency.evaluate.stream import RowShards, fill_shards, identity_of, planned_shards
from tangency.evaluate.working import measures_at
from tangency.files import locked, remove_leftovers, write_json
from tangency.measures import (
    ComparisonSource,
    MapFile,
    MeasureConfig,
    Rows,
    Subject,
    WorkingSize,
    cascade,
    read_maps,
)
from tangency.measures.keys import Key
from tangency.measures.registry import has_controls
from tangency.measures.similarity.metrics import external_weights
from tangency.models.sanity import check_classifier
from tangency.perceptual.weights_files import external_digests
from tangency.score import Denoiser
from tangency.score.references import fingerprint
from tangency.tangents import Ground
from tangency.types import Card, Dataset, OnProgress
from tangency.worlds import load_dataset, world_of

_FEWEST = 2  # images
_ALLOW = "--allow-random (allow_random=True)"


@dataclass(frozen=True)
class _Subjects:
    """Classifiers, the baseline, the data and their reference."""

    models: list[SavedClassifier]
    baseline: SavedClassifier | None
    data: Dataset
    name: str


@dataclass(frozen=True)
class _Setting:
    """All that the classifiers of a request share.

    Args:
        data: what they are measured on.
        working: where score and tangent spaces live.
        config: what is measured.
        score, network: the closed form and the trained score; None for none.
        source: of references.
        maps: attribution maps of the first classifier.
        on: images and settings.
        estimators: names of the tangent estimators.
        identity: of the rows, besides their classifier and the measures.
        warnings: about the data and the scores, in sentences.
        temperatures: of the classifiers, where a scalar needs them.
    """

    data: Dataset
    working: WorkingSize
    config: MeasureConfig
    score: Denoiser | None
    network: Denoiser | None
    source: ComparisonSource
    maps: MapFile | None
    on: MeasuredOn
    estimators: list[str]
    identity: list[object]
    warnings: list[str]
    temperatures: Temperatures


@arithmetic()
def measure_models(request: MeasureRequest, on_progress: OnProgress | None = None) -> list[MeasuredModel]:
    """Every measure of saved classifiers on a data set, with intervals.

    Rows go to disk in shards of 250 images: memory does not grow with their number, and a measurement that was broken
    off goes on from its last shard.

    Args:
        request: what is measured.
        on_progress: called with what is done, and the share.

    Returns:
        The numbers of each classifier, in the order of the request.

    Raises:
        ModelError: a classifier cannot be read, or does not fit the data.
        DataError: the data cannot be read, or have one test image.
        RunError: the output folder holds rows of other classifiers, data or settings, or is in use.

    Example:
        >>> import tempfile, tangency
        >>> from tangency.models import save_classifier
        >>> data = "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10"
        >>> net = tangency.build("convnet", (1, 8, 8), tangency.load_data(data).test.classes)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_classifier(net, f"{folder}/net.safetensors")
        ...     (numbers,) = measure_models(MeasureRequest(f"{folder}/net.safetensors", data, metrics=("cosine",)))
        >>> numbers.measured, numbers.measures["kappa.margin"].chance
        (10, 1.0)
    """
    subjects, begin = _opened(request), on_progress or (lambda part, share: None)
    models, base = subjects.models, subjects.baseline
    request = dataclasses.replace(request, models=tuple(one.reference for one in models))
    with ExitStack() as held:
        folder = request.place or Path(held.enter_context(TemporaryDirectory()))
        setting = _setting(request, subjects, folder, begin)
        if request.place is not None:  # two at once would leave the rows of one beside the numbers of the other
            held.enter_context(locked(folder / "shards", f"output '{request.out}'"))
        _refuse_others(request, setting)
        kept = columns_file(folder / "shards", setting.identity, request.limit)
        begin("what images alone tell", 0.0)
        known = known_columns(setting.source, request.limit, world_of(setting.data.name) is None, kept)
        place = folder / "shards"
        filters = _filters(request, setting, base, place, on_progress)
        rows = _rows(request, setting, [*models, *([base] if base else [])], filters.names, place, on_progress)
        keep_columns(known, kept)
        begin("intervals", 1.0)
        rests = _rests(request, setting, known)
        beside = [shards[0] for shards in rows[len(models) :]]
        measured = MeasuredBaseline.of(base.reference, base.classifier.card, filters, beside) if base else None
        summaries = []
        for number, one in enumerate(models):
            own = rows[number][0].rows()
            summary = _summary(setting, one, own, setting.maps if number == 0 else None, rests)
            if number == 0 and request.stages:
                summary = _cascaded(rows[0][1:], one, request.stages, summary)
            doubts = architecture_warnings(one.classifier, base.classifier) if base else []
            regime = _regime(request, setting, summary, own, measured)
            summaries.append(dataclasses.replace(summary, regime=regime, warnings=[*summary.warnings, *doubts]))
            _keep(request, number, summaries[-1], rows[number][0], setting, one)
    return summaries


def _opened(request: MeasureRequest) -> _Subjects:
    """The classifiers and the data of a request; raises where a classifier does not fit the data."""
    given, device, trust = load_dataset(request.data) if request.data else None, request.device, request.trust_code
    models = [find_mapped(model, device, given, trust, request.class_map) for model in request.models]
    first = models[0]
    name = request.data or (first.origin.data if first.origin else first.classifier.card.provenance.get("data"))
    if not name:
        raise ModelError(f"model '{first.reference}': its card names no data set; give one with --data.")
    data = given or (first.origin.dataset() if first.origin else load_dataset(str(name)))
    if len(data.test) < _FEWEST:
        raise DataError(
            f"'{data.name}': has one test image, expected at least {_FEWEST}, since the controls need another one."
        )
    base = find_classifier(request.baseline, device, data, trust) if request.baseline else None
    for one in [*models, *([base] if base else [])]:
        check_fits(one.classifier.card, data, f"model '{one.reference}'", str(name))
    models = [independent(one, data, _ALLOW, request.allow_random) for one in models]
    base = independent(base, data, _ALLOW, request.allow_random) if base is not None else None
    return _Subjects(models, base, data, str(name))


def _setting(request: MeasureRequest, subjects: _Subjects, folder: Path, begin: OnProgress) -> _Setting:
    origin, data, name = subjects.models[0].origin, subjects.data, subjects.name
    base = measures_at(request.config(origin.measures if origin else MeasureConfig()), data, name)
    begin("score and tangent spaces", 0.0)
    working = base.working(data.test.shape)
    shown = working.dataset(data)
    scores = choose_scores(request, origin, name, (data, shown), base)
    named, config = scores.named, measures_at(scores.config, data, name)
    temperatures = Temperatures.of(subjects.models, config, data.test, request.limit)
    maps = read_maps(request.maps, len(data.test), data.test.shape) if request.maps else None
    fitted = origin.artefacts if origin else folder
    ground = Ground(shown, request.device, scores.network or scores.closed)
    estimators = study_tangents(scores.tangents, scores.own, ground, fitted)
    source = ComparisonSource(
        scores.closed,
        estimators,
        shown.test,
        shown.train,
        config.with_maps(maps.maps if maps else ()),
        request.device,
        scores.network,
        data.test,
    )
    on = MeasuredOn.of(data, config, scores.fit, tangents=list(scores.tangents), network_score=named)
    identity: list[object] = [
        on.digest,
        on.settings,
        tangents_identity(scores.tangents),
        fingerprint(named) if named else "",
        external_digests(external_weights(config.metrics)),
        maps.sha256 if maps else "",
    ]
    notes = [*data.notes, *scores.notes, *([] if working.whole else [f"{working.sentence}."])]
    own = data, working, config, scores.closed, scores.network, source, maps, on, list(estimators), identity, notes
    return _Setting(*own, temperatures)


def _filters(
    request: MeasureRequest,
    setting: _Setting,
    base: SavedClassifier | None,
    folder: Path,
    on_progress: OnProgress | None,
) -> ChosenFilters:
    """The best filters before the baseline; none without one, or under the former rule."""
    if base is None or request.rule == "kappa":
        return ChosenFilters()
    config = setting.config
    scores = searched(config, setting.score, setting.network)
    about = FilterSetting(setting.data.train, scores, max(config.sigmas), setting.working, request.device)
    identity = identity_of(base.classifier, [*setting.identity, _plain(base.classifier.card)], config)
    return chosen_filters(base.classifier, about, folder, identity, on_progress)


def _plain(card: Card) -> dict[str, object]:
    return dataclasses.asdict(card) | {"provenance": None}


def _rows(
    request: MeasureRequest,
    setting: _Setting,
    models: Sequence[SavedClassifier],
    filters: Mapping[str, str],
    folder: Path,
    on_progress: OnProgress | None,
) -> list[list[RowShards]]:
    """RowShards of every classifier, measured where they are missing; of the first one's cascade, too.

    Behind those of the baseline, the last one, stand those of the same behind each filter.
    """
    several: list[list[tuple[RowShards, Subject]]] = []
    subject = setting.temperatures.subject

    def add(name: str, card: Card, subjects: Sequence[Subject]) -> None:
        targets = []
        for subject in subjects:
            parts = [*setting.identity, name, _plain(card), bool(subject.attributions)]
            identity = identity_of(subject.classifier, parts, setting.config)
            size = math.prod(setting.working.shape), len(card.classes)
            shards = planned_shards(len(setting.data.test), request.limit, folder / identity, *size)
            targets.append((shards, subject))
        several.append(targets)

    for number, one in enumerate(models):
        maps = setting.maps.maps if setting.maps and number == 0 else {}
        subjects = [subject(one.classifier, maps, one.reference)]
        if number == 0 and request.stages:
            # copies, since each stage is the same object, changed
            subjects += [subject(copy.deepcopy(changed)) for _, changed in cascade(one.classifier, 0, request.stages)]
        add(one.reference, one.classifier.card, subjects)
    behind = behind_filters(models[-1].classifier, filters, setting.data.train, request.device)
    for name, net in {filters[target]: net for target, net in behind.items()}.items():
        add(f"{name} before {models[-1].reference}", models[-1].classifier.card, [subject(net)])
    everything = [target for targets in several for target in targets]
    fill_shards(everything, setting.source, setting.config, on_progress, request.batch_size)
    return [[shards for shards, _ in targets] for targets in several]


def _regime(
    request: MeasureRequest, setting: _Setting, summary: MeasuredModel, own: Rows, base: MeasuredBaseline | None
) -> RegimeAgainst | KappaAgainst | RegimeAlone:
    """The regime of a classifier, or what can be said of it without a baseline."""
    if base is None:
        return regime_alone(summary.measures, summary.excess, len(own.ids), setting.estimators[0])
    if request.rule == "kappa":
        return kappa_against(own, base, setting.data, setting.estimators[0])
    exact = setting.on.settings["score"]["kind"] == "exact"
    return regime_against(own, base, setting.data, setting.estimators, exact)


def _refuse_others(request: MeasureRequest, setting: _Setting) -> None:
    """Raise where the folder holds the numbers of another classifier, or of other data or settings."""
    if request.place is not None and len(request.models) > 1 and (request.place / "summary.json").exists():
        raise RunError(f"output '{request.out}': holds one measured classifier, expected a free name for several.")
    for number, model in enumerate(request.models):
        folder = request.folder(number)
        if folder is None or not (folder / "summary.json").exists():
            continue
        held = read_summary(folder, str(folder), "Delete it, and measure again.")
        known = (held.get("model"), held.get("digest"), held.get("settings"))
        if known != (model, setting.on.digest, setting.on.settings):
            raise RunError(
                f"output '{folder}': holds the numbers of '{known[0]}' on '{held.get('data')}', or of other settings; "
                "expected the same as now, or a free name; use --out."
            )


def _rests(request: MeasureRequest, setting: _Setting, known: Sequence[Columns]) -> Rests:
    """What the numbers of all classifiers rest on."""
    source, config = setting.source, setting.config
    ids = measured_order(len(source.pool))[: request.limit]
    accuracy = posterior_accuracy(setting.score, source.pool, ids, config.sigmas, request.device)
    return Rests(known_directions(source, setting.estimators, known), accuracy)


def _summary(
    setting: _Setting, model: SavedClassifier, rows: Rows, maps: MapFile | None, rests: Rests
) -> MeasuredModel:
    numbers = estimates(rows)
    return MeasuredModel(
        model=model.reference,
        reading=cast("list[str]", model.classifier.card.provenance.get("reading", [])),
        check=check_classifier(model.classifier, setting.data),
        data=setting.data.name,
        measured=len(rows.ids),
        warnings=[
            *cast("list[str]", model.classifier.card.provenance.get("warnings", [])),
            *setting.warnings,
            *rests.warnings(setting.on.settings["score"]["kind"], numbers.measures.get("accuracy")),
            *cautions(setting.config, setting.data.test, rows, maps),
        ],
        on=setting.on,
        measures=numbers.measures,
        excess=numbers.excess,
        weights=external_digests(external_weights(setting.config.metrics)),
        maps=setting.maps.about if setting.maps else {},
        known_directions=rests.known_directions,
        posterior_accuracy=rests.posterior_accuracy,
        temperature=setting.temperatures.known.get(model.reference),
    )


def _cascaded(
    shards: Sequence[RowShards], model: SavedClassifier, stages: int, summary: MeasuredModel
) -> MeasuredModel:
    """With the measures with more and more layers drawn anew, those with all of them as the control "untrained"."""
    names = [name for name, _ in cascade(model.classifier, 0, stages)]
    numbers = [estimates(own.rows()) for own in shards]
    randomised = [CascadeStage(name, own.measures, own.excess) for name, own in zip(names, numbers, strict=True)]
    last = randomised[-1].measures
    untrained = {
        str(key.under("untrained")): last[str(key)]
        for key in map(Key.parse, summary.measures)
        if str(key) in last and has_controls(key)
    }
    warnings = list(summary.warnings)
    if len(names) < stages:
        warnings.append(f"cascade: {stages} stages were requested, but only {len(names)} layers hold weights.")
    return dataclasses.replace(summary, cascade=randomised, measures=summary.measures | untrained, warnings=warnings)


def _keep(
    request: MeasureRequest,
    number: int,
    summary: MeasuredModel,
    shards: RowShards,
    setting: _Setting,
    model: SavedClassifier,
) -> None:
    out = request.folder(number)
    if out is None:
        return
    remove_leftovers(out, ("pictures.safetensors", "rows.parquet", "summary.json"))
    ids = torch.cat(shards.images).sort().values
    keep_pictures(out, model.classifier, setting.score, setting.data.test, ids, setting.config, request.device)
    shards.join(out / "rows.parquet")
    write_json(out / "summary.json", summary.to_json())
