"""A tangent space for each image, and the interface of estimators."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from tangency.errors import NumericsError
from tangency.notebook import card
from tangency.numerics import coefficients, energy_fraction, flat, per_example, project, unit
from tangency.seeding import Draw


@dataclass(frozen=True)
class TangentSpace:
    """T_x M of each image as an orthonormal basis, with what else the estimator knows.

    Args:
        basis: (N, d, k), orthonormal columns; columns beyond an image's rank are zero.
        rank: (N,) int64, the dimension for each image.
        spectrum: (N, m ≥ k) descending, what directions were ranked by: singular values of a decoder, variances of
            neighbours, eigenvalues of a denoiser's Jacobian. None where nothing was ranked.
        weights: (N, k) in [0, 1] of the columns, for a soft tangent space P = U diag(w) Uᵀ; None for a hard one, w = 1.
        base: (N, C, H, W), its estimate of the nearest point of the manifold; None if it has none.
        residual: (N,) l2 distance of x from `base` in [0, 1] pixel units.
        asymmetry: (N,) ‖T − Tᵀ‖/‖T + Tᵀ‖ of a denoiser's Jacobian in the basis; 0 for a true score. None for others.
    """

    basis: Tensor
    rank: Tensor
    spectrum: Tensor | None = None
    weights: Tensor | None = None
    base: Tensor | None = None
    residual: Tensor | None = None
    asymmetry: Tensor | None = None

    @staticmethod
    def shared(basis: Tensor, rank: Tensor) -> TangentSpace:
        """One (d, k) orthonormal basis for all images, cut to the first `rank` columns of each."""
        k = basis.shape[1]
        if len(rank) and int(rank.max()) > k:
            raise NumericsError(f"rank: got up to {int(rank.max())}, expected at most the {k} columns of the basis.")
        keep = torch.arange(k, device=rank.device) < rank[:, None]
        return TangentSpace(basis * keep[:, None, :], rank)

    @staticmethod
    def concatenate(parts: Sequence[TangentSpace]) -> TangentSpace:
        """One after the other; fields that the first has not are left out, and narrower ones are filled up with 0."""
        names = [f.name for f in dataclasses.fields(TangentSpace) if getattr(parts[0], f.name) is not None]
        return TangentSpace(**{name: _stacked([getattr(part, name) for part in parts]) for name in names})

    def _repr_html_(self) -> str:
        """Shapes and ranges of what the estimator says."""
        trace = "" if self.weights is None else f"trace {_spread(self.trace)}"
        facts = {
            "images": len(self.rank),
            "pixels d": self.dimension,
            "rank k": _spread(self.rank),
            "chance F²": f"{float(self.trace.mean()) / self.dimension:.3g}" if len(self.rank) else "",
            "weights": trace,
            "gap of the spectrum": "" if self.spectrum is None else _spread(self.gap),
            "distance from the manifold": "" if self.residual is None else _spread(self.residual),
            "asymmetry": "" if self.asymmetry is None else _spread(self.asymmetry),
        }
        return card("Tangent spaces", facts)

    @property
    def dimension(self) -> int:
        """d, the dimension of the pixel space."""
        return self.basis.shape[1]

    @property
    def gap(self) -> Tensor:
        """λ_k/λ_{k+1}, the fall of the spectrum after the last direction, (N,); NaN where it is unknown."""
        nothing = torch.full(self.rank.shape, torch.nan, dtype=torch.float64, device=self.rank.device)
        if self.spectrum is None or self.spectrum.shape[1] < 2:
            return nothing
        last = (self.rank - 1).clamp(0, self.spectrum.shape[1] - 2)[:, None]
        ratio = self.spectrum.double().gather(1, last) / self.spectrum.double().gather(1, last + 1).clamp(min=0)
        known = (self.rank >= 1) & (self.rank < self.spectrum.shape[1])
        return ratio[:, 0].where(known, nothing)

    @property
    def trace(self) -> Tensor:
        """tr P, the rank of a hard tangent space and the sum of the weights of a soft one, (N,) float64."""
        return self.rank.double() if self.weights is None else self.weights.double().sum(1)

    def cut(self, rank: Tensor, weights: Tensor | None = None) -> TangentSpace:
        """The first min(own rank, `rank`) directions of each image, with the weights (N, ≤ k) of another space."""
        least = torch.minimum(self.rank, rank)
        keep = torch.arange(self.basis.shape[2], device=rank.device) < least[:, None]
        return TangentSpace(self.basis * keep[:, None, :], least, weights=weights)

    def project(self, x: Tensor) -> Tensor:
        """P x, (N, …)."""
        basis = self.basis.to(x.dtype)
        if self.weights is None:
            return project(basis, x)
        inside = coefficients(basis, x) * self.weights.to(x.dtype)
        return torch.einsum("ndk,nk->nd", basis, inside).reshape(x.shape)

    def reject(self, x: Tensor) -> Tensor:
        """(I − P) x, (N, …)."""
        return x - self.project(x)

    def fraction(self, x: Tensor) -> Tensor:
        """F² = xᵀP x/‖x‖², (N,) in [0, 1]; NaN for a zero vector. Chance for a random direction: tr P/d."""
        basis = self.basis.to(x.dtype)
        if self.weights is None:
            return energy_fraction(basis, x)
        inside = coefficients(basis, unit(x)).square() * self.weights.to(x.dtype)
        return inside.sum(1).clamp(0, 1)

    def off_fraction(self, x: Tensor) -> Tensor:
        """1 − F² without cancellation where F² is near 1: ‖(I − P) x‖²/‖x‖² of a hard space, (N,)."""
        if self.weights is not None:
            return 1 - self.fraction(x)
        return flat(self.reject(unit(x))).double().square().sum(1)

    def on_direction(self, noise: Tensor) -> Tensor:
        """Unit vector, uniform in the tangent space: P n/‖P n‖ from normal noise (N, …); NaN at rank 0."""
        along = self.project(noise)
        return along / per_example(flat(along).square().sum(1).sqrt(), along)


def _spread(values: Tensor) -> str:
    """Least, mean and largest of the finite values."""
    finite = values.double()[values.double().isfinite()]
    if not len(finite):
        return "undefined"
    low, high = float(finite.min()), float(finite.max())
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}, mean {float(finite.mean()):.3g}"


def chunks(x: Tensor, size: int) -> Iterator[slice]:
    """Slices of at most `size` images; there must be at least one image."""
    if not len(x):
        raise NumericsError("tangents: got no images, expected at least 1.")
    for start in range(0, len(x), max(1, size)):
        yield slice(start, start + max(1, size))


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """(n, …) one behind the other; the last axes, which count directions where they differ, filled up with zeros."""
    if parts[0].dim() < 2:
        return torch.cat(list(parts))
    widest = max(part.shape[-1] for part in parts)
    return torch.cat([functional.pad(part, (0, widest - part.shape[-1])) for part in parts])


@runtime_checkable
class TangentEstimator(Protocol):
    """What estimates tangent spaces."""

    @property
    def kind(self) -> str:
        """Short name used in specs and reports ("mfa")."""
        ...

    @property
    def where(self) -> str:
        """Where the tangent space of an image is taken, in words."""
        ...

    @property
    def max_rank(self) -> int:
        """Largest dimension of a tangent space."""
        ...

    @property
    def card(self) -> Mapping[str, Any]:
        """Identity of stored tangent spaces: the kind with every option, as JSON holds it."""
        ...

    def at(self, x: Tensor, ids: Tensor | None = None) -> TangentSpace:
        """Tangent spaces at the images x (N, C, H, W); labels are not used, so none can leak.

        `ids` (N,) are the places of the images in their data set. Estimators that look things up or draw at random
        need them; an image has the same tangent space in any batch.
        """
        ...


@runtime_checkable
class SharedSpaces(Protocol):
    """Further methods of an estimator that gives many images the same tangent space."""

    def which(self, x: Tensor) -> Tensor | None:
        """Number of the space of each image x (N, C, H, W), (N,) int64; None where each has its own."""
        ...

    def homes(self) -> Tensor | None:
        """Whether the space of a number is one of a class, (numbers, classes) bool; None where spaces have no class."""
        ...


def numbered(bases: Iterable[Tensor]) -> Tensor:
    """Parts (n, d, k) of K orthonormal bases to numbers (K,), equal for equal spans: the first basis of that span."""
    shadows = torch.cat([_shadows(part.double()) for part in bases])
    same = torch.cdist(shadows, shadows) < _SAME * math.sqrt(shadows.shape[1])
    return same.int().argmax(1)


def homes_of(numbers: Tensor, classes: Tensor, count: int) -> Tensor:
    """`SharedSpaces.homes` from the numbers (K,) and the classes (K,) of components, and how many classes there are."""
    homes = torch.zeros(len(numbers), count, dtype=torch.bool, device=numbers.device)
    homes[numbers, classes.to(numbers.device)] = True
    return homes


def coincide(a: TangentSpace, b: TangentSpace) -> Tensor:
    """Whether the two tangent spaces of each image are the same, (N,) bool; not where one is NaN."""
    difference = _shadows(a.basis.double()) - _shadows(b.basis.double())
    distance: Tensor = torch.linalg.vector_norm(difference, dim=1)
    return distance < _SAME * math.sqrt(a.dimension)


_SAME = 1e-4  # of a vector's length, between its projections to spaces that are the same but for single precision


def _shadows(bases: Tensor) -> Tensor:
    """One random vector projected to each span, (K, d): equal for equal spans, and almost surely for no others."""
    probe = Draw(0, torch.zeros(1, dtype=torch.int64), "spans").normal((bases.shape[1],), torch.float64)[0]
    inside = torch.einsum("ndk,d->nk", bases, probe.to(bases.device))
    return torch.einsum("ndk,nk->nd", bases, inside)
