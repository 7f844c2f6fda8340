"""A plausible run directory from a seeded generator: what the report reads, without training anything.

Rows are made up and summed up as a study does it, so that labels, curves and claims are those of these rows.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars
from safetensors.numpy import save_file

from tangency.data import load
from tangency.study import load_spec, parse_spec
from tangency.study.plan import Trial, plan_longer, plan_trials
from tangency.study.summary.summarise import summarise

# Objective and strength: accuracy, F², on-manifold change, off-manifold change, cosine; the label that these give.
LEVELS = {
    ("untrained", 0.0): (0.10, 0.0153, 0.004, 0.003, 0.02),  # collapsed
    ("filtered", 0.0): (0.82, 0.20, 0.15, 0.05, 0.25),
    ("filtered_network", 0.0): (0.82, 0.20, 0.15, 0.05, 0.25),
    ("standard", 0.0): (0.86, 0.121, 0.162, 0.053, 0.16),  # weak
    ("gradient_norm", 0.03): (0.86, 0.182, 0.146, 0.039, 0.21),  # weak
    ("gradient_norm", 0.3): (0.855, 0.314, 0.125, 0.023, 0.37),  # Bayes-aligned
    ("gradient_norm", 3.0): (0.81, 0.499, 0.088, 0.011, 0.39),  # undetermined: accuracy at δ
    ("gradient_norm", 30.0): (0.70, 0.576, 0.056, 0.010, 0.26),  # excessive
    ("pgd_l2", 0.3): (0.855, 0.293, 0.125, 0.023, 0.31),  # Bayes-aligned
    ("pgd_l2", 1.0): (0.855, 0.495, 0.085, 0.011, 0.36),  # Bayes-aligned
    ("pgd_l2", 3.0): (0.70, 0.640, 0.059, 0.010, 0.28),  # excessive
    ("pgd_l2", 10.0): (0.10, 0.427, 0.0004, 0.0004, 0.09),  # collapsed
    ("noise_augmentation", 0.1): (0.86, 0.144, 0.130, 0.043, 0.18),  # weak
    ("noise_augmentation", 0.3): (0.855, 0.234, 0.126, 0.031, 0.22),  # weak
    ("bayes", 0.0): (0.93, 0.93, 0.21, 0.0008, 0.97),
}
DIVERGED = ("gradient_norm", 300.0)
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
TARGETS = {"margin.bayes_gradient": 1.0, "margin.network_bayes_gradient": 0.6, "logit_y.score_y": 0.3}
SIGMAS = [0.125, 0.25, 0.5]
IMAGES, DIMENSION, RANK = 200, 784, 12
NOISE_SIGMAS = [0.01, 0.1, 1.0]
CONTROLS = {"shuffled": 0.5, "shuffled_class": 0.55, "dct": 0.6, "phase": 0.5}  # F² of each, as a share of the own
REASONS = {"shuffled": 0.2, "random": 0.0, "image": 0.45}  # likewise of the cosine
SECOND = "local-pca"  # the second estimator, where there is one
SPEC = """# what was asked
name: quickstart
data: fashion-mnist-5k
measured: 200
network_score: edm-fashion-mnist
sweep:
  - {objective: standard}
  - {objective: gradient_norm, strengths: [0.03, 0.3, 3, 30, 300]}
  - {objective: pgd_l2, strengths: [0.3, 1, 3, 10]}
  - {objective: noise_augmentation, strengths: [0.1, 0.3]}
