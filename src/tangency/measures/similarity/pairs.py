"""The metrics of pairs: what each is, what is computed once for each signal, and what for each pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from torch import Tensor

from tangency.measures.similarity.metric import Device, Metric, PairMetric, Shape
from tangency.measures.similarity.ranks import magnitude_ranks
from tangency.measures.similarity.spectral import BANDS, band_cosines
from tangency.numerics import cosine
from tangency.perceptual.dists import DISTS
from tangency.perceptual.dreamsim import DreamSim
from tangency.perceptual.lpips import LPIPS, embedding_distance
from tangency.perceptual.structural import ssim

_INF = float("inf")
_LPIPS = "Zhang et al., CVPR 2018, version 0.1"


@final
class _Cosine(PairMetric):
    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return cosine(a.double(), b.double())[:, None]


COSINE = Metric(
    "signed cosine",
    "cosine",
    -1,
    1,
    1,
    "opposite",
    0,
    "⟨a, b⟩/(‖a‖‖b‖)",
    make=lambda shape, device: _Cosine(),
    heading="Cosine with the {target}",
    what="Signed cosine between the gradient of {scalar} and {target_long} at noise σ.",
    reading="the gradient points where the data density says",
    axis="cos {target}",
)


@final
class _Bands(PairMetric):
    parts = tuple(f".{low}-{high}" for low, high in BANDS)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return band_cosines(a, b)


BAND = Metric(
    "signed cosine within a band of spatial frequencies",
    "cosine",
    -1,
    1,
    1,
    "opposite",
    0,
    "Parseval's theorem",
    make=lambda shape, device: _Bands(),
)


@final
class _Ranks(PairMetric):
    def prepare(self, signal: Tensor) -> Tensor:
        return magnitude_ranks(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(1, keepdim=True).clamp(-1, 1)


SPEARMAN = Metric(
    "Spearman's rank correlation of the magnitudes",
    "correlation",
    -1,
    1,
    1,
    "same",
    0,
    "Spearman 1904",
    make=lambda shape, device: _Ranks(),
)


@final
class _Structure(PairMetric):
    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return ssim(a, b)[:, None]


SSIM = Metric(
    "structural similarity (SSIM)",
    "similarity",
    -1,
    1,
    1,
    "no more",
    None,
    "Wang et al. 2004: window 11, σ 1.5, K = (0.01, 0.03), range 2",
    pictures=True,
    make=lambda shape, device: _Structure(),
)


@final
class _Perceptual(PairMetric):
    def __init__(self, network: LPIPS) -> None:
        self.network = network

    def prepare(self, signal: Tensor) -> Tensor:
        return self.network.embed(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return 1 - embedding_distance(a, b).double()[:, None]


def _lpips(network: str = "alex", upsample: bool = True) -> Callable[[Shape, Device], PairMetric]:
    return lambda shape, device: _Perceptual(LPIPS(network=network, upsample=upsample).to(device))


LPIPS_ALEX = Metric(
    "1 − LPIPS-Alex",
    "similarity",
    -_INF,
    1,
    1,
    "no more",
    None,
    _LPIPS,
    pictures=True,
    network=True,
    make=_lpips(),
    heading="1 − LPIPS with the {target}",
    what="Perceptual similarity (LPIPS-Alex) of the gradient of {scalar} to {target_long} at noise σ, as pictures.",
    axis="1 − LPIPS {target}",
)
LPIPS_PAGS = Metric(
    "1 − LPIPS-Alex as the paper's published code has it: without upsampling",
    "similarity",
    -_INF,
    1,
    1,
    "no more",
    None,
    "Zhang et al., CVPR 2018, version 0.1, at the images' own size; max scaling",
    pictures=True,
    network=True,
    normalisation="max",
    smallest=31,
    make=_lpips(upsample=False),
)
LPIPS_VGG, LPIPS_SQUEEZE = (
    Metric(
        f"1 − LPIPS-{title}",
        "similarity",
        -_INF,
        1,
        1,
        "no more",
        None,
        _LPIPS,
        pictures=True,
        network=True,
        weights=f"lpips_{network}.safetensors",
        make=_lpips(network),
    )
    for network, title in (("vgg", "VGG"), ("squeeze", "Squeeze"))
)


@final
class _Textures(PairMetric):
    def __init__(self, network: DISTS, size: tuple[int, int]) -> None:
        self.network, self.size = network, size

    def prepare(self, signal: Tensor) -> Tensor:
        return self.network.embed(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return self.network.similarity(a, b, self.size).double()[:, None]


DISTS_SIMILARITY = Metric(
    "1 − DISTS",
    "similarity",
    -1,
    1,
    1,
    "no more",
    None,
    "Ding et al., TPAMI 2022",
    pictures=True,
    network=True,
    weights="dists.safetensors",
    make=lambda shape, device: _Textures(DISTS().to(device), shape[1:]),
)


@final
class _Semantics(PairMetric):
    def __init__(self, network: DreamSim) -> None:
        self.network = network

    def prepare(self, signal: Tensor) -> Tensor:
        return self.network.embed(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return cosine(a, b).double()[:, None]


DREAMSIM = Metric(
    "1 − DreamSim",
    "similarity",
    -1,
    1,
    1,
    "no more",
    None,
    "Fu et al., NeurIPS 2023",
    pictures=True,
    network=True,
    make=lambda shape, device: _Semantics(DreamSim(device)),
)
