"""Nodes of a trapezoidal rule over the latent coordinates, in cells of neighbours, so that only near ones are summed.

On a smooth integrand that vanishes at the ends the rule converges exponentially: with s the standard deviation of the
narrowest Gaussian factor and h the spacing its relative error is 2 exp(−2π²s²/h²), 1e-13 at s = 1.25 h.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from torch import Tensor
from torch.autograd import forward_ad

from tangency.worlds.latent import LatentMixture
from tangency.worlds.smooth_map import SmoothMap

MOST = 1 << 19  # nodes, 270 bytes each
_RESOLUTION = 1.3  # spacings to a standard deviation: some more than 1.25, as curvature narrows the integrand
_SIDE = {1: 16, 2: 6, 3: 4}  # nodes of a cell along each axis
_NEGLIGIBLE = 42.0  # what is below e to the minus of this, 6e-19, of a sum is left out of it
_SLACK = 1e-6
_SURVEY = {1: 2000, 2: 60, 3: 20}  # points along each axis at which slopes are looked up


def _lattice(axes: list[Tensor]) -> Tensor:
    """All points of a grid, (nodes, k), the last axis fastest."""
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], 1)


def value_of(x: Tensor) -> Tensor:
    """x without its derivatives, in reverse and in forward mode."""
    value: Tensor = cast(Any, forward_ad.unpack_dual)(x).primal.detach()
    return value


@dataclass(frozen=True)
class Spacing:
    """What the spacing of a rule follows from.

    Args:
        low, high: (k,) corners of the box.
        slope: (k,) largest ‖∂g/∂u_i‖ where the latent law has mass.
        narrowest: (k,) least standard deviation of the latent law.
        share: of the box in which it has mass.
    """

    low: Tensor
    high: Tensor
    slope: Tensor
    narrowest: Tensor
    share: float

    @staticmethod
    def of(decoder: SmoothMap, latent: LatentMixture) -> Spacing:
        """By looking over the box."""
        low, high = latent.box()
        k = decoder.inputs
        axes = [
            torch.linspace(float(a), float(b), _SURVEY[k], dtype=torch.float64) for a, b in zip(low, high, strict=True)
        ]
        points = _lattice(axes).to(low.device)
        near = latent.near(points)
        slopes = decoder.jet(points[near])[1].square().sum(1).sqrt().amax(0)
        return Spacing(low, high, slopes, latent.narrowest(), float(near.double().mean()))

    def counts(self, width: float) -> list[int]:
        """Cells along each axis for Gaussians of this standard deviation around g(u)."""
        step = (self.narrowest**-2 + (self.slope / width) ** 2).rsqrt() / _RESOLUTION  # of a product of Gaussians
        side = _SIDE[len(self.low)]
        return [math.ceil(extent / (h * side)) for extent, h in zip(self.high - self.low, step, strict=True)]

    def nodes(self, width: float) -> int:
        """Nodes where the law has mass, about."""
        return int(self.share * math.prod(self.counts(width)) * _SIDE[len(self.low)] ** len(self.low))


@final
@dataclass(frozen=True)
class NodeCells:
    """Nodes u_p with g(u_p) and the mass p(u_p, c) of their volume, in cells.

    Args:
        points: (cells, B, k).
        values: (cells, B, n), g of them.
        halves: (cells, B), half their square.
        shares: (cells, B, C), p(u_p, c) over its largest value in the cell.
        centres: (cells, n), means of the values.
        radii, spreads: (cells,), largest distance of a value of the cell from its centre, and the mean square one.
        peaks, levels: (cells, C), largest and mean logarithm of the mass.
    """

    points: Tensor
    values: Tensor
    halves: Tensor
    shares: Tensor
    centres: Tensor
    radii: Tensor
    spreads: Tensor
    peaks: Tensor
    levels: Tensor

    @staticmethod
    def laid(decoder: SmoothMap, latent: LatentMixture, spacing: Spacing, width: float) -> NodeCells:
        """The rule for Gaussians of standard deviation `width`; cells without mass are left out."""
        side, counts = _SIDE[decoder.inputs], spacing.counts(width)
        device = spacing.low.device
        corners = _lattice([torch.arange(count, dtype=torch.float64, device=device) for count in counts])
        inner = _lattice([torch.arange(side, dtype=torch.float64, device=device)] * decoder.inputs)
        step = (spacing.high - spacing.low) / (side * torch.tensor(counts, dtype=torch.float64, device=device))
        kept = []
        for part in torch.split(corners, 1 + 65536 // len(inner)):
            points = spacing.low + step * (0.5 + side * part[:, None] + inner)
            kept.append(points[latent.near(points.flatten(0, 1)).reshape(len(part), -1).any(1)])
        points = torch.cat(kept)
        values = decoder.values(points.flatten(0, 1)).reshape(*points.shape[:2], -1)
        volume = float(step.log().sum())
        parts = [latent.log_joint(part) + volume for part in torch.split(points.flatten(0, 1), 65536)]
        mass = torch.cat(parts).reshape(*points.shape[:2], -1)
        centres = values.mean(1)
        squares = (values - centres[:, None]).square().sum(2)
        radii, spreads = squares.amax(1).sqrt(), squares.mean(1)
        halves = values.square().sum(2) / 2
        peaks = mass.amax(1)
        shares = (mass - peaks[:, None]).exp()
        return NodeCells(points, values, halves, shares, centres, radii, spreads, peaks, mass.mean(1))

    def near(self, z: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """Cells with terms log p(u, c) − ‖z − g(u)‖²/2σ² that matter for a class: numbers (N, q), and which count.

        A class's sum is at least a cell's number of nodes times e to the mean of its terms, by Jensen's inequality.
        """
        with torch.no_grad():
            away = self._away(value_of(z))
            largest = -(away - self.radii).clamp(min=0).square() / (2 * sigma**2)
            mean = math.log(self.points.shape[1]) - (away.square() + self.spreads) / (2 * sigma**2)
            worth = torch.full_like(away, -torch.inf)
            for peak, level in zip(self.peaks.mT, self.levels.mT, strict=True):
                worth = torch.maximum(worth, largest + peak - (mean + level).amax(1, keepdim=True))
            kept = worth > -_NEGLIGIBLE
            cells = worth.topk(int(kept.sum(1).max()), dim=1).indices
            return cells, kept.gather(1, cells)

    def _away(self, z: Tensor) -> Tensor:
        """Distance from each centre, (N, n) to (N, cells), to 1e-7 of its size."""
        square = z.square().sum(1, keepdim=True) + self.centres.square().sum(1) - 2 * z @ self.centres.mT
        return square.clamp(min=0).sqrt()

    def closest(self, z: Tensor) -> Tensor:
        """The node whose value is nearest to each z, (N, k)."""
        away = self._away(z)
        kept = away - self.radii <= (away.square() + self.spreads).amin(1, keepdim=True).sqrt() + _SLACK
        cells = (-away).masked_fill(~kept, -torch.inf).topk(int(kept.sum(1).max()), dim=1).indices
        best = torch.full_like(z[:, 0], torch.inf)
        nearest = self.points[:1, 0].expand(len(z), -1)
        for number in cells.unbind(1):
            square = (self.values[number] - z[:, None]).square().sum(2)
            least, place = square.min(1)
            closer = least < best
            best = torch.where(closer, least, best)
            nearest = torch.where(closer[:, None], self.points[number, place], nearest)
        return nearest
