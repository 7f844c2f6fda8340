"""What this installation has and what it lacks."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from tangency.cli.tables import console, say
from tangency.data import load
from tangency.errors import DataError, ModelError
from tangency.perceptual import LPIPS
from tangency.score import load_score

_PACKAGES = (
    "tangency",
    "torch",
    "torchvision",
    "accelerate",
    "diffusers",
    "safetensors",
    "polars",
    "scipy",
    "pydantic",
    "matplotlib",
)
_EXTRAS = {
    "timm": ("timm",),
    "onnx": ("onnx", "onnxruntime"),
    "hf": ("transformers",),
    "robustbench": ("robustbench",),
    "faiss": ("faiss-cpu",),
    "ray": ("ray",),
    "slurm": ("submitit",),
}
_WEIGHTS: dict[str, Callable[[], object]] = {
    "lpips_alex": LPIPS,
    "edm-fashion-mnist": partial(load_score, "edm-fashion-mnist"),
}
_SHIPPED = "fashion-mnist-5k"
_DATA = (_SHIPPED, "fashion-mnist", "mnist", "cifar10")


@dataclass(frozen=True)
class Installation:
    """What this installation has; where something is missing, the entry says what to do."""

    python: str
    platform: str
    versions: dict[str, str]
    extras: dict[str, str]
    threads: dict[str, int]
    accelerators: list[str]
    data_root: str | None
    data: dict[str, str]
    weights: dict[str, str]

    @property
    def lacking(self) -> list[str]:
        """What comes with the package and is not there: required packages, the small data set, weights."""
        versions = self.versions | self.weights | {_SHIPPED: self.data[_SHIPPED]}
        return [name for name, state in versions.items() if state.startswith("missing")]


def examine() -> Installation:
    """Versions, threads, accelerators, data sets and weights."""
    import torch

    return Installation(
        python=platform.python_version(),
        platform=platform.platform(),
        versions={name: _version(name) for name in _PACKAGES},
        extras={name: _extra(name) for name in _EXTRAS},
        threads={"cores": os.cpu_count() or 1, "torch": torch.get_num_threads()},
        accelerators=[torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        data_root=os.environ.get("TANGENCY_DATA"),
        data={name: _data(name) for name in _DATA},
        weights={name: _weights(opened) for name, opened in _WEIGHTS.items()},
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"missing: pip install {name}"


def _extra(name: str) -> str:
    """Versions of the packages of an extra, or how to install it."""
    versions = {package: _version(package) for package in _EXTRAS[name]}
    if any(state.startswith("missing") for state in versions.values()):
        return f"missing: pip install 'tangency[{name}]'"
    return "found: " + ", ".join(f"{package} {number}" for package, number in versions.items())


def _data(name: str) -> str:
    try:
        data = load(name)
    except DataError as error:
        return f"missing: {error}"
    return f"found: {len(data.train)} training and {len(data.test)} test images"


def _weights(open_weights: Callable[[], object]) -> str:
    try:
        open_weights()
    except ModelError as error:
        return f"missing: {error}"
    return "found: shipped with the package"


def print_examination(report: Installation) -> None:
    """The examination as lines for a person."""
    screen = console()
    missing = [name for name, state in report.extras.items() if state.startswith("missing")]
    ready = "ready" if not report.lacking else f"not ready: {', '.join(report.lacking)} missing"
    optional = f"; without the optional {', '.join(missing)}" if missing else ""
    say(screen, f"tangency is {ready}{optional}.")
    say(screen, f"Python {report.python} on {report.platform}")
    say(screen, ", ".join(f"{name} {number}" for name, number in report.versions.items()))
    accelerators = ", ".join(report.accelerators) or "none (everything runs on the CPU)"
    threads = f"cores {report.threads['cores']}, torch threads {report.threads['torch']}"
    say(screen, f"{threads}; accelerators: {accelerators}")
    say(screen, f"TANGENCY_DATA: {report.data_root or 'not set (a folder with data sets may be named there)'}")
    for kind, states in (("extra", report.extras), ("data", report.data), ("weights", report.weights)):
        for name, state in states.items():
            say(screen, f"{kind} {name}: {state}")
