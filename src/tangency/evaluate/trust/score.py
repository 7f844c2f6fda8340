"""Validation of a score: against closed forms, against identities, against its training images."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tangency.devices import arithmetic, resolve_device
from tangency.errors import RunError, TangencyError
from tangency.evaluate.trust.config import TrustConfig
from tangency.evaluate.trust.results import (
    ClassGradient,
    EffectiveImages,
    Identities,
    NoiseLevel,
    RelativeError,
    ScoreExamination,
)
from tangency.evaluate.trust.samples import draw_samples
from tangency.evaluate.trust.verdict import verdict
from tangency.numerics import cosine
from tangency.score import (
    Denoiser,
    EmpiricalScore,
    GaussianScore,
    MixtureScore,
    bayes_gradient,
    denoising_error,
    diagnose,
    load_score,
)
from tangency.score.closed.empirical import TRUSTED
from tangency.score.derived import ScoreOfDenoiser
from tangency.score.diagnostics import Draws, mean_image
from tangency.score.quality import noised
from tangency.score.references import readings
from tangency.seeding import permutation
from tangency.statistics import Estimate, PairedBootstrap
from tangency.types import Dataset, LabelledImages, OnProgress
from tangency.worlds import World, load_dataset, world_of


@dataclass(frozen=True)
class Trust:
    """The validation of a score.

    Args:
        examination: the results.
        pictures: "samples" (N, C, H, W) in [0, 1] with "labels" and "neighbours", and "clean", "noisy", "denoised" of a
            few images at the middle σ.
    """

    examination: ScoreExamination
    pictures: dict[str, Tensor]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """JSON values, the verdict among them."""
        return self.examination.to_json()

    def arrays(self) -> dict[str, np.ndarray]:
        """The pictures as the report takes them."""
        return {name: picture.numpy() for name, picture in self.pictures.items()}


def evaluate_score(
    score: Denoiser | str | Path,
    data: Dataset | str | Path,
    config: TrustConfig | None = None,
    device: str = "cpu",
    on_progress: OnProgress | None = None,
) -> Trust:
    """Examine a score on held-out images of `data`; its baselines are fitted to the training images.

    A score that takes no image without a label is given the true ones.

    Args:
        score: the score, on `device`, or its reference as `load_score` takes it.
        data: training and test images, or their reference as `load_data` takes it; where they are
            drawn from a world, its exact score is compared with too.
        config: how.
        device: where everything is computed: "auto", "cpu", "cuda" or "cuda:N".
        on_progress: called with what is being done and the share that is done.

    Raises:
        RunError: fewer than two test images.
        NumericsError: a σ above what the score was trained for, or answers that are not finite.

    Returns:
        `Trust`: `summary` with, for each σ ([0, 1] pixel units), the denoising error E‖D(x; σ) − x₀‖²/d (squared
        pixels), cosines with closed forms in [−1, 1], and identities that every score keeps, with 95 % intervals; the
        verdict in words; and `pictures`.

    Example:
        >>> config = TrustConfig(sigmas=(0.25,), images=8, samples=2, baselines=())
        >>> trust = evaluate_score("gaussian", "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=20", config)
        >>> trust.summary["images"], [level["sigma"] for level in trust.summary["noise_levels"]]
        (8, [0.25])
    """
    device = resolve_device(device)
    data = load_dataset(data) if isinstance(data, str | Path) else data
    named = str(score) if isinstance(score, str | Path) else ""
    score = load_score(score, data, device) if isinstance(score, str | Path) else score
    return examine_score(score, data, config or TrustConfig(), device, reference=named, on_progress=on_progress)


@arithmetic()
def examine_score(
    score: Denoiser,
    data: Dataset,
    config: TrustConfig,
    device: str,
    *,
    reference: str = "",
    fitted: Mapping[str, Denoiser] | None = None,
    on_progress: OnProgress | None = None,
) -> Trust:
    """As `evaluate_score`, of what is loaded; baselines that are fitted already stand in `fitted`, by name."""
    on_progress, started = on_progress or (lambda part, share: None), time.monotonic()
    held = _held_out(data, config)
    with torch.no_grad():  # refuse a σ that it does not know before anything is fitted
        y = held.labels[:1].to(device) if conditional_only(score) else None
        score.denoise(held.images(slice(0, 1)).to(device), max(config.sigmas), y)
    on_progress("fitting the closed forms", 0.0)
    others, unavailable = _baselines(score, data, config, device, fitted or {})
    bench = _Bench(score, others, held, mean_image(data.train), config, device)
    levels = []
    for number, sigma in enumerate(config.sigmas):
        on_progress(f"denoising at σ = {sigma:g}", 0.1 + 0.7 * number / len(config.sigmas))
        levels.append(bench.at(sigma))
    samples, pictures = draw_samples(
        score, data, config, device, lambda share: on_progress("drawing samples", 0.8 + 0.19 * share)
    )
    about: dict[str, object] = {"kind": score.kind, "classes": score.classes, "shape": list(score.shape)}
    examination = ScoreExamination(
        score=about | {"reading": readings(score)} | ({"reference": reference} if reference else {}),
        conditional=bench.given,
        data=data.name,
        images=len(held),
        probed=len(bench.probed),
        noise_levels=levels,
        unavailable=unavailable,
        samples=samples,
        verdict=verdict(levels, len(bench.probed), samples, bench.given),
        seconds=round(time.monotonic() - started, 1),
    )
    on_progress("done", 1.0)
    return Trust(examination, pictures | _denoised(score, held, config, device))


def conditional_only(score: Denoiser) -> bool:
    """Whether a score takes no image without a label."""
    return score.card.get("unconditional") is False


def _held_out(data: Dataset, config: TrustConfig) -> LabelledImages:
    """The test images that a score is validated on, a fixed random subset."""
    if len(data.test) < 2:
        raise RunError(f"'{data.name}': got {len(data.test)} test images, expected at least 2.")
    return data.test.subset(permutation(len(data.test), 0, "score evaluation")[: config.images].sort().values)


_KINDS: dict[str, type] = {"gaussian": GaussianScore, "empirical": EmpiricalScore, "mfa": MixtureScore}


def _baselines(
    score: Denoiser, data: Dataset, config: TrustConfig, device: str, fitted: Mapping[str, Denoiser]
) -> tuple[dict[str, Denoiser], dict[str, str]]:
    """Closed forms of other kinds than the score's own, and why some cannot be had."""
    scores: dict[str, Denoiser] = {}
    unavailable: dict[str, str] = {}
    wanted = [name for name in config.baselines if name in _KINDS and not isinstance(score, _KINDS[name])]
    if world_of(data.name) is not None and not isinstance(score, World):
        wanted.append("exact")
    for name in wanted:
        try:
            scores[name] = fitted[name] if name in fitted else load_score(name, data, device)
        except TangencyError as error:
            unavailable[name] = str(error)
    return scores, unavailable


