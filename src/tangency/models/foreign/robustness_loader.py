"""Checkpoints of MadryLab/robustness, with the input and classes that its data sets have."""

from __future__ import annotations

from dataclasses import dataclass

from tangency.data.classes import CIFAR10
from tangency.errors import ModelError, unknown_name
from tangency.models.foreign.feeding import PRESETS, Feeding
from tangency.models.foreign.opening import WEIGHTS, Opened, Request, from_states
from tangency.models.foreign.states import read_states


@dataclass(frozen=True)
class _Trained:
    """A data set of robustness.datasets.

    Args:
        family: of its architectures.
        sides: (H, W) of its images.
        mean, std: of its networks' normalisation.
        classes: names, where robustness fixes them.
    """

    family: str
    sides: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] | None = None


_DATASETS = {
    "cifar": _Trained("cifar", (32, 32), *PRESETS["cifar"], CIFAR10),
    "imagenet": _Trained("torchvision", (224, 224), *PRESETS["imagenet"]),
    # Ranges of ImageNet's classes, in robustness' order (tools/constants.py).
    "restricted_imagenet": _Trained(
        "torchvision",
        (224, 224),
        (0.4717, 0.4499, 0.3837),
        (0.2600, 0.2516, 0.2575),
        ("dog", "cat", "frog", "turtle", "bird", "monkey", "fish", "crab", "insect"),
    ),
}


def open_robustness(request: Request) -> Opened:
    """`robustness:FILE?arch=NAME&dataset=…`."""
    request.check("arch", "dataset", *WEIGHTS)
    if not {"arch", "dataset"} <= request.reference.options.keys():
        read_states(request.path)
    name, dataset = request.option("arch", "resnet18"), request.option("dataset", "cifar")
    if dataset not in _DATASETS:
        raise ModelError(f"{request.reference.text}: {unknown_name('dataset', dataset, _DATASETS)}")
    known = _DATASETS[dataset]
    feeding = Feeding(
        native=known.sides,
        input_range=(0.0, 1.0),
        mean=known.mean,
        std=known.std,
        classes=known.classes,
        notes=(f"input as robustness feeds {dataset}",),
    )
    opened = from_states(request, f"{known.family}:{name}", request.path, feeding)
    if known.classes is not None and opened.feeding.classes == known.classes and len(known.classes) != opened.outputs:
        raise ModelError(
            f"{request.reference.text}: {opened.outputs} outputs, dataset={dataset} has {len(known.classes)} classes."
        )
    return opened
