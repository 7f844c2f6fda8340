"""The image of a smooth decoder as the manifold of a world; sums over the latent coordinates by quadrature."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.mixtures.weights import Weigh
from tangency.numerics import masked_orthonormal
from tangency.seeding import Draw
from tangency.worlds.latent import LatentMixture
from tangency.worlds.quadrature import MOST, NodeCells, Spacing, value_of
from tangency.worlds.smooth_map import SmoothMap

_IMAGES, _AT_ONCE = 64, 8  # whose cells are looked up, and whose nodes are summed
_RULES = 4  # that are held
_MANY, _ROUNDING = 40, 1e-9  # rules there could be, down to a millionth; of a logarithm
_COARSER = 4  # than the finest rule, by a factor of 4, is the one that starts the search for the nearest point
_STEPS, _HALVINGS = 12, 6  # of Newton's iteration, and of a step of it
_LEAST = 1e-300  # of a sum within a cell
_CONVEX = 1e-3  # of the Gauss–Newton matrix; a flatter one is replaced by it


@final
@dataclass(frozen=True)
class DecoderCore:
    """z = g(u), (u, y) from a mixture of Gaussians for each class: p_σ(z, c) = ∫ p(u, c) N(z; g(u), σ²I) du.

    The integral is a trapezoidal rule over the k ≤ 3 latent coordinates, whose nodes lie as close as σ asks for; it is
    exact to about 1e-12, and σ that needs more than 500,000 nodes is refused. Only nodes near z are summed.

    Args:
        decoder: g, from R^k to R^n.
        latent: law of (u, y).
    """

    decoder: SmoothMap
    latent: LatentMixture

    @property
    def dimension(self) -> int:
        """n."""
        return self.decoder.outputs

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.latent.classes

    @property
    def intrinsic_dimension(self) -> int:
        """k."""
        return self.decoder.inputs

    @property
    def singular(self) -> str:
        """A law on a surface has no density in the space around it."""
        return "it lives on the image of a decoder"

    @property
    def no_posterior(self) -> str:
        """No quadrature resolves the law without noise."""
        return f"the quadrature over the latent coordinates resolves no noise below {self.finest:.3g}"

    @cached_property
    def _spacing(self) -> Spacing:
        return Spacing.of(self.decoder, self.latent)

    @cached_property
    def _last(self) -> int:
        """Number of the finest rule."""
        fits = [i for i in range(_MANY) if self._spacing.nodes(_width(i)) <= MOST]
        return max(fits, default=0)

    @property
    def finest(self) -> float:
        """The least standard deviation of noise that the quadrature resolves."""
        return _width(self._last)

    @cached_property
    def _rules(self) -> dict[int, NodeCells]:
        return {}

    def rule(self, sigma: float) -> NodeCells:
        """The nodes for this noise; the last few rules are held."""
        if sigma < self.finest:
            raise NumericsError(
                f"decoder: got noise of standard deviation {sigma:.3g} with {self.intrinsic_dimension} latent "
                f"coordinates, expected at least {self.finest:.3g}: less takes more than {MOST} nodes of the "
                "quadrature. Give the world more noise=, or take a larger sigma, smaller images (size=) or a smaller "
                "latent=."
            )
        return self._rule(max(0, math.ceil(-2 * math.log2(sigma) - _ROUNDING)))

    def _rule(self, number: int) -> NodeCells:
        if number not in self._rules:
            if len(self._rules) >= _RULES:
                del self._rules[next(iter(self._rules))]
            self._rules[number] = NodeCells.laid(self.decoder, self.latent, self._spacing, _width(number))
        return self._rules[number]

    def draw(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """Points, classes, components."""
        u, y, component = self.latent.draw(draw)
        return self.decoder.values(u), y, component

    def log_prior(self) -> Tensor:
        """log p(c)."""
        return self.latent.means.new_full((self.classes,), -math.log(self.classes))

    def log_class_joint(self, z: Tensor, sigma: float) -> Tensor:
        """log p_σ(z, c)."""
        return torch.cat([nodes.joint for nodes in self._near(z, sigma)])

    def weighted_score(self, z: Tensor, sigma: float, weigh: Weigh) -> tuple[Tensor, Tensor]:
        """Σ_c w_c Σ_p r_cp (g(u_p) − z)/σ², r_c the share of node p in p_σ(z, c)."""
        scores, joints = [], []
        for nodes in self._near(z, sigma):
            weights = nodes.weights(weigh(nodes.joint, nodes.chunk))
            pulled = torch.einsum("nqb,nqbi->ni", weights, nodes.values) - weights.sum((1, 2))[:, None] * nodes.z
            scores.append(pulled / sigma**2)
            joints.append(nodes.joint)
        return torch.cat(scores), torch.cat(joints)

    def mean_square(self, z: Tensor, sigma: float) -> Tensor:
        """E[‖z − z₀‖² | z]."""
        parts = [(nodes.weights(nodes.joint.softmax(1)) * nodes.squares).sum((1, 2)) for nodes in self._near(z, sigma)]
        return torch.cat(parts)

    def nearest(self, z: Tensor) -> Tensor:
        """argmin_u ‖z − g(u)‖, (N, n) to (N, k): from the nearest node, by Newton steps that are halved if too long."""
        rule = self._rule(max(0, self._last - _COARSER))
        return torch.cat([self._descended(part, rule.closest(part)) for part in torch.split(z, _IMAGES)])

    def _descended(self, z: Tensor, u: Tensor) -> Tensor:
        for _ in range(_STEPS):
            value, first, second = self.decoder.jet(u)
            left = z - value
            slope = torch.einsum("nia,ni->na", first, left)
            gauss = first.mT @ first
            curved = gauss - torch.einsum("niab,ni->nab", second, left)
            convex = torch.linalg.eigvalsh(curved)[:, 0] > _CONVEX * torch.linalg.eigvalsh(gauss)[:, 0]
            step = torch.linalg.solve(torch.where(convex[:, None, None], curved, gauss), slope)
            best, square = u, left.square().sum(1)
            for _ in range(_HALVINGS):
                tried = u + step
                closer = (z - self.decoder.values(tried)).square().sum(1) < square
                best = torch.where(closer[:, None], tried, best)
                if bool(closer.all()):
                    break
                step = torch.where(closer[:, None], step, step / 2)
            u = best
        return u

    def tangents(self, z: Tensor, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """The column space of g's Jacobian at the nearest point."""
        basis, rank = masked_orthonormal(self.decoder.jet(self.nearest(z))[1])
        return basis.to(dtype), rank

    def span(self) -> Tensor | None:
        """All of R^n: the span of the decoder's last layer holds every gradient."""
        return torch.eye(self.dimension, dtype=torch.float64, device=self.latent.means.device)

    def to(self, device: str) -> DecoderCore:
        """The same on another device."""
        return DecoderCore(self.decoder.to(device), self.latent.to(device))

    def _near(self, z: Tensor, sigma: float) -> Iterator[_Nodes]:
        """The nodes that matter, of a few z at a time."""
        rule, start = self.rule(sigma), 0
        for some in torch.split(z, _IMAGES):
            cells, counted = rule.near(some, sigma)
            for i in range(0, len(some), _AT_ONCE):
                part, few = some[i : i + _AT_ONCE], slice(0, int(counted[i : i + _AT_ONCE].sum(1).max()))
                own, kept = cells[i : i + _AT_ONCE, few], counted[i : i + _AT_ONCE, few]
                yield _seen(rule, own, kept, part, sigma, slice(start, start + len(part)))
                start += len(part)


