"""What is measured; part of the identity of every row."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tangency.autodiff import CALIBRATED, SCALARS, AttributionOptions
from tangency.errors import NumericsError, SpecError, unknown_name
from tangency.measures.keys import ALIGNMENT_CONTROLS, MARGIN
from tangency.measures.quantities import check_quantity, is_calibrated, is_map, map_quantity
from tangency.measures.registry import MEASURES, check_extra
from tangency.measures.robustness.config import RobustnessConfig
from tangency.measures.similarity.metrics import METRICS, check_metrics
from tangency.measures.working import FILTERS, Shape, WorkingSize
from tangency.perceptual.pictures import check_normalisations
from tangency.types import LabelledImages
from tangency.validation import validated

# Raise it when a fixed bug or a new definition changes a number: rows of older schemas are then measured anew.
MEASURE_SCHEMA = 7

NETWORK = "network_"  # before a target: of the trained score, not of the closed form that gives the tangent spaces
BAYES = "bayes_gradient"
TARGETS = (BAYES, "score_y", "score", "network_bayes_gradient", "network_score_y", "network_score")
NETWORK_ALIGNMENTS = ((MARGIN, f"{NETWORK}{BAYES}"),)  # what a trained score adds to the alignments
LARGE, REDUCED = 128 * 128, 64  # pixels of a channel above which the working size is 64 where nothing is said
# The score that a scalar is an estimate of, so that it is compared with it where nothing else is said.
_NATURAL = dict.fromkeys(("logp_y", CALIBRATED, MARGIN, "loss"), BAYES)
_NATURAL |= dict.fromkeys(("logit_y", "logit_pred"), "score_y") | dict.fromkeys(("sum_logits", "lse"), "score")
_PUBLISHED_SIGMA = 0.25  # 0.5 in the published code's [−1, 1]

_UNITS = "in [0, 1] pixel units"
Levels = Annotated[tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Field(description=_UNITS)]
Lengths = Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(description=_UNITS)]
Legacy = Literal["pags"]


def _checked_size(size: Any) -> object:
    size = size.tolist() if hasattr(size, "tolist") else size  # NumPy's numbers and arrays
    sides = size if isinstance(size, tuple | list) and len(size) == 2 else (size,)
    sides = [side.tolist() if hasattr(side, "tolist") else side for side in sides]
    if size not in (None, "own") and not all(type(side) is int and side >= 1 for side in sides):
        raise SpecError(f"working_size: got {size!r:.100}, expected pixels of at least 1, (h, w), or own.")
    return size


Size = Annotated[int | tuple[int, int] | Literal["own"], BeforeValidator(_checked_size)]


@validated
class MeasureConfig:
    """The measures of a study, or of one classifier.

    Args:
        tangent_scalars: scalars whose gradients are split into tangent and normal energy. An attribution map stands
            among them as "smoothgrad(margin)", a map that the caller gives as "map(NAME)".
        alignments: pairs (scalar, target): a gradient (or map) and the score that it is compared with; targets of a
            trained score have "network_" before their name.
        sigmas: noise levels of the scores, in [0, 1] pixel units (the paper's σ = 0.5 on [−1, 1] is 0.25 here); 0 is
            the score of clean images, for scores that are defined there.
        rho_sigmas: noise levels of ρ₂, in [0, 1] pixel units.
        noise_sigmas: noise levels of the relative noise robustness of signal and distractor, for data whose signal's
            place is known (`LabelledImages.signal`); none by default.
        epsilons: l2 lengths of the on- and off-manifold steps, in [0, 1] pixel units, per image.
        directions: random directions an image, the same for every model.
        curved: edges of a curved on-manifold step from one length to the next, which is measured beside the straight
            one; 0 for none.
        metrics: names in `metrics.METRICS`, by which gradient and target are compared.
        normalisations: of pictures, for the metrics that compare pictures; those after the first are named in the key.
        network_controls: controls of the metrics that need a network's pass for each picture, and of the targets of a
            trained score, "shuffled" among them; the others always have all of `keys.ALIGNMENT_CONTROLS`.
        candidates: images among which a gradient is to pick its own target (metric "retrieval"), and with which CKA is
            pooled.
        attributions: samples, noise and steps of attribution maps.
        label: "true" or "predicted": the y of gradient and score alike.
        seed: of directions and controls.
        legacy: "pags" for the alignment of the paper's published code beside ours, see `with_legacy`; else None.
        robustness: worst cases and randomized smoothing; none by default.
        working_size: pixels at which score and tangent spaces live and gradients are compared with them: (h, w), or
            the shorter side, the ratio kept; "own" for that of the images. None: 64 for images of more than 128 × 128
            pixels, else their own. The classifier always sees images at their own size, see `WorkingSize`.
        working_filter: "area", "bilinear" or "bicubic", by which images and gradients are resized to it.
        extra: measures of other packages, which are measured beside ours.

    Example:
        >>> MeasureConfig(epsilons=(2.0,), metrics=("cosine",)).closed_targets
        ('bayes_gradient',)
    """

    tangent_scalars: tuple[str, ...] = (MARGIN,)
    alignments: tuple[tuple[str, str], ...] = ((MARGIN, BAYES),)
    sigmas: Levels = (0.125, 0.25, 0.5)
    rho_sigmas: Lengths = (0.01, 0.05, 0.25)
    noise_sigmas: Lengths = ()
    epsilons: Lengths = (0.5, 1.0, 2.0, 4.0)
    directions: Annotated[int, Field(ge=1, description="per image")] = 4
    curved: Annotated[int, Field(ge=0)] = 0
    metrics: tuple[str, ...] = ("cosine", "lpips")
    normalisations: tuple[str, ...] = ("max",)
    network_controls: tuple[str, ...] = ("shuffled", "random", "image", "edge")
    candidates: Annotated[int, Field(ge=2, description="images, the own target and another")] = 100
    attributions: AttributionOptions = field(default_factory=AttributionOptions)
    label: Literal["true", "predicted"] = "true"
    seed: int = 0
    legacy: Legacy | None = None
    robustness: RobustnessConfig = field(default_factory=RobustnessConfig)
    working_size: Size | None = None
    working_filter: str = "area"
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for scalar in (*self.tangent_scalars, *(name for name, _ in self.alignments)):
            check_quantity(scalar)
        check_metrics(self.metrics)
        check_extra(self.extra)
        check_normalisations(self.normalisations)
        known = (
            ("control", self.network_controls, ALIGNMENT_CONTROLS),
            ("alignment target", self.targets, TARGETS),
            ("working_filter", (self.working_filter,), FILTERS),
        )
        for kind, names, table in known:
            for name in names:
                if name not in table:
                    raise SpecError(unknown_name(kind, name, table))
        if "shuffled" not in self.network_controls:
            raise SpecError(
                f"network_controls: got {list(self.network_controls)}, expected shuffled among them; the "
                "headline is the excess over it."
            )
        if self.network_targets and min(self.sigmas, default=1.0) == 0:
            raise SpecError(
                f"sigmas: got {list(self.sigmas)} with {', '.join(self.network_targets)}, expected numbers above 0: a "
                "trained score knows noisy images only."
            )
        for name in ("sigmas", "rho_sigmas", "noise_sigmas", "epsilons"):
            numbers = getattr(self, name)
            if len({f"{v:g}" for v in numbers}) < len(numbers):
                raise SpecError(f"{name}: got {list(numbers)}, expected distinct numbers; keys hold six digits.")
        if self.curved and list(self.epsilons) != sorted(self.epsilons):
            raise SpecError(
                f"curved: got {self.curved} edges along epsilons {list(self.epsilons)}, expected lengths that rise."
            )

    @property
    def quantities(self) -> tuple[str, ...]:
        """Every scalar and map that is measured, each once."""
        return unique([*self.tangent_scalars, *(scalar for scalar, _ in self.alignments)])

    @property
    def scalars(self) -> tuple[str, ...]:
        """Every scalar whose gradient is needed, each once."""
        return tuple(name for name in self.quantities if name in SCALARS)

    @property
    def calibrated(self) -> bool:
        """Whether a quantity needs the classifier's temperature."""
        return any(map(is_calibrated, self.quantities))

    @property
    def maps(self) -> tuple[str, ...]:
        """Every map that the caller has to give, as "map(NAME)"."""
        return tuple(name for name in self.quantities if is_map(name))

    @property
    def targets(self) -> tuple[str, ...]:
        """Every score that is needed, each once."""
        return unique(target for _, target in self.alignments)

    @property
    def network_targets(self) -> tuple[str, ...]:
        """Targets of the trained score."""
        return tuple(target for target in self.targets if target.startswith(NETWORK))

    @property
    def closed_targets(self) -> tuple[str, ...]:
        """Targets of the closed form."""
        return tuple(target for target in self.targets if not target.startswith(NETWORK))

    def with_choice(
        self,
        *,
        scalars: tuple[str, ...] = (),
        attributions: tuple[str, ...] = (),
        metrics: tuple[str, ...] = (),
        normalisations: tuple[str, ...] = (),
    ) -> MeasureConfig:
        """The same with other quantities and metrics, and with every control of every metric.

        Args:
            scalars: in place of these, each compared with its natural score: ∇ log p(x) for sum_logits and lse,
                ∇ log p(x|y) for logits, and the Bayes gradient for the others (for `loss` the cosine is then negative).
            attributions: methods, "smoothgrad" for that of the margin, or quantities as "smoothgrad(logit_y)"; added.
            metrics, normalisations: in place of these, where any are given.

        Example:
            >>> MeasureConfig().with_choice(scalars=("logp_y",), attributions=("smoothgrad",)).alignments
            (('logp_y', 'bayes_gradient'), ('smoothgrad(margin)', 'bayes_gradient'))
        """
        added = [name if "(" in name else f"{name}({MARGIN})" for name in attributions]
        for name in (*scalars, *added):
            check_quantity(name)
        pairs = [(name, _natural_target(name)) for name in scalars] or self.alignments
        pairs = [*pairs, *((name, _natural_target(name)) for name in added)]
        return dataclasses.replace(
            self,
            tangent_scalars=unique([*(scalars or self.tangent_scalars), *added]),
            alignments=tuple(dict.fromkeys(pairs)),
            metrics=metrics or self.metrics,
            normalisations=normalisations or self.normalisations,
            network_controls=ALIGNMENT_CONTROLS,
        )

    def with_scores(self, closed: bool, network: bool) -> MeasureConfig:
        """The same without the targets for which there is no score.

        Args:
            closed: whether there is a closed form.
            network: whether there is a trained score.

        Raises:
            SpecError: the published alignment (`legacy`) where there is no score at all.
        """
        if self.legacy is not None and not (closed or network):
            raise SpecError(
                f"legacy: got {self.legacy} without a score, but the published alignment is one with a score; name "
                "one (score in a spec, --score on the command line), or leave legacy out."
            )
        kept = [pair for pair in self.alignments if (network if pair[1].startswith(NETWORK) else closed)]
        return dataclasses.replace(self, alignments=tuple(kept))

    def with_maps(self, names: Iterable[str]) -> MeasureConfig:
        """The same with maps that the caller gives, each measured as a gradient is, against every target."""
        maps = [map_quantity(name) for name in names]
        pairs = [(name, target) for name in maps for target in self.targets]
        return dataclasses.replace(
            self,
            tangent_scalars=unique([*self.tangent_scalars, *maps]),
            alignments=tuple(dict.fromkeys([*self.alignments, *pairs])),
        )

    def with_legacy(self, network: bool) -> MeasureConfig:
        """The same with what `legacy` stands for: the published alignment joins ours, under keys of its own.

        With "pags" that is metric "lpips_pags" (pictures at their own size, scaled by their largest magnitude) of the
        gradient of the sum of logits, against the score without labels at the clean image and σ = 0.25. The score is
        the trained one where there is a `network`, as published, else the closed form's.
        """
        if self.legacy is None:
            return self
        pair = ("sum_logits", f"{NETWORK}score" if network else "score")
        return dataclasses.replace(
            self,
            metrics=unique([*self.metrics, "lpips_pags"]),
            alignments=tuple(dict.fromkeys([*self.alignments, pair])),
            sigmas=tuple(dict.fromkeys([*self.sigmas, _PUBLISHED_SIGMA])),
        )

    def working(self, shape: Shape) -> WorkingSize:
        """The working size of images of shape (C, H, W).

        Raises:
            SpecError: it is larger than the images.

        Example:
            >>> MeasureConfig().working((3, 224, 336)).size, MeasureConfig().working((3, 128, 128)).size
            ((64, 96), (128, 128))
        """
        own, size = shape[1:], self.working_size
        if size is None:
            size = REDUCED if math.prod(own) > LARGE and min(own) > REDUCED else "own"
        if isinstance(size, int):
            size = round(size * own[0] / min(own)), round(size * own[1] / min(own))
        try:
            return WorkingSize(shape, own if isinstance(size, str) else size, self.working_filter)
        except NumericsError as error:
            raise SpecError(str(error)) from None

    def at_size(self, shape: Shape) -> MeasureConfig:
        """The same with the working size that images of shape (C, H, W) have, (h, w) or "own"."""
        working = self.working(shape)
        if working.whole:
            return dataclasses.replace(self, working_size="own", working_filter="area")
        return dataclasses.replace(self, working_size=working.size)

    @property
    def plain(self) -> dict[str, Any]:
        """Everything here as plain data, without a working size that is the images' own and an empty `extra`."""
        content = dataclasses.asdict(self)
        if not self.extra:  # a key that older rows and specs do not have
            del content["extra"]
        if self.working_size in (None, "own"):  # keys that older rows and specs do not have
            del content["working_size"], content["working_filter"]
        return content

    def digest(self) -> str:
        """Hash of everything here and of the schema number."""
        measures = self.plain
        if not self.curved:  # a key that older rows do not have
            del measures["curved"]
        if self.legacy is None:
            del measures["legacy"]
        used = [METRICS.origin(name) for name in self.metrics] + [MEASURES.origin(name) for name in self.extra]
        origins = [origin for origin in used if origin]  # of other packages
        content = json.dumps([MEASURE_SCHEMA, measures, *origins], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def check_signal(config: MeasureConfig, pool: LabelledImages) -> None:
    """Raise where noise on signal and distractor is to be measured of images whose signal's place is not known."""
    if config.noise_sigmas and pool.signal is None:
        raise NumericsError(
            f"noise_sigmas: got {list(config.noise_sigmas)} for '{pool.name}', whose signal's place is not known; "
            "expected data such as distractor:fashion-mnist-5k, or no noise_sigmas."
        )


def _natural_target(quantity: str) -> str:
    """The score that a scalar's gradient, or an attribution map of it, is compared with."""
    return _NATURAL[quantity.rpartition("(")[2].rstrip(")")]


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """The names in their first order, each once."""
    return tuple(dict.fromkeys(names))
