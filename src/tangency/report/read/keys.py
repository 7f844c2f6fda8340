"""Keys of measures taken apart, and the keys that the report names itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tangency.study.summary.entries import TrialEntry

FRACTION = "tangent_fraction.logp_y"
ALIGNMENT = "alignment_cosine.logp_y.bayes_gradient"
KAPPA = "kappa.logp_y"
RISK = "excess_risk"  # of a trial, not among its measures
ORDER = (  # of families on the page
    "accuracy",
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


@dataclass(frozen=True)
class Key:
    """A measure's key, taken apart: "alignment_cosine.logp_y.score.sigma=0.5.shuffled" and its like."""

    text: str
    family: str
    scalar: str
    target: str
    parameter: str
    value: float | None
    control: str
    tangents: str = ""
    variant: str = ""

    @property
    def panel(self) -> str:
        """Name of the axes on which the key is drawn: the key without parameter and control."""
        return ".".join(part for part in (self.family, self.variant, self.scalar, self.target) if part)

    @property
    def base(self) -> str:
        """The key without its control."""
        return self.text.removesuffix(f".{self.control}") if self.control else self.text


def parse(text: str) -> Key:
    """Take a key apart; a dot inside a number does not split."""
    estimator = re.search(r"\.tangents=([\w/-]+)", text)
    normalisation = re.search(r"\.norm=([a-z]+\d*(?:\.\d+)?)", text)
    bare = text
    for option in (estimator, normalisation):
        bare = bare if option is None else bare.replace(option[0], "")
    parts = re.split(r"\.(?=[A-Za-z])", bare)
    (family, _, band), rest = parts[0].partition("."), parts[1:]
    variant = ".".join(part for part in (band, normalisation[1] if normalisation else "") if part)
    at = next((i for i, part in enumerate(rest) if "=" in part), None)
    if at is None:
        names, parameter, value, controls = rest[:1], "", None, rest[1:]
    else:
        parameter, _, number = rest[at].partition("=")
        settings = [part for part in rest[at + 1 :] if "=" in part]  # fixed for the whole curve: "sigma=0.25"
        names, value = rest[:at] + settings, float(number)
        controls = [part for part in rest[at + 1 :] if "=" not in part]
    scalar, target = [*names, "", ""][:2]
    tangents = estimator[1] if estimator else ""
    return Key(text, family, scalar, target, parameter, value, ".".join(controls), tangents, variant)


def all_keys(trials: Iterable[TrialEntry]) -> list[Key]:
    """The keys of all measures of all trials, each once, in the order of the page."""
    texts = dict.fromkeys(text for trial in trials for text in trial.measures)
    rank = {family: i for i, family in enumerate(ORDER)}
    return sorted(map(parse, texts), key=lambda key: rank.get(key.family, len(ORDER)))


def nearest_key(keys: Sequence[str], wanted: float) -> str:
    """The key without control or estimator whose σ or ε is nearest (the largest for ∞); "" where there is none."""
    plain = {key: parse(key) for key in keys}
    usable = {key: k.value for key, k in plain.items() if not k.control and not k.tangents and k.value is not None}
    if wanted == float("inf"):
        return max(usable, key=lambda key: usable[key], default="")
    return min(usable, key=lambda key: abs(usable[key] - wanted), default="")


def fraction_key(place: int, name: str) -> str:
    """The key of F² under an estimator; the first estimator has no suffix."""
    return f"{FRACTION}.tangents={name}" if place else FRACTION
