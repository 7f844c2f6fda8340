"""Shares of known directions in tangent spaces, beside those of controls of equal rank."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from tangency.evaluate.trust.results import ProbeShare
from tangency.measures.keys import TANGENT_CONTROLS, Key
from tangency.statistics import Estimate, PairedBootstrap, excess_over_best
from tangency.statistics.resamples import Array
from tangency.tangents import TangentSpace

NEIGHBOUR, TRANSFORMATION = "neighbour", "transformation"
PROBES = (NEIGHBOUR, TRANSFORMATION)


def share_columns(
    space: TangentSpace, controls: Mapping[str, TangentSpace], probes: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Mean share ‖Uᵀv‖²/‖v‖² of each probe's directions, (N,), in the own tangent space and in its controls.

    Args:
        space: of N images; NaN where its rank is 0.
        controls: name to spaces of the same images and ranks.
        probes: name to directions (N, m, C, H, W).
    """
    columns = {}
    for probe, directions in probes.items():
        for control, other in {"": space, **controls}.items():
            shares = torch.stack([other.fraction(v) for v in directions.double().unbind(1)], 1)
            columns[str(Key(probe).under(control))] = shares.nanmean(1).where(space.rank > 0, torch.nan)
    return columns


def probe_shares(columns: Mapping[str, Array], boot: PairedBootstrap) -> dict[str, ProbeShare]:
    """Probe to its mean share and the excess over each control, from the columns (N,) of `share_columns`."""
    shares = {}
    for probe in [probe for probe in PROBES if probe in columns]:
        controls = {c: columns[str(Key(probe).under(c))] for c in TANGENT_CONTROLS}
        shares[probe] = ProbeShare(
            mean_estimate(boot, columns[probe]), excess_over_best(boot, columns[probe], controls)
        )
    return shares


def mean_estimate(boot: PairedBootstrap, values: Array) -> Estimate:
    """The mean of the finite ones of values (N,), with its interval."""
    usable = int(np.isfinite(values).sum())
    return Estimate.of(boot.mean(values[None])[0], usable, len(values) - usable)