class _Bench:
    """A score beside closed forms on held-out images, some of which are probed."""

    def __init__(
        self,
        score: Denoiser,
        others: dict[str, Denoiser],
        held: LabelledImages,
        centre: Tensor,
        config: TrustConfig,
        device: str,
    ) -> None:
        self.score, self.others, self.held, self.centre = score, others, held, centre
        self.config, self.device = config, device
        self.probed = held.subset(slice(0, config.probed))
        self.given = conditional_only(score)
        self.all = PairedBootstrap(len(held), config.replicates)
        self.some = PairedBootstrap(len(self.probed), config.replicates)

    def at(self, sigma: float) -> NoiseLevel:
        """All that is said of one noise level."""
        own = self._errors(self.score, sigma, self.given)
        given = own if self.given else self._errors(self.score, sigma, True) if self.score.classes else None
        theirs = {name: self._errors(other, sigma, self.given) for name, other in self.others.items()}
        gains = {name: errors - own for name, errors in theirs.items() if name != "exact"}
        if "identity" in self.config.baselines:
            gains = {"identity": sigma**2 - own} | gains
        gain = {name: _estimate(self.all.mean(values), own) for name, values in gains.items()}
        return NoiseLevel(
            sigma=sigma,
            mse=_estimate(self.all.mean(own), own),
            mse_given_class=None if given is None else _estimate(self.all.mean(given), given),
            identity=sigma**2,
            baselines={name: _estimate(self.all.mean(errors), errors) for name, errors in theirs.items()},
            gain=gain,
            better_than=sorted(name for name, estimate in gain.items() if estimate.low > 0),
            worse_than=sorted(name for name, estimate in gain.items() if estimate.high < 0),
            effective_images=self._effective(sigma),
            identities=self._identities(sigma),
            bayes_gradient=self._bayes(sigma) if self.score.classes > 1 and not self.given else None,
            score_error=self._score_error(sigma) if "exact" in self.others else None,
        )

    def _errors(self, score: Denoiser, sigma: float, given: bool) -> np.ndarray:
        squared = denoising_error(score, self.held, sigma, seed=self.config.seed, conditional=given, device=self.device)
        errors: np.ndarray = squared.double().numpy()
        return errors

    def _noisy(self, sigma: float) -> Tensor:
        return noised(self.probed.images(), torch.arange(len(self.probed)), sigma, self.config.seed).to(self.device)

    def _effective(self, sigma: float) -> EffectiveImages | None:
        """How many training images carry the empirical score: below `TRUSTED` it is that of a few neighbours."""
        empirical = self.others.get("empirical")
        if not isinstance(empirical, EmpiricalScore):
            return None
        median = float(empirical.effective_images(self._noisy(sigma), sigma).median())
        return EffectiveImages(median, median >= TRUSTED)

    def _identities(self, sigma: float) -> Identities:
        """E[s] = 0, E[s xᵀ] = −I, symmetry, SURE and dimension, with intervals or z-values."""
        diagnosis = diagnose(
            self.score,
            self.probed,
            sigma,
            draws=Draws(self.config.seed, self.config.probes),
            centre=self.centre,
            conditional=self.given,
            device=self.device,
        )
        product = (diagnosis.score[:, :, None] * diagnosis.image[:, None, :]).flatten(1)
        product += torch.eye(diagnosis.score.shape[1], dtype=torch.float64).flatten()
        asymmetry, gap = diagnosis.asymmetry.numpy(), diagnosis.sure - diagnosis.error
        return Identities(
            stein=self._mean(diagnosis.stein),
            stein_z=_largest_z(diagnosis.stein[:, None] - 1),
            mean_score_z=_largest_z(diagnosis.score),
            mean_score_comparisons=diagnosis.score.shape[1],
            score_image_z=_largest_z(product),
            score_image_comparisons=product.shape[1],
            asymmetry=_estimate(np.sqrt(self.some.pooled_ratio(asymmetry, diagnosis.curvature.numpy())), asymmetry),
            sure=self._mean(diagnosis.sure),
            sure_minus_error=self._mean(gap),
            sure_z=_largest_z(gap[:, None]),
            dimension=self._mean(diagnosis.dimension),
        )

    def _mean(self, values: Tensor) -> Estimate:
        """The mean over the probed images."""
        column = values.cpu().numpy()
        return _estimate(self.some.mean(column), column)

    def _bayes(self, sigma: float) -> ClassGradient:
        """Signal-to-noise of the Bayes gradient at noisy images, and its cosine with the exact one, where known."""
        y, noisy = self.probed.labels.to(self.device), self._noisy(sigma)
        signal = resolved = None  # a closed form takes no difference
        if isinstance(self.score, ScoreOfDenoiser):
            gradient = bayes_gradient(self.score, noisy, y, sigma)
            ratio = gradient.signal_to_noise[gradient.resolved]
            signal = float(ratio.median()) if len(ratio) else None
            resolved = float(gradient.resolved.double().mean())
        exact, cosines = self.others.get("exact"), list[Estimate | None]()
        for x in (noisy, self.probed.images().to(self.device)):
            if exact is None:
                cosines.append(None)
                continue
            ours = self.score.bayes_direction(x, y, sigma).direction.double()
            cosines.append(self._mean(cosine(ours, exact.bayes_direction(x.double(), y, sigma).direction)))
        return ClassGradient(signal, resolved, *cosines)

    def _score_error(self, sigma: float) -> RelativeError:
        """‖s − s*‖/‖s*‖, pooled, at noisy images and at clean ones."""
        errors, exact = [], self.others["exact"]
        y = self.probed.labels.to(self.device) if self.given else None
        for x in (self._noisy(sigma), self.probed.images().to(self.device)):
            with torch.no_grad():
                ours, true = self.score.score(x, sigma, y).double(), exact.score(x.double(), sigma, y)
            wrong, size = ((t.flatten(1).square().sum(1)).cpu().numpy() for t in (ours - true, true))
            errors.append(_estimate(np.sqrt(self.some.pooled_ratio(wrong, size)), wrong))
        return RelativeError(*errors)


