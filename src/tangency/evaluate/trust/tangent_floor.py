"""What an estimator gets wrong where the truth is known: worlds of the same image size and rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

import torch

from tangency.errors import TangencyError
from tangency.evaluate.fitting.tangents import fitted_tangents
from tangency.evaluate.trust.results import WorldError
from tangency.references import parse, parse_options
from tangency.tangents import Ground, WorldTangents, space_agreement
from tangency.tangents.references import SCORED, has_location
from tangency.worlds import load_dataset, make_world

WORLDS = ("torus", "linear")
_FROM_FILE = "it comes from a file, so it cannot be made anew from a world's images."


def floors(
    references: Sequence[str], names: Sequence[str], ground: Ground, ranks: dict[str, int], images: int, folder: Path
) -> dict[str, dict[str, WorldError]]:
    """Errors of each estimator on each world.

    Each estimator is made anew from as many images of the world, at the rank of the truth; a denoiser is the exact
    one, so its floor is that of the method and not of a network. An estimator from a file has no floor, which is said.
    """
    by_estimator: dict[str, dict[str, WorldError]] = {}
    for name, reference in zip(names, references, strict=True) if images else ():
        parsed = parse(reference)
        if (parsed.location and has_location(parsed.kind)) or reference.partition("?")[0].endswith(".safetensors"):
            by_estimator[name] = {world: WorldError(unavailable=_FROM_FILE) for world in WORLDS}
            continue
        rank = min(ranks[name], (math.prod(ground.data.train.shape) - 1) // 2)
        by_estimator[name] = {world: _floor(reference, world, rank, ground, images, folder) for world in WORLDS}
    return by_estimator


def _floor(reference: str, world: str, rank: int, ground: Ground, images: int, folder: Path) -> WorldError:
    shape = "x".join(map(str, ground.data.train.shape))
    name = f"world:{world}?shape={shape}&rank={rank}&train={len(ground.data.train)}&test={images}"
    try:
        data = load_dataset(name)
        truth = make_world(name).to(ground.device)
        own = Ground(data, ground.device, truth)
        estimator = fitted_tangents(_at_rank(reference, rank), own, folder)
        x = data.test.images().to(ground.device)
        ids = torch.arange(len(x), device=ground.device)
        parts = [
            space_agreement(WorldTangents(truth).at(some.double()), estimator.at(some, at))
            for some, at in zip(torch.split(x, 25), torch.split(ids, 25), strict=True)
        ]
    except TangencyError as error:
        return WorldError(name, str(error))
    mean, largest, overlap = (
        float(torch.cat([getattr(p, n) for p in parts]).nanmean()) for n in ("mean", "largest", "overlap")
    )
    return WorldError(name, mean_angle=mean, largest_angle=largest, leakage=1 - overlap)


def _at_rank(reference: str, rank: int) -> str:
    """The reference with the rank of the truth, and without a score of its own."""
    name, _, query = reference.partition("?")
    options = parse_options(reference, query) if query else {}
    if name in SCORED:
        options.pop("score", None)
    if name != "exact":
        options["rank"] = str(rank)
    return f"{name}?{urlencode(options)}" if options else name
