"""The point nearest to the origin in an intersection of half-spaces and a box, for many examples at once."""

from __future__ import annotations

import torch
from torch import Tensor

_RIDGE = 1e-13  # relative to the mean squared length of the rows: two equal half-spaces share their multiplier
_PIVOTS = 40  # times the number of half-spaces
_ROUNDS = 8


def nearest_in_halfspaces(rows: Tensor, wanted: Tensor, limits: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """argmin ‖δ‖ so that rows · δ ≥ wanted and limits[0] ≤ δ ≤ limits[1].

    Without limits the solution is exact: δ = Σ λ_r row_r with λ ≥ 0 from the complementarity problem of its Gram
    matrix. With limits, coordinates that leave them are put on the limit and the rest is solved again, 8 times at most;
    a coordinate once on a limit stays there.

    Args:
        rows: (N, R, d) float64.
        wanted: (N, R) float64.
        limits: lower and upper (N, d), the first ≤ 0 ≤ the second.

    Returns:
        (N, d).

    Example:
        >>> rows = torch.eye(2, dtype=torch.float64)[None]
        >>> nearest_in_halfspaces(rows, torch.tensor([[1.0, -1.0]], dtype=torch.float64)).round(decimals=6).tolist()
        [[1.0, 0.0]]
    """
    loose = torch.ones(len(rows), rows.shape[2], dtype=torch.bool, device=rows.device)
    settled = torch.zeros_like(loose, dtype=rows.dtype)
    delta = settled
    for _ in range(_ROUNDS):
        usable = rows * loose[:, None]
        missing = wanted - torch.einsum("nrd,nd->nr", rows, settled)
        multipliers = complementary(usable @ usable.mT, missing)
        delta = torch.where(loose, torch.einsum("nrd,nr->nd", usable, multipliers), settled)
        if limits is None:
            return delta
        inside = torch.minimum(torch.maximum(delta, limits[0]), limits[1])
        beyond = loose & (inside != delta)
        if not bool(beyond.any()):
            return delta
        settled, loose = torch.where(beyond, inside, settled), loose & ~beyond
        delta = inside
    return delta


def complementary(gram: Tensor, wanted: Tensor) -> Tensor:
    """λ ≥ 0 with Kλ ≥ b and λᵀ(Kλ − b) = 0, (N, R, R) positive definite and (N, R) to (N, R).

    Source: Murty's principal pivoting by largest index, "Note on a Bard-type scheme for solving the complementarity
        problem", Opsearch 1974, which ends for every positive definite matrix.
    """
    count = gram.shape[1]
    size = gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-300)
    eye = torch.eye(count, dtype=gram.dtype, device=gram.device)
    scaled, aim = gram / size[:, None, None] + _RIDGE * eye, wanted / size[:, None]
    active = torch.zeros_like(wanted, dtype=torch.bool)
    order = torch.arange(count, device=gram.device)
    weights = torch.zeros_like(wanted)
    for _ in range(_PIVOTS * count):
        both = active[:, :, None] & active[:, None, :]
        weights = torch.linalg.solve(torch.where(both, scaled, eye), torch.where(active, aim, 0.0))
        slack = torch.einsum("nrs,ns->nr", scaled, weights) - aim
        grain = 1e-12 * (aim.abs() + 1e-300)
        wrong = torch.where(active, weights < 0, slack < -grain)
        if not bool(wrong.any()):
            break
        last = torch.where(wrong, order, -1).amax(1)
        active = active ^ (order == last[:, None])
    return weights.clamp(min=0)