def _estimate(draws: np.ndarray, values: np.ndarray) -> Estimate:
    """An estimate with the number of images that have a value, and of those that have none."""
    finite = int(np.isfinite(values).sum())
    return Estimate.of(draws, finite, len(values) - finite)


def _largest_z(values: Tensor) -> float | None:
    """Largest |mean|/standard error over the columns of (N, k); None where nothing varies."""
    error = values.std(0) / math.sqrt(len(values))
    usable = error > 1e-12 * values.abs().amax(0).clamp(min=1e-300)
    z = (values.mean(0).abs() / error)[usable]
    return float(z.max()) if len(z) and bool(torch.isfinite(z).all()) else None


def _denoised(score: Denoiser, held: LabelledImages, config: TrustConfig, device: str) -> dict[str, Tensor]:
    """A few images clean, noisy and denoised, at every σ."""
    few = held.subset(slice(0, 6))
    clean, out = few.images(), {}
    y = few.labels.to(device) if conditional_only(score) else None
    for sigma in config.sigmas:
        noisy = noised(clean, torch.arange(len(few)), sigma, config.seed)
        with torch.no_grad():
            out[f"noisy.{sigma:g}"], out[f"denoised.{sigma:g}"] = noisy, score.denoise(noisy.to(device), sigma, y).cpu()
    return {"clean": clean} | out
