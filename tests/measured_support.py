"""Folders as `tangency measure --out` writes them, from made-up rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tangency.evaluate import estimates
from tangency.evaluate.measured import MEASURED_SCHEMA, settings
from tangency.files import write_json
from tangency.measures import MeasureConfig, Rows
from tangency.tensors import write_tensors

N, SHAPE, CLASSES = 80, (1, 6, 6), ("bag", "boot", "coat")
MAIN = "margin.bayes_gradient.sigma=0.5"


def columns(
    seed: int = 0, n: int = N, accuracy: float = 0.9, fraction: float = 0.3, cosine: float = 0.4
) -> dict[str, np.ndarray]:
    """Rows of a model whose gradient knows something of its image."""
    rng = np.random.default_rng(seed)
    f = fraction * rng.uniform(0.8, 1.2, n)
    return {
        "accuracy": (rng.permutation(n) < accuracy * n).astype(float),
        "tangent_rank": np.full(n, 4.0),
        "tangent_fraction.margin": f,
        **{f"tangent_fraction.margin.{c}": f * rng.uniform(0.3, 0.6, n) for c in ("shuffled", "shuffled_class", "pca")},
        "rho_off.logits.sigma=0.05": rng.random(n),
        "rho_all.logits.sigma=0.05": 1 + rng.random(n),
        "change_on.eps=2": rng.uniform(0.1, 0.2, n),
        "change_off.eps=2": rng.uniform(0.05, 0.1, n),
        "outside_on.eps=2": np.full(n, 0.25),
        f"alignment_cosine.{MAIN}": cosine + 0.05 * rng.normal(size=n),
        f"alignment_cosine.{MAIN}.shuffled": 0.05 * rng.normal(size=n),
    }


def write_measured(
    folder: Path,
    made: dict[str, np.ndarray] | None = None,
    *,
    ids: np.ndarray | None = None,
    digest: str = "d" * 64,
    config: MeasureConfig | None = None,
    pictures: bool = False,
    **more: Any,
) -> Path:
    """A measured model's folder."""
    made = columns() if made is None else made
    n = len(next(iter(made.values())))
    chosen = np.arange(n) if ids is None else ids
    rows = Rows(torch.as_tensor(chosen), {key: torch.as_tensor(v) for key, v in made.items()}, 36, len(CLASSES))
    summary = {
        "model": f"{folder.name}.safetensors",
        "data": "made-up",
        "measured": n,
        "schema": MEASURED_SCHEMA,
        "digest": digest,
        "shape": list(SHAPE),
        "classes": list(CLASSES),
        "licence": "none",
        "settings": settings(config or MeasureConfig(), {"kind": "mfa"}, "t" * 64, tangents=[], network_score=""),
        **estimates(rows, 200).to_json(),
        "regime": {"regime": None, "text": ""},
        **more,
    }
    folder.mkdir(parents=True, exist_ok=True)
    rows.frame().write_parquet(folder / "rows.parquet")
    write_json(folder / "summary.json", summary)
    if pictures:
        held = {name: torch.randn(4, *SHAPE) for name in ("gradient", "bayes_gradient", "score_y", "score")}
        image = torch.linspace(0, 1, 4 * 36).reshape(4, *SHAPE)
        write_tensors(folder / "pictures.safetensors", {"image": image, "labels": torch.arange(4) % 3, **held}, {})
    return folder
