"""A fitted mixture on disk: checksummed safetensors, with what does not fit in a tensor in the header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tangency.errors import ModelError
from tangency.mixtures.model import Mixture
from tangency.tensors import read_tensors, write_tensors

_TENSORS = ("means", "loadings", "noise", "log_weights", "component_class")


def save_mixture(mixture: Mixture, path: Path, provenance: dict[str, Any]) -> None:
    """Write the mixture atomically, with its provenance as JSON in the header."""
    header = {"kind": "mfa", "shape": mixture.shape, "classes": mixture.classes, **provenance}
    write_tensors(path, {name: getattr(mixture, name) for name in _TENSORS}, header)


def load_mixture(path: Path, device: str = "cpu") -> tuple[Mixture, dict[str, Any]]:
    """The mixture and its header; a `ModelError` where the file is not one, or was damaged."""
    tensors, header = read_tensors(path)
    if header.get("kind") != "mfa" or set(tensors) != set(_TENSORS):
        raise ModelError(f"{path}: holds {sorted(tensors)}, expected a mixture written by tangency. Fit it again.")
    return Mixture(shape=tuple(header["shape"]), classes=header["classes"], **tensors).to(device), header
