"""Weights of perceptual metrics that are too large to ship: where they are searched for, and how to get them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from torch import Tensor

from tangency.errors import ModelError, quoted

VARIABLE = "TANGENCY_WEIGHTS"
_DATA = "TANGENCY_DATA"
_SHIPPED = ("lpips_alex.safetensors",)
_PARTS = {
    "lpips_vgg.safetensors": ("vgg", "vgg16-397923af.pth", "weights/v0.1/vgg.pth of the package lpips"),
    "lpips_squeeze.safetensors": (
        "squeeze",
        "squeezenet1_1-b8a52dc0.pth",
        "weights/v0.1/squeeze.pth of the package lpips",
    ),
    "dists.safetensors": ("dists", "vgg16-397923af.pth", "weights.pt of the package DISTS_pytorch"),
}


def read_weights(name: str, path: Path | None, needed: frozenset[str]) -> dict[str, Tensor]:
    """The tensors of a file of weights in float32.

    Args:
        name: of the file, as in "lpips_vgg.safetensors".
        path: an explicit file; else the shipped one, or the first that `places` names.
        needed: keys that must be there.

    Raises:
        ModelError: where it is absent, unreadable, or lacks a tensor.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    where = path or located(name)
    try:
        tensors = load(where.read_bytes())
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ModelError(
            f"weights '{where}': unreadable ({quoted(error)}). Reinstall tangency, or give path= to a file made by "
            "scripts/convert_lpips.py."
        ) from None
    absent = sorted(needed - tensors.keys())
    if absent:
        raise ModelError(
            f"weights '{where}': no tensor {', '.join(absent[:4])}, expected those of {name} as "
            "scripts/convert_lpips.py writes them."
        )
    return {key: tensors[key].float() for key in needed}


def places(name: str) -> list[Path]:
    """Where a file of weights is searched for, in order."""
    roots = [Path(os.environ[VARIABLE]).expanduser()] if os.environ.get(VARIABLE) else []
    if os.environ.get(_DATA):
        roots.append(Path(os.environ[_DATA]).expanduser() / "weights")
    return [root / name for root in [*roots, Path("data") / "weights"]]


def located(name: str) -> Path:
    """The path of a file; a `ModelError` that says what to fetch if there is none."""
    if name in _SHIPPED:
        return Path(str(resources.files("tangency.perceptual") / "weights" / name))
    looked = places(name)
    for path in looked:
        if path.is_file():
            return path
    network, features, head = _PARTS[name]
    raise ModelError(
        f"weights '{name}': not found in {', '.join(map(str, looked))}. They are not shipped. Fetch {features} from "
        f"https://download.pytorch.org/models/ and {head}, then run: python scripts/convert_lpips.py --network "
        f"{network} {features} {Path(head.split()[0]).name} {name}. Name the folder of the result in {VARIABLE}, or "
        "give the file as path=. The metrics cosine, band, spearman, ssim and lpips need no such file."
    )


def external_digests(names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of files of weights that are not shipped, by their names."""
    return {name: hashlib.sha256(located(name).read_bytes()).hexdigest() for name in names}
