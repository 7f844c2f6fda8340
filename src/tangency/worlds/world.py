"""A world: a law of images and labels in which density, score, manifold and Bayes rule are formulas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.mixtures.weights import Weigh, given, log_rest, marginal, odds
from tangency.numerics import flat, noise_levels, norms, per_example, per_level
from tangency.seeding import Draw
from tangency.types import Direction, Sigma, check_images, check_labels
from tangency.worlds.core import Core
from tangency.worlds.embedding import Embedding

_CHUNK = 256  # images; their float64 copies stay in a processor's cache
_LARGEST_SIGMA = 1e100


@dataclass(frozen=True)
class Sample:
    """Draws from a world.

    Args:
        x: (N, C, H, W) float64, not clipped to [0, 1], since clipping would change the law.
        y: (N,) int64, labels drawn with the images.
        component: (N,) int64, the component of the law that each image is from.
    """

    x: Tensor
    y: Tensor
    component: Tensor


@final
@dataclass(frozen=True)
class World:
    """x = offset + scale · U z + √ψ n with (z, y) from `core`: everything about it is exact, at any noise σ.

    With δ = ψ + σ², p_σ(x, y) = p_core,√δ/scale(z, y) · N((I − UUᵀ)(x − offset); 0, δI) · scale^(−n), so that what the
    classes share off the manifold cancels from every posterior before a number is formed. Computed in float64, returned
    in the dtype of the images. A world keeps the contract of a score (`Denoiser`).

    Args:
        name: the reference that makes it.
        core: the law in its own coordinates.
        embedding: how it becomes images.
        class_names: index = label.
        identity: everything that the law depends on; data drawn from it are known by this, not by their pixels,
            whose last bits depend on the number of threads. A replaced world has none.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("linear?rank=3&classes=2&shape=1x8x8")
        >>> sample = world.sample(5, seed=0)
        >>> world.bayes_direction(sample.x, sample.y, sigma=0.1).direction.shape
        torch.Size([5, 1, 8, 8])
    """

    name: str
    core: Core
    embedding: Embedding
    class_names: tuple[str, ...]
    identity: str = field(default="", init=False)

    kind = "exact"
    data_range = (0.0, 1.0)

    @property
    def card(self) -> Mapping[str, Any]:
        """Its reference."""
        return {"kind": self.kind, "world": self.name}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.embedding.shape

    @property
    def dimension(self) -> int:
        """d = C·H·W."""
        return math.prod(self.shape)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.core.classes

    @property
    def intrinsic_dimension(self) -> int:
        """Dimension of the manifold; the largest, where it differs between components."""
        return self.core.intrinsic_dimension

    @property
    def undefined(self) -> dict[str, str]:
        """What is not defined at σ = 0, and why: quantity to reason. At σ > 0 everything is."""
        reasons = {}
        if self._singular:
            reasons["density, score, denoiser"] = f"there is no density in pixel space, since {self._singular}"
        if self.embedding.noise == 0 and self.core.no_posterior:
            reasons["posterior, Bayes direction"] = f"there is no limit, since {self.core.no_posterior}"
        return reasons

    @property
    def _singular(self) -> str:
        if self.embedding.noise > 0:
            return ""
        if self.core.singular:
            return self.core.singular
        flat_in = self.core.dimension < self.dimension
        return f"it lives on a subspace of dimension {self.core.dimension}" if flat_in else ""

    def sample(self, n: int, seed: int, start: int = 0) -> Sample:
        """n images with labels; image i does not depend on n, and `start` continues after earlier ones."""
        if n < 1:
            raise NumericsError(f"sample: got n = {n}, expected at least 1.")
        return self.sample_at(torch.arange(start, start + n), seed)

    def sample_at(self, ids: Tensor, seed: int) -> Sample:
        """The images with these numbers (n,), n ≥ 1, of the stream that `sample` draws from."""
        parts = [self._sample(some, seed) for some in torch.split(ids, _CHUNK)]
        x, y, component = (torch.cat(values) for values in zip(*parts, strict=True))
        return Sample(x, y, component)

    def _sample(self, ids: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        draw = Draw(seed, ids, "world")
        z, y, component = self.core.draw(draw)
        rows = self.embedding.offset + self.embedding.scale * self.embedding.lift(z)
        if self.embedding.noise > 0:
            thickness = draw.of("thickness").normal((self.dimension,), torch.float64)
            rows = rows + math.sqrt(self.embedding.noise) * thickness
        return rows.reshape(len(ids), *self.shape), y, component

    def log_class_joint(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(x, c) in nats, (N, C, H, W) to (N, classes) float64."""
        core_sigma, delta = self._noise(sigma, "density")
        n = self.core.dimension
        constant = -n * math.log(self.embedding.scale)
        joints = []
        for z, left in self._encoded(x):
            joint = self.core.log_class_joint(z, core_sigma) + constant
            if self.dimension > n:
                log_normal = 0.5 * (self.dimension - n) * math.log(2 * math.pi * delta)
                joint = joint - (left.square().sum(1) / (2 * delta) + log_normal)[:, None]
            joints.append(joint)
        return torch.cat(joints)

    def log_density(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(x) in nats, (N,) float64."""
        return self.log_class_joint(x, sigma).logsumexp(1)

    def log_density_given(self, x: Tensor, sigma: float, y: Tensor) -> Tensor:
        """log p_σ(x | y) in nats, (N,) float64."""
        check_labels(y, len(x), self.classes)
        return (self.log_class_joint(x, sigma) - self.log_prior()).gather(1, y.long()[:, None]).squeeze(1)

    def log_prior(self) -> Tensor:
        """log p(c), (classes,) float64."""
        return self.core.log_prior()

    def log_posterior(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(c | x), (N, classes) float64: the Bayes rule. At σ = 0 of a manifold, of the point nearest to x."""
        core_sigma, _ = self._noise(sigma, "posterior")
        return torch.cat([self.core.log_class_joint(z, core_sigma).log_softmax(1) for z, _ in self._encoded(x)])

    def weighted_score(self, x: Tensor, sigma: float, weigh: Weigh, what: str = "density") -> tuple[Tensor, Tensor]:
        """Σ_c w_c ∇ log p_σ(x | c), shape and dtype of x, and log p_σ(z, c) of the core, (N, classes) float64.

        The gradient of the normal factor is −(I − UUᵀ)(x − offset)/δ for every class: it enters with Σ_c w_c, and not
        at all where `what` is "posterior", whose weights sum to zero.
        """
        scores = torch.empty(len(x), self.dimension, dtype=x.dtype, device=x.device)
        joints = []
        for chunk, rows, joint in self._weighted(x, sigma, weigh, what):
            scores[chunk] = rows.to(x.dtype)
            joints.append(joint)
        return scores.reshape(x.shape), torch.cat(joints)

    def _weighted(self, x: Tensor, sigma: float, weigh: Weigh, what: str) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """`weighted_score` in parts that fit into a processor's cache: slice, float64 rows, log p_σ(z, c)."""
        core_sigma, delta = self._noise(sigma, what)
        start = 0
        for z, left in self._encoded(x):
            chunk = slice(start, start + len(z))
            totals: list[Tensor] = []

            def weights(joint: Tensor, part: slice, totals: list[Tensor] = totals, start: int = start) -> Tensor:
                chosen = weigh(joint, slice(start + part.start, start + part.start + len(joint)))
                totals.append(chosen.sum(1))
                return chosen

            inner, joint = self.core.weighted_score(z, core_sigma, weights)
            rows = self.embedding.lift(inner) / self.embedding.scale
            if what == "density" and self.dimension > self.core.dimension:
                rows = rows - torch.cat(totals)[:, None] * left / delta
            yield chunk, rows, joint
            start = chunk.stop

    def score(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """s_σ(x) = ∇ log p_σ(x), or ∇ log p_σ(x | y), per unit of pixel range; shape and dtype of x."""
        if y is not None:
            check_labels(y, len(x), self.classes)
        return per_level(self._score, x, sigma, y)

    def _score(self, x: Tensor, sigma: float, y: Tensor | None) -> Tensor:
        return self.weighted_score(x, sigma, marginal if y is None else given(y))[0]

    def denoise(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """D(x; σ) = E[x₀ | x] = x + σ² s_σ(x), or given y; shape and dtype of x."""
        score = self.score(x.double(), sigma, y)
        return (x.double() + per_example(noise_levels(sigma, x), x) ** 2 * score).to(x.dtype)

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: Sigma) -> Direction:
        """∇ log p_σ(y | x) as log-odds direction s_y − Σ_{c≠y} p_c/(1 − p_y) s_c and log magnitude."""
        check_labels(y, len(x), self.classes)
        return per_level(self._bayes_direction, x, sigma, y)

    def _bayes_direction(self, x: Tensor, sigma: float, y: Tensor) -> Direction:
        direction = torch.empty(len(x), self.dimension, dtype=x.dtype, device=x.device)
        lengths = []
        for chunk, rows, joint in self._weighted(x, sigma, odds(y), "posterior"):
            direction[chunk] = rows.to(x.dtype)
            lengths.append(norms(rows).log() + log_rest(joint, y[chunk]))
        return Direction(direction.reshape(x.shape), torch.cat(lengths))

    def mean_square(self, x: Tensor, sigma: float) -> Tensor:
        """E[‖x − x₀‖² | x] at noise σ > 0, (N,) float64.

        It is a small difference of large numbers: below σ = 1e-6 of the size of the world it is lost to rounding.
        Given the point m that x₀ scatters about, x₀ ~ N(m + ψ/δ (x − m), ψσ²/δ I): dψσ²/δ + (σ²/δ)² E‖x − m‖².
        """
        if sigma == 0:
            raise NumericsError("sigma: got 0, expected a noise level > 0.")
        core_sigma, delta = self._noise(sigma, "density")
        psi, scale = self.embedding.noise, self.embedding.scale
        squares = []
        for z, left in self._encoded(x):
            square = scale**2 * self.core.mean_square(z, core_sigma) + left.square().sum(1)
            squares.append(self.dimension * psi * sigma**2 / delta + (sigma**2 / delta) ** 2 * square)
        return torch.cat(squares)

    def local_dimension(self, x: Tensor, sigma: float) -> Tensor:
        """E[‖x − x₀‖² | x]/σ² = d + σ²(Δ log p_σ + ‖s_σ‖²), (N,) float64: tends to the intrinsic dimension as σ → 0.

        Source: FLIPD, Kamkari et al., arXiv 2406.03537.
        """
        return self.mean_square(x, sigma) / sigma**2

    def tangent_basis(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Orthonormal basis of T_x M at the point of the manifold nearest to x, and its rank.

        NaN where no point is nearest (the centre of a sphere, which a uniform grey image is).

        Returns:
            (N, d, k) in the dtype of x, columns beyond an image's rank zero, and (N,) int64.
        """
        shape = (len(x), self.dimension, self.intrinsic_dimension)
        bases = torch.empty(shape, dtype=x.dtype, device=x.device)  # filled in place: the largest tensor here
        ranks, start = [], 0
        for z, _ in self._encoded(x):
            basis, rank = self.core.tangents(z, x.dtype)
            bases[start : start + len(z)] = self.embedding.lift(basis)
            ranks.append(rank)
            start += len(z)
        return bases, torch.cat(ranks)

    def normal_basis(self, x: Tensor) -> Tensor:
        """Orthonormal basis of the normal space, (N, d, d − k) in the dtype of x, k the same for all images.

        By a full QR decomposition with d² numbers an image, so for small images only.
        """
        basis, rank = self.tangent_basis(x)
        k = int(rank.max())
        if int(rank.min()) != k:
            raise NumericsError(f"normal space: ranks from {int(rank.min())} to {k}; ask for images of one rank.")
        complete: Tensor = torch.linalg.qr(basis.double(), mode="complete").Q
        return complete[:, :, k:].to(x.dtype)

    def bayes_span(self) -> Tensor:
        """(d, m) orthonormal basis in which every gradient of log p_σ(y | x) lies, at all x and σ."""
        inner = self.core.span()
        if inner is None:
            raise NumericsError(
                f"{self.name}: no fixed subspace holds its Bayes gradients, expected a mixture of Gaussians with one "
                "noise level for all components and pixels."
            )
        return self.embedding.lift(inner.mT).mT

    def to(self, device: str) -> World:
        """The same world on another device."""
        moved = World(self.name, self.core.to(device), self.embedding.to(device), self.class_names)
        return replace_named(moved, self.name, self.identity)

    def _encoded(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        if x.dim() != 4 or tuple(x.shape[1:]) != self.shape:
            raise NumericsError(
                f"{self.name}: got images {tuple(x.shape)}, expected (N, {', '.join(map(str, self.shape))})."
            )
        if not len(x):
            raise NumericsError(f"{self.name}: got no images, expected at least 1.")
        check_images(x, f"{self.name}: images", unit_range=False)
        for part in torch.split(x, _CHUNK):
            yield self.embedding.encode(flat(part).double())

    def _noise(self, sigma: float, what: str) -> tuple[float, float]:
        """σ in the units of the core, and δ = ψ + σ²; raises where `what` is not defined."""
        if not 0 <= sigma <= _LARGEST_SIGMA:
            raise NumericsError(
                f"sigma: got {sigma}, expected a finite noise level from 0 to {_LARGEST_SIGMA:g} in [0, 1] pixel units."
            )
        if sigma == 0:
            for quantity, reason in self.undefined.items():
                if what in quantity:
                    raise NumericsError(
                        f"{self.name}: no {what} at σ = 0: {reason}. Ask at some σ > 0, or give the world noise."
                    )
        delta = self.embedding.noise + sigma**2
        return math.sqrt(delta) / self.embedding.scale, delta


def replace_named(world: World, name: str, identity: str) -> World:
    """The world with another name and identity."""
    named = replace(world, name=name)
    object.__setattr__(named, "identity", identity)
    return named
