"""Tangent spaces on disk, for those that cost more than reading them back: half precision, in shards, mapped."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from safetensors import safe_open
from torch import Tensor

from tangency.errors import ModelError, NumericsError, RunError, quoted
from tangency.files import journal, remove_leftovers, write_json
from tangency.tangents.space import TangentEstimator, TangentSpace
from tangency.tensors import read_tensors, write_tensors
from tangency.types import LabelledImages

INDEX = "tangents.json"
_SHARD = 64 << 20  # bytes of bases in a shard, about
_AT_ONCE = 64  # images at once


@dataclass(frozen=True)
class StorePlan:
    """What storing will take: images, images of a shard, and bytes on disk."""

    images: int
    shard: int
    size: int

    @property
    def shards(self) -> int:
        """How many files."""
        return -(-self.images // self.shard)


def plan_store(estimator: TangentEstimator, data: LabelledImages) -> StorePlan:
    """How much storing takes, before anything is computed: N·d·k numbers of two bytes.

    Example:
        >>> from tangency.tangents import dct_tangents
        >>> data = LabelledImages(torch.zeros(10_000, 3, 32, 32, dtype=torch.uint8), torch.zeros(10_000).long(), ("a",))
        >>> f"{plan_store(dct_tangents((3, 32, 32), 128), data).size / 1e9:.1f} GB"
        '7.9 GB'
    """
    each = 2 * math.prod(data.shape) * estimator.max_rank
    return StorePlan(len(data), max(1, min(len(data), _SHARD // each)), each * len(data))


def store_tangents(
    estimator: TangentEstimator,
    data: LabelledImages,
    folder: Path | str,
    *,
    device: str | torch.device = "cpu",
    on_progress: Callable[[float], None] | None = None,
) -> StoredTangents:
    """Compute the tangent spaces of all images and keep them; killed at any moment, it goes on at the next shard.

    Args:
        estimator: what computes them.
        data: images, all of them.
        folder: gets tangents.json, which names data and estimator, and shards of safetensors.
        device: where they are computed.
        on_progress: told the share that is done.

    Raises:
        RunError: the folder holds tangent spaces of other data or of another estimator.
    """
    folder, plan = Path(folder), plan_store(estimator, data)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"'{folder}': got a file, expected a folder or a name that is free.")
    content = _content(estimator, data, plan)
    if (folder / INDEX).exists():
        _check_same(folder, content)
    else:
        write_json(folder / INDEX, content)
    remove_leftovers(folder)
    for number in range(plan.shards):
        if not _sound(folder, number, content["identity"], plan.shard):
            _write_shard(estimator, data, plan, number, _path(folder, number), content["identity"], device)
        if on_progress is not None:
            on_progress((number + 1) / plan.shards)
    return StoredTangents(folder, data)


def _content(estimator: TangentEstimator, data: LabelledImages, plan: StorePlan) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kind": estimator.kind,
        "where": estimator.where,
        "card": json.loads(json.dumps(dict(estimator.card), default=str)),
        "data": {"name": data.name, "digest": data.digest, "shape": list(data.shape), "images": len(data)},
        "max_rank": estimator.max_rank,
        "shard": plan.shard,
    }
    return told | {"identity": hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()}


def _check_same(folder: Path, content: dict[str, Any]) -> None:
    found = _read_index(folder)
    differing = [name for name in ("kind", "card", "data") if found.get(name) != content[name]]
    if differing:
        raise RunError(
            f"'{folder}': holds tangent spaces of another {' and another '.join(differing)}; give another folder, or "
            "remove this one."
        )


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"'{folder / INDEX}': cannot be read ({quoted(error)}); expected a folder of stored tangents."
        ) from None
    kinds = {"kind": str, "where": str, "card": dict, "data": dict, "shard": int, "identity": str, "max_rank": int}
    whole = isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in kinds.items())
    if not (whole and found["shard"] > 0 and {"name", "digest", "images"} <= found["data"].keys()):
        raise RunError(f"'{folder / INDEX}': is no index of stored tangents of this version.")
    return found


def stored_kind(folder: Path) -> str:
    """Kind of the estimator whose tangent spaces a folder holds."""
    return str(_read_index(folder)["kind"])


def _sound(folder: Path, number: int, identity: str, shard: int) -> bool:
    """Whether a shard is there, whole, and the one that belongs there; else it is written anew."""
    try:
        header = read_tensors(_path(folder, number))[1]
    except ModelError:
        return False
    return bool(header == {"identity": identity, "first": number * shard})


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def _write_shard(
    estimator: TangentEstimator,
    data: LabelledImages,
    plan: StorePlan,
    number: int,
    path: Path,
    identity: str,
    device: str | torch.device,
) -> None:
    journal("tangents.shard")
    ids = torch.arange(number * plan.shard, min((number + 1) * plan.shard, len(data)))
    parts = []
    for some in ids.split(_AT_ONCE):
        space = estimator.at(data.images(some).to(device), some.to(device))
        parts.append(
            {"basis": space.basis.half().cpu(), "rank": space.rank.cpu()}
            | {name: value.float().cpu() for name in _TOLD if (value := getattr(space, name)) is not None}
        )
    tensors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    write_tensors(path, tensors, {"identity": identity, "first": int(ids[0])})


_TOLD = ("spectrum", "weights", "residual", "asymmetry")


@final
class StoredTangents:
    """Tangent spaces from a folder of `store_tangents`; bases come back in half precision's digits.

    Half precision keeps 11 bits: an angle of 1e-3 between the stored and the computed space.

    Args:
        folder: where they are.
        data: the images that they are of; `ids` of `at` are places in it.

    Raises:
        RunError: no such folder, shards that are missing, or other data.
    """

    def __init__(self, folder: Path | str, data: LabelledImages) -> None:
        self.folder = Path(folder)
        self._index = _read_index(self.folder)
        self.kind, self.where = str(self._index["kind"]), str(self._index["where"])
        about = self._index["data"]
        if about["digest"] != data.digest:
            raise RunError(
                f"'{folder}': holds tangent spaces of '{about['name']}', whose images are not those of '{data.name}' "
                "(by their hash); store those of this data in another folder."
            )
        self._shard = int(self._index["shard"])
        missing = [p.name for p in map(self._place, range(-(-len(data) // self._shard))) if not p.exists()]
        if missing:
            raise RunError(f"'{folder}': {len(missing)} shards are missing, first {missing[0]}; store them again.")
        self._trusted: set[int] = set()

    def _place(self, number: int) -> Path:
        return _path(self.folder, number)

    def _trust(self, number: int) -> None:
        """Check a shard as a whole, when it is first used."""
        if number in self._trusted:
            return
        if not _sound(self.folder, number, self._index["identity"], self._shard):
            raise RunError(
                f"'{self._place(number)}': is damaged or belongs elsewhere; store these tangent spaces again, which "
                "repairs it."
            )
        self._trusted.add(number)

    @property
    def max_rank(self) -> int:
        """That of the estimator."""
        return int(self._index["max_rank"])

    @property
    def card(self) -> Mapping[str, Any]:
        """The estimator's own."""
        found: Mapping[str, Any] = self._index["card"]
        return found

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces of the images at the places `ids`, (N,), in the dtype of x."""
        if ids is None or len(ids) != len(x):
            raise NumericsError(f"stored tangents: got {len(x)} images without their places; give ids, (N,).")
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self._index["data"]["images"]:
            raise NumericsError(
                f"ids: got {int(ids.min())} to {int(ids.max())}, expected places 0 to "
                f"{self._index['data']['images'] - 1}."
            )
        places = ids.cpu()
        order, parts = [], []
        for number in (places // self._shard).unique().tolist():
            self._trust(number)
            own = (places // self._shard == number).nonzero().flatten()
            parts.append(_rows(self._place(number), places[own] - number * self._shard))
            order.append(own)
        back = torch.cat(order).argsort() if order else places
        told = {name: torch.cat([part[name] for part in parts])[back].to(x.device) for name in parts[0]}
        return TangentSpace(told.pop("basis").to(x.dtype), told.pop("rank"), **{n: v.double() for n, v in told.items()})


def _rows(path: Path, rows: Tensor) -> dict[str, Tensor]:
    """Rows of every tensor of a shard, mapped: what lies outside of their range is not read."""
    first, beyond = int(rows.min()), int(rows.max()) + 1
    with safe_open(str(path), framework="pt") as handle:
        names = handle.keys()
        return {name: handle.get_slice(name)[first:beyond][rows - first] for name in names}
