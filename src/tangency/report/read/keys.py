"""The keys of a summary's measures: in the order of the page, and those that tables and figures single out."""

from __future__ import annotations

from collections.abc import Iterable

from tangency.measures.keys import ALIGNMENT, Key
from tangency.study.summary.entries import TrialEntry

RISK = "excess_risk"  # of a trial, not among its measures
ORDER = (  # of families on the page
    "accuracy",
    "radius",
    "tangent_fraction",
    "kappa",
    "log_kappa",
    "change_on",
    "change_curved",
    "change_off",
    "rho",
    "signal_fraction",
    "relative_noise",
    "noise_signal",
    "noise_distractor",
    "alignment_cosine",
    "alignment_lpips",
)


def all_keys(trials: Iterable[TrialEntry]) -> list[Key]:
    """The keys of all measures of all trials, each once, in the order of the page."""
    texts = dict.fromkeys(text for trial in trials for text in trial.measures)
    rank = {family: i for i, family in enumerate(ORDER)}
    return sorted(map(Key.parse, texts), key=lambda key: rank.get(key.family, len(ORDER)))


def nearest_key(keys: Iterable[str], base: str, wanted: float) -> str:
    """The key of a panel, without control or estimator, whose σ or ε is nearest (the largest for ∞); "" for none.

    Args:
        keys: of measures.
        base: the panel: the key without σ or ε.
        wanted: the σ or ε.
    """
    own = [key for key in map(Key.parse, keys) if key.panel == base and not key.control and not key.tangents]
    usable = {str(key): key.value for key in own if key.value is not None}
    if wanted == float("inf"):
        return max(usable, key=lambda key: usable[key], default="")
    return min(usable, key=lambda key: abs(usable[key] - wanted), default="")


def alignment_key(keys: Iterable[str]) -> str:
    """The cosine with the Bayes gradient at its largest σ; "" where it was not measured."""
    return nearest_key(keys, ALIGNMENT, float("inf"))
