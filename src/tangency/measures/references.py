"""Everything about a batch of images that no classifier changes: computed once, shared by all models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tangency.errors import NumericsError, SpecError
from tangency.measures.alignment import Signal, compared
from tangency.measures.config import NETWORK, MeasureConfig
from tangency.measures.lpips import LPIPS
from tangency.measures.registry import number
from tangency.measures.signal import check_signal
from tangency.numerics import flat, per_example, unit
from tangency.score import Denoiser
from tangency.seeding import Draw
from tangency.tangents import TangentEstimator, TangentSpace
from tangency.types import LabelledImages, check_images, check_labels

TargetKey = tuple[str, float]  # (target, sigma)


@dataclass(frozen=True)
class References:
    """A batch of images with their tangent spaces, directions, targets and controls.

    Args:
        x, y, ids: images (N, C, H, W) in [0, 1], labels of gradient and score (N,), indices in their data set (N,).
        truth: true labels (N,), by which accuracy is judged.
        tangents: T_x of each image.
        controls: subspaces of equal rank, by name; NaN where the other image's tangent space has a lower rank.
        on, off: (R, N, C, H, W) unit vectors, uniform in the tangent and the normal space.
        targets: scores by (target, σ), and the same for another image under "shuffled".
        signal: (N, 1, H, W) bool, the pixels that hold the class; None where that is not known.
        constant: columns that no classifier changes: a random direction and the image itself in the gradient's place,
            and the share of pixels that a step of each length puts outside [0, 1].
    """

    x: Tensor
    y: Tensor
    ids: Tensor
    truth: Tensor
    tangents: TangentSpace
    controls: dict[str, TangentSpace]
    on: Tensor
    off: Tensor
    targets: dict[TargetKey, Signal]
    shuffled: dict[TargetKey, Signal]
    signal: Tensor | None
    constant: dict[str, Tensor]


def check_network(config: MeasureConfig, given: bool) -> None:
    """Raise where targets of a trained score are asked for without one, or one is given for nothing."""
    if config.network_targets and not given:
        raise SpecError(
            f"measures.alignments: {', '.join(config.network_targets)} need a trained score; name one (network_score "
            "in a spec, --score on the command line), or leave them out."
        )
    if given and not config.network_targets:
        raise SpecError(
            "network_score: no alignment uses it, expected a target such as network_score in measures.alignments."
        )


class ReferenceSource:
    """Makes `References`; holds what does not change over batches.

    Args:
        score: where scores come from.
        tangents: where tangent spaces come from.
        pool: images among which the controls' other image is drawn (the whole split that is measured); an image is
            never its own partner, and which one it gets depends on its index and the seed only.
        dct, pca: (d, k) orthonormal bases, at least as wide as the largest rank.
        config: what is measured.
        device: where it is computed.
        network: the trained score of the targets that begin with "network_".
    """

    def __init__(
        self,
        score: Denoiser,
        tangents: TangentEstimator,
        pool: LabelledImages,
        dct: Tensor,
        pca: Tensor,
        config: MeasureConfig,
        device: str | torch.device = "cpu",
        network: Denoiser | None = None,
    ) -> None:
        check_signal(config, pool)
        check_network(config, network is not None)
        self.network = network
        self.score, self.tangents, self.pool, self.config = score, tangents, pool, config
        self.dct, self.pca = dct.float().to(device), pca.float().to(device)
        self.device = torch.device(device)
        self.lpips = LPIPS().to(device) if config.lpips else None

    def at(self, x: Tensor, y: Tensor, ids: Tensor, truth: Tensor | None = None) -> References:
        """References of the images x (N, C, H, W) with labels y (N,) and indices ids (N,) in the pool.

        `truth` holds the true labels where y are predicted ones.
        """
        truth = y if truth is None else truth
        check_images(x, unit_range=self.pool.unit_range)
        check_labels(y, len(x), len(self.pool.classes))
        space = self.tangents.at(x)
        partner, usable = self.partners(ids)
        class_partner, class_usable = self.class_partners(ids, y)
        controls = {
            "shuffled": self._space_of(partner, usable, space.rank),
            "shuffled_class": self._space_of(class_partner, class_usable, space.rank),
            "dct": TangentSpace.shared(self.dct, space.rank),
            "pca": TangentSpace.shared(self.pca, space.rank),
        }
        on, off = self._directions(space, ids, x.shape, x.dtype)
        other_x, other_y = self._pool_images(partner), self.pool.labels[partner.cpu()].to(self.device)
        shuffled = {key: signal.nan_where(~usable) for key, signal in self._targets(other_x, other_y).items()}
        targets = self._targets(x, y)
        constant = self._stand_ins(x, ids, targets) | self._outside(x, on, off)
        signal = None
        if self.pool.signal is not None:
            signal = self.pool.signal[ids.cpu()].to(self.device)[:, None]
            constant["signal_share"] = signal.flatten(1).double().mean(1)
        return References(x, y, ids, truth, space, controls, on, off, targets, shuffled, signal, constant)

    def partners(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Another image of the pool for each id, (N,), and whether there is one, (N,) bool."""
        others = len(self.pool) - 1
        if int(ids.min()) < 0 or int(ids.max()) > others:
            raise NumericsError(
                f"ids: got {int(ids.min())} to {int(ids.max())}, expected indices of the pool, 0 to {others}."
            )
        chosen = Draw(self.config.seed, ids, "partner").integers(max(others, 1))
        usable = torch.full_like(ids, others, dtype=torch.bool) if others else torch.zeros_like(ids, dtype=torch.bool)
        return torch.where(usable, chosen + (chosen >= ids), ids), usable

    def class_partners(self, ids: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Another image of the same class for each id, (N,), and whether there is one, (N,) bool."""
        order, start, place = (t.to(self.device) for t in self._class_order)
        true = self.pool.labels.to(self.device)[ids]
        others = self.pool.class_counts.to(self.device)[y] - (true == y).long()
        chosen = Draw(self.config.seed, ids, "class partner").integers(others.clamp(min=1))
        chosen = chosen + ((true == y) & (chosen >= place[ids])).long()
        usable = others > 0
        return torch.where(usable, order[(start[y] + chosen).clamp(max=len(order) - 1)], ids), usable

    @cached_property
    def _class_order(self) -> tuple[Tensor, Tensor, Tensor]:
        """Pool indices sorted by class, where each class starts, and each image's place within its class."""
        order = self.pool.labels.argsort(stable=True)
        start = self.pool.class_counts.cumsum(0) - self.pool.class_counts
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order)) - start[self.pool.labels[order]]
        return order, start, place

    def _pool_images(self, index: Tensor) -> Tensor:
        return self.pool.images(index.cpu()).to(self.device)

    def _space_of(self, index: Tensor, usable: Tensor, rank: Tensor) -> TangentSpace:
        """Tangent spaces of other images, cut to `rank`; NaN where there is no other, or only one of lower rank."""
        space = self.tangents.at(self._pool_images(index))
        usable = usable & (space.rank >= rank)
        return TangentSpace(space.basis.masked_fill(~usable[:, None, None], torch.nan), space.rank).cut(rank)

    def _directions(
        self, space: TangentSpace, ids: Tensor, shape: torch.Size, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """One random vector a direction, split into its tangent and normal part, each of unit length."""
        draws = [
            Draw(self.config.seed, ids, f"direction {r}").normal(shape[1:], dtype)
            for r in range(self.config.directions)
        ]
        return torch.stack([space.on_direction(n) for n in draws]), torch.stack([unit(space.reject(n)) for n in draws])

    def _targets(self, x: Tensor, y: Tensor) -> dict[TargetKey, Signal]:
        return {
            (name, sigma): Signal.of(self._score(name, sigma, x, y), self.lpips)
            for name in self.config.targets
            for sigma in self.config.sigmas
        }

    def _score(self, name: str, sigma: float, x: Tensor, y: Tensor) -> Tensor:
        score = self.network if self.network is not None and name.startswith(NETWORK) else self.score
        asked = name.removeprefix(NETWORK)
        if asked == "bayes_gradient":
            return score.bayes_direction(x, y, sigma).direction
        return score.score(x, sigma, y if asked == "score_y" else None)

    def _stand_ins(self, x: Tensor, ids: Tensor, targets: dict[TargetKey, Signal]) -> dict[str, Tensor]:
        """A random direction and the image (its mean removed) where a gradient would stand."""
        noise = Draw(self.config.seed, ids, "random gradient").normal(x.shape[1:], x.dtype)
        centred = x - per_example(flat(x).mean(1), x)
        stand_ins = {"random": Signal.of(noise, self.lpips), "image": Signal.of(centred, self.lpips)}
        columns: dict[str, Tensor] = {}
        for scalar, target in self.config.alignments:
            for sigma in self.config.sigmas:
                for name, signal in stand_ins.items():
                    columns |= compared(signal, targets[target, sigma], scalar, target, sigma, name)
        return columns

    def _outside(self, x: Tensor, on: Tensor, off: Tensor) -> dict[str, Tensor]:
        """Share of pixels that an unclipped step of length ε puts outside [0, 1], mean over directions."""
        columns = {}
        for side, directions in (("on", on), ("off", off)):
            for epsilon in self.config.epsilons:
                stepped = x + epsilon * directions
                share = ((stepped < 0) | (stepped > 1)).flatten(2).double().mean(2)
                columns[f"outside_{side}.eps={number(epsilon)}"] = share.mean(0)
        return columns
