"""Tangent and normal noise of one length on images: what "on" and "off the manifold" look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tangency.errors import RunError
from tangency.measures.keys import Key
from tangency.report.draw.gallery import row_labels
from tangency.report.draw.mosaic import MosaicColumn, mosaic_figure, photo_tiles, signed_tiles
from tangency.report.read.run import RunFiles
from tangency.report.read.sweep import estimators
from tangency.report.text.panels import story_keys

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGES = 4  # rows of the figure
_LENGTH = 2.0  # of the noise where no change was measured, in [0, 1] pixel units
_SEED = 20230519


@dataclass(frozen=True)
class SplitNoise:
    """Noise of length ε in the tangent space and in the normal space of each image, (N, C, H, W) each."""

    epsilon: float
    tangent: np.ndarray
    normal: np.ndarray


def noise_figure(run: RunFiles) -> Figure | None:
    """Images, and what tangent and normal noise of the length of the measured steps make of them."""
    if "" not in run.kept.tangents:
        return None
    return mosaic_figure(noise_columns(run, IMAGES), row_labels(run, IMAGES), 0.5)


def noise_columns(run: RunFiles, images: int, epsilon: float | None = None, estimator: str = "") -> list[MosaicColumn]:
    """Image, image with tangent noise, that noise, and the same with normal noise.

    Args:
        run: with tangent spaces.
        images: how many.
        epsilon: ℓ₂ length of the noise in [0, 1] pixel units; that of the steps whose change is shown first by default.
        estimator: of the tangent spaces, "" for the first.

    Raises:
        RunError: no tangent space of this estimator was kept.
    """
    length = shown_epsilon(run) if epsilon is None else epsilon
    x = run.pictures["image"][:images].astype(np.float64)
    ids = None if run.kept.ids is None else run.kept.ids[:images].tolist()
    noise = split_noise(x, tangent_rows(run, estimator)[:images], length, ids)
    made = [MosaicColumn("image", photo_tiles(x))]
    for name, own in (("tangent", noise.tangent), ("normal", noise.normal)):
        made.append(MosaicColumn(f"+ {name}\nε = {length:g}", photo_tiles(x + own)))
        made.append(MosaicColumn(f"{name}\nnoise", signed_tiles(own)))
    return made


def shown_epsilon(run: RunFiles) -> float:
    """The length of the steps whose change of the softmax is shown first."""
    key = story_keys(run.summary).get("on")
    return (Key.parse(key).value if key else None) or _LENGTH


def tangent_rows(run: RunFiles, estimator: str = "") -> np.ndarray:
    """(N, k, d) of which the rows √w·u give P = Σ (√w u)(√w u)ᵀ."""
    names = {known: name for name, known in estimators(run.summary).items()}
    label = names.get(estimator, estimator)
    if label not in run.kept.tangents:
        raise RunError(
            f"'{run.folder}': keeps no tangent spaces{f' of {estimator}' if estimator else ''}, expected some of "
            f"{', '.join(name or 'the first estimator' for name in run.kept.tangents) or 'an estimator'} in "
            "artefacts/pictures.safetensors; a run of this version keeps them where they are not too large. Run the "
            "study again: it goes on where it stopped."
        )
    values, scale = run.kept.tangents[label]
    rows: np.ndarray = values.astype(np.float64) / 127 * scale[..., None]
    return rows


def split_noise(images: np.ndarray, rows: np.ndarray, epsilon: float, ids: Sequence[int] | None = None) -> SplitNoise:
    """Normal noise n of each image, as ε·Pn/‖Pn‖ and ε·(I − P)n/‖(I − P)n‖; zero where a space has no direction.

    Args:
        images: (N, C, H, W).
        rows: (N, k, d) with P = Σ rᵢrᵢᵀ.
        epsilon: ℓ₂ length in [0, 1] pixel units.
        ids: (N,) which the random numbers of an image follow from; its place by default.
    """
    numbers = range(len(images)) if ids is None else ids
    noise = np.stack([np.random.default_rng((_SEED, number)).normal(size=images[0].size) for number in numbers])
    tangent = np.einsum("nkd,nk->nd", rows, np.einsum("nkd,nd->nk", rows, noise))
    lengthened = [epsilon * part / _lengths(part) for part in (tangent, noise - tangent)]
    return SplitNoise(epsilon, *(part.reshape(images.shape) for part in lengthened))


def _lengths(parts: np.ndarray) -> np.ndarray:
    """ℓ₂ norms (N, 1), ∞ for a zero vector, which stays zero."""
    norms: np.ndarray = np.linalg.norm(parts, axis=1, keepdims=True)
    norms[norms == 0] = np.inf
    return norms
