"""What the gradients of saved classifiers are compared with, and where their tangent spaces come from."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tangency.errors import DataError, SpecError, counted
from tangency.evaluate.fitting.tangents import WITHOUT_MIXTURE, check_tangents, refuse_scoreless
from tangency.evaluate.request import MeasureRequest
from tangency.measures import NETWORK_ALIGNMENTS, MeasureConfig
from tangency.measures.config import NETWORK
from tangency.mixtures import affordable
from tangency.score import Denoiser, ScoreChoice, load_score, parse_choice
from tangency.score.references import fingerprint, readings
from tangency.study.found import Found
from tangency.study.layout import Layout
from tangency.study.network import able, check_answers
from tangency.study.plan import score_hash
from tangency.study.score import estimators, fitted_images, new_estimators
from tangency.study.spec import ScoreSpec
from tangency.tangents import TangentEstimator
from tangency.types import Dataset
from tangency.worlds import world_of

_NEIGHBOURS, _RANK = 60, 12  # of local PCA


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


def scored(
    asked: MeasureRequest, first: Found, reference: str, sizes: tuple[Dataset, Dataset], measures: MeasureConfig
) -> Scored:
    """The scores that are asked for, else those of the first classifier's study, else a mixture or a world's law.

    Args:
        asked, first, reference: what is measured, with its first classifier, on which data.
        sizes: these data at their own size, and at the working size that `measures` name.
        measures: what is measured.
    """
    data = sizes[1]
    choice = parse_choice(str(asked.score)) if asked.score else None
    named = choice.network if choice else first.spec.network_score if first.spec else ""
    network = None
    if named:
        fingerprint(named)  # a closed form is refused
        network = load_score(named, data, asked.device)
    stored = _stored(first, sizes[0], measures)
    fit, kept = _fit(choice, first, reference, data, stored is not None)
    config = _config(asked, first, fit.kind != "none", network)
    if network is not None:
        check_answers(network, named, config)
    tangents = asked.tangents or (first.spec.tangents if first.spec else ())
    check_tangents(tangents, data)
    if fit.kind == "none" and network is None:
        refuse_scoreless(tangents)
    notes = _said(fit, named)
    if fit.kind == "mfa" and not kept:
        fit, cut = _cut(fit, data)
        notes += cut
    if kept and stored is not None and first.spec is not None:
        closed, own = estimators(first.spec, data, stored, asked.device)
    else:
        closed, own = new_estimators(reference, data, fit, asked.device)
    if own is None and not tangents:
        tangents, said = _nearest(data)
        notes.append(said)
    notes += [f"score '{named}': {sentence}" for sentence in (readings(network) if network else ())]
    return Scored(closed, own, network, named, fit, config, tangents, notes)


def _stored(found: Found, data: Dataset, measures: MeasureConfig) -> Path | None:
    """The closed form that the study of the classifier has made of these data at this working size, or None."""
    if found.spec is None or found.run is None:
        return None
    path = Layout(found.run).score(score_hash(found.spec.model_copy(update={"measures": measures}), data))
    return path if path.exists() else None


def _fit(choice: ScoreChoice | None, found: Found, reference: str, data: Dataset, kept: bool) -> tuple[ScoreSpec, bool]:
    """How a closed form is made, and whether that of the classifier's study, if there is one, is it."""
    if choice is None:
        own = found.spec.score if found.spec else ScoreSpec()
        if not kept and own.kind == "mfa" and world_of(reference) is not None:
            return ScoreSpec(kind="exact"), False
        return own, kept
    if choice.closed == "exact" and world_of(reference) is None:
        raise SpecError(
            f"score 'exact': '{data.name}' are no draws from a world, whose law is known; use mfa, gaussian or none."
        )
    try:
        asked = ScoreSpec.model_validate({"kind": choice.closed, **choice.options})
    except ValidationError as error:
        first = error.errors()[0]
        raise SpecError(f"score: {first['loc'][0]}={first['input']}: {first['msg']}.") from None
    return asked, kept and found.spec is not None and asked == found.spec.score


def _config(asked: MeasureRequest, found: Found, closed: bool, network: Denoiser | None) -> MeasureConfig:
    """What is measured: targets of the trained score where nobody named others, none without a score."""
    base = found.spec.measures if found.spec else MeasureConfig()
    config = asked.config(base)
    if network is not None and not config.network_targets:
        can = able(network)
        if asked.scalars or asked.attributions:
            more = tuple((name, f"{NETWORK}{target}") for name, target in config.alignments)
        else:
            more = NETWORK_ALIGNMENTS
        more = tuple(pair for pair in more if pair[1] in can) or (("logit_y", "network_score_y"),)
        config = dataclasses.replace(config, alignments=(*config.alignments, *more))
    return config.with_scores(closed, network is not None).with_legacy(network is not None)


def _cut(asked: ScoreSpec, data: Dataset) -> tuple[ScoreSpec, list[str]]:
    """The mixture that is asked for, smaller where a class has too few images for it, or memory does not hold it."""
    counts = fitted_images(data, asked).class_counts
    fewest, notes = int(counts.min()), []
    name = data.train.classes[int(counts.argmin())]
    if not fewest:
        raise DataError(
            f"'{data.name}': class '{name}' has no training images, expected at least 1: the mixture is fitted to "
            "those of each class. Add some, leave the class out of data and classifier, or choose --score none."
        )
    most = max(1, fewest // 2)
    if most < asked.components or fewest == 1:
        notes.append(
            f"class '{name}' has {counted(fewest, 'training image')}: the mixture that gives scores and tangent spaces "
            f"has {min(most, asked.components)} instead of {asked.components} components a class, and knows little of "
            "so few images."
        )
        asked = asked.model_copy(update={"components": min(most, asked.components)})
    d = math.prod(data.train.shape)
    size = affordable(len(counts), d, asked.components, asked.rank, int(counts.max()))
    notes += [size.note] if size.note else []
    return asked.model_copy(update={"components": size.components, "rank": size.rank}), notes


def _said(fit: ScoreSpec, named: str) -> list[str]:
    if fit.kind != "none":
        return []
    if named:
        return ["no mixture is fitted: gradients are compared with the trained score alone."]
    return ["no score: alignment is not measured; accuracy, F² with its controls, κ, steps and ρ₂ need none."]


def _nearest(data: Dataset) -> tuple[tuple[str, ...], str]:
    """Tangent spaces that need no mixture: those of the nearest training images, and what is said of them."""
    neighbours = min(_NEIGHBOURS, len(data.train))
    rank = min(_RANK, neighbours - 2, math.prod(data.train.shape) - 1)
    if rank < 1:
        raise DataError(
            f"'{data.name}': has {counted(len(data.train), 'training image')}, expected at least 3: without a mixture, "
            "tangent spaces are those of the nearest training images. Add some, or name others with --tangents."
        )
    reference = f"{WITHOUT_MIXTURE}?neighbours={neighbours}&rank={rank}"
    return (reference,), (
        f"no mixture is fitted: tangent spaces are those of the {neighbours} nearest training images ({reference}), "
        "since --tangents names none."
    )
