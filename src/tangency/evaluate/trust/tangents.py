"""Validation of tangent spaces: against known directions, against controls, against each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tangency.data.partners import Partners
from tangency.devices import arithmetic, resolve_device
from tangency.errors import RunError
from tangency.evaluate.fitting.tangents import check_tangents, fitted_tangents, ground_of, tangent_names
from tangency.evaluate.trust.known import NEIGHBOUR, TRANSFORMATION, mean_estimate, probe_shares, share_columns
from tangency.evaluate.trust.results import (
    EstimatorCheck,
    PairAgreement,
    RankRange,
    TangentExamination,
    WorldError,
)
from tangency.evaluate.trust.tangent_floor import floors
from tangency.evaluate.trust.tangent_verdict import tangent_verdict
from tangency.measures import MeasureConfig
from tangency.measures.comparison.frames import Frame, frame_sources
from tangency.score import Denoiser
from tangency.seeding import permutation
from tangency.statistics import PairedBootstrap
from tangency.tangents import Ground, TangentEstimator, TangentSpace, reach, space_agreement
from tangency.tangents.probes import neighbour_steps, transformation_steps
from tangency.types import Dataset, OnProgress
from tangency.worlds import load_dataset, world_of

_AT_ONCE, _NEIGHBOURS = 25, 8
_ANGLES = ("overlap", "chance", "mean_angle", "largest_angle")  # in the order of `PairAgreement`


@dataclass(frozen=True)
class TangentTrustConfig:
    """How tangent spaces are examined.

    Args:
        images: held-out images, a fixed random subset.
        replicates: bootstrap resamples.
        floor: images of each world on which the same estimators are compared with the truth; 0 for none.
        seed: of partners.
    """

    images: int = 200
    replicates: int = 2000
    floor: int = 100
    seed: int = 0


def evaluate_tangents(
    references: str | Sequence[str],
    data: Dataset | str | Path,
    *,
    score: Denoiser | str | Path | None = None,
    config: TangentTrustConfig | None = None,
    device: str = "cpu",
    folder: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """How far tangent spaces can be believed: known directions beside controls, each other, and worlds with a truth.

    The share of a direction v (a step to the nearest new image, a small shift or turn) in a tangent space with basis U
    is ‖Uᵀv‖²/‖v‖²; a random space of rank k in d dimensions holds k/d of it. Shares stand beside those of four controls
    of equal rank: other images' spaces (of any class, of the same), low frequencies, global principal components.

    Args:
        references: one or several, as `load_tangents` takes them.
        data: fitted to its training images, examined on its test images; or its reference as `load_data` takes it.
        score: of denoisers and "score-svd" where they name none, or its reference; "mfa" by default.
        config: how.
        device: where everything is computed: "auto", "cpu", "cuda" or "cuda:N".
        folder: where autoencoders are trained; a temporary one by default.
        on_progress: called with what is being done and the share that is done, in [0, 1].

    Returns:
        JSON values. "estimators": of each its rank, residual (l2, pixels in [0, 1]), spectral gap, asymmetry, reach
        (pixels), shares "neighbour" and "transformation" with 95 % intervals and their excess over the best control,
        and "floor", its error on worlds; "agreement": overlap and angles (degrees) of each pair; "verdict" in words.

    Raises:
        SpecError: an unknown reference or option, or the same one twice.
        RunError: fewer than two test images.

    Example:
        >>> config = TangentTrustConfig(images=10, replicates=100, floor=0)
        >>> examined = evaluate_tangents("pca?rank=2", "world:torus?train=60&test=20", config=config)
        >>> examined["estimators"][0]["rank"]["mean"], examined["images"]
        (2.0, 10)
    """
    named = (references,) if isinstance(references, str) else tuple(references)
    loaded, device = load_dataset(data) if isinstance(data, str | Path) else data, resolve_device(device)
    check_tangents(named, loaded)
    place = None if folder is None else Path(folder)
    return examine_tangents(named, ground_of(loaded, score, device), config, place, on_progress).to_json()


@arithmetic()
def examine_tangents(
    references: Sequence[str],
    ground: Ground,
    config: TangentTrustConfig | None = None,
    folder: Path | None = None,
    on_progress: OnProgress | None = None,
) -> TangentExamination:
    """As `evaluate_tangents`, on ground that is laid: data, device, and the score of denoiser tangents."""
    config, on_progress = config or TangentTrustConfig(), on_progress or (lambda part, share: None)
    if len(ground.data.test) < 2:
        raise RunError(f"'{ground.data.name}': got {len(ground.data.test)} test images, expected at least 2.")
    with TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        fitted = []
        for number, reference in enumerate(references):
            on_progress(f"making {reference}", 0.4 * number / len(references))
            fitted.append(fitted_tangents(reference, ground, place))
        held, names = _held(ground.data, config), tangent_names(references)
        columns, pairs = _examined(dict(zip(names, fitted, strict=True)), ground, held, config, on_progress)
        on_progress("worlds", 0.8)
        known = floors(references, names, ground, _mean_ranks(columns, names), config.floor, place)
    boot = PairedBootstrap(len(held), config.replicates)
    checks = [
        _check(NamedEstimator(name, reference, estimator), columns[name], known.get(name, {}), boot)
        for name, reference, estimator in zip(names, references, fitted, strict=True)
    ]
    agreement = [
        PairAgreement(first, second, *(mean_estimate(boot, angles[key]) for key in _ANGLES))
        for (first, second), angles in pairs.items()
    ]
    on_progress("done", 1.0)
    return TangentExamination(
        data=ground.data.name,
        images=len(held),
        dimension=int(np.prod(ground.data.train.shape)),
        estimators=checks,
        agreement=agreement,
        verdict=tangent_verdict(checks, agreement),
    )


class NamedEstimator(NamedTuple):
    """An estimator with its name and its reference."""

    name: str
    reference: str
    estimator: TangentEstimator


def _held(data: Dataset, config: TangentTrustConfig) -> Tensor:
    return permutation(len(data.test), 0, "tangent evaluation")[: config.images].sort().values


def _examined(
    estimators: dict[str, TangentEstimator],
    ground: Ground,
    held: Tensor,
    config: TangentTrustConfig,
    on_progress: OnProgress,
) -> tuple[dict[str, dict[str, np.ndarray]], dict[tuple[str, str], dict[str, np.ndarray]]]:
    """Columns (N,) of each estimator and of each pair, a batch of images at a time."""
    pool, device = ground.data.test, torch.device(ground.device)
    partners = Partners(pool, config.seed)
    one = MeasureConfig(directions=1, seed=config.seed)
    sources = frame_sources(estimators, partners, ground.data.train, one, device)
    own: dict[str, list[dict[str, Tensor]]] = {name: [] for name in estimators}
    pairs: dict[tuple[str, str], list[dict[str, Tensor]]] = {p: [] for p in itertools.combinations(estimators, 2)}
    batches = torch.split(held, _AT_ONCE)
    natural = world_of(ground.data.name) is None
    for number, ids in enumerate(batches):
        on_progress("examining", 0.4 + 0.4 * number / len(batches))
        x, y, at = pool.images(ids).to(device), pool.labels[ids].to(device), ids.to(device)
        steps = neighbour_steps(x, at, pool, _NEIGHBOURS)
        moved = transformation_steps(x) if natural else None
        frames = [source.at(x, y, at, of_pool=True) for source in sources]
        for name, frame in zip(estimators, frames, strict=True):
            own[name].append(_columns(frame, x, steps, moved))
        for (a, first), (b, second) in itertools.combinations(zip(estimators, frames, strict=True), 2):
            pairs[a, b].append(_pair(first.space, second.space))
    return {name: _joined(parts) for name, parts in own.items()}, {k: _joined(parts) for k, parts in pairs.items()}


def _columns(frame: Frame, x: Tensor, steps: Tensor, moved: Tensor | None) -> dict[str, Tensor]:
    space = frame.space
    nothing = torch.full((len(x),), torch.nan, dtype=torch.float64)
    columns = {
        "rank": space.trace,
        "gap": space.gap,
        "residual": nothing if space.residual is None else space.residual,
        "asymmetry": nothing if space.asymmetry is None else space.asymmetry,
        "reach": reach(space, x, x[:, None] + steps),
    }
    probes = {NEIGHBOUR: steps[:, :1]} | ({} if moved is None else {TRANSFORMATION: moved})
    return columns | share_columns(space, frame.controls, probes)


def _pair(first: TangentSpace, second: TangentSpace) -> dict[str, Tensor]:
    angles = space_agreement(first, second)
    return {
        "overlap": angles.overlap,
        "chance": angles.chance,
        "mean_angle": angles.mean,
        "largest_angle": angles.largest,
    }


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    return {name: torch.cat([part[name].double().cpu() for part in parts]).numpy() for name in parts[0]}


def _mean_ranks(columns: dict[str, dict[str, np.ndarray]], names: list[str]) -> dict[str, int]:
    return {name: max(1, round(float(np.nanmean(columns[name]["rank"])))) for name in names}


def _check(
    one: NamedEstimator, columns: dict[str, np.ndarray], floor: dict[str, WorldError], boot: PairedBootstrap
) -> EstimatorCheck:
    """All that is said of one estimator."""
    ranks, medians = columns["rank"], dict[str, float | None]()
    for key in ("gap", "reach"):
        values = columns[key][np.isfinite(columns[key])]
        medians[key] = float(np.median(values)) if len(values) else None
    return EstimatorCheck(
        name=one.name,
        reference=one.reference,
        kind=one.estimator.kind,
        where=one.estimator.where,
        rank=RankRange(float(ranks.mean()), float(ranks.min()), float(ranks.max())),
        residual=None if np.isnan(columns["residual"]).all() else mean_estimate(boot, columns["residual"]),
        asymmetry=None if np.isnan(columns["asymmetry"]).all() else mean_estimate(boot, columns["asymmetry"]),
        gap=medians["gap"],
        reach=medians["reach"],
        shares=probe_shares(columns, boot),
        floor=floor,
    )
