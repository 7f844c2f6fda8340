"""The metrics of pairs: what each is, what is computed once for each signal, and what for each pair."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor

from tangency.measures.similarity.metric import Maker, Metric, PairMetric
from tangency.measures.similarity.ranks import magnitude_ranks
from tangency.measures.similarity.spectral import BANDS, band_cosines
from tangency.numerics import cosine
from tangency.perceptual.dists import DISTS
from tangency.perceptual.dreamsim import DreamSim
from tangency.perceptual.lpips import LPIPS, embedding_distance
from tangency.perceptual.structural import ssim


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


def _picture_metric(title: str, reference: str, make: Maker, *, low: float = -1, **more: Any) -> Metric:
    """A similarity of two pictures, which by chance has no fixed level; by a network unless `more` says otherwise."""
    return Metric(
        title,
        "similarity",
        low,
        1,
        1,
        "no more",
        None,
        reference,
        make=make,
        **{"pictures": True, "network": True, **more},
    )


SSIM = _picture_metric(
    "structural similarity (SSIM)",
    "Wang et al. 2004: window 11, σ 1.5, K = (0.01, 0.03), range 2",
    lambda shape, device: _Structure(),
    network=False,
)


@final
class _Perceptual(PairMetric):
    def __init__(self, network: LPIPS) -> None:
        self.network = network

    def prepare(self, signal: Tensor) -> Tensor:
        return self.network.embed(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return 1 - embedding_distance(a, b).double()[:, None]


def _lpips(title: str, reference: str = "", network: str = "alex", upsample: bool = True, **more: Any) -> Metric:
    return _picture_metric(
        title,
        f"Zhang et al., CVPR 2018, version 0.1{reference}",
        lambda shape, device: _Perceptual(LPIPS(network=network, upsample=upsample).to(device)),
        low=-float("inf"),
        **more,
    )


LPIPS_ALEX = _lpips(
    "1 − LPIPS-Alex",
    heading="1 − LPIPS with the {target}",
    what="Perceptual similarity (LPIPS-Alex) of the gradient of {scalar} to {target_long} at noise σ, as pictures.",
    axis="1 − LPIPS {target}",
)
LPIPS_PAGS = _lpips(
    "1 − LPIPS-Alex as the paper's published code has it: without upsampling",
    ", at the images' own size; max scaling",
    upsample=False,
    normalisation="max",
    smallest=31,
)
LPIPS_VGG = _lpips("1 − LPIPS-VGG", network="vgg", weights="lpips_vgg.safetensors")
LPIPS_SQUEEZE = _lpips("1 − LPIPS-Squeeze", network="squeeze", weights="lpips_squeeze.safetensors")


@final
class _Textures(PairMetric):
    def __init__(self, network: DISTS, size: tuple[int, int]) -> None:
        self.network, self.size = network, size

    def prepare(self, signal: Tensor) -> Tensor:
        return self.network.embed(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return self.network.similarity(a, b, self.size).double()[:, None]


DISTS_SIMILARITY = _picture_metric(
    "1 − DISTS",
    "Ding et al., TPAMI 2022",
    lambda shape, device: _Textures(DISTS().to(device), shape[1:]),
    weights="dists.safetensors",
)


@final
class _Semantics(PairMetric):
    def __init__(self, network: DreamSim) -> None:
        self.network = network

    def prepare(self, signal: Tensor) -> Tensor:
        return self.network.embed(signal)

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return cosine(a, b).double()[:, None]


DREAMSIM = _picture_metric(
    "1 − DreamSim", "Fu et al., NeurIPS 2023", lambda shape, device: _Semantics(DreamSim(device))
)
