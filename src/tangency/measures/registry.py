"""Every measure with its unit, range, direction, chance level and how its rows become one number."""

from __future__ import annotations

from tangency.errors import NumericsError, unknown_name
from tangency.measures.info import Aggregate, MeasureInfo
from tangency.measures.robustness.info import ROBUSTNESS
from tangency.measures.similarity.metrics import METRICS, Metric, metric_family, metric_of

TANGENT_CONTROLS = ("shuffled", "shuffled_class", "dct", "pca")
# The target of another image, of another image of the class; a gradient with its phases drawn anew, a random direction;
# the image less its mean, and its high-pass −(x − blur x).
ALIGNMENT_CONTROLS = ("shuffled", "shuffled_class", "phase", "random", "image", "edge")
CONTROLS = (*dict.fromkeys((*TANGENT_CONTROLS, *ALIGNMENT_CONTROLS)), "untrained")


_INF = float("inf")
_MEASURES: dict[str, MeasureInfo] = {
    "accuracy": MeasureInfo("share of images classified correctly", "fraction", 0, 1, "higher"),
    "tangent_fraction": MeasureInfo("F², gradient energy inside the tangent space", "fraction", 0, 1, "higher"),
    "kappa": MeasureInfo("κ, off- over on-manifold gradient energy per dimension", "ratio", 0, _INF, "lower", "kappa"),
    "log_kappa": MeasureInfo("ln κ of one image", "nats", -_INF, _INF, "lower"),
    "rho": MeasureInfo(
        "ρ₂, change of the logits under normal over isotropic noise", "ratio", 0, _INF, "lower", "ratio"
    ),
    "change_on": MeasureInfo("softmax change (l1) along the manifold", "probability", 0, 2, "neither"),
    "change_curved": MeasureInfo(
        "softmax change (l1) along a path that follows the manifold", "probability", 0, 2, "neither"
    ),
    "change_off": MeasureInfo("softmax change (l1) off the manifold", "probability", 0, 2, "lower"),
    "outside_on": MeasureInfo("pixels that an on-manifold step puts outside [0, 1]", "fraction", 0, 1, "neither"),
    "outside_off": MeasureInfo("pixels that an off-manifold step puts outside [0, 1]", "fraction", 0, 1, "neither"),
    "residual_on": MeasureInfo(
        "distance from the manifold after a straight on-manifold step", "l2 in [0, 1] pixels", 0, _INF, "neither"
    ),
    "residual_curved": MeasureInfo(
        "distance from the manifold after a step that follows it", "l2 in [0, 1] pixels", 0, _INF, "neither"
    ),
    "working_share": MeasureInfo("gradient energy that the working size keeps", "fraction", 0, 1, "neither"),
    "signal_fraction": MeasureInfo("gradient energy on the signal's pixels", "fraction", 0, 1, "higher"),
    "noise_signal": MeasureInfo("softmax change (l1) under noise on the signal", "probability", 0, 2, "neither"),
    "noise_distractor": MeasureInfo("softmax change (l1) under noise on the distractor", "probability", 0, 2, "lower"),
    "relative_noise": MeasureInfo(
        "softmax change under noise on the signal over noise on the distractor", "ratio", 0, _INF, "higher", "ratio"
    ),
    **ROBUSTNESS,
}


def _of_metric(metric: Metric, aggregate: Aggregate) -> MeasureInfo:
    title = f"gradient and target: {metric.title}"
    return MeasureInfo(title, metric.unit, metric.low, metric.high, "higher", aggregate)


_MEASURES |= {metric_family(n): _of_metric(METRICS[n], "cka" if n == "cka" else "mean") for n in METRICS.own}
# Rows that exist only so that a pooled number can be formed from them.
CKA_PARTS = ("cka_cross", "cka_gradient", "cka_target")
INGREDIENTS = (
    "tangent_rank",
    "rho_off",
    "rho_all",
    "signal_share",
    "working_pixels",
    "retrieval_candidates",
    *CKA_PARTS,
)
# Pooled ratio: family of the numerator's rows, family of the denominator's rows.
RATIOS = {"rho": ("rho_off", "rho_all"), "relative_noise": ("noise_signal", "noise_distractor")}


def family(key: str) -> str:
    """The measure that a key belongs to: "rho.logits.sigma=0.05" gives "rho"."""
    return key.split(".", 1)[0]


def describe(key: str) -> MeasureInfo:
    """What the measure behind a row key or summary key is."""
    name = family(key)
    metric = None if name in _MEASURES else metric_of(name)  # of another package
    if metric is not None:
        return _of_metric(metric, "mean")
    if name not in _MEASURES:
        raise NumericsError(unknown_name("measure", name, _MEASURES))
    return _MEASURES[name]


def tangents_suffix(label: str) -> str:
    """What stands behind the keys of measures by an estimator other than the first."""
    return f".tangents={label}" if label else ""


def tangents_of(key: str) -> str:
    """Name of the estimator that a key's tangent spaces are from, "" for the first.

    Example:
        >>> tangents_of("tangent_fraction.logp_y.tangents=denoiser.dct"), tangents_of("change_on.eps=0.5")
        ('denoiser', '')
    """
    found = key.partition(".tangents=")[2]
    control = control_of(key)
    return found.removesuffix(f".{control}") if control else found


def control_of(key: str) -> str | None:
    """Name of the control that a key holds, or None: "tangent_fraction.logp_y.dct" gives "dct"."""
    last = key.rsplit(".", 1)[-1]
    return last if last in CONTROLS else None


def number(value: float) -> str:
    """A number as it stands in keys: 2.0 is "2", 0.125 is "0.125"."""
    return f"{value:g}"
