"""The tangent spaces of a batch with their controls and directions: one frame for each estimator."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tangency.data.partners import BLOCK, Partners
from tangency.errors import SpecError, listed
from tangency.measures.comparison.held import Held, Values
from tangency.measures.config import MeasureConfig
from tangency.measures.definition import rank_key
from tangency.measures.keys import CONTROLS, TANGENT_CONTROLS, Key
from tangency.numerics import dct_basis, unit
from tangency.seeding import Draw
from tangency.tangents import TangentEstimator, TangentSpace, coincide, curved_path, partners_apart, pca_basis
from tangency.types import LabelledImages


@dataclass(frozen=True)
class Frame:
    """What one estimator says of a batch.

    Args:
        label: of the estimator in the keys of its measures; "" for the first one.
        space: T_x of each image.
        controls: directions as many as the rank, by name; NaN where no other image has another tangent space. A space
            of a lower rank k stands in for the first k directions of the image's own and leaves it the others, so that
            F² minus its control is the difference of the two spaces cut to their common rank.
        ranks: of the other image's space (N,) float64, for the controls that are of one; NaN where the control is.
        on, off: (R, N, C, H, W) unit vectors, uniform in the tangent and the normal space.
        curved: images after walking each length along the manifold, (lengths, R, N, C, H, W); None where not walked.
        residual_on, residual_curved: (lengths, N) l2 distance from the manifold after straight and curved steps of
            each length, mean over directions; NaN where there was no direction, None where the estimator has none.
    """

    label: str
    space: TangentSpace
    controls: dict[str, TangentSpace]
    ranks: dict[str, Tensor]
    on: Tensor
    off: Tensor
    curved: Tensor | None = None
    residual_on: Tensor | None = None
    residual_curved: Tensor | None = None

    @property
    def common(self) -> dict[str, Tensor]:
        """tr P (N,) of `space` cut to the rank of the other image's, for the controls that are of one."""
        traces = {name: (self._weights * self._theirs(name)).sum(1) for name in self.ranks}
        return {name: trace.where(self.ranks[name].isfinite(), torch.nan) for name, trace in traces.items()}

    @property
    def overlaps(self) -> dict[str, Tensor]:
        """tr(P P′)/tr(P²) of each control's P′, (N,) float64: tr(P P′)/k of hard spaces, 1 for the same space.

        P′ is of the control's own directions, and P² cut to as many: with those of the image that fill it up to its
        rank, any control of a low rank would be nearly the same space. NaN where a control is, and where the rank is 0
        or d.
        """
        own, weights = self.space, self._weights
        usable = (own.trace > 0) & (own.trace < own.dimension)
        overlaps = {}
        for name, other in self.controls.items():
            inside = (own.basis.mT @ other.basis.to(own.basis)).double().square()[:, :, : weights.shape[1]]
            theirs = weights * self._theirs(name)
            shared = torch.einsum("nkl,nk,nl->n", inside, weights, theirs[:, : inside.shape[2]])
            overlaps[name] = (shared / (weights * theirs).sum(1)).clamp(max=1).where(usable, torch.nan)
        return overlaps

    @property
    def _weights(self) -> Tensor:
        """Those of the columns of `space`, (N, k) float64: of a hard one 1 up to the rank."""
        own = self.space
        columns = torch.arange(own.basis.shape[2], device=own.rank.device)
        return (columns < own.rank[:, None]).double() if own.weights is None else own.weights.double()

    def _theirs(self, control: str) -> Tensor:
        """Which columns of a control are its own, (N, k) bool; the others fill it up with the image's."""
        columns = torch.arange(self.space.basis.shape[2], device=self.space.rank.device)
        return columns < self.ranks.get(control, self.space.rank)[:, None]


