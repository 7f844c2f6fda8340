"""Fitting one mixture of factor analysers to each class by expectation-maximisation."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tangency.errors import DataError, NumericsError
from tangency.mixtures.gaussian import SmoothedGaussians
from tangency.mixtures.model import Mixture
from tangency.numerics import flat
from tangency.seeding import derive_seed
from tangency.types import LabelledImages, check_images, check_labels

Noise = Literal["isotropic", "diagonal"]
_LARGE = 128_000_000  # bytes in double precision, above which means and loadings are held in single precision
_AT_ONCE = 256  # images of a class
_RELATIVE_FLOOR = 1e-3  # noise variance is kept above this share of the class's mean pixel variance
_LLOYD_STEPS = 5
_PCA_POINTS = 512  # points of a cluster used for its starting PCA: EM refines it on all of them
_MEMBERS = 2.0  # a component with fewer images than this (sum of responsibilities) is frozen, and dropped at the end


@dataclass(frozen=True)
class FitReport:
    """How a fit went: mean log-likelihood (nats an image) after each step of each class, and seconds."""

    history: tuple[tuple[float, ...], ...]
    dropped: int
    seconds: float


@dataclass
class _Components:
    """The components of one class during EM."""

    means: Tensor
    loadings: Tensor
    noise: Tensor
    weights: Tensor


def fit_mixture(
    data: LabelledImages,
    components: int = 4,
    rank: int = 12,
    *,
    noise: Noise = "isotropic",
    seed: int = 0,
    tolerance: float = 1e-4,
    max_steps: int = 200,
    device: str | torch.device = "cpu",
) -> tuple[Mixture, FitReport]:
    """Fit p(x | c) = Σ_j π_j N(x; μ_j, A_jA_jᵀ + Ψ_j) to every class.

    k-means++ start, PPCA of each cluster, then EM in float64; the log-likelihood rises at every step, and a class
    stops when its relative gain falls below `tolerance`.

    Args:
        data: labelled images, at least `components` × 2 of each class; of one component, a class of a single image has
            that as its mean, no loadings, and as noise the mean variance within the other classes.
        components: components of each class.
        rank: columns of A_j, the dimension of the tangent spaces; below d.
        noise: "isotropic" (probabilistic PCA) or "diagonal" (factor analysis).
        seed: of the k-means++ start.

    Returns:
        The mixture (float64, on `device`; means and loadings in float32 where they would take over 128 MB) and a
        report of the fit.

    Raises:
        NumericsError: data that are no `LabelledImages`, or components and rank that do not fit the images.
        DataError: a class with too few images.

    Source: Tipping & Bishop, "Mixtures of probabilistic principal component analysers", 1999; Ghahramani & Hinton,
        "The EM algorithm for mixtures of factor analyzers", 1996.

    Example:
        >>> import tangency
        >>> data = tangency.load_data("world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10")
        >>> mixture, report = fit_mixture(data.train, components=1, rank=2)
        >>> mixture.sample(5, 0)[0].shape
        torch.Size([5, 1, 8, 8])
    """
    if not isinstance(data, LabelledImages):
        raise NumericsError(
            f"data: got {type(data).__name__}, expected labelled images, such as those of "
            "tangency.load_data('mnist').train."
        )
    started = time.perf_counter()
    _check(data, components, rank, noise)
    gathered = _Gathered(data, components, rank, noise, torch.device(device))
    fit = _Fit(components, rank, noise, tolerance, max_steps)
    history = []
    for label, name in enumerate(data.classes):
        index = (data.labels == label).nonzero().flatten()
        curve: list[float] = []
        if len(index) == 1 and components == 1:  # its place is known, and nothing of its spread
            part = _lone(data, index, rank, device)
        elif len(index) < 2 * components:
            raise DataError(
                f"class '{name}' has {len(index)} images, expected at least {2 * components} for {components} "
                "components; ask for fewer components or give more images."
            )
        else:
            x = flat(data.images(index)).double().to(device)
            part, curve = fit.of(x, torch.Generator().manual_seed(derive_seed(seed, "kmeans", label)))
        gathered.add(label, part)
        history.append(tuple(curve))
    return gathered.mixture(), FitReport(tuple(history), gathered.dropped, time.perf_counter() - started)


def _check(data: LabelledImages, components: int, rank: int, noise: Noise) -> None:
    d = math.prod(data.shape)
    if not 1 <= rank < d:
        raise NumericsError(f"rank: got {rank} for images of {d} pixels, expected 1 to {d - 1}.")
    if components < 1 or noise not in ("isotropic", "diagonal"):
        raise NumericsError(
            f"got components={components}, noise='{noise}'; expected at least 1, isotropic or diagonal."
        )
    check_labels(data.labels, len(data.pixels), len(data.classes))
    if data.pixels.is_floating_point():
        check_images(data.pixels, unit_range=False)


@dataclass(frozen=True)
class _Fit:
    """EM of one class."""

    components: int
    rank: int
    noise: Noise
    tolerance: float
    max_steps: int

    def of(self, x: Tensor, generator: torch.Generator) -> tuple[_Components, list[float]]:
        """The components of images (n, d), and their mean log-likelihood after each step."""
        variance = float(x.var(0, correction=0).mean())
        if variance == 0:
            raise DataError(
                "all images of a class are equal: a density cannot be fitted; add images or drop the class."
            )
        floor = _RELATIVE_FLOOR * variance
        current = _start(x, self.components, self.rank, floor, generator)
        curve: list[float] = []
        for _ in range(self.max_steps):
            gaussians = SmoothedGaussians.prepare(current.means, current.loadings, current.noise, 0.0)
            joint = current.weights.log() + gaussians.log_density(x, gaussians.projections(x))
            total = joint.logsumexp(1)
            curve.append(float(total.mean()))
            if len(curve) > 1 and curve[-1] - curve[-2] < self.tolerance * abs(curve[-2]):
                break
            current = _maximise(x, (joint - total[:, None]).exp(), current, self.noise, floor)
        return current, curve


def _start(x: Tensor, components: int, rank: int, floor: float, generator: torch.Generator) -> _Components:
    label = kmeans(x, components, generator)
    parts = []
    for j in range(components):
        members = x[label == j]
        parts.append(probabilistic_pca(members if len(members) > 1 else x, rank, floor))
    counts = torch.bincount(label, minlength=components).to(x.dtype).clamp(min=1)
    means, loadings, psi = (torch.stack(values) for values in zip(*parts, strict=True))
    return _Components(means, loadings, psi[:, None].expand_as(means).clone(), counts / counts.sum())


def _maximise(x: Tensor, r: Tensor, old: _Components, noise: Noise, floor: float) -> _Components:
    """One M step: weights and means by their maximum, then one EM step of A and Ψ given the new means.

    Each part raises Σ_ij r_ij log π_j N(x_i; j), hence the likelihood; a frozen component cannot lower it.
    """
    n, d = x.shape
    k_components, _, rank = old.loadings.shape
    count = r.sum(0)
    alive = count > _MEMBERS
    safe = count.clamp(min=_MEMBERS)
    means = torch.where(alive[:, None], r.mT @ x / safe[:, None], old.means)
    gaussians = SmoothedGaussians.prepare(means, old.loadings, old.noise, 0.0)
    # β = Aᵀ Σ⁻¹ (K, k, d); latent means z = β(x − μ), moments against the data without forming a covariance
    inner = old.loadings.mT @ (old.loadings * gaussians.precision[:, :, None])
    eye = torch.eye(rank, dtype=x.dtype, device=x.device)
    beta = torch.linalg.solve(eye + inner, (old.loadings * gaussians.precision[:, :, None]).mT)
    z = (x @ beta.permute(2, 0, 1).reshape(d, -1)).reshape(n, k_components, rank) - torch.einsum(
        "kd,krd->kr", means, beta
    )
    weighted = r[:, :, None] * z
    cross = (x.mT @ weighted.reshape(n, -1)).reshape(d, k_components, rank).permute(1, 0, 2)
    cross = (cross - means[:, :, None] * weighted.sum(0)[:, None, :]) / safe[:, None, None]  # S βᵀ, (K, d, k)
    second = beta @ cross  # β S βᵀ
    posterior = eye - beta @ old.loadings
    loadings = torch.linalg.solve(posterior + 0.5 * (second + second.mT), cross.mT).mT
    diagonal = r.mT @ x.square() / safe[:, None] - means.square() * (count / safe)[:, None]
    psi = diagonal - (loadings * cross).sum(2)
    if noise == "isotropic":
        psi = psi.mean(1, keepdim=True).expand_as(means)
    kept = alive[:, None]
    return _Components(
        means,
        torch.where(kept[:, :, None], loadings, old.loadings),
        torch.where(kept, psi.clamp(min=floor), old.noise),
        (count / n).clamp(min=1e-12),
    )


def _lone(data: LabelledImages, index: Tensor, rank: int, device: str | torch.device) -> _Components:
    """The component of a class of one image."""
    x = flat(data.images(index)).double().to(device)
    psi = x.new_full(x.shape, _spread(data))
    return _Components(x, x.new_zeros(*x.shape, rank), psi, x.new_ones(1))


def _spread(data: LabelledImages) -> float:
    """Mean pixel variance within the classes of at least two images, or of all images if there is no such class."""
    labels = data.labels if bool((data.class_counts > 1).any()) else torch.zeros_like(data.labels)
    counts, total, freedom = torch.bincount(labels), 0.0, 0
    for label in (counts > 1).nonzero().flatten().tolist():
        total += _squares(data, (labels == label).nonzero().flatten())
        freedom += int(counts[label]) - 1
    if not total > 0:
        raise DataError("all images of every class are equal: a density cannot be fitted; add images.")
    return total / (freedom * math.prod(data.shape))


def _squares(data: LabelledImages, index: Tensor) -> float:
    """Sum of squared distances of images from their mean."""
    parts = torch.split(index, _AT_ONCE)
    mean = torch.stack([flat(data.images(part)).double().sum(0) for part in parts]).sum(0) / len(index)
    return sum(float((flat(data.images(part)).double() - mean).square().sum()) for part in parts)


class _Gathered:
    """All classes in one mixture, without components that hold fewer images than `_MEMBERS`."""

    def __init__(self, data: LabelledImages, components: int, rank: int, noise: Noise, device: torch.device) -> None:
        d, most = math.prod(data.shape), len(data.classes) * components
        self._compact = noise == "isotropic" and most * (rank + 2) * d * 8 > _LARGE
        dtype = torch.float32 if self._compact else torch.float64
        # filled class by class: two copies of a large mixture would not fit
        self._means = torch.empty(most, d, dtype=dtype, device=device)
        self._loadings = torch.empty(most, d, rank, dtype=dtype, device=device)
        self._noise = torch.empty(most, 1 if self._compact else d, dtype=torch.float64, device=device)
        self._data, self._log_weights, self._own, self._used = data, list[Tensor](), list[Tensor](), 0
        self._log_priors = (data.class_counts.double() / len(data)).log().to(device)
        self.dropped = 0

    def add(self, label: int, part: _Components) -> None:
        """Add the components of a class."""
        keep = part.weights * int(self._data.class_counts[label]) > _MEMBERS
        keep[part.weights.argmax()] = True  # a class of very few images keeps one component
        count = int(keep.sum())
        where = slice(self._used, self._used + count)
        self._means[where], self._loadings[where] = part.means[keep], part.loadings[keep]
        self._noise[where] = part.noise[keep][:, : self._noise.shape[1]]
        self._log_weights.append((part.weights[keep] / part.weights[keep].sum()).log() + self._log_priors[label])
        self._own.append(torch.full((count,), label, device=self._means.device))
        self.dropped += len(keep) - count
        self._used += count

    def mixture(self) -> Mixture:
        """The mixture of all components."""
        means, loadings, noise = (values[: self._used] for values in (self._means, self._loadings, self._noise))
        log_weights, own = torch.cat(self._log_weights), torch.cat(self._own)
        classes = len(self._data.classes)
        return Mixture(self._data.shape, means, loadings, noise.expand_as(means), log_weights, own, classes)


def _squared_distances(x: Tensor, centres: Tensor) -> Tensor:
    squares = x.square().sum(1)[:, None] - 2 * x @ centres.mT + centres.square().sum(1)
    return squares.clamp(min=0)


def kmeans(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Cluster of each point by k-means++ (Arthur & Vassilvitskii 2007) and a few Lloyd steps, (n, d) to (n,)."""
    first = int(torch.randint(len(x), (1,), generator=generator))
    centres = x[first : first + 1]
    while len(centres) < k:
        nearest = _squared_distances(x, centres).amin(1)
        chances = nearest.cpu() if float(nearest.sum()) > 0 else torch.ones(len(x), dtype=x.dtype)
        chosen = int(torch.multinomial(chances, 1, generator=generator))
        centres = torch.cat([centres, x[chosen : chosen + 1]])
    for _ in range(_LLOYD_STEPS):
        label = _squared_distances(x, centres).argmin(1)
        member = torch.nn.functional.one_hot(label, k).to(x.dtype)
        count = member.sum(0)
        means = member.mT @ x / count.clamp(min=1)[:, None]
        centres = torch.where((count > 0)[:, None], means, centres)
    return _squared_distances(x, centres).argmin(1)


def probabilistic_pca(x: Tensor, rank: int, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum-likelihood PPCA of the points (n, d): mean (d,), loadings (d, rank), noise variance ().

    A = V(Λ − ψ)^½ with ψ the mean of the discarded eigenvalues (Tipping & Bishop 1999). Fewer points than `rank` + 1
    give zero columns. Eigenvalues come from the Gram matrix, since n < d in most classes.
    """
    n, d = x.shape
    mean = x.mean(0)
    centred = (x - mean)[:_PCA_POINTS]
    values, vectors = torch.linalg.eigh(centred @ centred.mT / len(centred))
    usable = min(rank, len(centred) - 1)
    top = values[len(values) - usable :].clamp(min=0)
    left = max(d - usable, 1)
    psi = ((values.clamp(min=0).sum() - top.sum()) / left).clamp(min=floor)
    loadings = x.new_zeros(d, rank)
    if usable > 0:
        safe = top.clamp(min=torch.finfo(x.dtype).tiny)
        axes = centred.mT @ vectors[:, len(values) - usable :] / (safe * len(centred)).sqrt()
        loadings[:, :usable] = axes * (top - psi).clamp(min=0).sqrt()
    return mean, loadings, psi