def _seen(rule: NodeCells, cells: Tensor, kept: Tensor, z: Tensor, sigma: float, chunk: slice) -> _Nodes:
    """Cells (n, q) of a rule seen from z (n, m); cells that are not `kept` fill the places of others."""
    values = rule.values[cells]
    inner = torch.einsum("nqbi,ni->nqb", values, z)
    squares = 2 * (rule.halves[cells] - inner + 0.5 * z.square().sum(1)[:, None, None])
    exponents = -squares / (2 * sigma**2)
    top = value_of(exponents).amax(2, keepdim=True)
    factors, shares = (exponents - top).exp(), rule.shares[cells]
    size = top - 0.5 * z.shape[1] * math.log(2 * math.pi * sigma**2)
    outside = (rule.peaks[cells] + size).masked_fill(~kept[:, :, None], -torch.inf)
    sums = torch.einsum("nqb,nqbc->nqc", factors, shares)
    return _Nodes(z, chunk, values, squares, factors, shares, outside, outside + sums.clamp(min=_LEAST).log())


@dataclass(frozen=True)
class _Nodes:
    """Nodes of the quadrature seen from n points: log p(u_p, c) N(z; g(u_p), σ²I) = log(factor share) + outside.

    Args:
        z: (n, m), the points.
        chunk: which of all they are.
        values: (n, q, B, m), g(u_p).
        squares: (n, q, B), ‖z − g(u_p)‖².
        factors: (n, q, B), the Gaussian, 1 at the nearest node of a cell.
        shares: (n, q, B, C), the latent law, 1 at its peak in a cell.
        outside: (n, q, C), the logarithm of what was divided out.
        terms: (n, q, C), the logarithm of the sum over a cell.
    """

    z: Tensor
    chunk: slice
    values: Tensor
    squares: Tensor
    factors: Tensor
    shares: Tensor
    outside: Tensor
    terms: Tensor

    @cached_property
    def joint(self) -> Tensor:
        """log p_σ(z, c), (n, C)."""
        return self.terms.logsumexp(1)

    def weights(self, of_classes: Tensor) -> Tensor:
        """Σ_c w_c × the share of each node in p_σ(z, c), (n, C) to (n, q, B)."""
        inside = of_classes[:, None] * (self.outside - self.joint[:, None]).exp()
        return self.factors * torch.einsum("nqbc,nqc->nqb", self.shares, inside)


def _width(number: int) -> float:
    """Standard deviation of noise that a rule is for: 1, 1/√2, ½, …"""
    return math.pow(2.0, -number / 2)
