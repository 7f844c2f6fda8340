"""What the gradients of saved classifiers are compared with, and where their tangent spaces come from."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tangency.errors import DataError, ModelError, SpecError, counted
from tangency.evaluate.classifiers.origin import Origin
from tangency.evaluate.fitting.closed import ScoreSpec, estimators, fitted_images, new_estimators
from tangency.evaluate.fitting.tangents import WITHOUT_MIXTURE, check_tangents, refuse_scoreless
from tangency.evaluate.request import MeasureRequest
from tangency.measures import NETWORK_ALIGNMENTS, MeasureConfig
from tangency.measures.config import NETWORK
from tangency.mixtures import affordable
from tangency.score import Denoiser, ScoreChoice, load_score, parse_choice
from tangency.score.references import fingerprint, readings
from tangency.tangents import TangentEstimator
from tangency.tangents.local_pca import usual_neighbours
from tangency.types import Dataset
from tangency.validation import complaints
from tangency.worlds import world_of

# What a trained score without a Bayes gradient can be compared with, by whether it answers without labels: no
# identified scalar, of which the run warns.
_LEFT = {True: (("sum_logits", "network_score"),), False: (("logit_y", "network_score_y"),)}


@dataclass(frozen=True)
class Scored:
    """The scores of a measurement.

    Args:
        closed: the closed form; None for none.
        own: its tangent spaces; None where it has none.
        network, named: the trained score and its reference; None and "" for none.
        fit: how the closed form was fitted.
        config: what is measured: no target that there is no score for.
        tangents: references of the tangent spaces; none for `own`.
        notes: what was decided, in sentences.
    """

    closed: Denoiser | None
    own: TangentEstimator | None
    network: Denoiser | None
    named: str
    fit: ScoreSpec
    config: MeasureConfig
    tangents: tuple[str, ...]
    notes: list[str]


def choose_scores(
    request: MeasureRequest,
    origin: Origin | None,
    reference: str,
    sizes: tuple[Dataset, Dataset],
    measures: MeasureConfig,
) -> Scored:
    """The scores that the request names, else those of the first classifier's study, else a mixture or a world's law.

    Args:
        request: what is measured.
        origin: of the first classifier, where a study trained it.
        reference: of the data.
        sizes: these data at their own size, and at the working size that `measures` name.
        measures: what is measured.
    """
    data = sizes[1]
    choice = parse_choice(request.score) if request.score else None
    named = choice.network if choice else origin.network_score if origin else ""
    network = None
    if named:
        fingerprint(named)  # a closed form is refused
        network = load_score(named, data, request.device)
    stored = _stored(origin, sizes[0], measures)
    fit, kept = _fit(choice, origin, reference, data, stored is not None)
    config = _config(request, origin, fit.kind != "none", network)
    if network is not None:
        check_answers(network, named, config)
    tangents = request.tangents or (origin.tangents if origin else ())
    check_tangents(tangents, data)
    if fit.kind == "none" and network is None:
        refuse_scoreless(tangents)
    notes = _notes(fit, named)
    if fit.kind == "mfa" and not kept:
        fit, cut = _cut(fit, data)
        notes += cut
    if kept and stored is not None and origin is not None:
        closed, own = estimators(origin.closed, origin.data, data, stored, request.device)
    else:
        closed, own = new_estimators(reference, data, fit, request.device)
    if own is None and not tangents:
        tangents, sentence = _nearest(data)
        notes.append(sentence)
    notes += [f"score '{named}': {sentence}" for sentence in (readings(network) if network else ())]
    return Scored(closed, own, network, named, fit, config, tangents, notes)


def _stored(origin: Origin | None, data: Dataset, measures: MeasureConfig) -> Path | None:
    """The closed form that the study of the classifier has made of these data at this working size, or None."""
    if origin is None:
        return None
    path = origin.closed_file(data, measures)
    return path if path.exists() else None


def _fit(
    choice: ScoreChoice | None, origin: Origin | None, reference: str, data: Dataset, kept: bool
) -> tuple[ScoreSpec, bool]:
    """How a closed form is made, and whether that of the classifier's study, if there is one, is it."""
    if choice is None:
        own = origin.closed if origin else ScoreSpec()
        if not kept and own.kind == "mfa" and world_of(reference) is not None:
            return ScoreSpec(kind="exact"), False
        return own, kept
    if choice.closed == "exact" and world_of(reference) is None:
        raise SpecError(
            f"score 'exact': '{data.name}' are not drawn from a world, whose law is known; use mfa, gaussian or none."
        )
    try:
        closed = ScoreSpec.model_validate({"kind": choice.closed, **choice.options})
    except ValidationError as error:
        options = complaints(error, ScoreSpec, lambda _: list(ScoreSpec.model_fields))
        raise SpecError(f"score '{choice.closed}': {options}.") from None
    return closed, kept and origin is not None and closed == origin.closed


