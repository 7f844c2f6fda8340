"""A plausible run directory from a seeded generator: what the report reads, without training anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars
from safetensors.numpy import save_file

from tangency.study import load_spec

# objective, strength, outcome, regime, then the levels: accuracy, F², on-manifold change, off-manifold change, cosine
LEVELS = [
    ("untrained", 0.0, "ok", None, 0.10, 0.09, 0.004, 0.003, 0.02),
    ("standard", 0.0, "ok", "weak", 0.859, 0.121, 0.162, 0.053, 0.16),
    ("gradient_norm", 0.03, "ok", "weak", 0.861, 0.182, 0.146, 0.039, 0.21),
    ("gradient_norm", 0.3, "ok", "bayes_aligned", 0.852, 0.314, 0.125, 0.023, 0.37),
    ("gradient_norm", 3.0, "ok", "undetermined", 0.809, 0.499, 0.088, 0.011, 0.39),
    ("gradient_norm", 30.0, "ok", "excessive", 0.699, 0.576, 0.056, 0.010, 0.26),
    ("gradient_norm", 300.0, "diverged", None, *[None] * 5),
    ("pgd_l2", 0.3, "ok", "bayes_aligned", 0.853, 0.293, 0.125, 0.023, 0.31),
    ("pgd_l2", 1.0, "ok", "bayes_aligned", 0.817, 0.495, 0.085, 0.011, 0.37),
    ("pgd_l2", 3.0, "ok", "excessive", 0.697, 0.640, 0.059, 0.010, 0.28),
    ("pgd_l2", 10.0, "collapsed", None, 0.100, 0.427, 0.0004, 0.0004, 0.09),
    ("noise_augmentation", 0.1, "ok", "weak", 0.857, 0.144, 0.130, 0.043, 0.18),
    ("noise_augmentation", 0.3, "ok", "weak", 0.850, 0.234, 0.126, 0.031, 0.22),
]
CLASSES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
TARGETS = ["margin.bayes_gradient", "logit_y.score_y", "sum_logits.score"]
SIGMAS = [0.125, 0.25, 0.5]
IMAGES = 61
BAYES = ("bayes", 0.0, "ok", None, 0.931, 0.93, 0.21, 0.0008, 0.97)  # the last five as in LEVELS
NOISE_SIGMAS = [0.01, 0.1, 1.0]
REASONS = {"shuffled": 0.2, "random": 0.0, "image": 0.45, "untrained": 0.08}
SPEC = """# what was asked
name: quickstart
data: fashion-mnist-5k
measured: 61
sweep:
  - {objective: standard}
  - {objective: gradient_norm, strengths: [0.03, 0.3, 3, 30, 300]}
  - {objective: pgd_l2, strengths: [0.3, 1, 3, 10]}
  - {objective: noise_augmentation, strengths: [0.1, 0.3]}
