"""Modules as users have them, and their rows on a small world."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from measure_support import measured, toy_world
from tangency import TangencyWarning
from tangency.measures import MeasureConfig, Rows

SHAPE, CLASSES = (1, 7, 11), 3
KEY = "tangent_fraction.logp_y"
CONFIG = MeasureConfig(
    tangent_scalars=("logp_y", "logit_y"),
    sigmas=(0.5,),
    rho_sigmas=(),
    epsilons=(1.0,),
    directions=1,
    metrics=("cosine",),
)
world = functools.cache(lambda: toy_world(SHAPE, 24, torch.float32))


def network(scale: float = 1.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 45, CLASSES))
    with torch.no_grad():
        net[4].weight *= 4 * scale
    return net.eval()


def rows(model: nn.Module, **changes: Any) -> Rows:
    mixture, data = world()
    return measured(model, mixture, data, **({"config": CONFIG} | changes))


def said(model: nn.Module, **changes: Any) -> Rows:
    """Rows of a model about which something is decided, and said both ways."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = rows(model, **changes)
    told = [str(one.message) for one in caught if issubclass(one.category, TangencyWarning)]
    assert told == [f"classifier: {note}." for note in found.notes]
    assert told
    return found


@functools.cache
def plainly() -> Rows:
    return rows(network())


def assert_same(found: Rows, wanted: Rows, tolerance: float = 2e-5, without: str = "none") -> None:
    assert found.keys() == wanted.keys()
    for key, values in wanted.columns.items():
        if without not in key:
            torch.testing.assert_close(found[key], values, rtol=tolerance, atol=tolerance, equal_nan=True, msg=key)


class Wrap(nn.Module):
    """A function of a network and its images, as users write them."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Any], net: nn.Module | None = None) -> None:
        super().__init__()
        self.net, self.function = network() if net is None else net, function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.net, x)


def sequential(ending: nn.Module) -> nn.Module:
    return nn.Sequential(network(), ending)
