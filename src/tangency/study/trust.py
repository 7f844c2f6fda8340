"""How far a score can be believed: against closed forms, against identities, against its training images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tangency.errors import RunError
from tangency.numerics import cosine
from tangency.score import Denoiser, bayes_gradient, denoising_error, diagnose, load_score
from tangency.score.derived import ScoreOfDenoiser
from tangency.score.diagnostics import Diagnosis
from tangency.score.empirical import TRUSTED, EmpiricalScore
from tangency.score.quality import noised
from tangency.seeding import permutation
from tangency.statistics import Estimate, PairedBootstrap
from tangency.study.numbers import as_json
from tangency.study.trust_config import TrustConfig
from tangency.study.trust_samples import draw_samples
from tangency.study.verdict import verdict
from tangency.types import Dataset, LabelledImages
from tangency.worlds import load_dataset, world_of

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Trust:
    """What was found.

    Args:
        summary: JSON values, the verdict among them.
        pictures: "samples" (N, C, H, W) in [0, 1] with "labels" and "neighbours", and "clean", "noisy", "denoised" of a
            few images at the middle σ.
    """

    summary: dict[str, Any]
    pictures: dict[str, Tensor]

    def arrays(self) -> dict[str, np.ndarray]:
        """The pictures as the report takes them."""
        return {name: picture.numpy() for name, picture in self.pictures.items()}


def evaluate_reference(
    reference: str, data: str, config: TrustConfig | None = None, device: str = "cpu", tell: Tell | None = None
) -> Trust:
    """`evaluate_score` of a score and a data set by reference."""
    loaded = load_dataset(data)
    found = evaluate_score(load_score(reference, loaded, device), loaded, config, device, tell)
    found.summary["score"]["reference"] = reference
    return found


def evaluate_score(
    score: Denoiser, data: Dataset, config: TrustConfig | None = None, device: str = "cpu", tell: Tell | None = None
) -> Trust:
    """Examine a score on held-out images of `data`; its baselines are fitted to the training images.

    Args:
        score: the score, on `device`.
        data: training and test images; where they are drawn from a world, its exact score is compared with too.
        config: how.
        device: where everything is computed.
        tell: told what is being done and the share that is done.

    Raises:
        RunError: fewer than two test images.
    """
    config, tell, started = config or TrustConfig(), tell or (lambda part, share: None), time.monotonic()
    if len(data.test) < 2:
        raise RunError(f"'{data.name}': got {len(data.test)} test images, expected at least 2.")
    held = data.test.subset(permutation(len(data.test), 0, "score evaluation")[: config.images].sort().values)
    tell("fitting the closed forms", 0.0)
    others = _baselines(score, data, config, device)
    table, rows = [], {}
    for number, sigma in enumerate(config.sigmas):
        tell(f"denoising at σ = {sigma:g}", 0.1 + 0.7 * number / len(config.sigmas))
        entry, rows[sigma] = _at(score, others, held, data, sigma, config, device)
        table.append(entry)
    tell("drawing samples", 0.8)
    drawn, pictures = draw_samples(
        score, data, config, device, lambda share: tell("drawing samples", 0.8 + 0.19 * share)
    )
    summary: dict[str, Any] = {
        "score": {"kind": score.kind, "classes": score.classes, "shape": list(score.shape)},
        "data": data.name,
        "images": len(held),
        "noise_levels": table,
        "samples": drawn,
    }
    summary["verdict"] = verdict(summary)
    summary["seconds"] = round(time.monotonic() - started, 1)
    tell("done", 1.0)
    return Trust(summary, pictures | _denoised(score, held, config, device))


def _baselines(score: Denoiser, data: Dataset, config: TrustConfig, device: str) -> dict[str, Denoiser]:
    wanted = [name for name in config.baselines if name not in ("identity", score.kind)]
    found = {name: load_score(name, data, device) for name in wanted}
    if world_of(data.name) is not None and score.kind != "exact":
        found["exact"] = load_score("exact", data, device)
    return found


def _at(
    score: Denoiser,
    others: dict[str, Denoiser],
    held: LabelledImages,
    data: Dataset,
    sigma: float,
    config: TrustConfig,
    device: str,
) -> tuple[dict[str, Any], np.ndarray]:
    """All that is said of one noise level, and the errors of the images."""
    error = denoising_error(score, held, sigma, seed=config.seed, device=device).double()
    boot = PairedBootstrap(len(held), config.replicates)
    own = boot.mean(error.numpy())
    entry: dict[str, Any] = {"sigma": sigma, "mse": _number(own, len(held)), "identity": sigma**2, "baselines": {}}
    if score.classes:
        given = denoising_error(score, held, sigma, seed=config.seed, conditional=True, device=device).double()
        entry["mse_given_class"] = _number(boot.mean(given.numpy()), len(held))
    ahead = {"identity": own - sigma**2} if "identity" in config.baselines else {}
    for name, other in others.items():
        draws = boot.mean(denoising_error(other, held, sigma, seed=config.seed, device=device).double().numpy())
        entry["baselines"][name] = _number(draws, len(held))
        if name != "exact":
            ahead[name] = own - draws
    entry["gain"] = {name: _number(-draws, len(held)) for name, draws in ahead.items()}
    entry["better_than"] = sorted(
        name for name, gain in entry["gain"].items() if gain["low"] is not None and gain["low"] > 0
    )
    some = held.subset(slice(0, config.probed))
    entry["effective_images"] = _effective(others.get("empirical"), some, sigma, config, device)
    found = diagnose(score, some, sigma, seed=config.seed, probes=config.probes, device=device)
    entry["identities"] = _identities(found)
    if score.classes > 1:
        entry["bayes_gradient"] = _bayes(score, others.get("exact"), some, sigma, config, device)
    if "exact" in others:
        entry["score_error"] = _score_error(score, others["exact"], some, sigma, config, device)
    return entry, error.numpy()


def _number(draws: np.ndarray, n: int) -> dict[str, Any]:
    return as_json(Estimate.of(draws, n))


def _effective(
    empirical: Denoiser | None, held: LabelledImages, sigma: float, config: TrustConfig, device: str
) -> dict[str, Any] | None:
    """How many training images carry the empirical score: below `TRUSTED` it is that of a few neighbours."""
    if not isinstance(empirical, EmpiricalScore):
        return None
    noisy = noised(held.images(), torch.arange(len(held)), sigma, config.seed).to(device)
    median = float(empirical.effective_images(noisy, sigma).median())
    return {"median": median, "trusted": median >= TRUSTED}


def _identities(found: Diagnosis) -> dict[str, Any]:
    """E[s] = 0, E[s xᵀ] = −I, symmetry, SURE and dimension, with intervals or z-values."""
    n = len(found.error)
    boot = PairedBootstrap(n)
    product = (found.score[:, :, None] * found.image[:, None, :]).flatten(1)
    off = product.mean(0) + torch.eye(found.score.shape[1], dtype=torch.float64).flatten()
    symmetric = Estimate.of(np.sqrt(boot.pooled_ratio(found.asymmetry.numpy(), found.curvature.numpy())), n)
    return {
        "stein": _number(boot.mean(found.stein.numpy()), n),
        "mean_score_z": _largest_z(found.score, found.score.mean(0)),
        "score_image_z": _largest_z(product, off),
        "comparisons": int(found.score.shape[1]),
        "asymmetry": as_json(symmetric),
        "sure": _number(boot.mean(found.sure.numpy()), n),
        "sure_minus_error": _number(boot.mean((found.sure - found.error).numpy()), n),
        "dimension": _number(boot.mean(found.dimension.numpy()), n),
    }


def _largest_z(values: Tensor, mean: Tensor) -> float | None:
    """Largest |mean|/standard error over the columns of (N, k)."""
    error = values.std(0) / math.sqrt(len(values))
    z = float((mean.abs() / error.clamp(min=1e-300)).max())
    return z if math.isfinite(z) else None


def _bayes(
    score: Denoiser, exact: Denoiser | None, held: LabelledImages, sigma: float, config: TrustConfig, device: str
) -> dict[str, Any]:
    """Signal-to-noise of the Bayes gradient at noisy images, and its cosine with the exact one where that is known."""
    ids = torch.arange(len(held))
    y = held.labels.to(device)
    noisy, clean = noised(held.images(), ids, sigma, config.seed).to(device), held.images().to(device)
    out: dict[str, Any] = {"signal_to_noise": None}  # a closed form takes no difference of two answers
    if isinstance(score, ScoreOfDenoiser):
        median = float(bayes_gradient(score, noisy, y, sigma).signal_to_noise.nan_to_num(nan=0.0).median())
        out["signal_to_noise"] = median if math.isfinite(median) else None
    if exact is not None:
        boot = PairedBootstrap(len(held))
        for where, x in (("noisy", noisy), ("clean", clean)):
            ours = score.bayes_direction(x, y, sigma).direction.double()
            true = exact.bayes_direction(x.double(), y, sigma).direction
            out[f"cosine_{where}"] = _number(boot.mean(cosine(ours, true).cpu().numpy()), len(held))
    return out


def _score_error(
    score: Denoiser, exact: Denoiser, held: LabelledImages, sigma: float, config: TrustConfig, device: str
) -> dict[str, Any]:
    """‖s − s*‖/‖s*‖, pooled, at noisy images, where a network was trained, and at clean ones, where it is used."""
    ids, out, boot = torch.arange(len(held)), {}, PairedBootstrap(len(held))
    for where, x in (("noisy", noised(held.images(), ids, sigma, config.seed)), ("clean", held.images())):
        with torch.no_grad():
            ours, true = score.score(x.to(device), sigma).double(), exact.score(x.double().to(device), sigma)
        wrong, size = ((t.flatten(1).square().sum(1)).cpu().numpy() for t in (ours - true, true))
        out[where] = _number(np.sqrt(boot.pooled_ratio(wrong, size)), len(held))
    return out


def _denoised(score: Denoiser, held: LabelledImages, config: TrustConfig, device: str) -> dict[str, Tensor]:
    """A few images clean, noisy and denoised, at every σ."""
    few = held.subset(slice(0, 6))
    clean, out = few.images(), {}
    for sigma in config.sigmas:
        noisy = noised(clean, torch.arange(len(few)), sigma, config.seed)
        with torch.no_grad():
            out[f"noisy.{sigma:g}"], out[f"denoised.{sigma:g}"] = noisy, score.denoise(noisy.to(device), sigma).cpu()
    return {"clean": clean} | out
