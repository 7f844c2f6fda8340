"""The similarity metrics by name, and the measures that they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tangency.errors import SpecError, unknown_name
from tangency.measures.definition import Function, LevelContext, Measure, Scale
from tangency.measures.similarity import pairs
from tangency.measures.similarity.metric import Device, Metric, PairMetric, Shape
from tangency.references import Registry

PREFIX = "alignment_"  # before a metric's name: the family of its rows
TARGET_CONTROLS = {
    "shuffled": "another image's target",
    "shuffled_class": "the target of another image of the same class",
    "phase": "the gradient with its phases drawn anew",
    "random": "a random direction",
    "image": "the image itself",
    "edge": "the image's own high-pass",
    "untrained": "an untrained network's gradient",
}
CKA_PARTS = ("cka_cross", "cka_gradient", "cka_target")  # families of the rows that CKA is pooled from
CANDIDATES = "retrieval_candidates"  # of the row with the number of targets among which the own one is picked

_OURS: Mapping[str, Metric | str] = {
    "cosine": pairs.COSINE,
    "band": pairs.BAND,
    "spearman": pairs.SPEARMAN,
    "ssim": pairs.SSIM,
    "lpips": pairs.LPIPS_ALEX,
    "lpips_pags": pairs.LPIPS_PAGS,
    "lpips_vgg": pairs.LPIPS_VGG,
    "lpips_squeeze": pairs.LPIPS_SQUEEZE,
    "dists": pairs.DISTS_SIMILARITY,
    "dreamsim": pairs.DREAMSIM,
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
        guess="1/n, n the number of candidates",
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


def pair_metric(name: str, shape: Shape, device: Device = "cpu") -> PairMetric:
    """The metric of that name for signals of shape (C, H, W), its network on the device.

    Example:
        >>> import torch
        >>> metric, signal = pair_metric("cosine", (1, 4, 4)), torch.rand(2, 1, 4, 4)
        >>> metric.compare(metric.prepare(signal), metric.prepare(-signal)).flatten().round(decimals=6).tolist()
        [-1.0, -1.0]
    """
    make = METRICS[name].make
    if make is None:
        raise SpecError(f"metric '{name}': compares with a set of images, expected a metric of pairs.")
    made: object = make(shape, device)
    if not isinstance(made, PairMetric):
        raise SpecError(f"metric '{name}': made an object of type {type(made).__name__}, expected a PairMetric.")
    return made


def askable() -> tuple[str, ...]:
    """The metrics that a configuration may name: retrieval brings its rank."""
    return tuple(name for name in METRICS if name != "retrieval_rank")


def metric_family(name: str) -> str:
    """The family of a metric's rows."""
    return f"{PREFIX}{name}"


def metric_of(family: str) -> Metric | None:
    """The metric behind a family of rows, None where it is no alignment.

    Example:
        >>> metric_of("alignment_cosine").chance, metric_of("kappa")
        (0, None)
    """
    name = family.removeprefix(PREFIX)
    return METRICS[name] if family.startswith(PREFIX) and name in METRICS else None


def as_measure(name: str, function: Function | None = None) -> Measure:
    """The alignment of a gradient with a target by a metric, as a measure."""
    metric = METRICS[name]
    pooled = name == "cka"
    guess = metric.guess if metric.chance is None else f"{metric.chance:g} for a random direction"
    return Measure(
        f"gradient and target: {metric.title}",
        Scale(metric.unit, metric.low, metric.high),
        "higher",
        function,
        level=_one_of_candidates if name == "retrieval" else metric.chance,
        controls=TARGET_CONTROLS,
        headline=("shuffled",),
        aggregate="cka" if pooled else "mean",
        parts=CKA_PARTS if pooled else (),
        ingredients=CKA_PARTS if pooled else (CANDIDATES,) if name == "retrieval" else (),
        heading=metric.heading or f"{metric.title[0].upper()}{metric.title[1:]}, {{target}}",
        what=metric.what
        or f"The gradient of {{scalar}} and {{target_long}} at noise σ: {metric.title} ({metric.reference}).",
        chance=f"{guess}; read it against the shuffled control",
        reading=metric.reading,
        axis=metric.axis,
        shown=0.5 if name in ("cosine", "lpips") else 0.0,
    )


def _one_of_candidates(sample: LevelContext) -> float | None:
    """1/n of n candidates, mean over images."""
    counts = sample.columns.get(CANDIDATES)
    return None if counts is None else float((1 / counts).mean())


def check_metrics(names: tuple[str, ...]) -> None:
    """Raise unless the names are distinct metrics."""
    for name in names:
        if name not in METRICS or name == "retrieval_rank":
            raise SpecError(unknown_name("metric", name, askable()))
        METRICS[name]  # raises where it is another package's and broken
    if len(set(names)) < len(names):
        raise SpecError(f"metrics: got {list(names)}, expected each once.")


def external_weights(names: Iterable[str]) -> list[str]:
    """The files of weights, other than shipped ones, behind metrics."""
    return [METRICS[name].weights for name in names if METRICS[name].weights]


def check_size(names: Iterable[str], shape: Shape) -> None:
    """Raise where images of shape (C, H, W) are too small for a metric."""
    for name in names:
        smallest = METRICS[name].smallest
        if min(shape[1:]) < smallest:
            raise SpecError(
                f"metric '{name}': images of {shape[1]}×{shape[2]}, expected at least {smallest} pixels a side: it "
                "does not upsample, and its network has no position left below that. Leave it, or legacy: pags, out."
            )
