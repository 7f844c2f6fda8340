"""Tangent spaces on disk, for those that cost more to compute than to read: half precision, in shards, mapped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
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
from tangency.types import LabelledImages, OnProgress

INDEX = "tangents.json"
_SHARD = 64 << 20  # bytes of bases in a shard, about
_AT_ONCE = 64  # images at once
_OPTIONAL = ("spectrum", "weights", "residual", "asymmetry")  # of a tangent space


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


@dataclass(frozen=True)
class StoreIndex:
    """What a folder holds, as tangents.json.

    Args:
        kind, where, card, max_rank: of the estimator.
        data: name, digest, shape and number of the images.
        shard: images of a shard.
        identity: SHA-256 of all that.
    """

    kind: str
    where: str
    card: dict[str, Any]
    data: dict[str, Any]
    max_rank: int
    shard: int
    identity: str

    @staticmethod
    def of(estimator: TangentEstimator, data: LabelledImages, plan: StorePlan) -> StoreIndex:
        """The index of a store that is to be made."""
        parts: dict[str, Any] = {
            "kind": estimator.kind,
            "where": estimator.where,
            "card": json.loads(json.dumps(dict(estimator.card), default=str)),
            "data": {"name": data.name, "digest": data.digest, "shape": list(data.shape), "images": len(data)},
            "max_rank": estimator.max_rank,
            "shard": plan.shard,
        }
        return StoreIndex(**parts, identity=hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest())

    @staticmethod
    def read(folder: Path) -> StoreIndex:
        """The index of a folder."""
        try:
            content = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"'{folder / INDEX}': cannot be read ({quoted(error)}); expected a folder of stored tangents."
            ) from None
        kinds = {"kind": str, "where": str, "card": dict, "data": dict, "shard": int, "identity": str, "max_rank": int}
        whole = isinstance(content, dict) and all(isinstance(content.get(name), kind) for name, kind in kinds.items())
        if not (whole and content["shard"] > 0 and {"name", "digest", "images"} <= content["data"].keys()):
            raise RunError(f"'{folder / INDEX}': is no index of stored tangents of this version.")
        return StoreIndex(**{name: content[name] for name in kinds})


def store_tangents(
    estimator: TangentEstimator,
    data: LabelledImages,
    folder: Path | str,
    *,
    device: str | torch.device = "cpu",
    on_progress: OnProgress | None = None,
) -> StoredTangents:
    """Compute the tangent spaces of all images and store them; after a kill it continues with the next shard.

    Args:
        estimator: what computes them.
        data: images, all of them.
        folder: gets tangents.json, which names data and estimator, and shards of safetensors.
        device: where they are computed.
        on_progress: called with "storing" and the share that is done.

    Raises:
        RunError: the folder holds tangent spaces of other data or of another estimator.
    """
    folder, plan = Path(folder), plan_store(estimator, data)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"'{folder}': got a file, expected a folder or a name that is free.")
    index = StoreIndex.of(estimator, data, plan)
    if (folder / INDEX).exists():
        _check_same(folder, index)
    else:
        write_json(folder / INDEX, dataclasses.asdict(index))
    remove_leftovers(folder)
    for number in range(plan.shards):
        if not _sound(folder, number, index):
            _write_shard(estimator, data, _path(folder, number), index, number, device)
        if on_progress is not None:
            on_progress("storing", (number + 1) / plan.shards)
    return StoredTangents(folder, data)


def _check_same(folder: Path, index: StoreIndex) -> None:
    present = StoreIndex.read(folder)
    differing = [name for name in ("kind", "card", "data") if getattr(present, name) != getattr(index, name)]
    if differing:
        raise RunError(
            f"'{folder}': holds tangent spaces of another {' and another '.join(differing)}; give another folder, or "
            "remove this one."
        )


def _sound(folder: Path, number: int, index: StoreIndex) -> bool:
    """Whether a shard is there, whole, and part of this store; else it is written anew."""
    try:
        header = read_tensors(_path(folder, number))[1]
    except ModelError:
        return False
    return bool(header == {"identity": index.identity, "first": number * index.shard})


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def _write_shard(
    estimator: TangentEstimator,
    data: LabelledImages,
    path: Path,
    index: StoreIndex,
    number: int,
    device: str | torch.device,
) -> None:
    journal("tangents.shard")
    ids = torch.arange(number * index.shard, min((number + 1) * index.shard, len(data)))
    parts = []
    for some in torch.split(ids, _AT_ONCE):
        space = estimator.at(data.images(some).to(device), some.to(device))
        given = {name: value.float().cpu() for name in _OPTIONAL if (value := getattr(space, name)) is not None}
        parts.append({"basis": space.basis.half().cpu(), "rank": space.rank.cpu(), **given})
    tensors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    write_tensors(path, tensors, {"identity": index.identity, "first": int(ids[0])})


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
        self.index = StoreIndex.read(self.folder)
        self.kind, self.where, self.max_rank = self.index.kind, self.index.where, self.index.max_rank
        self.card: Mapping[str, Any] = self.index.card
        if self.index.data["digest"] != data.digest:
            raise RunError(
                f"'{folder}': holds tangent spaces of '{self.index.data['name']}', whose images are not those of "
                f"'{data.name}' (by their hash); store those of this data in another folder."
            )
        shards = range(-(-len(data) // self.index.shard))
        missing = [path.name for path in (_path(self.folder, number) for number in shards) if not path.exists()]
        if missing:
            raise RunError(f"'{folder}': {len(missing)} shards are missing, first {missing[0]}; store them again.")
        self._checked: set[int] = set()

    def _check(self, number: int) -> None:
        """Check a shard as a whole, when it is first used."""
        if number not in self._checked and not _sound(self.folder, number, self.index):
            raise RunError(
                f"'{_path(self.folder, number)}': is damaged or belongs elsewhere; store these tangent spaces again, "
                "which repairs it."
            )
        self._checked.add(number)

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces of the images at the places `ids`, (N,), in the dtype of x."""
        if ids is None or len(ids) != len(x):
            raise NumericsError(f"stored tangents: got {len(x)} images without their places; give ids, (N,).")
        count, shard, places = self.index.data["images"], self.index.shard, ids.cpu()
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < count:
            raise NumericsError(f"ids: got {int(ids.min())} to {int(ids.max())}, expected places 0 to {count - 1}.")
        order, parts = [], []
        for number in sorted(set((places // shard).tolist())):
            self._check(number)
            own = (places // shard == number).nonzero().flatten()
            parts.append(_rows(_path(self.folder, number), places[own] - number * shard))
            order.append(own)
        back = torch.cat(order).argsort() if order else places
        values = {name: torch.cat([part[name] for part in parts])[back].to(x.device) for name in parts[0]}
        basis, rank = values.pop("basis").to(x.dtype), values.pop("rank")
        return TangentSpace(basis, rank, **{name: value.double() for name, value in values.items()})


def _rows(path: Path, rows: Tensor) -> dict[str, Tensor]:
    """Rows of every tensor of a shard, mapped: rows outside of their range are not read."""
    first, beyond = int(rows.min()), int(rows.max()) + 1
    with safe_open(str(path), framework="pt") as handle:
        names = handle.keys()
        return {name: handle.get_slice(name)[first:beyond][rows - first] for name in names}
