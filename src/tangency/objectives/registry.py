"""Objectives by name, checked when they are made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from tangency.errors import SpecError, unknown_name
from tangency.objectives import adversarial, alignment, denoising, derivatives, features, losses, pags, projected
from tangency.objectives.cost import declaration
from tangency.objectives.options import SHAM, Option, check_option, is_objective, options_of
from tangency.references import Registry
from tangency.score import Denoiser
from tangency.seeding import Draw
from tangency.tangents import TangentEstimator, refuse_own_space, sham_tangents
from tangency.types import LabelledImages

# A new objective joins by adding a row, one of another package by an entry point.
OBJECTIVES: Registry[Callable[..., Tensor]] = Registry(
    "objective",
    "tangency.objectives",
    {
        "standard": losses.standard,
        "gradient_norm": losses.gradient_norm,
        "noise_consistency": losses.noise_consistency,
        "noise_augmentation": losses.noise_augmentation,
        "pgd_l2": losses.pgd_l2,
        "pgd_linf": losses.pgd_linf,
        "pgd_l2_mixed": losses.pgd_l2_mixed,
        "jacobian": derivatives.jacobian,
        "curvature": derivatives.curvature,
        "finite_difference_gradient": derivatives.finite_difference_gradient,
        "feature_smoothing": features.feature_smoothing,
        "joint_denoising": denoising.joint_denoising,
        "trades": adversarial.trades,
        "projected_gradient_norm": projected.projected_gradient_norm,
        "tangent_attack": adversarial.tangent_attack,
        "score_alignment": alignment.score_alignment,
    },
    "a function (model, x, y, draw, strength, *, options) to one loss an image, options with numbers, switches or "
    "words of a Literal for defaults, and the guides tangents and score without any",
    is_objective,
)
# The published code's names, and its behaviour; where that is ours, the function is the same.
ALIASES = {
    "none": "standard",
    "gnorm": "gradient_norm",
    "smooth": "noise_consistency",
    "rand_smooth": "noise_augmentation",
    "pgd": "pgd_l2",
}
LEGACY: dict[str, dict[str, Callable[..., Tensor]]] = {
    "pags": {
        "standard": losses.standard,
        "gradient_norm": pags.gradient_norm,
        "noise_consistency": pags.noise_consistency,
        "noise_augmentation": losses.noise_augmentation,
        "pgd_l2": pags.pgd_l2,
        "pgd_l2_mixed": pags.pgd_l2_mixed,
    }
}


@dataclass(frozen=True)
class Objective:
    """What training minimises: the mean over the per-example `losses`. Make one with `make`.

    Args:
        name: a name in `OBJECTIVES`.
        strength: weight of the penalty, standard deviation of the noise, or budget of the attack; ≥ 0.
        options: all options of the loss, defaults filled in.
        legacy: "pags" for the behaviour of the published code, else None.
        guides: references of the tangent spaces and the score that the loss uses, by "tangents" and "score".
        bound: the objects that they stand for, of `guided`; no part of what makes two objectives equal.
    """

    name: str
    strength: float
    options: dict[str, Option] = field(default_factory=dict)
    legacy: str | None = None
    guides: dict[str, str] = field(default_factory=dict)
    bound: Mapping[str, TangentEstimator | Denoiser] = field(default_factory=dict, compare=False, repr=False)

    def guided(
        self,
        *,
        tangents: TangentEstimator | None = None,
        score: Denoiser | None = None,
        images: LabelledImages | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> Objective:
        """The objective with the objects that its guides stand for, which stay as they are while it is trained with.

        Training asks for the tangent space of each image as it is augmented; estimators that look images up by their
        place, as `StoredTangents` does, give that of the image as it is stored, and fit no augmented training.

        Args:
            tangents: estimator of the own tangent spaces; a sham that the options name is made of it.
            score: the score.
            images: the training images, which shams are made of; needed where the options name a sham.
            seed: of the sham.
            device: that of the estimator.

        Raises:
            SpecError: a guide that the objective does not take, or a sham that is the own space.

        Example:
            >>> import tangency
            >>> data = tangency.load_data("world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10")
            >>> objective = make("projected_gradient_norm", 0.1, tangents="exact", part="off")
            >>> objective.guided(tangents=tangency.load_tangents("exact", data)).bound["tangents"].kind
            'exact'
        """
        given: dict[str, TangentEstimator | Denoiser] = dict(self.bound)
        given |= {name: guide for name, guide in (("tangents", tangents), ("score", score)) if guide is not None}
        for name in given:
            if name not in self.guides:
                raise SpecError(unknown_name(f"guide of objective {self.name}", name, self.guides))
        sham = str(self.options.get(SHAM, "none"))
        if tangents is not None and sham != "none":
            if images is None:
                raise SpecError(f"objective {self.name}: got no images for sham {sham}, expected the training images.")
            other = sham_tangents(tangents, sham, images, seed, device)
            refuse_own_space(tangents, other, images, device)
            given["tangents"] = other
        return replace(self, bound=given)

    def check_guided(self) -> None:
        """Raise a `SpecError` where a guide is a mere reference still."""
        for name, reference in self.guides.items():
            if name not in self.bound:
                raise SpecError(
                    f"objective {self.name}: its {name}, '{reference}', are not loaded, expected an objective of "
                    f"`guided`: objective.guided({name}=tangency.load_{name}('{reference}', data)). A study does that "
                    "itself."
                )

    def losses(self, model: nn.Module, x: Tensor, y: Tensor, draw: Draw) -> Tensor:
        """(N,) losses with their graph to the parameters; (N, C, H, W) images in [0, 1], (N,) labels."""
        self.check_guided()
        loss = _function(self.name, self.legacy)
        losses = loss(model, x, y, draw, self.strength, **options_of(loss).arguments(self.options, self.bound))
        if not isinstance(losses, Tensor) or losses.shape != y.shape:
            got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise SpecError(
                f"objective {self.name}: gave {got} for {len(y)} images, expected a loss for each, ({len(y)},)."
            )
        return losses

    def passes(self, classes: int) -> float:
        """What a training step takes in bare passes (forward and backward, as of "standard"); see `LossDeclaration`.

        Example:
            >>> make("pgd_l2", 0.5, steps=3).passes(10), make("jacobian", 0.1, exact=True).passes(10)
            (3.0, 11)
        """
        if self.strength == 0:
            return 1.0
        return declaration(_function(self.name, self.legacy)).passes(self.options, classes)

    def learning_rate(self, base: float) -> float:
        """The rate to train at where others are trained at `base`: the same, or as published where legacy is "pags".

        Published strengths above 0.01 (gradient_norm), 10 (noise_consistency) and 100 (pgd_l2) are trained at a rate
        that falls as 1 / strength, which confounds strength and training; ours are not.

        Example:
            >>> make("gradient_norm", 1.0).learning_rate(0.025), make("gnorm", 1.0, legacy="pags").learning_rate(0.025)
            (0.025, 0.00025)
        """
        return base if self.legacy is None else pags.learning_rate(self.name, self.strength, base)

    @property
    def identity(self) -> dict[str, object]:
        """All that decides the losses, as JSON values: an origin that is not ours, and the cards of bound guides."""
        fields: dict[str, object] = {"name": self.name, "strength": self.strength, "options": self.options}
        fields["legacy"] = self.legacy
        if self.guides:
            cards = {name: json.loads(json.dumps(dict(g.card), default=str)) for name, g in self.bound.items()}
            fields |= {"guides": self.guides, "cards": cards}
        origin = OBJECTIVES.origin(self.name)
        return fields | ({"origin": origin} if origin else {})


def make(name: str, strength: float = 0.0, *, legacy: str | None = None, **options: Option) -> Objective:
    """An objective by name, or by the published code's name (gnorm, smooth, rand_smooth, pgd): one loss per image.

    With ℓ = −log p(y|x), strength λ and n ~ N(0, I): "standard" ℓ; "gradient_norm" ℓ + λ‖∇ₓℓ‖²; "noise_consistency"
    ℓ + λ‖f(x + sigma n) − f(x)‖²; "noise_augmentation" ℓ at x + λn; "pgd_l2" and "pgd_linf" the largest ℓ within
    ‖δ‖ ≤ λ; "projected_gradient_norm" ℓ + λ‖P ∇ₓℓ‖², of a part of the gradient; docs/objectives.md has the others.
    Images are in [0, 1], and so are noise and budgets.

    Args:
        name: a name in `OBJECTIVES` or `ALIASES`.
        strength: see `Objective`; 0 for "standard".
        legacy: "pags" for the behaviour of the published code.
        **options: keyword arguments of the loss, for example steps=20 for pgd_l2; guides by reference, as
            tangents="mfa?rank=12" (`Objective.guided` binds what they stand for).

    Returns:
        `Objective`: `losses(model, x, y, draw)` are (N,), with their graph to the parameters.

    Raises:
        SpecError: an unknown name or option, a negative or non-finite value.

    Source: Drucker & LeCun (1992), double backpropagation; Madry et al., arXiv 1706.06083; arXiv 2305.19101,
        whose published code does what legacy="pags" does.

    Example:
        >>> make("gnorm", 0.3).name
        'gradient_norm'
        >>> make("pgd_linf", 8 / 255, steps=5).options["steps"]
        5
    """
    name = ALIASES.get(name, name)
    loss = _function(name, legacy)
    known = options_of(loss)
    known.check(name, options)
    declaration(loss).check(name, {**known.defaults, **options})
    check_option(name, "strength", strength, 0.0)
    if name == "standard" and strength != 0:
        raise SpecError(f"objective standard: strength is {strength}, expected 0; choose a robust objective instead.")
    guides = {guide: str(options.pop(guide)) for guide in known.guides}
    return Objective(name, float(strength), known.in_words({**known.defaults, **options}), legacy, guides)


def _function(name: str, legacy: str | None) -> Callable[..., Tensor]:
    if name not in OBJECTIVES:
        raise SpecError(unknown_name("objective", name, [*OBJECTIVES, *ALIASES]))
    if legacy is None:
        return OBJECTIVES[name]
    if legacy not in LEGACY:
        raise SpecError(unknown_name("legacy behaviour", str(legacy), LEGACY))
    if name not in LEGACY[legacy]:
        raise SpecError(
            f"objective {name}: the published code '{legacy}' has none; it has {', '.join(LEGACY[legacy])}. "
            "Leave out legacy."
        )
    return LEGACY[legacy][name]
