"""How far tangent spaces can be believed: against directions that are known, against controls, against each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tangency.data.partners import Partners
from tangency.devices import resolve_device
from tangency.errors import RunError
from tangency.evaluate.fitting.tangents import check_tangents, fitted_tangents, ground_of, tangent_names
from tangency.evaluate.numbers import as_json
from tangency.evaluate.trust.tangent_floor import floors
from tangency.evaluate.trust.tangent_verdict import tangent_verdict
from tangency.measures import MeasureConfig
from tangency.measures.frames import Frame, frame_sources
from tangency.measures.keys import TANGENT_CONTROLS, Key
from tangency.score import Denoiser
from tangency.seeding import permutation
from tangency.statistics import Estimate, PairedBootstrap, excess_over_best
from tangency.tangents import Ground, TangentEstimator, TangentSpace, reach, space_agreement
from tangency.tangents.probes import neighbour_steps, transformation_steps
from tangency.types import Dataset, OnProgress
from tangency.worlds import load_dataset, world_of

PROBES = ("neighbour", "transformation")
_AT_ONCE, _NEIGHBOURS = 25, 8


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
        score: of "denoiser" and "score-svd" where they name none, or its reference; "mfa" by default.
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
        >>> found = evaluate_tangents("pca?rank=2", "world:torus?train=60&test=20", config=config)
        >>> found["estimators"][0]["rank"]["mean"], found["images"]
        (2.0, 10)
    """
    named = (references,) if isinstance(references, str) else tuple(references)
    loaded, device = load_dataset(data) if isinstance(data, str | Path) else data, resolve_device(device)
    check_tangents(named, loaded)
    place = None if folder is None else Path(folder)
    return examine_tangents(named, ground_of(loaded, score, device), config, place, on_progress)


def examine_tangents(
    references: Sequence[str],
    ground: Ground,
    config: TangentTrustConfig | None = None,
    folder: Path | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """As `evaluate_tangents`, on ground that is laid: data, device, and the score of denoiser tangents."""
    config, on_progress = config or TangentTrustConfig(), on_progress or (lambda part, share: None)
    if len(ground.data.test) < 2:
        raise RunError(f"'{ground.data.name}': got {len(ground.data.test)} test images, expected at least 2.")
    with TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        estimators = []
        for number, reference in enumerate(references):
            on_progress(f"making {reference}", 0.4 * number / len(references))
            estimators.append(fitted_tangents(reference, ground, place))
        held, names = _held(ground.data, config), tangent_names(references)
        columns, pairs = _examined(estimators, names, ground, held, config, on_progress)
        on_progress("worlds", 0.8)
        known = floors(references, names, ground, _mean_ranks(columns, names), config.floor, place)
    boot = PairedBootstrap(len(held), config.replicates)
    summary = {
        "data": ground.data.name,
        "images": len(held),
        "dimension": int(np.prod(ground.data.train.shape)),
        "estimators": [
            _about(name, reference, estimator, columns[name], boot) | {"floor": known.get(name, {})}
            for name, reference, estimator in zip(names, references, estimators, strict=True)
        ],
        "agreement": [
            {"first": a, "second": b}
            | {key: as_json(Estimate.of(boot.mean(v[None])[0], *_counts(v))) for key, v in values.items()}
            for (a, b), values in pairs.items()
        ],
    }
    on_progress("done", 1.0)
    return summary | {"verdict": tangent_verdict(summary)}


def _held(data: Dataset, config: TangentTrustConfig) -> Tensor:
    return permutation(len(data.test), 0, "tangent evaluation")[: config.images].sort().values


def _examined(
    estimators: Sequence[TangentEstimator],
    names: list[str],
    ground: Ground,
    held: Tensor,
    config: TangentTrustConfig,
    on_progress: OnProgress,
) -> tuple[dict[str, dict[str, np.ndarray]], dict[tuple[str, str], dict[str, np.ndarray]]]:
    """Columns (N,) of each estimator and of each pair, a batch of images at a time."""
    pool, device = ground.data.test, torch.device(ground.device)
    partners = Partners(pool, config.seed)
    one = MeasureConfig(directions=1, seed=config.seed)
    named = dict(zip(names, estimators, strict=True))
    sources = frame_sources(named, partners, ground.data.train, one, device)
    own: dict[str, list[dict[str, Tensor]]] = {name: [] for name in names}
    pairs: dict[tuple[str, str], list[dict[str, Tensor]]] = {p: [] for p in itertools.combinations(names, 2)}
    batches = held.split(_AT_ONCE)
    natural = world_of(ground.data.name) is None
    for number, ids in enumerate(batches):
        on_progress("examining", 0.4 + 0.4 * number / len(batches))
        x, y, at = pool.images(ids).to(device), pool.labels[ids].to(device), ids.to(device)
        steps = neighbour_steps(x, at, pool, _NEIGHBOURS)
        moved = transformation_steps(x) if natural else None
        frames = [source.at(x, y, at, of_pool=True) for source in sources]
        for name, frame in zip(names, frames, strict=True):
            own[name].append(_columns(frame, x, steps, moved))
        for (a, first), (b, second) in itertools.combinations(zip(names, frames, strict=True), 2):
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
    probes = {"neighbour": steps[:, :1]} | ({} if moved is None else {"transformation": moved})
    for probe, directions in probes.items():
        for control, other in {"": space, **frame.controls}.items():
            shares = torch.stack([other.fraction(v) for v in directions.double().unbind(1)], 1)
            held = shares.nanmean(1).where(space.rank > 0, torch.nan)
            columns[str(Key(probe).under(control))] = held
    return columns


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


def _about(
    name: str, reference: str, estimator: TangentEstimator, columns: dict[str, np.ndarray], boot: PairedBootstrap
) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name, "reference": reference, "kind": estimator.kind, "where": estimator.where}
    ranks = columns["rank"]
    about["rank"] = {"mean": float(ranks.mean()), "least": float(ranks.min()), "most": float(ranks.max())}
    for key in ("residual", "asymmetry"):
        values = columns[key]
        about[key] = (
            None if np.isnan(values).all() else as_json(Estimate.of(boot.mean(values[None])[0], *_counts(values)))
        )
    for key in ("gap", "reach"):
        values = columns[key][np.isfinite(columns[key])]
        about[key] = float(np.median(values)) if len(values) else None
    for probe in PROBES:
        if probe not in columns:
            continue
        controls = {c: columns[str(Key(probe).under(c))] for c in TANGENT_CONTROLS}
        over_best = excess_over_best(boot, columns[probe], controls)
        about[probe] = {
            "share": as_json(Estimate.of(boot.mean(columns[probe][None])[0], *_counts(columns[probe]))),
            "excess": as_json(over_best.estimate, best_control=over_best.best),
            "controls": {c: as_json(e) for c, e in over_best.controls.items()},
        }
    return about


def _counts(values: np.ndarray) -> tuple[int, int]:
    usable = int(np.isfinite(values).sum())
    return usable, len(values) - usable