def _config(request: MeasureRequest, origin: Origin | None, closed: bool, network: Denoiser | None) -> MeasureConfig:
    """What is measured: targets of the trained score where nobody named others, none without a score."""
    base = origin.measures if origin else MeasureConfig()
    config = request.config(base)
    if network is not None and not config.network_targets:
        can = able(network)
        if request.scalars or request.attributions:
            more = tuple((name, f"{NETWORK}{target}") for name, target in config.alignments)
        else:
            more = NETWORK_ALIGNMENTS
        more = tuple(pair for pair in more if pair[1] in can) or _LEFT["network_score" in can]
        config = dataclasses.replace(config, alignments=(*config.alignments, *more))
    return config.with_scores(closed, network is not None).with_legacy(network is not None)


def _cut(closed: ScoreSpec, data: Dataset) -> tuple[ScoreSpec, list[str]]:
    """The mixture that was chosen, smaller where a class has too few images for it, or memory does not hold it."""
    counts = fitted_images(data, closed).class_counts
    fewest, notes = int(counts.min()), []
    name = data.train.classes[int(counts.argmin())]
    if not fewest:
        raise DataError(
            f"'{data.name}': class '{name}' has no training images, expected at least 1: the mixture is fitted to "
            "those of each class. Add some, leave the class out of data and classifier, or choose --score none."
        )
    most = max(1, fewest // 2)
    if most < closed.components or fewest == 1:
        notes.append(
            f"class '{name}' has {counted(fewest, 'training image')}: the mixture that gives scores and tangent spaces "
            f"has {min(most, closed.components)} instead of {closed.components} components a class, and knows little "
            "of so few images."
        )
        closed = closed.model_copy(update={"components": min(most, closed.components)})
    d = math.prod(data.train.shape)
    size = affordable(len(counts), d, closed.components, closed.rank, int(counts.max()))
    notes += [size.note] if size.note else []
    return closed.model_copy(update={"components": size.components, "rank": size.rank}), notes


def _notes(fit: ScoreSpec, named: str) -> list[str]:
    if fit.kind != "none":
        return []
    if named:
        return ["no mixture is fitted: gradients are compared with the trained score alone."]
    return ["no score: alignment is not measured; accuracy, F² with its controls, κ, steps and ρ₂ need none."]


def _nearest(data: Dataset) -> tuple[tuple[str, ...], str]:
    """Tangent spaces that need no mixture: those of the nearest training images, and what is said of them."""
    neighbours, rank = usual_neighbours(data.train)
    reference = f"{WITHOUT_MIXTURE}?neighbours={neighbours}&rank={rank}"
    return (reference,), (
        f"no mixture is fitted: tangent spaces are those of the {neighbours} nearest training images ({reference}), "
        "since --tangents names none."
    )


def able(score: Denoiser) -> set[str]:
    """Targets that a trained score can give."""
    free, given = score.card.get("unconditional") is not False, score.classes > 0
    targets = {"network_score": free, "network_score_y": given, "network_bayes_gradient": free and score.classes > 1}
    return {name for name, can in targets.items() if can}


def check_answers(score: Denoiser, reference: str, config: MeasureConfig) -> None:
    """Raise where a trained score cannot give the targets closed for, or not at their noise levels."""
    lacking = sorted(set(config.network_targets) - able(score))
    if lacking:
        reason = "answers with labels only" if score.classes else "takes no labels"
        raise ModelError(f"score '{reference}': {reason}, so it has no {', '.join(lacking)}; leave those targets out.")
    largest = (score.card.get("sigma_range") or (0.0, math.inf))[1]
    if config.network_targets and max(config.sigmas) > largest:
        raise ModelError(
            f"score '{reference}': knows σ up to {largest:g}, measures.sigmas asks for {max(config.sigmas):g}."
        )
