"""What this installation has and what it lacks."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.console import Console

from tangency.data import load
from tangency.errors import DataError, ModelError

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
}
_DATA = ("fashion-mnist-5k", "fashion-mnist", "mnist", "cifar10")


def examine() -> dict[str, Any]:
    """Versions, threads, accelerators, data sets and weights, each with what to do where it is missing."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "extras": {name: _extra(name) for name in _EXTRAS},
        "threads": _threads(),
        "accelerators": _accelerators(),
        "data_root": os.environ.get("TANGENCY_DATA"),
        "data": {name: _data(name) for name in _DATA},
        "weights": {"lpips_alex": _lpips(), "edm-fashion-mnist": _shipped_score()},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"missing: pip install {name}"


def _extra(name: str) -> str:
    """Versions of the packages of an extra, or how to install it."""
    found = {package: _version(package) for package in _EXTRAS[name]}
    if any(state.startswith("missing") for state in found.values()):
        return f"missing: pip install 'tangency[{name}]'"
    return "found: " + ", ".join(f"{package} {number}" for package, number in found.items())


def _threads() -> dict[str, int]:
    import torch

    return {"cores": os.cpu_count() or 1, "torch": torch.get_num_threads()}


def _accelerators() -> list[str]:
    import torch

    return (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )


def _data(name: str) -> str:
    try:
        found = load(name)
    except DataError as error:
        return f"missing: {error}"
    return f"found: {len(found.train)} training and {len(found.test)} test images"


def _shipped_score() -> str:
    from tangency.score import load_score

    try:
        load_score("edm-fashion-mnist")
    except ModelError as error:
        return f"missing: {error}"
    return "found: shipped with the package"


def _lpips() -> str:
    from tangency.perceptual import LPIPS

    try:
        LPIPS()
    except ModelError as error:
        return f"missing: {error}"
    return "found: shipped with the package"


def print_examination(found: dict[str, Any]) -> None:
    """The examination as lines for a person."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Python {found['python']} on {found['platform']}")
    console.print(", ".join(f"{name} {number}" for name, number in found["versions"].items()))
    accelerators = ", ".join(found["accelerators"]) or "none (everything runs on the CPU)"
    console.print(
        f"cores {found['threads']['cores']}, torch threads {found['threads']['torch']}; accelerators: {accelerators}"
    )
    console.print(f"TANGENCY_DATA: {found['data_root'] or 'not set (a folder with data sets may be named there)'}")
    for kind in ("extras", "data", "weights"):
        for name, state in found[kind].items():
            console.print(f"{kind.removesuffix('s') if kind == 'extras' else kind} {name}: {state}", markup=False)
