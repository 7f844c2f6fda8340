"""Tensors with a JSON header in one safetensors file: atomic, checksummed, nothing executable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tangency.errors import ModelError, quoted
from tangency.files import atomic

_KEY = "tangency"


def write_tensors(path: Path | str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header; the file is whole or absent.

    Args:
        path: the file, overwritten if it exists.
        tensors: on any device; shared storage is written twice.
        header: what JSON can hold, without NaN; kept under the metadata key "tangency".
    """
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    try:
        text = json.dumps(dict(header), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: the header cannot be written as JSON: {quoted(error)}. Use plain finite values."
        ) from error
    with atomic(path) as temporary:
        save_file(plain, temporary, metadata={_KEY: text, "sha256": _checksum(text, plain)})


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors on the CPU and the header of a file of `write_tensors`.

    Raises:
        ModelError: the file is absent, of another kind, cut short, altered, or has no header of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file. Check the path, or train the model first.")
    try:
        with safe_open(str(path), framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({_kind(path)}): {quoted(error)}.") from error
    if _KEY not in metadata:
        raise ModelError(
            f"{path}: holds tensors but no tangency card (metadata keys {sorted(metadata)}), so its input range and "
            "classes are unknown. Convert it, or load its tensors into Classifier.wrap(module, …) yourself."
        )
    if metadata.get("sha256") != _checksum(metadata[_KEY], tensors):
        raise ModelError(
            f"{path}: the checksum does not match, the file was altered or damaged. Fetch or write it again."
        )
    try:
        header = json.loads(metadata[_KEY])
    except ValueError as error:
        raise ModelError(
            f"{path}: the tangency header is not JSON: {quoted(error)}. Fetch or write the file again."
        ) from error
    return tensors, header


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and values, independent of the order."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # A lone value that was expanded counts as contiguous with stride 0, which no view as bytes takes.
        sha.update(tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header and the tensors."""
    return hashlib.sha256(f"{text}\n{digest(tensors)}".encode()).hexdigest()


def _kind(path: Path) -> str:
    with open(path, "rb") as handle:
        start = handle.read(512)
    if not start:
        return "the file is empty"
    if start.lstrip()[:1] == b"<":
        return "it is a web page, as a failed download leaves"
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return "it is a pickled checkpoint; convert it first"
    return "cut short, damaged or of another kind; fetch or write it again"
