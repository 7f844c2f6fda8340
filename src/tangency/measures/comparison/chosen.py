"""The score and the tangent spaces of `measure`, fitted where they are named or left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from tangency.errors import NumericsError, SpecError
from tangency.measures.comparison.frames import distinct_names
from tangency.mixtures import fit_affordable
from tangency.score import Denoiser, EmpiricalScore, GaussianScore, MixtureScore, ScoreChoice, parse_choice
from tangency.score.choice import NONE
from tangency.score.references import FITTED
from tangency.tangents import LocalPCATangents, MixtureTangents, TangentEstimator
from tangency.tangents.local_pca import usual_neighbours
from tangency.types import LabelledImages

Given = TangentEstimator | Sequence[TangentEstimator] | Mapping[str, TangentEstimator]
MFA = "mfa"


@dataclass(frozen=True)
class Compared:
    """The score and the tangent spaces of a measurement.

    Args:
        score: a closed form or what else is given; None for none.
        tangents: name to estimator.
        notes: what was decided, in sentences without full stops.
    """

    score: Denoiser | None
    tangents: Mapping[str, TangentEstimator]
    notes: tuple[str, ...] = ()


def named_score(score: Denoiser | str | None) -> Denoiser | ScoreChoice:
    """The score that is given, or the closed form that a name stands for; a mixture for None.

    Raises:
        SpecError: a name that is not of a closed form that can be fitted, nor "none".
    """
    if score is None:
        return ScoreChoice(MFA)
    if not isinstance(score, str):
        return score
    if score.partition("?")[0] not in (NONE, *FITTED):
        raise SpecError(
            f"score: got '{score}', expected {NONE}, {', '.join(FITTED)} (with options behind a ?), or a score itself: "
            "what load_score makes of a reference, or a world. A trained score that targets beginning with network_ "
            "are taken from is given as network."
        )
    return parse_choice(score)


def compared(
    score: Denoiser | ScoreChoice, given: Given | None, train_data: LabelledImages, device: torch.device
) -> Compared:
    """Score and tangent spaces, fitted to images where they are not given.

    Args:
        score: a score, or the closed form that is fitted.
        given: estimators of tangent spaces; those of a mixture, or of the nearest images without one, by default.
        train_data: images at the working size, to which they are fitted.
        device: where they are computed.
    """
    own = None if isinstance(score, ScoreChoice) else score
    choice = score if isinstance(score, ScoreChoice) else ScoreChoice(MFA)
    tangents = None if given is None else _named(given)
    if own is not None and tangents is not None:
        return Compared(own, tangents)
    if choice.closed == MFA:
        fitted, _, cut = fit_affordable(train_data, **choice.options)
        mixture = fitted.to(device)
        notes = (cut.removesuffix("."),) if cut else ()
        return Compared(own or MixtureScore(mixture), tangents or _named(MixtureTangents(mixture)), notes)
    if choice.closed == NONE:
        notes = ("no score: alignment with a closed form is not measured",)
    else:
        own, notes = (GaussianScore if choice.closed == "gaussian" else EmpiricalScore)(train_data, device), ()
    if tangents is not None:
        return Compared(own, tangents, notes)
    neighbours, rank = usual_neighbours(train_data)
    nearest = (
        f"no mixture is fitted: tangent spaces are those of the {neighbours} nearest training images, of rank {rank}, "
        "since tangents names none"
    )
    tangents = _named(LocalPCATangents(train_data, neighbours, rank, device=device))
    return Compared(own, tangents, (*notes, nearest))


def _named(tangents: Given) -> Mapping[str, TangentEstimator]:
    if isinstance(tangents, Mapping | Sequence) and not tangents:
        raise NumericsError("tangents: got none of them, expected at least one estimator, or None for the default.")
    if isinstance(tangents, Mapping):
        return tangents
    estimators = list(tangents) if isinstance(tangents, Sequence) else [tangents]
    names = distinct_names([e.kind for e in estimators], [e.max_rank for e in estimators])
    return dict(zip(names, estimators, strict=True))