seeds: [0]
"""


def interval(mean: float | None, width: float = 0.01) -> dict[str, Any]:
    """Mean with a symmetric interval; all null where there is no mean."""
    if mean is None:
        return {"mean": None, "low": None, "high": None, "n": 0}
    return {"mean": mean, "low": mean - width, "high": mean + width, "n": IMAGES}


def entry(mean: float | None, chance: float | None = None, degenerate: int = 0, width: float = 0.01) -> dict[str, Any]:
    """One measure of one trial."""
    counts = {"degenerate": IMAGES if mean is None else degenerate, "chance": chance}
    return interval(mean, width) | counts


def measures_of(levels: Sequence[float | None], positive: bool, jitter: float) -> dict[str, Any]:
    """Every measure of one trial from its five levels; PCA beats F² where `positive` is False."""
    if levels[0] is None:
        return {"accuracy": entry(None, 0.1), "tangent_fraction.margin": entry(None, 0.0153)}
    accuracy, fraction, on, off, cosine = (float(level) * (1 + jitter) for level in levels if level is not None)
    kappa = (1 - fraction) / fraction * 12 / 772
    out = {"accuracy": entry(accuracy, 0.1), "tangent_fraction.margin": entry(fraction, 0.0153)}
    controls = {"shuffled": 0.5, "shuffled_class": 0.9, "dct": 0.6, "pca": 0.94 if positive else 1.2}
    for name, factor in controls.items():
        out[f"tangent_fraction.margin.{name}"] = entry(fraction * factor, 0.0153)
    out["kappa.margin"] = entry(kappa, 1.0, width=0.1 * kappa)
    out["log_kappa.margin"] = entry(float(np.log(kappa)), 0.15, degenerate=2, width=0.1)
    for sigma in (0.01, 0.05, 0.2):
        out[f"rho.logits.sigma={sigma}"] = entry(1 - fraction * (1 - sigma), 0.985)
    for eps in (0.5, 1, 2, 4):
        out[f"change_on.eps={eps}"] = entry(on * eps / 2, width=0.05 * on)
        out[f"change_off.eps={eps}"] = entry(off * eps / 2, width=0.05 * off)
    out["change_on.eps=4"] = entry(None)  # degenerate everywhere
    for family, offset in (("alignment_cosine", 0.0), ("alignment_lpips", 0.35)):
        for target in TARGETS:
            for sigma in SIGMAS:
                key = f"{family}.{target}.sigma={sigma}"
                level = cosine * (0.6 + 0.8 * sigma) * (1.0 if target == TARGETS[0] else 0.3) + offset
                out[key] = entry(level, 0.0 if family == "alignment_cosine" else None)
                for control, factor in REASONS.items():
                    out[f"{key}.{control}"] = entry((level - offset) * factor + offset)
    return out


def excess_of(measures: dict[str, Any]) -> dict[str, Any]:
    """Each measure minus its control."""
    out: dict[str, Any] = {}
    for key, value in measures.items():
        if value["mean"] is None or f"{key}.shuffled" not in measures:
            continue
        names = [name for name in ("shuffled", "shuffled_class", "dct", "pca") if f"{key}.{name}" in measures]
        best = max(names, key=lambda name: measures[f"{key}.{name}"]["mean"])
        difference = {name: interval(value["mean"] - measures[f"{key}.{name}"]["mean"]) for name in names}
        out[key] = difference[best] | ({"best_control": best, "controls": difference} if len(names) > 1 else {})
    return out


def trial_of(row: Sequence[Any], seed: int, positive: bool, rng: np.random.Generator) -> dict[str, Any]:
    """One entry of summary["trials"]."""
    objective, strength, outcome, regime = row[:4]
    measures = measures_of(row[4:], positive, float(rng.normal(0, 0.01)))
    other = "excessive" if regime == "undetermined" else regime
    return {
        "id": f"{objective}-{strength:g}-s{seed}",
        "objective": objective,
        "strength": strength,
        "seed": seed,
        "outcome": outcome,
        "regime": regime,
        "regime_sensitivity": {"0.02": other, "0.05": regime, "0.1": regime} if regime else {},
        "train_hash": f"{rng.integers(2**40):010x}",
        "measure_hash": f"{rng.integers(2**40):010x}",
        "seconds": float(rng.uniform(8, 40)),
        "epochs": 12,
        "measures": measures,
        "excess": excess_of(measures),
    }


def headline_of(trials: list[dict[str, Any]], positive: bool) -> dict[str, Any]:
    """The paired comparison of one trial with the standard one."""
    by_name = {(t["objective"], t["strength"]): t for t in trials}
    trial, baseline = by_name["gradient_norm", 0.3], by_name["standard", 0.0]
    key, alignment = "tangent_fraction.margin", "alignment_cosine.margin.bayes_gradient.sigma=0.5"

    def rise(kind: str, name: str, width: float = 0.006) -> dict[str, float]:
        difference = trial[kind][name]["mean"] - baseline[kind][name]["mean"]
        return {"mean": difference, "low": difference - width, "high": difference + width}

    excess = trial["excess"][key]
    chosen = {name: excess[name] for name in ("mean", "low", "high", "n", "best_control")}
    return {
        "trial": trial["id"],
        "baseline": baseline["id"],
        "rule": "largest F² among the weak and Bayes-aligned trials",
        "tangent_excess": chosen | {"positive": positive},
        "tangent_excess_rise": rise("excess", key, 0.003),
        "alignment": alignment,
        "alignment_excess": {name: trial["excess"][alignment][name] for name in ("mean", "low", "high", "n")},
        "alignment_excess_rise": rise("excess", alignment),
        "raw_rise": {"tangent_fraction": rise("measures", key), "alignment": rise("measures", alignment)},
    }


def correlations_of(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Spearman of log κ with every alignment."""
    out = []
    for family in ("alignment_cosine", "alignment_lpips"):
        for target in TARGETS:
            for sigma in SIGMAS:
                rho = -float(rng.uniform(0.3, 0.8))
                raw = {"rho": rho, "low": rho - 0.15, "high": rho + 0.3, "p": 0.02, "n": 11}
                less = {"rho": rho / 2, "low": rho / 2 - 0.3, "high": rho / 2 + 0.35, "p": 0.31, "n": 11}
                key = f"{family}.{target}.sigma={sigma}"
                out.append({"x": "log_kappa.margin", "y": key, "raw": raw, "minus_control": less})
    return out


