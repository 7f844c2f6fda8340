"""Weights of a folder: the file that holds them, or its pieces."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tangency.errors import ModelError, listed, quoted

# In the order of transformers and timm; between the dots may stand a variant, such as fp16.
_WEIGHTS = tuple(
    re.compile(pattern)
    for stem, ending in (("model", "safetensors"), ("pytorch_model", "bin"))
    for pattern in (rf"{stem}(?:\.([^.]+))?\.{ending}", rf"{stem}\.{ending}\.index(?:\.([^.]+))?\.json")
)
_INDEX = re.compile(r".*\.index(\.[^.]+)?\.json")
_PIECE = re.compile(r".*-\d{5}-of-\d{5}")


def existing(path: Path) -> Path:
    """The path, if it is that of a file; else a ModelError."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file. Check the path.")
    return path


def read_config(folder: Path, what: str) -> dict[str, Any]:
    """The settings in config.json of a folder.

    Args:
        folder: of a network.
        what: that it should be, for errors.
    """
    if not folder.is_dir():
        raise ModelError(f"'{folder}': no such folder, expected {what}. Nothing is ever fetched from the network.")
    if not (folder / "config.json").is_file():
        raise ModelError(f"'{folder}': no config.json in it, expected {what}.")
    return read_json(folder / "config.json")


def read_json(path: Path) -> dict[str, Any]:
    """A mapping of settings from a file of JSON."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not readable as JSON ({quoted(error)}); fetch or write it again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: got a {type(content).__name__}, expected a mapping of settings.")
    return content


def pieces(path: Path) -> list[Path]:
    """The files that hold the weights: those that an index names, else the file itself.

    Raises:
        ModelError: an index that names no files, files elsewhere, or files that are not there.
    """
    if not _INDEX.fullmatch(path.name):
        return [path]
    named = read_json(existing(path)).get("weight_map")
    names = sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
    if not names:
        raise ModelError(f"{path}: its weight_map names no files, expected the index of weights in pieces.")
    if outside := [name for name in names if Path(name).name != name or _INDEX.fullmatch(name)]:
        raise ModelError(f"{path}: names {outside[0][:100]!r}, expected files beside it.")
    if missing := [name for name in names if not (path.parent / name).is_file()]:
        raise ModelError(
            f"{path}: of {len(names)} pieces of the weights {listed(missing, 3)} are missing; fetch the whole folder "
            "again."
        )
    return [path.parent / name for name in names]


def content_hash(path: Path, *beside: Path) -> str:
    """SHA-256 of a file of weights; of an index, of its pieces in order; and of further files."""
    digest = hashlib.sha256()
    for piece in (*pieces(path), *beside):
        with open(piece, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def weights_of(folder: Path, what: str, variant: str | None = None) -> Path:
    """The file of weights of a folder, or the index of its pieces; safetensors before pickles.

    Args:
        folder: of a network.
        what: that it should be, for errors.
        variant: "fp16" for model.fp16.safetensors; None for the weights without one, or the only one there is.

    Raises:
        ModelError: no weights, or several variants of which none is named.
    """
    variants = _variants(folder)
    if variant is None and None not in variants and len(variants) > 1:
        shown = ", ".join(sorted(map(str, variants)))
        raise ModelError(f"'{folder}': holds weights as variants {shown}; choose one with ?variant=….")
    if variant is None and len(variants) == 1:
        return next(iter(variants.values()))
    if variant not in variants:
        there = ", ".join(sorted(path.name for path in variants.values())) or "none"
        wanted = f"model.{variant}.safetensors" if variant else "model.safetensors or pytorch_model.bin"
        raise ModelError(f"'{folder}': expected weights in {wanted}, got {there}; it should be {what}.")
    return variants[variant]


def _variants(folder: Path) -> dict[str | None, Path]:
    """Variant to its file or index, None for the weights without one."""
    variants: dict[str | None, Path] = {}
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for pattern in _WEIGHTS:
        for path in files:
            match = pattern.fullmatch(path.name)
            if match and not _PIECE.fullmatch(match[1] or ""):
                variants.setdefault(match[1], path)
    return variants
