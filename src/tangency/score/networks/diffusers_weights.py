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
        chosen: whether the variant was taken since there is nothing else.
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
    found: dict[str, dict[tuple[bool, bool], Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        for pattern, sharded in ((_INDEX, True), (_WHOLE, False)):
            if match := pattern.fullmatch(path.name):
                named = match.groupdict()
                which = named["variant"] or named.get("early") or ""
                found.setdefault(which, {})[named["form"] == "safetensors", sharded] = path
    if not found:
        others = sorted(
            path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".safetensors", ".msgpack")
        )
        raise ModelError(
            f"'{folder}': expected the weights in {_STEM}.safetensors or .bin, whole, in shards or with a variant "
            f"such as fp16, got {', '.join(others[:5]) or 'nothing of the kind'}."
        )
    which = _variant(folder, found, variant)
    path = found[which][max(found[which])]
    sharded = path.suffix == ".json"
    return FolderWeights(
        _shards(path) if sharded else (path,), path if sharded else None, which, chosen=bool(which) and variant is None
    )


def _variant(folder: Path, found: Collection[str], asked: str | None) -> str:
    variants = sorted(name for name in found if name)
    if asked is None and ("" in found or len(variants) == 1):
        return "" if "" in found else variants[0]
    if asked is None:
        raise ModelError(
            f"'{folder}': its weights come as the variants {', '.join(variants)}; choose one, such as "
            f"?variant={variants[0]}."
        )
    if asked not in variants:
        told = unknown_name("variant", asked, variants) if variants else f"its weights have no variants, got '{asked}'."
        raise ModelError(f"'{folder}': {told}")
    return asked


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
    """Tensors in float32 under the names of the files, and what is to be said of them.

    Raises:
        ModelError: a damaged file, another kind of file, or a tensor in two shards.
    """
    found: dict[str, Tensor] = {}
    for path in weights.files:
        states = read_states(path)
        part = states.get("", {})
        if not part or (twice := sorted(found.keys() & part.keys())):
            got = f"weights under {', '.join(map(brief, states))}" if not part else f"{twice[0]} of another shard too"
            raise ModelError(f"{path}: holds {got}, expected the tensors of a network, each once.")
        found |= part
    notes = []
    if weights.chosen:
        notes.append(f"weights of the variant {weights.variant}, the only ones in the folder ({weights.files[0].name})")
    if any(value.dtype in (torch.float16, torch.bfloat16) for value in found.values()):
        notes.append("weights in half precision, computed with in float32")
    if weights.files[0].suffix == ".bin":
        notes.append("weights from a pickle, nothing of which was run")
    return {name: value.float() for name, value in found.items()}, notes


def current_names(tensors: dict[str, Tensor], wanted: Collection[str]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under today's names, where a network wants them so; and what is to be said of it.

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