def score_of() -> dict[str, Any]:
    """Quality of the score: denoising error on held-out images."""
    denoising = [{"sigma": s, "mse": 0.014 * s**0.9, "identity": s * s} for s in (0.0625, *SIGMAS, 1.0)]
    likelihood = {"train": 1254.2, "test": 1238.9}
    return {
        "kind": "mfa",
        "components": 4,
        "rank": 12,
        "seconds": 1.2,
        "log_likelihood": likelihood,
        "denoising": denoising,
    }


def provenance_of(seeds: Sequence[int]) -> dict[str, Any]:
    """Versions, hashes, seeds."""
    return {
        "versions": {"tangency": "0.1.0", "torch": "2.14.0", "numpy": "2.4.6"},
        "platform": "Linux-6.1-x86_64",
        "python": "3.11.9",
        "threads": 1,
        "workers": 2,
        "seeds": list(seeds),
        "started": "2026-11-23T10:12:00+00:00",
        "hashes": {"score": "ab12" * 8, "tangents": "cd34" * 8, "trial standard-0-s0": "not shown twice"},
    }


def summary_of(
    seeds: Sequence[int], positive: bool, headline: bool, channels: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The whole summary.json."""
    rows = [row for row in LEVELS if headline or row[0] != "standard"]
    trials = [trial_of(row, seed, positive, rng) for seed in seeds for row in rows]
    return {
        "schema": 1,
        "name": "quickstart",
        "spec_hash": "5e" * 16,
        "seconds": 200.1,
        "data": {
            "name": "fashion-mnist-5k",
            "digest": "9f" * 32,
            "classes": CLASSES,
            "shape": [channels, 28, 28],
            "train": 5000,
            "measured": IMAGES,
            "licence": "MIT",
        },
        "score": score_of(),
        "headline": headline_of(trials, positive) if headline else None,
        "trials": trials,
        "regimes": {
            "thresholds": {"kappa_ratio": 0.5, "kappa": 1.0, "accuracy_margin": 0.05, "change_on_ratio": 0.5},
            "bands": "simultaneous max-|t|, 95 %",
            "text": "Each trial is compared with the standard trial of its seed.",
        },
        "correlations": correlations_of(rng),
        "provenance": provenance_of(seeds),
    }


def add_world(summary: dict[str, Any], seed: int, rng: np.random.Generator) -> None:
    """Turn a summary into that of a world of signal and distractor, with its Bayes rule and an exact score."""
    best = trial_of(BAYES, seed, True, rng) | {"id": f"bayes-s{seed}", "epochs": 0, "seconds": 0.0}
    best["measures"]["kappa.margin"] = entry(4.2e-9, 1.0, width=1e-9)
    best["measures"]["log_kappa.margin"] = entry(-33.9, 0.15, width=0.1)
    summary["trials"].insert(0, best)
    risk = {"mean": 0.1019, "low": 0.0998, "high": 0.1040}
    summary["world"] = {"name": "distractor?rank=6", "dimension": 392, "intrinsic_dimension": 8, "undefined": {}}
    summary["world"]["bayes_accuracy"] = {"mean": 1 - risk["mean"], "low": 0.8960, "high": 0.9002, "n": 20000}
    summary["score"] = {"kind": "exact", "world": "distractor?rank=6", "denoising": summary["score"]["denoising"]}
    for trial in summary["trials"]:
        if (accuracy := trial["measures"]["accuracy"]["mean"]) is not None:
            least = best["measures"]["accuracy"]["mean"]
            trial["excess_risk"] = entry(least - accuracy, width=0.0 if trial is best else 0.02)
            for key in [key for key in trial["measures"] if "bayes_gradient.sigma=0.125" in key]:
                trial["measures"][key.replace("0.125", "0")] = trial["measures"][key]
    add_noise(summary)


def add_noise(summary: dict[str, Any]) -> None:
    """Gradient energy on the signal, and relative noise robustness that grows with F²; the diverged trial has none."""
    curves: dict[str, Any] = {}
    ratios = {}
    for trial in summary["trials"]:
        if (fraction := trial["measures"]["tangent_fraction.margin"]["mean"]) is None:
            continue
        trial["measures"]["signal_fraction.margin"] = entry(0.5 + fraction / 2, 0.5)
        ratio = np.array([1 + fraction, 1 + 2 * fraction, 1 + 0.5 * fraction])
        for sigma, value in zip(NOISE_SIGMAS, ratio.tolist(), strict=True):
            trial["measures"][f"noise_signal.sigma={sigma:g}"] = entry(0.4 * sigma * value)
            trial["measures"][f"noise_distractor.sigma={sigma:g}"] = entry(0.4 * sigma)
            trial["measures"][f"relative_noise.sigma={sigma:g}"] = entry(value, 1.0, width=0.05)
        ratios[trial["id"]] = ratio
        curves[trial["id"]] = {"ratio": ratio.tolist(), "low": (ratio - 0.2).tolist(), "high": (ratio + 0.2).tolist()}
        standard = ratios.get(f"standard-0-s{trial['seed']}")
        if standard is not None and trial["strength"]:
            less = ratio - standard
            ends = {"low": (less - 0.1).tolist(), "high": (less + 0.1).tolist()}
            curves[trial["id"]]["minus_standard"] = {"mean": less.tolist()} | ends
    summary["noise_curves"] = {"sigmas": NOISE_SIGMAS, "level": 0.95, "trials": curves}


def smooth(noise: np.ndarray, rounds: int) -> np.ndarray:
    """Blur (M, C, H, W) with a small box, a few rounds."""
    for _ in range(rounds):
        noise = sum(np.roll(noise, shift, axis) for axis in (2, 3) for shift in (-1, 0, 1)) / 6
    return noise


def pictures_of(trials: list[dict[str, Any]], channels: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Blobs as images; gradients that look more like the blob the higher F² is."""
    m, side = 7, 28
    yy, xx = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    widths, heights = rng.uniform(0.12, 0.4, (m, 1, 1, 1)), rng.uniform(0.2, 0.45, (m, 1, 1, 1))
    tint = rng.uniform(0.5, 1.0, (m, channels, 1, 1))
    shape = (np.abs(xx) < widths) & (np.abs(yy) < heights)
    images = np.clip(shape * tint * (0.7 + 0.3 * np.sin(20 * (xx + yy))), 0, 1)
    edge = smooth(images, 1) - smooth(images, 4) + 0.1 * smooth(rng.normal(size=images.shape), 2)
    out = {"image": images, "bayes_gradient": edge, "score_y": 3 * edge, "score": edge - 0.1 * images}
    for trial in trials:
        fraction = trial["measures"].get("tangent_fraction.margin", {}).get("mean")
        if fraction is not None:
            out[f"gradient.{trial['id']}"] = 1e-3 * (fraction * 3 * edge + 0.04 * rng.normal(size=images.shape))
    pictures = {name: np.ascontiguousarray(value, np.float32) for name, value in out.items()}
    return pictures | {"labels": np.arange(m) % len(CLASSES)}


def rows_of(trials: list[dict[str, Any]], rng: np.random.Generator) -> polars.DataFrame:
    """Per-image tangent fractions (Beta with the trial's mean) and log κ."""
    frames = []
    for trial in trials:
        mean = trial["measures"].get("tangent_fraction.margin", {}).get("mean")
        values = np.full(IMAGES, np.nan) if mean is None else rng.beta(8 * mean, 8 * (1 - mean), IMAGES)
        columns = {"trial": trial["id"], "seed": trial["seed"], "image": np.arange(IMAGES)}
        frames.append(polars.DataFrame(columns | {"tangent_fraction.margin": values, "accuracy": np.ones(IMAGES)}))
    return polars.concat(frames)


def build_run(
    folder: Path,
    seeds: Sequence[int] = (0,),
    positive: bool = True,
    headline: bool = True,
    channels: int = 1,
    spec: str = SPEC,
    world: bool = False,
) -> Path:
    """Write spec.yaml, summary.json, rows.parquet and pictures into `folder` and return it."""
    rng = np.random.default_rng(11)
    summary = summary_of(seeds, positive, headline, channels, rng)
    if world:
        add_world(summary, seeds[0], rng)
    (folder / "artefacts").mkdir(parents=True)
    (folder / "spec.yaml").write_text(spec)
    summary["spec_hash"] = load_spec(folder / "spec.yaml").digest()
    (folder / "summary.json").write_text(json.dumps(summary))
    rows_of(summary["trials"], rng).write_parquet(folder / "rows.parquet")
    save_file(pictures_of(summary["trials"], channels, rng), folder / "artefacts" / "pictures.safetensors")
    return folder
