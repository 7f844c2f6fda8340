"""The metrics of pairs at work: what is computed once for each signal, and what for each pair."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from tangency.errors import ModelError, SpecError, unknown_name
from tangency.measures.similarity.metrics import BANDS, METRICS
from tangency.measures.similarity.ranks import magnitude_ranks
from tangency.measures.similarity.spectral import band_cosines
from tangency.numerics import cosine
from tangency.perceptual.dists import DISTS
from tangency.perceptual.dreamsim import DreamSim
from tangency.perceptual.lpips import LPIPS, embedding_distance
from tangency.perceptual.structural import ssim


class PairMetric(ABC):
    """A metric of pairs; `parts` are the ends of its families' keys, "" for a single number."""

    parts: tuple[str, ...] = ("",)

    def prepare(self, signal: Tensor) -> Tensor:
        """(N, C, H, W), normalised for metrics of pictures, to whatever is kept of it, (N, …)."""
        return signal

    @abstractmethod
    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        """Prepared signals, (N, …) × (N, …), to (N, parts) float64."""


@final
class _Cosine(PairMetric):
    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return cosine(a.double(), b.double())[:, None]


@final
class _Bands(PairMetric):
    parts = tuple(f".{low}-{high}" for low, high in BANDS)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return band_cosines(a, b)


@final
class _Structure(PairMetric):
    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return ssim(a, b)[:, None]


@final
class _Ranks(PairMetric):
    def prepare(self, signal: Tensor) -> Tensor:
        return magnitude_ranks(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(1, keepdim=True).clamp(-1, 1)


@final
class _Perceptual(PairMetric):
    def __init__(self, network: LPIPS) -> None:
        self.network = network

    def prepare(self, signal: Tensor) -> Tensor:
        return self.network.embed(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return 1 - embedding_distance(a, b).double()[:, None]


@final
class _Textures(PairMetric):
    def __init__(self, network: DISTS, size: tuple[int, int]) -> None:
        self.network, self.size = network, size

    def prepare(self, signal: Tensor) -> Tensor:
        return self.network.embed(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return self.network.similarity(a, b, self.size).double()[:, None]


@final
class _Semantics(PairMetric):
    def __init__(self, network: DreamSim) -> None:
        self.network = network

    def prepare(self, signal: Tensor) -> Tensor:
        return self.network.embed(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return cosine(a, b).double()[:, None]


def pair_metric(name: str, shape: tuple[int, int, int], device: str | torch.device = "cpu") -> PairMetric:
    """The metric of that name for signals of shape (C, H, W), its network on the device.

    Example:
        >>> metric, signal = pair_metric("cosine", (1, 4, 4)), torch.rand(2, 1, 4, 4)
        >>> metric.compare(metric.prepare(signal), metric.prepare(-signal)).flatten().round(decimals=6).tolist()
        [-1.0, -1.0]
    """
    if name in METRICS and (make := METRICS[name].make) is not None:
        return _outsider(name, make(shape, device))
    plain: dict[str, type[PairMetric]] = {"cosine": _Cosine, "band": _Bands, "ssim": _Structure, "spearman": _Ranks}
    if name in plain:
        return plain[name]()
    if name == "lpips_pags":
        return _Perceptual(LPIPS(upsample=False).to(device))
    if name.startswith("lpips"):
        return _Perceptual(LPIPS(network=name.partition("_")[2] or "alex").to(device))
    if name == "dists":
        return _Textures(DISTS().to(device), shape[1:])
    if name == "dreamsim":
        return _Semantics(DreamSim(device))
    raise ModelError(
        unknown_name("metric of pairs", name, (n for n in METRICS if n not in METRICS.own or not METRICS[n].of_set))
    )


def _outsider(name: str, made: object) -> PairMetric:
    if not isinstance(made, PairMetric):
        raise SpecError(f"metric '{name}': made an object of type {type(made).__name__}, expected a PairMetric.")
    return made
