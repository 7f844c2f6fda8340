"""A run as large as pages are made for: 1,000 images, 30 strengths, 3 seeds; copies of a small one's summary."""

from __future__ import annotations

import copy
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars
from safetensors.numpy import load_file, save_file

from report.synthetic_run import build_run

IMAGES, PICTURED = 1000, 48
# What is copied to how many further strengths; with the eleven of the small run these are thirty.
SOURCES = {"gradient_norm": ("0.3", 5), "pgd_l2": ("1", 6), "noise_augmentation": ("0.3", 8)}


def build_large_run(folder: Path) -> Path:
    """Write the run into `folder` and return it; numbers of its images are noise, which compresses worst."""
    run = build_run(folder, seeds=(0, 1, 2), second=0.9)
    summary = json.loads((run / "summary.json").read_text())
    for name in ("trials", "cells"):
        summary[name] += [each for own in summary[name] for each in _copies(own)]
    summary["data"]["measured"] = IMAGES
    (run / "summary.json").write_text(json.dumps(summary))
    measured = [trial for trial in summary["trials"] if trial["outcome"] == "ok"]
    _write_rows(run, measured)
    _write_pictures(run, [trial["id"] for trial in measured])
    return run


def _copies(own: dict[str, Any]) -> list[dict[str, Any]]:
    """A trial or a cell at further strengths; none of those that are not copied."""
    objective = own["objective"]
    source, count = SOURCES.get(objective, ("", 0))
    former = f"{objective}-{source}"
    if own["id"] not in (former, *(f"{former}-s{seed}" for seed in range(3))):
        return []
    copies = []
    for strength in (round(0.013 * 1.7**i, 4) for i in range(count)):
        each = copy.deepcopy(own)
        each["strength"], each["id"] = strength, own["id"].replace(former, f"{objective}-{strength:g}", 1)
        copies.append(each)
    return copies


def _write_rows(run: Path, trials: list[dict[str, Any]]) -> None:
    keys = [name for name in polars.read_parquet_schema(run / "rows.parquet") if name not in ("trial", "seed", "image")]
    frames = []
    for trial in trials:
        rng = np.random.default_rng(zlib.crc32(trial["id"].encode()))
        made = {key: rng.uniform(-1, 1, IMAGES) for key in keys}
        made["accuracy"] = np.round(rng.uniform(size=IMAGES))
        frames.append(
            polars.DataFrame({"trial": trial["id"], "seed": trial["seed"], "image": np.arange(IMAGES)} | made)
        )
    polars.concat(frames).write_parquet(run / "rows.parquet")


def _write_pictures(run: Path, trials: list[str]) -> None:
    path = run / "artefacts" / "pictures.safetensors"
    rng = np.random.default_rng(5)
    every, shown = np.arange(IMAGES), np.arange(PICTURED)
    plain = ("gradient.", "probability.", "answer.", "measured")
    held = {name: values for name, values in load_file(path).items() if not name.startswith(plain)}
    made = {name: np.resize(values, (PICTURED, *values.shape[1:])) for name, values in held.items()}
    made |= {"ids": shown, "labels": shown % 10, "measured": every, "measured_labels": every % 10}
    for trial in trials:
        made[f"gradient.{trial}"] = rng.normal(size=(PICTURED, 1, 28, 28)).astype(np.float32)
        made[f"probability.{trial}"] = rng.uniform(size=PICTURED).astype(np.float32)
        made[f"answer.{trial}"] = shown % 10
    save_file(made, path)