measures: {alignments: [[margin, bayes_gradient], [margin, network_bayes_gradient], [logit_y, score_y]]}
seeds: [0]
replicates: 200
"""


def columns_of(trial: Trial, factors: dict[str, float], estimators: Sequence[str]) -> dict[str, np.ndarray]:
    """Rows of one network: images differ in ways that all networks share, networks by a little of their own.

    Args:
        trial: its objective and strength choose the levels.
        factors: F² of the global PCA subspace, as a share of the own where the cosine is .16, by estimator; the
            controls fall as the cosine rises.
        estimators: "" for the first, the others by name.
    """
    shared = np.random.default_rng(3).normal(size=(4, IMAGES))
    own = np.random.default_rng([17, trial.seed, *trial.id.encode()])
    accuracy, fraction, on, off, cosine = LEVELS[trial.name, trial.strength]
    shift = 0.0 if trial.name == "bayes" else 0.01 * own.normal()
    order = np.argsort(np.argsort(shared[0]))
    made = {
        "accuracy": (order < round(accuracy * IMAGES)).astype(float),
        "tangent_rank": np.full(IMAGES, float(RANK)),
        "radius": 3 * fraction * (1 + 5 * shift) * (1 + 0.1 * shared[1]),
    }
    for estimator in estimators:
        name = f".tangents={estimator}" if estimator else ""
        spread = np.exp(0.1 * shared[2] + 0.05 * own.normal(size=IMAGES))
        f = np.clip(fraction * (1 + shift) * spread / spread.mean(), 0.0, 0.99)
        f = f if trial.name != "bayes" else np.full(IMAGES, fraction)
        made |= {f"tangent_rank{name}": np.full(IMAGES, float(RANK)), f"tangent_fraction.margin{name}": f}
        made[f"log_kappa.margin{name}"] = np.log((1 - f) / f * RANK / (DIMENSION - RANK))
        for control, share in {**CONTROLS, "pca": factors[estimator]}.items():
            chance = trial.name == "untrained"
            own_share = 1.0 if chance else share * (1.16 - cosine) * (1 + 0.1 * own.normal(size=IMAGES))
            made[f"tangent_fraction.margin{name}.{control}"] = np.minimum(own_share * f, 0.999)
            if control != "phase":
                made[f"tangent_overlap{name}.{control}"] = np.full(IMAGES, 0.4)
    made["log_kappa.margin"][:2] = np.nan
    for sigma in (0.01, 0.05, 0.2):
        made[f"rho.logits.sigma={sigma}"] = 1 - made["tangent_fraction.margin"] * (1 - sigma)
    for eps in (0.5, 1, 2, 4):
        moved = eps / 2 * (1 + 0.2 * shared[3])
        made |= {f"change_on.eps={eps:g}": on * moved, f"change_off.eps={eps:g}": off * moved}
    made["change_on.eps=4"] = np.full(IMAGES, np.nan)  # degenerate everywhere
    for family, offset in (("alignment_cosine", 0.0), ("alignment_lpips", 0.35)):
        for target, share in TARGETS.items():
            for sigma in SIGMAS:
                key, noise = f"{family}.{target}.sigma={sigma}", 0.02 * shared[1] + 0.01 * own.normal(size=IMAGES)
                level = cosine * (1 + shift) * (0.6 + 0.8 * sigma) * share
                made[key] = level + offset + noise - noise.mean()
                for control, factor in REASONS.items():
                    made[f"{key}.{control}"] = level * factor + offset + 0.02 * shared[2]
                if target == "margin.network_bayes_gradient":
                    made[f"direction_agreement.sigma={sigma}"] = 0.2 + 0.02 * shared[0]
    return made


@functools.cache
def _summed(
    seeds: tuple[int, ...], positive: bool, headline: bool, world: bool, rule: str, second: float | None, longer: float
) -> tuple[str, polars.DataFrame]:
    """The summary of made-up rows as JSON, and the rows that its page reads."""
    content = dict(parse_spec_text(SPEC), seeds=list(seeds), rule=rule)
    content["convergence"] = bool(longer)
    content["sweep"] = content["sweep"][not headline :]
    content["tangents"] = ["mfa", f"{SECOND}?rank={RANK}"] if second else []
    spec = parse_spec(content, "synthetic")
    data = load(spec.data)
    planned = plan_trials(spec, data, "network")
    if world:
        best = next(trial for trial in planned if trial.name == "untrained")
        planned.insert(0, dataclasses.replace(best, id=f"bayes-s{seeds[0]}", name="bayes"))
    late = plan_longer(spec, data, "network") if longer else []
    late = [trial for trial in late if (trial.name, trial.strength) == ("gradient_norm", 0.3)]
    estimators = ["", SECOND] if second else [""]
    factors = {"": 0.94 if positive else 1.6, SECOND: second or 0.94}
    kept = [trial for trial in planned + late if (trial.name, trial.strength) != DIVERGED]
    columns = {trial.id: columns_of(trial, factors, estimators) for trial in kept}
    for trial in late:  # κ of these moves by about ln `longer`
        columns[trial.id] = columns_of(
            dataclasses.replace(trial, id=trial.id.replace("-long", "")), factors, estimators
        )
        columns[trial.id]["tangent_fraction.margin"] *= longer
    outcomes = {trial.id: outcome_of(trial, trial.id in columns) for trial in planned + late}
    with patch("platform.platform", return_value="Linux-6.1-x86_64"):  # which would start a process
        summary = summarise(spec, data, planned + late, outcomes, columns, score_of())
    summary |= {"seconds": 200.1, "provenance": summary["provenance"] | provenance_of(seeds)}
    if world:
        add_world(summary, np.random.default_rng(11))
    frames = []
    for trial in planned:
        places = {"trial": trial.id, "seed": trial.seed, "image": np.arange(IMAGES)}
        frames.append(polars.DataFrame(places | all_columns(trial, columns)))
    return json.dumps(summary), polars.concat(frames)


def _summed_once(**options: Any) -> tuple[str, polars.DataFrame]:
    """The same, of the options of `summary_of`; however they are given, made once in a process."""
    chosen = {"seeds": (0,), "positive": True, "headline": True, "world": False, "rule": "regimes", "second": None}
    chosen |= {"longer": 0.0} | options
    return _summed(**(chosen | {"seeds": tuple(chosen["seeds"])}))


def parse_spec_text(text: str) -> dict[str, Any]:
    """The content of a spec."""
    import yaml

    content: dict[str, Any] = yaml.safe_load(text)
    return content


def outcome_of(trial: Trial, measured: bool) -> dict[str, Any]:
    """How the training of a trial ended."""
    outcome: dict[str, Any] = {
        "outcome": "ok" if measured else "diverged",
        "seconds": 8.0 + trial.strength,
        "epochs": 12,
    }
    if trial.name.startswith("filtered"):
        outcome |= {"filter": "pca-50", "chosen_on": {"images": 500}, "slack": 0.01, "candidates": []}
    return outcome


def all_columns(trial: Trial, columns: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns of rows.parquet; a trial that diverged has no numbers in them."""
    nothing = np.full(IMAGES, np.nan)
    every = dict.fromkeys(key for own in columns.values() for key in own)
    return {key: columns.get(trial.id, {}).get(key, nothing) for key in every}