class FrameSource:
    """Makes a `Frame`; holds what does not change over batches.

    Args:
        label: name in the keys of its measures, "" for the first estimator.
        estimator: of tangent spaces.
        partners: whose tangent spaces the shuffled controls take.
        dct, pca: (d, k) orthonormal bases of the controls, at least as wide as the largest rank.
        config: random directions an image, the same for every estimator, and steps.
        scale: length of a step at the working size for each unit of its length at the images' own.
    """

    def __init__(
        self,
        label: str,
        estimator: TangentEstimator,
        partners: Partners,
        dct: Tensor,
        pca: Tensor,
        config: MeasureConfig,
        device: torch.device,
        scale: float = 1.0,
    ) -> None:
        self.label, self.estimator, self._partners = label, estimator, partners
        self._lengths = tuple(length * scale for length in config.epsilons)
        self.config, self.device = config, device
        self._dct, self._pca = dct[:, : estimator.max_rank], pca[:, : estimator.max_rank]

    @cached_property
    def partners(self) -> Partners:
        """Images with another tangent space than the image's own: an equal one would be no control."""
        return partners_apart(self.estimator, self._partners.pool, self._partners.seed, self.device)

    @cached_property
    def _held(self) -> Held:
        """Tangent spaces of the images of a block, which are those of partners too."""
        pool = self._partners.pool

        def made(ids: Tensor) -> Values:
            space = self.estimator.at(pool.images(ids.cpu()).to(self.device), ids)
            values = {field.name: getattr(space, field.name) for field in dataclasses.fields(space)}
            return {name: value for name, value in values.items() if value is not None}

        return Held(made, len(pool), 2 * BLOCK)

    def at(self, x: Tensor, y: Tensor, ids: Tensor, of_pool: bool = False) -> Frame:
        """The frame of images x with labels y at places ids of the pool, whose images they are if `of_pool`."""
        space, controls, common = self.spaces(x, y, ids, of_pool)
        draws = [
            Draw(self.config.seed, ids, f"direction {r}").normal(x.shape[1:], x.dtype)
            for r in range(self.config.directions)
        ]
        on = torch.stack([space.on_direction(noise) for noise in draws])
        off = torch.stack([unit(space.reject(noise)) for noise in draws])
        walked = self._walked(x, on, ids, space.residual is not None) if self.config.curved else ()
        return Frame(self.label, space, controls, common, on, off, *walked)

    def spaces(
        self, x: Tensor, y: Tensor, ids: Tensor, of_pool: bool = False
    ) -> tuple[TangentSpace, dict[str, TangentSpace], dict[str, Tensor]]:
        """`space`, `controls` and `ranks` of the frame at the same images."""
        space = TangentSpace(**self._held.at(ids)) if of_pool else self.estimator.at(x, ids)
        drawn = {"shuffled": self.partners.any(ids), "shuffled_class": self.partners.of_class(ids, y)}
        others = {name: self._space_of(*partner, space) for name, partner in drawn.items()}
        controls = {
            **{name: other for name, (other, _) in others.items()},
            "dct": _alike(TangentSpace.shared(self._dct, space.rank), space),
            "pca": _alike(TangentSpace.shared(self._pca, space.rank), space),
        }
        return space, controls, {name: rank for name, (_, rank) in others.items()}

    def _walked(
        self, x: Tensor, on: Tensor, ids: Tensor, residual: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Curved steps, and with `residual` how far straight and curved ones end from the manifold."""
        lengths = self._lengths
        paths = [torch.stack(curved_path(self.estimator, x, u, lengths, self.config.curved, ids)) for u in on]
        curved = torch.stack(paths, 1)
        if not residual:  # of the estimator, not of what is NaN in a batch: all batches have the same columns
            return curved, None, None
        straight = torch.stack([torch.stack([x + length * u for u in on]) for length in lengths])
        return curved, self._residual(straight, ids), self._residual(curved, ids)

    def _residual(self, ends: Tensor, ids: Tensor) -> Tensor:
        """(lengths, R, N, C, H, W) to (lengths, N)."""
        nothing = torch.full(ids.shape, torch.nan, dtype=torch.float64, device=ids.device)
        rows = []
        for of_length in ends:
            distances = [self._distance(x, ids) for x in of_length]
            rows.append(torch.stack([nothing if r is None else r for r in distances]).mean(0))
        return torch.stack(rows)

    def _space_of(self, index: Tensor, usable: Tensor, own: TangentSpace) -> tuple[TangentSpace, Tensor]:
        """Tangent spaces of other images in place of as many directions of `own`, and how many these are, (N,).

        NaN where there is no other image, or the two spaces are equal at their common rank.
        """
        space = TangentSpace(**self._held.at(index)).cut(own.rank)
        usable = usable & ((space.rank > 0) | (own.rank == 0)) & ~coincide(space, own.cut(space.rank))
        width = own.basis.shape[2]
        first = torch.arange(width, device=self.device) < space.rank[:, None]
        theirs = torch.nn.functional.pad(space.basis, (0, width - space.basis.shape[2]))  # cut off where it is wider
        basis = torch.where(first[:, None], theirs, own.basis)
        basis = basis.masked_fill(~usable[:, None, None], torch.nan)
        ranks = space.rank.double().where(usable, torch.nan)
        return _alike(TangentSpace(basis, own.rank), own), ranks

    def _distance(self, x: Tensor, ids: Tensor) -> Tensor | None:
        """Distance of each image from the manifold; NaN for images that are NaN, since there was no direction."""
        known = torch.isfinite(x).flatten(1).all(1)
        if not bool(known.any()):
            return torch.full(ids.shape, torch.nan, dtype=torch.float64, device=ids.device)
        residual = self.estimator.at(x[known], ids[known]).residual
        if residual is None:
            return None
        whole = torch.full(ids.shape, torch.nan, dtype=torch.float64, device=ids.device)
        whole[known] = residual.double()
        return whole


def _alike(space: TangentSpace, own: TangentSpace) -> TangentSpace:
    """A control with the ranks and the weights of the space that it is a control of."""
    return space.cut(own.rank, own.weights)


def frame_sources(
    tangents: Mapping[str, TangentEstimator],
    partners: Partners,
    reference: LabelledImages,
    config: MeasureConfig,
    device: torch.device,
    scale: float = 1.0,
) -> list[FrameSource]:
    """A source for each estimator by name, in their order, over controls that are made once.

    Args:
        tangents: name to estimator; the measures of those after the first have it in their keys.
        partners: whose tangent spaces the shuffled controls take.
        reference: training images of the global principal components.
        config: directions and steps.
        device: where it is computed.
        scale: as of `FrameSource`.
    """
    check_names(list(tangents))
    rank = max(estimator.max_rank for estimator in tangents.values())
    dct, pca = (basis.float().to(device) for basis in (dct_basis(reference.shape, rank), pca_basis(reference, rank)))
    return [
        FrameSource(name if place else "", estimator, partners, dct, pca, config, device, scale)
        for place, (name, estimator) in enumerate(tangents.items())
    ]


def check_names(names: Sequence[str]) -> None:
    """Raise where the keys of an estimator's measures would be those of another one, or of one of its controls."""
    for name in names[1:]:
        before, _, last = name.rpartition(".") if isinstance(name, str) else ("", "", "")
        if not last or (before and last in CONTROLS):
            raise SpecError(
                f"tangents: got the name {name!r:.100}, expected a text without a control ({listed(TANGENT_CONTROLS)}, "
                "…) behind a dot; it stands in the keys of measures."
            )


def distinct_names(kinds: Sequence[str], details: Sequence[object]) -> list[str]:
    """Names of estimators: their kinds; where one comes again, with its detail, and with a number where that does.

    Example:
        >>> distinct_names(["mfa", "denoiser", "pca", "denoiser", "pca"], [12, 12, 8, 32, 8])
        ['mfa', 'denoiser-12', 'pca-8', 'denoiser-32', 'pca-8-2']
    """
    several = [list(kinds).count(kind) > 1 and detail != "" for kind, detail in zip(kinds, details, strict=True)]
    names: list[str] = []
    for kind, detail, detailed in zip(kinds, details, several, strict=True):
        name = f"{kind}-{detail}" if detailed else kind
        numbered = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
        names.append(next(free for free in numbered if free not in names))
    return names


def control_warnings(columns: Mapping[str, Tensor]) -> list[str]:
    """A sentence for each shuffled tangent space that does not stand beside every F², or has fewer dimensions."""
    warnings: dict[tuple[str, str], str] = {}
    for key in map(Key.parse, columns):
        own = columns.get(str(key.base))
        if key.family != "tangent_fraction" or key.control not in _WHOSE or own is None:
            continue
        words = _control_words(key, own, columns)
        if words:
            warnings.setdefault((key.control, key.tangents), f"{key}: {' '.join(words)}")
    return list(warnings.values())


def _control_words(key: Key, own: Tensor, columns: Mapping[str, Tensor]) -> list[str]:
    """What is to be said of one control of F², whose own values are `own`."""
    measured, words = own.isfinite(), []
    both = measured & columns[str(key)].isfinite()
    if bool((measured & ~both).any()):
        words.append(
            f"rests on {int(both.sum())} of {int(measured.sum())} images. For the others {_WHOSE[key.control]} has "
            "another tangent space."
        )
    rank = rank_key(key)
    common = columns.get(str(rank.under(key.control)))
    fewer = both & (common < columns[str(rank)]) if common is not None else torch.zeros_like(both)
    if bool(fewer.any()):
        words.append(
            f"the other image's tangent space has fewer dimensions for {int(fewer.sum())} of {int(both.sum())} "
            "images: it stands in for as many of the own ones, so that the two differ as they do at their "
            "common rank."
        )
    return words


_WHOSE = {"shuffled": "no image", "shuffled_class": "no image of the class"}
