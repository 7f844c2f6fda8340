"""A mixture of factor analysers for each class: density, score, denoiser, posterior, Bayes direction, tangents."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangency.errors import ModelError, NumericsError
from tangency.mixtures.compact import CompactComponents, CompactGaussians
from tangency.mixtures.gaussian import SmoothedGaussians
from tangency.mixtures.weights import Weigh, given, log_rest, marginal, odds
from tangency.notebook import card, strip
from tangency.numerics import check_shape, flat, masked_orthonormal, norms
from tangency.seeding import Draw
from tangency.tensors import read_tensors, write_tensors
from tangency.types import Direction, check_labels

_CHUNK = 1024
_SHOWN = 12  # means that a notebook shows
_TENSORS = ("means", "loadings", "noise", "log_weights", "component_class")


@dataclass(frozen=True)
class Mixture:
    """p(x) = Σ_j π_j N(x; μ_j, A_jA_jᵀ + Ψ_j), every component j belonging to one class.

    All closed forms are computed in float64 whatever the dtype of the images, and returned in that dtype: they are
    exponentials of numbers of order 10⁴, and float32 would lose the responsibilities. A mixture of many classes may
    hold means and loadings in float32, with one ψ a component, to fit into memory; it is computed with all the same.

    Args:
        shape: (C, H, W) of an image, d = C·H·W.
        means: (K, d) float64 (or float32, see above), μ_j, pixels in [0, 1].
        loadings: (K, d, k), A_j; zero columns where the rank is lower.
        noise: (K, d) float64, the diagonal of Ψ_j, positive.
        log_weights: (K,) float64, log π_j; π sums to one over all classes.
        component_class: (K,) int64, class of each component.
        classes: number of classes.
    """

    shape: tuple[int, int, int]
    means: Tensor
    loadings: Tensor
    noise: Tensor
    log_weights: Tensor
    component_class: Tensor
    classes: int
    _prepared: dict[float, SmoothedGaussians | CompactGaussians] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def dimension(self) -> int:
        """d = C·H·W."""
        return self.means.shape[1]

    def _repr_html_(self) -> str:
        """Shapes and ranges, and the means of the components as pictures."""
        ranks = (self.loadings != 0).any(1).sum(1)
        counts = torch.bincount(self.component_class, minlength=self.classes)
        facts = {
            "images": f"{'×'.join(map(str, self.shape))}, d = {self.dimension}",
            "classes": self.classes,
            "components": f"{len(self.means)}, {_ends(counts)} a class",
            "rank": _ends(ranks),
            "noise ψ": _ends(self.noise),
            "weights π": _ends(self.log_weights.exp()),
            "held in": "single precision" if self.compact else "double precision",
        }
        shown = self.means[:_SHOWN].reshape(-1, *self.shape).float().cpu().numpy()
        names = [f"mean of component {j}, class {int(c)}" for j, c in enumerate(self.component_class[:_SHOWN])]
        return card("Mixture of factor analysers", facts, strip(shown, names))

    def to(self, device: str | torch.device) -> Mixture:
        """The same mixture on another device."""
        return dataclasses.replace(self, **{name: getattr(self, name).to(device) for name in _TENSORS})

    @property
    def compact(self) -> bool:
        """Whether means and loadings are held in single precision."""
        return self.means.dtype == torch.float32

    @cached_property
    def _components(self) -> CompactComponents:
        return CompactComponents(self.means, self.loadings, self.noise[:, 0].double())

    def at(self, sigma: float) -> SmoothedGaussians | CompactGaussians:
        """The components smoothed by noise σ ≥ 0 in [0, 1] pixel units; prepared once for each σ."""
        sigma = float(sigma)
        if not sigma >= 0 or sigma == float("inf"):
            raise NumericsError(
                f"sigma: got {sigma}, expected a finite noise level of at least 0 in [0, 1] pixel units."
            )
        if sigma == 0 and not bool((self.noise > 0).all()):
            raise NumericsError(
                "sigma: got 0 for components without noise, whose covariances are singular: they have no density in "
                "pixel space. Ask at some σ > 0, or give the components noise."
            )
        if sigma not in self._prepared:
            self._prepared[sigma] = (
                self._components.smoothed(sigma)
                if self.compact
                else SmoothedGaussians.prepare(self.means, self.loadings, self.noise, sigma)
            )
        return self._prepared[sigma]

    def log_joint(self, x: Tensor, sigma: float) -> Tensor:
        """log π_j N(x; μ_j, Σ_j + σ²I) of every component, (N, C, H, W) to (N, K) float64."""
        smoothed = self.at(sigma)
        rows = self._rows(x)
        return self.log_weights + smoothed.log_density(rows, smoothed.projections(rows))

    def log_density(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(x) in nats, (N, C, H, W) to (N,) float64."""
        return self.log_joint(x, sigma).logsumexp(1)

    def log_class_joint(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(x, c) of every class, (N, C, H, W) to (N, classes) float64."""
        return self._over_classes(self.log_joint(x, sigma))

    def log_density_given(self, x: Tensor, sigma: float, y: Tensor) -> Tensor:
        """log p_σ(x | y) in nats, (N,) float64."""
        check_labels(y, len(x), self.classes)
        return (self.log_class_joint(x, sigma) - self.log_prior()).gather(1, y.long()[:, None]).squeeze(1)

    def log_prior(self) -> Tensor:
        """log p(c), (classes,) float64."""
        return self._over_classes(self.log_weights[None]).squeeze(0)

    def log_posterior(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(c | x), (N, classes) float64: the Bayes rule."""
        return self.log_class_joint(x, sigma).log_softmax(1)

    def responsibilities(self, x: Tensor, sigma: float, y: Tensor | None = None) -> Tensor:
        """p_σ(j | x), or p_σ(j | x, y) with other classes at zero, (N, K) float64."""
        joint = self.log_joint(x, sigma)
        if y is not None:
            check_labels(y, len(x), self.classes)
            joint = joint.masked_fill(self.component_class != y[:, None], -torch.inf)
        return joint.softmax(1)

    def score(self, x: Tensor, sigma: float, y: Tensor | None = None) -> Tensor:
        """s_σ(x) = ∇ log p_σ(x), or ∇ log p_σ(x | y), per unit of pixel range; shape and dtype of x."""
        if y is not None:
            check_labels(y, len(x), self.classes)
        return self.weighted_score(x, sigma, marginal if y is None else given(y))[0]

    def denoise(self, x: Tensor, sigma: float, y: Tensor | None = None) -> Tensor:
        """D(x; σ) = E[x₀ | x] = x + σ² s_σ(x) (Tweedie, Miyasawa), or given y; shape and dtype of x."""
        return (x.double() + sigma**2 * self.score(x.double(), sigma, y)).to(x.dtype)

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: float) -> Direction:
        """Gradient of log p_σ(y | x) as log-odds direction and log magnitude.

        direction = s_y − Σ_{c≠y} p_c/(1 − p_y) s_c, weights by a softmax over the other classes' densities, so it
        never underflows; ∇ log p(y | x) = (1 − p_y) · direction. The difference of two denoisers over σ² equals it
        in exact arithmetic, but cancels in floating point where p_y is near 1.

        Args:
            x: (N, C, H, W).
            y: (N,) int64.
            sigma: noise level in [0, 1] pixel units.

        Returns:
            `Direction`: shape and dtype of x, and (N,) float64.
        """

        check_labels(y, len(x), self.classes)
        direction, log_joint = self.weighted_score(x.double(), sigma, odds(y))
        return Direction(direction.to(x.dtype), norms(direction).log() + log_rest(log_joint, y))

    def component(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Component of largest responsibility at σ = 0, over all classes (or those of y), (N,) int64."""
        return self.responsibilities(x, 0.0, y).argmax(1)

    def lengths(self) -> Tensor:
        """Singular values of the loadings, the largest first, (K, k) float64."""
        if not self.compact:
            values: Tensor = torch.linalg.svdvals(self.loadings)
            return values
        squares: Tensor = torch.linalg.eigvalsh(self._components.products[0])
        return squares.clamp(min=0).sqrt().flip(1)

    def bases(self, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Orthonormal bases of the spans of the loadings, (K, d, k) float64, and their ranks (K,).

        `index` (m,) chooses components: all bases of a mixture of many classes would not fit into memory.
        """
        return masked_orthonormal((self.loadings if index is None else self.loadings[index]).double())

    def sample(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """n images (n, C, H, W) float64, not clipped, with their labels (n,): exact draws from the mixture."""
        ids = torch.arange(n, device=self.means.device)
        parts = [self.draw(Draw(seed, own, "mixture")) for own in torch.split(ids, _CHUNK)]
        x = torch.cat([rows for rows, _ in parts]) if parts else self.means[:0]
        j = torch.cat([component for _, component in parts]) if parts else self.component_class[:0]
        return x.reshape(n, *self.shape), self.component_class[j]

    def draw(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """An image for each id, (N, d) float64, and the component that it is from, (N,)."""
        cumulative = self.log_weights.exp().cumsum(0)
        cumulative = cumulative / cumulative[-1]
        chance = draw.of("component").uniform((), torch.float64)
        j = torch.searchsorted(cumulative, chance).clamp(max=len(cumulative) - 1)
        z = draw.of("latent").normal((self.loadings.shape[2],), torch.float64)
        x = self.means[j].double()
        for own in torch.unique(j):  # by component, since a loading matrix for each image would not fit
            chosen = j == own
            x[chosen] += z[chosen] @ self.loadings[own].double().mT
        if bool((self.noise > 0).any()):
            x = x + self.noise[j].sqrt() * draw.of("noise").normal((self.dimension,), torch.float64)
        return x, j

    def weighted_score(self, x: Tensor, sigma: float, weigh: Weigh) -> tuple[Tensor, Tensor]:
        """Σ_c w_c ∇ log p_σ(x | c) with weights of any sign: every score and Bayes direction is one of these.

        Args:
            x: (N, C, H, W).
            sigma: noise level in [0, 1] pixel units.
            weigh: log p_σ(x, c) (n, classes) and the slice of images they belong to, to weights (n, classes).

        Returns:
            Shape and dtype of x; and log p_σ(x, c), (N, classes) float64.
        """
        smoothed = self.at(sigma)
        rows, own = self._rows(x), self.component_class
        parts, joints = [], []
        for start in range(0, len(rows), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            projections = smoothed.projections(rows[chunk])
            joint = self.log_weights + smoothed.log_density(rows[chunk], projections)
            by_class = self._over_classes(joint)
            within = (joint - by_class[:, own]).exp()  # p(j | x, c)
            weights = weigh(by_class, chunk)[:, own] * within
            parts.append(smoothed.combined_gradients(rows[chunk], projections, weights))
            joints.append(by_class)
        if not parts:
            return x.clone(), x.new_zeros(0, self.classes, dtype=torch.float64)
        return torch.cat(parts).reshape(x.shape).to(x.dtype), torch.cat(joints)

    def mean_square(self, x: Tensor, sigma: float) -> Tensor:
        """E[‖x − x₀‖² | x] at noise σ > 0, (N, C, H, W) to (N,) float64; over σ² it tends to the local dimension.

        Of a component: σ²d − σ⁴ tr Σ⁻¹ + σ⁴‖Σ⁻¹(x − μ)‖², Σ the smoothed covariance.
        """
        smoothed, means = self.at(sigma), []
        trace = smoothed.trace
        for rows in torch.split(self._rows(x), _CHUNK):
            projections = smoothed.projections(rows)
            joint = self.log_weights + smoothed.log_density(rows, projections)
            lengths = smoothed.squared_gradients(rows, projections)
            each = sigma**2 * self.dimension + sigma**4 * (lengths - trace)
            means.append((joint.softmax(1) * each).sum(1))
        return torch.cat(means)

    def span(self, tolerance: float = 1e-10) -> Tensor:
        """Orthonormal basis of span{A_j, μ_j − μ_l} over all components, (d, m) float64.

        With one noise ψ common to all components every gradient of log p_σ(y | x) lies in it, at every σ.
        """
        columns = torch.cat([*self.loadings, (self.means - self.means[:1]).mT], 1)
        basis: Tensor
        basis, lengths, _ = torch.linalg.svd(columns, full_matrices=False)
        return basis[:, lengths > tolerance * lengths[0]]

    def _rows(self, x: Tensor) -> Tensor:
        check_shape(x, self.shape)
        return flat(x).double()

    def _over_classes(self, values: Tensor) -> Tensor:
        """logsumexp over the components of each class, (N, K) to (N, classes); −∞ for a class without any."""
        index = self.component_class.expand_as(values)
        top = values.new_full((len(values), self.classes), -torch.inf).scatter_reduce(1, index, values, "amax")
        safe = top.where(top.isfinite(), 0.0).detach()
        total = torch.zeros_like(safe).scatter_add(1, index, (values - safe.gather(1, index)).exp())
        return total.log() + safe


def save_mixture(mixture: Mixture, path: Path, provenance: dict[str, Any]) -> None:
    """Write the mixture atomically, with its provenance as JSON in the header."""
    header = {"kind": "mfa", "shape": mixture.shape, "classes": mixture.classes, **provenance}
    write_tensors(path, {name: getattr(mixture, name) for name in _TENSORS}, header)


def load_mixture(path: Path, device: str = "cpu") -> tuple[Mixture, dict[str, Any]]:
    """The mixture and its header; a `ModelError` where the file is not one, or was damaged."""
    tensors, header = read_tensors(path)
    if header.get("kind") != "mfa" or set(tensors) != set(_TENSORS):
        raise ModelError(f"{path}: holds {sorted(tensors)}, expected a mixture written by tangency. Fit it again.")
    return Mixture(shape=tuple(header["shape"]), classes=header["classes"], **tensors).to(device), header


def _ends(values: Tensor) -> str:
    """The least and the largest value."""
    low, high = (float(end) for end in values.aminmax())
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
