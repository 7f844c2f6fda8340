"""What a measurement rests on: tangent spaces that hold known directions, and a Bayes rule of known accuracy."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangency.data.partners import measured_order
from tangency.evaluate.entries import MeasureEntry, fields_json
from tangency.evaluate.fitting.posterior import PosteriorAccuracy, rule_doubt
from tangency.evaluate.trust.known import NEIGHBOUR, TRANSFORMATION, probe_shares, share_columns
from tangency.evaluate.trust.results import ProbeShare
from tangency.measures import ComparisonSource
from tangency.measures.comparison.frames import FrameSource
from tangency.measures.keys import Key
from tangency.statistics import Estimate, PairedBootstrap, excess_over_best
from tangency.statistics.resamples import Array
from tangency.tangents.probes import neighbour_steps, transformation_steps
from tangency.tensors import read_tensors, write_tensors
from tangency.types import LabelledImages

PROBED, AMONG = 200, 2000  # images whose tangent spaces are looked at, and images that a near one is sought among
_AT_ONCE, _REPLICATES = 25, 2000
_NAMES = {NEIGHBOUR: "the directions to near images", TRANSFORMATION: "shifts, turns and growth of the image"}
Columns = dict[str, Tensor]


@dataclass(frozen=True)
class KnownDirections:
    """What the tangent spaces of one estimator hold of directions that any good one holds.

    Args:
        kind: of the estimator.
        images: number of test images that were looked at.
        rank: mean rank.
        shares: "neighbour" (the step to the nearest other test image) and, of natural images, "transformation" (small
            shifts, turns and growth): the mean share ‖Uᵀv‖²/‖v‖² with its excess over the best control of equal rank,
            over the images that have all of them, and over each, over the images that have that one.
    """

    kind: str
    images: int
    rank: float
    shares: dict[str, ProbeShare]

    def to_json(self) -> dict[str, Any]:
        """With the shares by the names of their probes."""
        content = fields_json(self)
        shares = content.pop("shares")
        return {**content, **shares}

    def over_pca(self, probe: str) -> Estimate | None:
        """The share minus that of global PCA of the same rank; None where it is not known."""
        share = self.shares.get(probe)
        return None if share is None else share.excess.controls.get("pca")


@dataclass(frozen=True)
class Rests:
    """What the numbers of a measurement rest on, the same for all its classifiers; as in `MeasuredModel`."""

    known_directions: dict[str, KnownDirections]
    posterior_accuracy: list[PosteriorAccuracy]

    def warnings(self, kind: str, accuracy: MeasureEntry | None) -> list[str]:
        """Where they carry little, for a closed form of this kind and a classifier of this accuracy."""
        doubt = rule_doubt(kind, self.posterior_accuracy, accuracy)
        return tangent_warnings(self.known_directions) + ([doubt] if doubt else [])


def known_columns(source: ComparisonSource, limit: int, natural: bool, kept: Path | None = None) -> list[Columns]:
    """Rank, shares and controls' shares (N,) of each estimator, on the first images that are measured, 200 at most.

    A near image is the nearest of the first 2,000 in the order of measurement, at the working size. Tangent spaces that
    are made here are held, and serve the measurement.

    Args:
        source: of the measurement.
        limit: images that are measured at most.
        natural: whether small shifts, turns and growth of an image are on its manifold.
        kept: a file that `keep_columns` wrote for the same source and images; it is read if it is there.
    """
    if kept is not None and kept.exists():
        tensors = read_tensors(kept)[0]
        return [_with_prefix(tensors, f"{place}/") for place in range(len(source.frames))]
    order = measured_order(len(source.pool))
    near = source.pool.subset(order[:AMONG])  # those that are looked at come first
    parts: list[list[Columns]] = [[] for _ in source.frames]
    for places in torch.split(torch.arange(min(PROBED, limit, len(order))), _AT_ONCE):
        ids, x = order[places].to(source.device), near.images(places).to(source.device)
        y = near.labels[places].to(source.device)
        probes = _probes(x, places.to(source.device), near, natural)
        for own, frames in zip(parts, source.frames, strict=True):
            own.append(_columns(frames, x, y, ids, probes))
    return [{name: torch.cat([part[name] for part in own]) for name in own[0]} for own in parts]


def keep_columns(columns: list[Columns], path: Path) -> None:
    """Write the columns of `known_columns`, so that measuring again does not make the tangent spaces anew."""
    if not path.exists():
        tensors = {f"{place}/{name}": values for place, own in enumerate(columns) for name, values in own.items()}
        write_tensors(path, tensors, {})


def columns_file(folder: Path, identity: list[object], limit: int) -> Path:
    """Where the columns of a measurement are kept."""
    text = json.dumps([*identity, min(PROBED, limit)], default=str)
    return folder / f"known-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"


def known_directions(
    source: ComparisonSource, names: Sequence[str], columns: Sequence[Columns]
) -> dict[str, KnownDirections]:
    """Name to what the tangent spaces of an estimator hold, from the columns of `known_columns`."""
    held = {}
    for name, frames, own in zip(names, source.frames, columns, strict=True):
        values = {key: column.double().cpu().numpy() for key, column in own.items()}
        rank = values.pop("rank")
        shares = _each_over_its_own(values, PairedBootstrap(len(rank), _REPLICATES))
        held[name] = KnownDirections(frames.estimator.kind, len(rank), float(rank.mean()), shares)
    return held


def _each_over_its_own(columns: Mapping[str, Array], boot: PairedBootstrap) -> dict[str, ProbeShare]:
    """`probe_shares` with each control over all images that have it: a partner that is missing is none of PCA's."""
    shares = probe_shares(columns, boot)
    for probe, share in shares.items():
        controls = {
            name: excess_over_best(boot, columns[probe], {name: columns[str(Key(probe).under(name))]}).estimate
            for name in share.excess.controls
        }
        shares[probe] = dataclasses.replace(share, excess=dataclasses.replace(share.excess, controls=controls))
    return shares


def tangent_warnings(known: Mapping[str, KnownDirections]) -> list[str]:
    """A sentence for each estimator not shown to hold more of known directions than global PCA of equal rank.

    Exact tangent spaces are not doubted.
    """
    sentences = []
    for name, one in known.items():
        pairs = [(_NAMES[probe], one.over_pca(probe)) for probe in one.shares]
        parts = [_not_more(what, over) for what, over in pairs if over is not None and over.low <= 0]
        words = f"{' and '.join(parts)} than global PCA of the same rank" if parts else ""
        words = "is that of global PCA" if one.kind == "pca" else words
        if words and one.kind != "exact":
            sentences.append(
                f"the tangent space of {name} {words}; read its F² as that of a subspace, not of the manifold."
            )
    return sentences


def _not_more(what: str, over: Estimate) -> str:
    size = f"{over.mean:+.3f} [{over.low:+.3f}, {over.high:+.3f}] over {over.n} images"
    return f"{'holds less' if over.high < 0 else 'is not shown to hold more'} of {what} ({size})"


def _probes(x: Tensor, places: Tensor, near: LabelledImages, natural: bool) -> dict[str, Tensor]:
    moved = {TRANSFORMATION: transformation_steps(x)} if natural else {}
    return {NEIGHBOUR: neighbour_steps(x, places, near), **moved}


def _columns(frames: FrameSource, x: Tensor, y: Tensor, ids: Tensor, probes: Mapping[str, Tensor]) -> Columns:
    space, controls, _ = frames.spaces(x, y, ids, of_pool=True)
    return {"rank": space.trace.double()} | share_columns(space, controls, probes)


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> Columns:
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
