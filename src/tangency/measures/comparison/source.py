"""Everything about a batch of images that no classifier changes: computed once, shared by all models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tangency.data.partners import Partners
from tangency.errors import SpecError
from tangency.measures.batching import held_bytes
from tangency.measures.comparison.frames import Frame, frame_sources
from tangency.measures.comparison.targets import Targets
from tangency.measures.config import BAYES, NETWORK, MeasureConfig, check_signal
from tangency.measures.keys import Key
from tangency.measures.similarity.alignment import Comparer, Signal, pair_key
from tangency.measures.similarity.gallery import Gallery, HeldGallery, TargetKey
from tangency.measures.similarity.metrics import METRICS, check_size
from tangency.measures.similarity.spectral import high_pass
from tangency.measures.working import WorkingSize
from tangency.numerics import cosine, flat, per_example
from tangency.score import Denoiser
from tangency.seeding import Draw
from tangency.tangents import TangentEstimator
from tangency.types import LabelledImages, check_images, check_labels


@dataclass(frozen=True)
class ImageBatch:
    """Images that are measured together.

    Args:
        x: (N, C, H, W), at the size that the classifier sees.
        ids: (N,) their places in the pool.
        truth: (N,) true labels.
        of_pool: whether they are the pool's own images, with its labels.
    """

    x: Tensor
    ids: Tensor
    truth: Tensor
    of_pool: bool


@dataclass(frozen=True)
class Comparison:
    """A batch of images with their tangent spaces, directions, targets and controls.

    Args:
        x, y, ids: images (N, C, H, W) in [0, 1], labels of gradient and score (N,), indices in their data set (N,).
        truth: true labels (N,), for accuracy.
        frames: tangent spaces with their controls and directions, one for each estimator.
        targets: scores by (target, σ).
        others: by control ("shuffled", "shuffled_class"): the place in the pool of another image (N,), and its scores.
        comparer: the metrics.
        gallery: other images with their scores, where a metric compares with a set.
        signal: (N, 1, H, W) bool, the pixels that hold the class; None where that is not known.
        constant: columns that no classifier changes: a random direction, the image and its high-pass in the gradient's
            place, and the share of pixels that a step of each length puts outside [0, 1].
        working: the size of frames, targets, others and gallery's targets, to which gradients are resized.
        bounded: whether images are confined to [0, 1], and so attacks.
    """

    x: Tensor
    y: Tensor
    ids: Tensor
    truth: Tensor
    frames: tuple[Frame, ...]
    targets: dict[TargetKey, Signal]
    others: dict[str, tuple[Tensor, dict[TargetKey, Signal]]]
    comparer: Comparer
    gallery: HeldGallery | None
    signal: Tensor | None
    constant: dict[str, Tensor]
    working: WorkingSize
    bounded: bool = True


def check_closed(config: MeasureConfig, given: bool) -> None:
    """Raise where there are targets of a closed form, but no closed form."""
    if config.closed_targets and not given:
        raise SpecError(
            f"measures.alignments: {', '.join(config.closed_targets)} need a closed form, but the score is none or a "
            "trained one alone; choose mfa or gaussian (score in a spec, --score on the command line), or leave them "
            "out."
        )


def check_network(config: MeasureConfig, given: bool) -> None:
    """Raise where there are targets of a trained score but no score, or a score but no targets."""
    if config.network_targets and not given:
        raise SpecError(
            f"measures.alignments: {', '.join(config.network_targets)} need a trained score; name one (network_score "
            "in a spec, --score network:REF on the command line), or leave them out."
        )
    if given and not config.network_targets:
        raise SpecError(
            "network_score: no alignment uses it, expected a target such as network_score in measures.alignments."
        )


class ComparisonSource:
    """Makes `Comparison`, and holds what is the same for all batches.

    Args:
        score: where the scores of closed forms come from; None where no target needs them.
        tangents: name to where tangent spaces come from; the measures of those after the first have it in the key.
        pool: images among which the controls' other image is drawn (the whole split that is measured); an image is
            never its own partner, and which one it gets depends on its index and the seed only.
        train_data: training images of the global principal components.
        config: what is measured.
        device: where it is computed.
        network: the trained score of the targets that begin with "network_".
        own: the pool at the size that the classifier sees, where `pool`, `train_data`, scores and tangent spaces are at
            the working size that `config` names.
    """

    def __init__(
        self,
        score: Denoiser | None,
        tangents: Mapping[str, TangentEstimator],
        pool: LabelledImages,
        train_data: LabelledImages,
        config: MeasureConfig,
        device: str | torch.device = "cpu",
        network: Denoiser | None = None,
        own: LabelledImages | None = None,
    ) -> None:
        self.own = pool if own is None else own
        self.working = WorkingSize(pool.shape, pool.shape[1:]) if own is None else config.working(own.shape)
        check_signal(config, self.own)
        check_size(config.metrics, pool.shape)
        check_closed(config, score is not None)
        check_network(config, network is not None)
        self.pool, self.config = pool, config
        self.device, self.partners = torch.device(device), Partners(pool, config.seed)
        self.frames = frame_sources(tangents, self.partners, train_data, config, self.device, self.working.c**-0.5)
        self.comparer = Comparer(config, pool.shape, self.device)
        self.targets = Targets(score, network, pool, config, self.comparer, self.device)

    @property
    def held_bytes(self) -> int:
        """About how many bytes of memory the comparison of an image takes."""
        config = self.config
        signals = 4 * len(config.targets) * len(config.sigmas) + 6
        ranks = [source.estimator.max_rank for source in self.frames]
        return held_bytes(self.pool.shape, self.own.shape, ranks, signals, config.directions)

    def at(self, x: Tensor, y: Tensor, ids: Tensor, truth: Tensor | None = None) -> Comparison:
        """Comparison of any images x (N, C, H, W) with labels y (N,), at the places ids (N,) of the pool.

        The images have the classifier's size. `truth` holds the true labels where y are predicted ones.
        """
        return self.comparison(ImageBatch(x, ids, y if truth is None else truth, of_pool=False), y)

    def of(self, ids: Tensor, y: Tensor | None = None) -> Comparison:
        """Comparison of images of the pool (N,); with their own labels, or others y (N,) that stand for them."""
        batch = self.batch(ids)
        return self.comparison(batch, batch.truth if y is None else y)

    def batch(self, ids: Tensor) -> ImageBatch:
        """Images of the pool (N,) at the size that the classifier sees, with their true labels."""
        at = ids.cpu()
        x, truth = self.own.images(at).to(self.device), self.pool.labels[at].to(self.device)
        return ImageBatch(x, ids.to(self.device), truth, of_pool=True)

    def placed(self, x: Tensor, ids: Tensor, truth: Tensor) -> ImageBatch:
        """Images x (N, C, H, W) with true labels (N,) at places of the pool (N,): the pool's own images, or others."""
        own = self.batch(ids)
        same = own.x.dtype == x.dtype and torch.equal(own.x, x) and torch.equal(own.truth, truth)
        return ImageBatch(x, ids, truth, of_pool=same)

    def comparison(self, batch: ImageBatch, y: Tensor) -> Comparison:
        """Comparison of images with labels y (N,), which may be predicted ones.

        What is computed of an image of the pool is kept while its block is measured, and serves its partners.
        """
        x, ids = batch.x, batch.ids
        check_images(x, unit_range=self.pool.unit_range)
        check_labels(y, len(x), len(self.pool.classes))
        shown = self.working.reduce(x)
        frames = tuple(source.at(shown, y, ids, of_pool=batch.of_pool) for source in self.frames)
        targets = self.targets.at(ids, y) if batch.of_pool else self.targets.of(shown, y)
        return self._made(batch, y, shown, frames, targets)

    def order(self, ids: Tensor) -> Tensor:
        """The permutation (N,) of ids that brings those of a block together."""
        return self.partners.blocks[ids.cpu()].argsort(stable=True)

    def _made(
        self,
        batch: ImageBatch,
        y: Tensor,
        shown: Tensor,
        frames: tuple[Frame, ...],
        targets: dict[TargetKey, Signal],
    ) -> Comparison:
        """The rest of the comparison: controls, and what no classifier changes."""
        x, ids = batch.x, batch.ids
        drawn = {"shuffled": self.partners.any(ids), "shuffled_class": self.partners.of_class(ids, y)}
        others = {
            name: (partner, self.targets.of_partners(name, partner, usable))
            for name, (partner, usable) in drawn.items()
        }
        gallery = self._gallery
        constant = self._stand_ins(shown, ids, targets)
        if gallery is not None:
            constant |= gallery.candidates(len(x))
        for frame in frames:
            constant |= self._outside(x, frame) | self._residuals(frame) | self._overlaps(frame)
        constant |= self._agreement(targets)
        if not self.working.whole:
            constant["working_pixels"] = torch.full_like(ids, self.working.share, dtype=torch.float64)
        signal = None
        if self.own.signal is not None:
            signal = self.own.signal[ids.cpu()].to(self.device)[:, None]
            constant["signal_share"] = signal.flatten(1).double().mean(1)
        bounded, working = self.pool.unit_range, self.working
        return Comparison(
            x, y, ids, batch.truth, frames, targets, others, self.comparer, gallery, signal, constant, working, bounded
        )

    @cached_property
    def _gallery(self) -> HeldGallery | None:
        metrics = frozenset(name for name in self.config.metrics if METRICS[name].of_set)
        if not metrics or not self.config.alignments:
            return None
        gallery = Gallery(len(self.pool), self.config.candidates, self.config.seed)
        x, y = self.pool.images(gallery.index).to(self.device), self.pool.labels[gallery.index].to(self.device)
        targets = self.targets.evaluate(x, y)
        if not self.working.whole:
            x = self.own.images(gallery.index).to(self.device)
        return HeldGallery(gallery, x, y, gallery.index.to(self.device), targets, metrics)

    def _stand_ins(self, x: Tensor, ids: Tensor, targets: dict[TargetKey, Signal]) -> dict[str, Tensor]:
        """A random direction, the image (its mean removed) and its high-pass where a gradient would stand."""
        stand_ins = {
            "random": Draw(self.config.seed, ids, "random gradient").normal(x.shape[1:], x.dtype),
            "image": x - per_example(flat(x).mean(1), x),
            "edge": high_pass(x),
        }
        columns: dict[str, Tensor] = {}
        for name, values in stand_ins.items():
            signal = self.comparer.signal(values, name)
            for scalar, target in self.config.alignments:
                for sigma in self.config.sigmas:
                    key, score = pair_key(scalar, target, sigma, name), targets[target, sigma]
                    columns |= self.comparer.columns(signal, score, key)
                    if self._gallery is not None:
                        columns |= self._gallery.retrieved(values, score.values, (target, sigma), (ids, ids), key)
        return columns

    def _overlaps(self, frame: Frame) -> dict[str, Tensor]:
        """How much of each control's subspace lies in the image's own, where F² is measured."""
        if not self.config.tangent_scalars:
            return {}
        key = Key("tangent_overlap").at(tangents=frame.label)
        return {str(key.under(name)): overlap for name, overlap in frame.overlaps.items()}

    def _agreement(self, targets: dict[TargetKey, Signal]) -> dict[str, Tensor]:
        """Cosine of the Bayes directions of the closed form and of the trained score at each σ, where both are."""
        own, other = BAYES, f"{NETWORK}{BAYES}"
        return {
            str(Key("direction_agreement").at(sigma=sigma)): cosine(
                targets[own, sigma].values.double(), targets[other, sigma].values.double()
            )
            for sigma in self.config.sigmas
            if {own, other} <= set(self.config.targets)
        }

    def _residuals(self, frame: Frame) -> dict[str, Tensor]:
        """Distance from the manifold after straight and curved on-manifold steps of each length."""
        columns: dict[str, Tensor] = {}
        for name, residuals in (("residual_on", frame.residual_on), ("residual_curved", frame.residual_curved)):
            if residuals is not None:
                columns |= {
                    str(Key(name).at(eps=epsilon, tangents=frame.label)): row
                    for epsilon, row in zip(self.config.epsilons, residuals, strict=True)
                }
        return columns

    def _outside(self, x: Tensor, frame: Frame) -> dict[str, Tensor]:
        """Share of pixels that an unclipped step of length ε puts outside [0, 1], mean over directions."""
        columns = {}
        for side, directions in (("on", frame.on), ("off", frame.off)):
            lifted = [self.working.direction(u) for u in directions] if self.config.epsilons else []
            for epsilon in self.config.epsilons:
                steps = (x + epsilon * u for u in lifted)
                shares = [((stepped < 0) | (stepped > 1)).flatten(1).double().mean(1) for stepped in steps]
                key = Key(f"outside_{side}").at(eps=epsilon, tangents=frame.label)
                columns[str(key)] = torch.stack(shares).mean(0)
        return columns
