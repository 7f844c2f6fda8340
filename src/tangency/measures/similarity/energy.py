"""Where a gradient's energy lies: in the tangent space, on the signal's pixels, within the working size."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tangency.measures.batch import Batch
from tangency.measures.comparison.frames import Frame
from tangency.measures.definition import FRACTION, INF, RATIO, Columns, LevelContext, Measure, Scale
from tangency.measures.keys import Key
from tangency.measures.robustness.smoothed import smoothed_gradients
from tangency.numerics import flat, unit

TANGENT_WORDS = {
    "shuffled": "another image's tangent space",
    "shuffled_class": "the tangent space of another image of the same class",
    "dct": "the lowest cosine frequencies (DCT)",
    "pca": "one global PCA subspace",
    "phase": "the gradient with its phases drawn anew",
}


def energy(batch: Batch) -> Columns:
    """F², ln κ, and the shares of energy on the signal and within the working size, of every scalar and map.

    Of the smoothed classifier's gradients only what concerns tangent spaces.
    """
    columns: Columns = {}
    comparison, working = batch.comparison, batch.comparison.working
    for name in batch.config.tangent_scalars:
        for frame in comparison.frames:
            columns |= tangency(Key("", name), batch.directions[name], batch.phased[name], frame)
        if comparison.signal is not None:
            columns[str(Key("signal_fraction", name))] = on_signal(batch.gradients[name], comparison.signal)
        if not working.whole:
            columns[str(Key("working_share", name))] = working.kept(batch.gradients[name])
    for key, gradient in smoothed_gradients(batch).items():
        shown = working.gradient(gradient)
        phased = batch.with_phases_anew(shown)
        for frame in comparison.frames:
            columns |= tangency(key, shown, phased, frame)
    return columns


def tangency(key: Key, gradient: Tensor, phased: Tensor, frame: Frame) -> Columns:
    """F² with its controls, the rank, and ln κ = ln[(1 − F²)/(d − k)] − ln[F²/k].

    Args:
        key: of the gradient, without family and estimator.
        gradient: (N, C, H, W).
        phased: the same with its phases drawn anew.
        frame: tangent spaces.
    """
    gradient, space, d = unit(gradient), frame.space, frame.space.dimension
    rank = space.trace
    usable = (rank > 0) & (rank < d)
    fraction = space.fraction(gradient).double().where(usable, np.nan)
    off = space.off_fraction(gradient).double()
    share = key.of("tangent_fraction").at(tangents=frame.label)
    ranks = Key("tangent_rank").at(tangents=frame.label)
    columns = {
        str(share): fraction,
        str(ranks): rank,
        str(share.of("log_kappa")): off.log() - fraction.log() + (rank / (d - rank)).log(),
    }
    for control, other in frame.controls.items():
        columns[str(share.under(control))] = other.fraction(gradient).double().where(usable, np.nan)
    columns[str(share.under("phase"))] = space.fraction(phased).double().where(usable, np.nan)
    return columns | {str(ranks.under(control)): common for control, common in frame.common.items()}


def on_signal(gradient: Tensor, signal: Tensor) -> Tensor:
    """‖m ⊙ ∇f‖²/‖∇f‖², gradient energy on the signal, (N,); NaN for a zero gradient.

    Args:
        gradient: (N, C, H, W).
        signal: m, (N, 1, H, W) bool.
    """
    return flat(unit(gradient) * signal).double().square().sum(1)


def _random_fraction(sample: LevelContext) -> float:
    """E F² = k/d."""
    return float(np.mean(sample.rank)) / sample.dimension


def _random_log_kappa(sample: LevelContext) -> float | None:
    """E ln κ = ψ((d − k)/2) − ψ(k/2) + ln(k/(d − k)), mean over the images, whose ranks may differ."""
    from scipy.special import digamma

    d, rank = sample.dimension, sample.rank
    proper = rank[(rank > 0) & (rank < d)]
    if not len(proper):
        return None
    other = d - proper
    return float(np.mean(digamma(other / 2) - digamma(proper / 2) + np.log(proper / other)))


MEASURES = {
    "tangent_fraction": Measure(
        "F², gradient energy inside the tangent space",
        FRACTION,
        "higher",
        energy,
        level=_random_fraction,
        controls=TANGENT_WORDS,
        heading="Tangent fraction F²",
        what="Share of the gradient's energy inside the tangent space, ‖Pg‖² / ‖g‖², for the gradient of {scalar}.",
        chance="k/d for a random direction; read it against the equal-rank controls",
        reading="the gradient lies along the manifold",
    ),
    "kappa": Measure(
        "κ, off- over on-manifold gradient energy per dimension",
        RATIO,
        "lower",
        level=1.0,
        aggregate="kappa",
        parts=("tangent_fraction",),
        ingredients=("tangent_rank",),
        heading="Off/on energy ratio κ",
        what="Gradient energy per dimension off the tangent space, over that on it, pooled over images.",
        chance="1",
        reading="below 1, steps along the manifold move the output more than steps off it",
    ),
    "tangent_overlap": Measure(
        "overlap of a control's subspace with the image's own tangent space",
        Scale("fraction", 0, 1, "fraction, 0 to 1; the same for every classifier"),
        "neither",
        level=_random_fraction,
        fixed=True,
        heading="Overlap of the controls",
        what="Share of a control's subspace that lies in the image's own tangent space, tr(P P′)/k; of soft ones "
        "tr(P P′)/tr(P²).",
        chance="k/d for a random subspace",
        reading="near 1 the control is the same subspace, and no control",
    ),
    "log_kappa": Measure(
        "ln κ of one image",
        Scale("nats", -INF, INF),
        "lower",
        energy,
        level=_random_log_kappa,
        heading="log κ per image",
        what="Natural logarithm of κ, image by image, then averaged.",
        chance="slightly above 0, see the dashed line",
        reading="the gradient lies along the manifold",
    ),
    "working_share": Measure(
        "gradient energy that the working size keeps",
        FRACTION,
        "neither",
        energy,
        level=lambda sample: sample.mean("working_pixels"),
        ingredients=("working_pixels",),
        heading="Gradient at the working size",
        what="Share of the gradient's energy that remains after resizing to the working size, ‖P g‖² / ‖g‖², for the "
        "gradient of {scalar}; F², κ and alignments are those of that part.",
        chance="pixels of the working size over those of the images",
        reading="how much of the gradient the other numbers describe",
    ),
    "signal_fraction": Measure(
        "gradient energy on the signal's pixels",
        FRACTION,
        "higher",
        energy,
        level=lambda sample: sample.mean("signal_share"),
        ingredients=("signal_share",),
        heading="Gradient on the signal",
        what="Share of the gradient's energy on the signal's pixels, ‖m ⊙ g‖² / ‖g‖², for the gradient of {scalar}.",
        chance="the signal's share of the pixels",
        reading="the gradient lies on what the class depends on",
    ),
}
