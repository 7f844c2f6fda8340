"""The weights of a diffusers folder: whole or in shards, of a variant, and under the names of any version."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tangency.errors import ModelError, unknown_name
from tangency.formats.plain import brief
from tangency.models.foreign.states import read_states
from tangency.score.networks.config_values import read_settings
from tangency.score.networks.store import in_single_precision

_STEM = "diffusion_pytorch_model"
# name.safetensors, name.fp16.safetensors; name.safetensors.index.json, ….index.fp16.json, and ….fp16.index.json of old
_WHOLE = re.compile(rf"{_STEM}(?:\.(?P<variant>(?![^.]*-\d+-of-)[^.]+))?\.(?P<form>safetensors|bin)")
_INDEX = re.compile(
    rf"{_STEM}\.(?P<form>safetensors|bin)(?:\.(?P<early>(?!index)[^.]+))?\.index(?:\.(?P<variant>[^.]+))?\.json"
)
_SHARD = re.compile(r"[^/\\]+\.(safetensors|bin)")
_MOST_SHARDS = 1000
# Attention as diffusers named it before 0.17, and since.
_RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME = re.compile(rf"(.+)\.({'|'.join(_RENAMED)})\.(weight|bias)")


@dataclass(frozen=True)
class FolderWeights:
    """Where the weights of a folder are.

    Args:
        files: that hold tensors, in order.
        index: which lists them, or None where it is one file.
        variant: "fp16", "non_ema", …; "" for none.
        chosen: whether the variant was taken because there is no other.
    """

    files: tuple[Path, ...]
    index: Path | None = None
    variant: str = ""
    chosen: bool = False

    @property
    def all_files(self) -> tuple[Path, ...]:
        """Everything that is read."""
        return (*([] if self.index is None else [self.index]), *self.files)


def find_weights(folder: Path, variant: str | None = None) -> FolderWeights:
    """The weights that diffusers' own loader takes: shards before one file, safetensors before pickles.

    Args:
        folder: of a model, as `save_pretrained` writes it.
        variant: which to take; by default the plain one, or the only one that there is.

    Raises:
        ModelError: no weights, none of that variant, or several variants and no plain one.
    """
    variants: dict[str, dict[tuple[bool, bool], Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        for pattern, sharded in ((_INDEX, True), (_WHOLE, False)):
            if match := pattern.fullmatch(path.name):
                named = match.groupdict()
                which = named["variant"] or named.get("early") or ""
                variants.setdefault(which, {})[named["form"] == "safetensors", sharded] = path
    if not variants:
        others = sorted(
            path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".safetensors", ".msgpack")
        )
        raise ModelError(
            f"'{folder}': expected the weights in {_STEM}.safetensors or .bin, whole, in shards or with a variant "
            f"such as fp16, got {', '.join(others[:5]) or 'nothing of the kind'}."
        )
    which = _variant(folder, variants, variant)
    path, chosen = variants[which][max(variants[which])], bool(which) and variant is None
    if path.suffix == ".json":
        return FolderWeights(_shards(path), path, which, chosen)
    return FolderWeights((path,), None, which, chosen)


def _variant(folder: Path, present: Collection[str], requested: str | None) -> str:
    variants = sorted(name for name in present if name)
    if requested is None and ("" in present or len(variants) == 1):
        return "" if "" in present else variants[0]
    if requested is None:
        raise ModelError(
            f"'{folder}': its weights come as the variants {', '.join(variants)}; choose one, such as "
            f"?variant={variants[0]}."
        )
    if requested not in variants:
        none = f"its weights have no variants, got '{requested}'."
        raise ModelError(f"'{folder}': {unknown_name('variant', requested, variants) if variants else none}")
    return requested


def _shards(index: Path) -> tuple[Path, ...]:
    """The files that an index names; each lies beside it."""
    listed = read_settings(index, "an index of shards").get("weight_map")
    names = set(listed.values()) if isinstance(listed, dict) and all(type(v) is str for v in listed.values()) else set()
    strange = sorted(name for name in names if not _SHARD.fullmatch(name))
    if not 0 < len(names) <= _MOST_SHARDS or strange:
        got = brief(strange[0]) if strange else f"{len(names)} files"
        raise ModelError(f"{index}: its weight_map names {got}, expected files beside it, at most {_MOST_SHARDS}.")
    missing = sorted(name for name in names if not (index.parent / name).is_file())
    if missing:
        raise ModelError(
            f"{index}: {len(missing)} of its {len(names)} shards are missing, {', '.join(missing[:3])}; fetch "
            "them again."
        )
    return tuple(index.parent / name for name in sorted(names))


def read_weights(weights: FolderWeights) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors in float32 under the names of the files, and notes on them.

    Raises:
        ModelError: a damaged file, another kind of file, or a tensor in two shards.
    """
    tensors: dict[str, Tensor] = {}
    for path in weights.files:
        states = read_states(path)
        part = states.get("", {})
        if not part or (twice := sorted(tensors.keys() & part.keys())):
            got = f"weights under {', '.join(map(brief, states))}" if not part else f"{twice[0]} of another shard too"
            raise ModelError(f"{path}: holds {got}, expected the tensors of a network, each once.")
        tensors |= part
    tensors, notes = in_single_precision(tensors)
    if weights.chosen:
        only = f"weights of the variant {weights.variant}, the only ones in the folder ({weights.files[0].name})"
        notes.insert(0, only)
    if weights.files[0].suffix == ".bin":
        notes.append("weights from a pickle, nothing of which was run")
    return tensors, notes


def current_names(tensors: dict[str, Tensor], wanted: Collection[str]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under today's names, where a network expects them, and a note if it does.

    Attention had other names before diffusers 0.17, and the frequencies of noise levels had two.
    """
    frequencies, twin = (next((n for n in tensors if n.endswith(f"time_proj.{end}")), "") for end in ("weight", "W"))
    if frequencies and twin and torch.equal(tensors[frequencies], tensors[twin]):
        tensors = {name: value for name, value in tensors.items() if name != twin}
    names = {}
    for name in tensors:
        match = _OLD_NAME.fullmatch(name)
        new = f"{match[1]}.{_RENAMED[match[2]]}.{match[3]}" if match else name
        names[name] = new if new in wanted and name not in wanted and new not in tensors else name
    renamed = any(_RENAMED[m[2]] != "weight" for o, n in names.items() if n != o and (m := _OLD_NAME.fullmatch(o)))
    note = "attention under its names from before diffusers 0.17 (query, key, value, proj_attn)"
    return {names[name]: value for name, value in tensors.items()}, [note] if renamed else []
