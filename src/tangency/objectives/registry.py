"""Objectives by name, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn

from tangency.errors import SpecError, unknown_name
from tangency.objectives import denoising, derivatives, features, losses, pags
from tangency.objectives.cost import declaration
from tangency.references import Registry, defaults_of, makes
from tangency.seeding import Draw

_takes_five = makes(5)
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
        "jacobian": derivatives.jacobian,
        "curvature": derivatives.curvature,
        "finite_difference_gradient": derivatives.finite_difference_gradient,
        "feature_smoothing": features.feature_smoothing,
        "joint_denoising": denoising.joint_denoising,
    },
    "a function (model, x, y, draw, strength, *, options) to one loss an image, options with numbers or switches for "
    "defaults",
    lambda held: _takes_five(held) and not any(type(default) is str for default in defaults_of(held).values()),
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
    """

    name: str
    strength: float
    options: dict[str, float | int | bool] = field(default_factory=dict)
    legacy: str | None = None

    def losses(self, model: nn.Module, x: Tensor, y: Tensor, draw: Draw) -> Tensor:
        """(N,) losses with their graph to the parameters; (N, C, H, W) images in [0, 1], (N,) labels."""
        loss = _function(self.name, self.legacy)
        losses = loss(model, x, y, draw, self.strength, **_grouped(loss, self.options))
        if not isinstance(losses, Tensor) or losses.shape != y.shape:
            got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise SpecError(
                f"objective {self.name}: gave {got} for {len(y)} images, expected a loss for each, ({len(y)},)."
            )
        return losses

    def passes(self, classes: int) -> float:
        """What a training step takes in bare passes (forward and backward, as of "standard"); see `Declaration`.

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
        """All fields as JSON values, with the distribution that the loss is from where it is not ours."""
        origin = OBJECTIVES.origin(self.name)
        return asdict(self) | ({"origin": origin} if origin else {})


def make(name: str, strength: float = 0.0, *, legacy: str | None = None, **options: float | int | bool) -> Objective:
    """An objective by name, or by the published code's name (gnorm, smooth, rand_smooth, pgd): one loss per image.

    With ℓ = −log p(y|x), strength λ and n ~ N(0, I): "standard" ℓ; "gradient_norm" ℓ + λ‖∇ₓℓ‖²; "noise_consistency"
    ℓ + λ‖f(x + sigma n) − f(x)‖²; "noise_augmentation" ℓ at x + λn; "pgd_l2" and "pgd_linf" the largest ℓ within
    ‖δ‖ ≤ λ. Images are in [0, 1], and so are noise and budgets.

    Args:
        name: a name in `OBJECTIVES` or `ALIASES`.
        strength: see `Objective`; 0 for "standard".
        legacy: "pags" for the behaviour of the published code.
        **options: keyword arguments of the loss, for example steps=20 for pgd_l2.

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
    defaults = _defaults(loss)
    for option, value in options.items():
        if option not in defaults:
            raise SpecError(unknown_name(f"option of objective {name}", option, defaults))
        _check_option(name, option, value, defaults[option])
    _check_option(name, "strength", strength, 0.0)
    declaration(loss).check(name, {**defaults, **options})
    if name == "standard" and strength != 0:
        raise SpecError(f"objective standard: strength is {strength}, expected 0; choose a robust objective instead.")
    return Objective(name, float(strength), {**defaults, **options}, legacy)


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


def _defaults(loss: Callable[..., Tensor]) -> dict[str, float | int | bool]:
    """The options of a loss with their defaults: its keyword-only arguments, or the fields of one with several."""
    options: dict[str, float | int | bool] = {}
    for name, default in defaults_of(loss).items():
        options |= asdict(default) if isinstance(default, losses.InnerAttack) else {name: default}
    return options


def _grouped(loss: Callable[..., Tensor], options: Mapping[str, Any]) -> dict[str, object]:
    """Options by name as the keyword-only arguments of a loss."""
    grouped = {name for name, default in defaults_of(loss).items() if isinstance(default, losses.InnerAttack)}
    return {name: losses.InnerAttack(**options) for name in grouped} or dict(options)


def _check_option(name: str, option: str, value: object, default: float | int | bool) -> None:
    """An option has the kind of its default: a switch, a count of at least one, or a number ≥ 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, bool):
        kind, good = "true or false", isinstance(value, bool)
    elif isinstance(default, int):
        kind, good = "a whole number >= 1", number and isinstance(value, int) and value >= 1
    else:
        kind, good = "a finite number >= 0", number and isinstance(value, (int, float)) and 0 <= value < math.inf
    if not good:
        raise SpecError(f"objective {name}: {option} is {value!r}, expected {kind}, for example {default}.")
