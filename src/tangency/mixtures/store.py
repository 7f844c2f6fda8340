"""A fitted mixture on disk: safetensors, with what does not fit in a tensor in the header."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tangency.errors import ModelError
from tangency.files import atomic
from tangency.mixtures.model import Mixture

_TENSORS = ("means", "loadings", "noise", "log_weights", "component_class")


def save_mixture(mixture: Mixture, path: Path, provenance: dict[str, object]) -> None:
    """Write the mixture atomically, with its provenance as JSON in the header."""
    header = {"kind": "mfa", "shape": mixture.shape, "classes": mixture.classes, **provenance}
    tensors = {name: getattr(mixture, name).detach().cpu().contiguous() for name in _TENSORS}
    with atomic(path) as temporary:
        save_file(tensors, temporary, {"tangency": json.dumps(header)})


def load_mixture(path: Path, device: str = "cpu") -> tuple[Mixture, dict[str, object]]:
    """The mixture and its header; a `ModelError` where the file is not one."""
    try:
        with safe_open(path, "pt", device=device) as file:
            header = json.loads((file.metadata() or {})["tangency"])
            tensors = {name: file.get_tensor(name) for name in _TENSORS}
    except (SafetensorError, KeyError, OSError, json.JSONDecodeError) as error:
        raise ModelError(
            f"mixture '{path}': got an unreadable file ({error}), expected safetensors written by tangency. "
            "Delete it and fit the mixture again."
        ) from None
    return Mixture(shape=tuple(header["shape"]), classes=header["classes"], **tensors), header