def summary_of(
    seeds: Sequence[int] = (0,),
    positive: bool = True,
    headline: bool = True,
    channels: int = 1,
    world: bool = False,
    rule: str = "regimes",
    second: float | None = None,
    longer: float = 0.0,
) -> dict[str, Any]:
    """The whole summary.json.

    Args:
        seeds: of the study.
        positive: whether F² beats the global PCA subspace under the first estimator.
        headline: whether there is a standard network.
        channels: of the images.
        world: whether they are drawn from a world, whose Bayes rule was measured.
        rule: of the labels.
        second: F² of the global PCA subspace under a second estimator, as a share of the own; None for one estimator.
        longer: factor of F² of networks that were trained twice as long; 0 for none.
    """
    text, _ = _summed_once(
        seeds=seeds, positive=positive, headline=headline, world=world, rule=rule, second=second, longer=longer
    )
    summary: dict[str, Any] = json.loads(text)
    summary["data"]["shape"][0] = channels
    return summary


def score_of() -> dict[str, Any]:
    """Quality of the score: denoising error on held-out images."""
    denoising = [{"sigma": s, "mse": 0.014 * s**0.9, "identity": s * s} for s in (0.0625, *SIGMAS, 1.0)]
    accuracy = [
        {"mean": m, "low": m - 0.02, "high": m + 0.02, "n": 500, "sigma": s} for m, s in ((0.83, 0.0), (0.78, 0.5))
    ]
    likelihood = {"train": 1254.2, "test": 1238.9}
    return {
        "kind": "mfa",
        "components": 4,
        "rank": 12,
        "seconds": 1.2,
        "log_likelihood": likelihood,
        "denoising": denoising,
        "posterior_accuracy": accuracy,
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


def entry(mean: float, chance: float | None = None, width: float = 0.01) -> dict[str, Any]:
    """One measure of one trial."""
    return {"mean": mean, "low": mean - width, "high": mean + width, "n": IMAGES, "degenerate": 0, "chance": chance}


def add_world(summary: dict[str, Any], rng: np.random.Generator) -> None:
    """Turn a summary with a Bayes rule into that of a world of signal and distractor, with an exact score."""
    best = next(trial for trial in summary["trials"] if trial["objective"] == "bayes")
    best["measures"]["kappa.margin"] = entry(4.2e-9, 1.0, width=1e-9)
    best["measures"]["log_kappa.margin"] = entry(-33.9, 0.15, width=0.1)
    risk = {"mean": 0.1019, "low": 0.0998, "high": 0.1040}
    summary["world"] = {"name": "distractor?rank=6", "dimension": 392, "intrinsic_dimension": 8, "undefined": {}}
    summary["world"]["bayes_accuracy"] = {"mean": 1 - risk["mean"], "low": 0.8960, "high": 0.9002, "n": 20000}
    summary["score"] = {"kind": "exact", "world": "distractor?rank=6", "denoising": summary["score"]["denoising"]}
    for trial in summary["trials"]:
        if trial["measures"]:
            least = best["measures"]["accuracy"]["mean"]
            width = 0.0 if trial is best else 0.02
            trial["excess_risk"] = entry(least - trial["measures"]["accuracy"]["mean"], width=width)
            for key in [key for key in trial["measures"] if "bayes_gradient.sigma=0.125" in key]:
                trial["measures"][key.replace("0.125", "0")] = trial["measures"][key]
    add_noise(summary)


def add_noise(summary: dict[str, Any]) -> None:
    """Gradient energy on the signal, and relative noise robustness that grows with F²; the diverged trial has none."""
    curves: dict[str, Any] = {}
    ratios = {}
    for trial in summary["trials"]:
        if not trial["measures"]:
            continue
        fraction = trial["measures"]["tangent_fraction.margin"]["mean"]
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
    for trial in trials:
        if f"gradient.{trial['id']}" in out:
            pictures[f"probability.{trial['id']}"] = rng.uniform(size=m).astype(np.float32)
            pictures[f"answer.{trial['id']}"] = np.arange(m) % len(CLASSES)
    return pictures | spaces_of(m, images[0].size, rng) | labels_of(m)


def labels_of(m: int) -> dict[str, np.ndarray]:
    """The first images are pictured; a class for each image."""
    every = np.arange(IMAGES)
    return {
        "labels": every[:m] % len(CLASSES),
        "ids": every[:m],
        "measured": every,
        "measured_labels": every % len(CLASSES),
    }


def spaces_of(m: int, dimension: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random tangent spaces of each picture, as a study keeps them."""
    bases = np.linalg.qr(rng.normal(size=(m, dimension, RANK)))[0].transpose(0, 2, 1)
    largest = np.abs(bases).max(2)
    rows = np.ascontiguousarray(np.round(127 * bases / largest[:, :, None]), np.int8)
    return {"tangents.": rows, "scale.tangents.": largest.astype(np.float32)}


def build_run(folder: Path, channels: int = 1, spec: str = SPEC, **options: Any) -> Path:
    """Write spec.yaml, summary.json, rows.parquet and pictures into `folder` and return it; options of `summary_of`."""
    rng = np.random.default_rng(11)
    summary = summary_of(channels=channels, **options)
    _, rows = _summed_once(**options)
    (folder / "artefacts").mkdir(parents=True)
    (folder / "spec.yaml").write_text(spec)
    summary["spec_hash"] = load_spec(folder / "spec.yaml").digest()
    (folder / "summary.json").write_text(json.dumps(summary))
    rows.write_parquet(folder / "rows.parquet")
    save_file(pictures_of(summary["trials"], channels, rng), folder / "artefacts" / "pictures.safetensors")
    return folder
