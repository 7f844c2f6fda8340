"""The similarity metrics: what each compares, with unit, range, chance level, reference and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tangency.errors import SpecError, unknown_name
from tangency.references import Registry

PREFIX = "alignment_"  # before a metric's name: the family of its rows
# Edges of the radial frequency bands, in per cent of the Nyquist frequency; the last holds the corners too.
BANDS = ((0, 25), (25, 50), (50, 75), (75, 142))

Negated = Literal["opposite", "same", "no more"]


@dataclass(frozen=True)
class Metric:
    """One way in which a gradient and a target can be alike; higher is always more alike.

    Args:
        title: a few words.
        unit: of its values.
        low, high: range.
        identical: the value of two equal signals.
        negated: what becomes of it when one signal changes sign: the opposite number, the same number, or a value
            that is no more than that of the identical pair.
        chance: value of a random direction; None where only the shuffled control tells it.
        reference: where it is defined.
        pictures: compares normalised pictures in [−1, 1]; the others compare the signals themselves.
        network: needs a pass of a network for each picture, so that its costlier controls are asked for by name.
        weights: file that must be found, "" where none is needed or it is shipped.
        of_set: compares an image with a fixed gallery, not a pair alone.
        normalisation: the only one of pictures that it is defined with; "" for those of the configuration.
        smallest: pixels a side that images must have at least.
        make: of one of another package, (shape, device) to its `PairMetric`; ours are made in `pairs`.
    """

    title: str
    unit: str
    low: float
    high: float
    identical: float
    negated: Negated
    chance: float | None
    reference: str
    pictures: bool = False
    network: bool = False
    weights: str = ""
    of_set: bool = False
    normalisation: str = ""
    smallest: int = 0
    make: Callable[..., Any] | None = None


_INF = float("inf")
_LPIPS = "Zhang et al., CVPR 2018, version 0.1"
_OURS: dict[str, Metric | str] = {
    "cosine": Metric("signed cosine", "cosine", -1, 1, 1, "opposite", 0, "⟨a, b⟩/(‖a‖‖b‖)"),
    "band": Metric(
        "signed cosine within a band of spatial frequencies", "cosine", -1, 1, 1, "opposite", 0, "Parseval's theorem"
    ),
    "spearman": Metric(
        "Spearman's rank correlation of the magnitudes", "correlation", -1, 1, 1, "same", 0, "Spearman 1904"
    ),
    "ssim": Metric(
        "structural similarity (SSIM)",
        "similarity",
        -1,
        1,
        1,
        "no more",
        None,
        "Wang et al. 2004: window 11, σ 1.5, K = (0.01, 0.03), range 2",
        pictures=True,
    ),
    "lpips": Metric("1 − LPIPS-Alex", "similarity", -_INF, 1, 1, "no more", None, _LPIPS, pictures=True, network=True),
    "lpips_pags": Metric(
        "1 − LPIPS-Alex as the paper's published code has it: without upsampling",
        "similarity",
        -_INF,
        1,
        1,
        "no more",
        None,
        "Zhang et al., CVPR 2018, version 0.1, at the images' own size; max scaling",
        pictures=True,
        network=True,
        normalisation="max",
        smallest=31,
    ),
    "lpips_vgg": Metric(
        "1 − LPIPS-VGG",
        "similarity",
        -_INF,
        1,
        1,
        "no more",
        None,
        _LPIPS,
        pictures=True,
        network=True,
        weights="lpips_vgg.safetensors",
    ),
    "lpips_squeeze": Metric(
        "1 − LPIPS-Squeeze",
        "similarity",
        -_INF,
        1,
        1,
        "no more",
        None,
        _LPIPS,
        pictures=True,
        network=True,
        weights="lpips_squeeze.safetensors",
    ),
    "dists": Metric(
        "1 − DISTS",
        "similarity",
        -1,
        1,
        1,
        "no more",
        None,
        "Ding et al., TPAMI 2022",
        pictures=True,
        network=True,
        weights="dists.safetensors",
    ),
    "dreamsim": Metric(
        "1 − DreamSim", "similarity", -1, 1, 1, "no more", None, "Fu et al., NeurIPS 2023", pictures=True, network=True
    ),
    "cka": Metric(
        "linear CKA of gradients and targets over a set",
        "similarity",
        -1,
        1,
        1,
        "same",
        0,
        "Kornblith et al., ICML 2019",
        of_set=True,
    ),
    "retrieval": Metric(
        "whether the gradient is nearer its own target than any candidate's",
        "fraction",
        0,
        1,
        1,
        "no more",
        None,
        "top-1 accuracy by cosine; chance 1/n",
        of_set=True,
    ),
    "retrieval_rank": Metric(
        "share of other candidates' targets that the gradient is further from than from its own",
        "fraction",
        0,
        1,
        1,
        "no more",
        0.5,
        "area under the ROC curve, by cosine",
        of_set=True,
    ),
}
METRICS: Registry[Metric] = Registry(
    "metric",
    "tangency.metrics",
    _OURS,
    "a Metric of pairs that says how it is made (of_set false, make=)",
    lambda held: isinstance(held, Metric) and callable(held.make) and not held.of_set,
)


def askable() -> tuple[str, ...]:
    """What a configuration may ask for: retrieval brings its rank."""
    return tuple(name for name in METRICS if name != "retrieval_rank")


def metric_family(name: str) -> str:
    """The family of a metric's rows, before the first dot of their keys."""
    return f"{PREFIX}{name}"


def metric_of(family: str) -> Metric | None:
    """The metric behind a family of rows, None where it is no alignment.

    Example:
        >>> metric_of("alignment_cosine").chance, metric_of("kappa")
        (0, None)
    """
    name = family.removeprefix(PREFIX)
    return METRICS[name] if family.startswith(PREFIX) and name in METRICS else None


def check_metrics(names: tuple[str, ...]) -> None:
    """Raise unless the names are distinct metrics."""
    for name in names:
        if name not in METRICS or name == "retrieval_rank":
            raise SpecError(unknown_name("metric", name, askable()))
        METRICS[name]  # raises where it is somebody else's and broken
    if len(set(names)) < len(names):
        raise SpecError(f"metrics: got {list(names)}, expected each once.")


def external_weights(names: Iterable[str]) -> list[str]:
    """The files of weights, other than shipped ones, behind metrics."""
    return [METRICS[name].weights for name in names if METRICS[name].weights]


def check_size(names: Iterable[str], shape: tuple[int, int, int]) -> None:
    """Raise where images of shape (C, H, W) are too small for a metric."""
    for name in names:
        smallest = METRICS[name].smallest
        if min(shape[1:]) < smallest:
            raise SpecError(
                f"metric '{name}': images of {shape[1]}×{shape[2]}, expected at least {smallest} pixels a side: it "
                "does not upsample, and its network has no position left below that. Leave it, or legacy: pags, out."
            )
