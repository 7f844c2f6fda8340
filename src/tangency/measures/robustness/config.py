"""Which attacks and which smoothing are measured beside the random steps; none by default, since they cost."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from tangency.errors import NumericsError, SpecError, unknown_name
from tangency.smoothing import certificate_draws

ATTACKS = ("pgd_l2", "pgd_linf", "worst_case", "smoothing", "autoattack")


@dataclass(frozen=True)
class RobustnessConfig:
    """Worst cases and randomized smoothing.

    Args:
        attacks: of `ATTACKS`. "pgd_l2", "pgd_linf": accuracy under PGD. "worst_case": PGD in the tangent and in the
            normal space, of equal l2 budget. "autoattack": the AutoAttack ensemble (an extra) in both norms.
            "smoothing": votes, certified radius and gradient of the smoothed classifier.
        l2_epsilons, linf_epsilons: budgets of pgd_* and autoattack, in [0, 1] pixel units, per image.
        worst_epsilons: budgets of worst_case; those of the random steps (`MeasureConfig.epsilons`) where empty.
        steps: of PGD; a step has length 2.5 · epsilon / steps.
        restarts: runs of PGD an image, of which the strongest counts.
        sigmas: noise levels of the smoothed classifier, in [0, 1] pixel units.
        selection, draws: noisy copies that select the class, and that estimate its probability.
        alpha: probability of a certificate being wrong.
        radii: l2 radii at which certified accuracy is given.
        gradient_draws: noisy copies for the gradient of the smoothed classifier; 0 for none.
    """

    attacks: tuple[str, ...] = ()
    l2_epsilons: tuple[float, ...] = (0.25, 0.5, 1.0)
    linf_epsilons: tuple[float, ...] = (2 / 255, 4 / 255, 8 / 255)
    worst_epsilons: tuple[float, ...] = ()
    steps: int = 20
    restarts: int = 1
    sigmas: tuple[float, ...] = (0.25,)
    selection: int = 100
    draws: int = 1000
    alpha: float = 0.001
    radii: tuple[float, ...] = (0.25, 0.5, 0.75)
    gradient_draws: int = 64

    def __post_init__(self) -> None:
        for attack in self.attacks:
            if attack not in ATTACKS:
                raise SpecError(unknown_name("attack", attack, ATTACKS))
        if len(set(self.attacks)) < len(self.attacks):
            raise SpecError(f"attacks: got {', '.join(self.attacks)}, expected each one once.")
        for name in ("l2_epsilons", "linf_epsilons", "worst_epsilons", "sigmas", "radii"):
            self._check_grid(name, getattr(self, name))
        for name, least in (("steps", 2), ("restarts", 1), ("selection", 1), ("draws", 1), ("gradient_draws", 0)):
            if getattr(self, name) < least:
                raise SpecError(f"{name}: got {getattr(self, name)}, expected at least {least}.")
        try:
            needed = certificate_draws(self.alpha)
        except NumericsError as error:
            raise SpecError(str(error)) from None
        if self.draws < needed:
            raise SpecError(
                f"draws: got {self.draws} with alpha = {self.alpha:g}, with which the smoothed classifier always "
                f"abstains, expected at least {needed}."
            )

    def _check_grid(self, name: str, values: tuple[float, ...]) -> None:
        bad = [v for v in values if not (math.isfinite(v) and v > 0)]
        if bad or list(values) != sorted(set(values)) or len({f"{v:g}" for v in values}) < len(values):
            raise SpecError(
                f"{name}: got {list(values)}, expected distinct positive numbers in [0, 1] pixel units, from the "
                "smallest to the largest."
            )


def budget_warnings(config: RobustnessConfig, epsilons: tuple[float, ...], shape: tuple[int, int, int]) -> list[str]:
    """Budgets within which any image of [0, 1] becomes any other, as grey levels out of 255 would be, in words.

    Args:
        config: of which only grids that an attack uses are looked at.
        epsilons: lengths of the random steps, in [0, 1] pixel units, which "worst_case" has where it names none.
        shape: (C, H, W) of the images; their l2 distances reach √(C H W).

    Example:
        >>> budget_warnings(parse_attacks("pgd_linf:8"), (), (3, 32, 32))[0][:38]
        'attacks: pgd_linf with ε = 8 lies beyo'
    """
    furthest = math.sqrt(math.prod(shape))
    apart = f"the l2 distance of black from white, √{math.prod(shape)} = {furthest:.3g}"
    grids = {
        "pgd_l2": (config.l2_epsilons, furthest, apart),
        "pgd_linf": (config.linf_epsilons, 1.0, "the range of pixels, which is [0, 1]"),
        "worst_case": (config.worst_epsilons or epsilons, furthest, apart),
    }
    used = {*config.attacks, *(("pgd_l2", "pgd_linf") if "autoattack" in config.attacks else ())}
    warnings = []
    for name, (budgets, most, what) in grids.items():
        beyond = [f"{budget:g}" for budget in budgets if budget > most]
        if name in used and beyond:
            warnings.append(
                f"attacks: {name} with ε = {', '.join(beyond)} lies beyond {what}, so any image is within reach: "
                f"likely meant as {', '.join(f'{value}/255' for value in beyond)}."
            )
    return warnings


_GRIDS = {
    "pgd_l2": ("l2_epsilons",),
    "pgd_linf": ("linf_epsilons",),
    "worst_case": ("worst_epsilons",),
    "smoothing": ("sigmas",),
    "autoattack": (),
}


def parse_attacks(text: str) -> RobustnessConfig:
    """What "--attacks" names: attacks with commas between, each with its own grid behind colons where it has one.

    Args:
        text: "pgd_l2,worst_case", or "pgd_linf:2/255:8/255,smoothing:0.12:0.25"; the numbers are budgets of the
            attack, or noise levels of the smoothing.

    Example:
        >>> parse_attacks("pgd_l2,pgd_linf:8/255").linf_epsilons
        (0.03137254901960784,)
    """
    grids: dict[str, Any] = {}
    names = []
    for part in text.split(","):
        name, *numbers = part.strip().split(":")
        if name not in ATTACKS:
            raise SpecError(unknown_name("attack", name, ATTACKS))
        if numbers and not _GRIDS[name]:
            raise SpecError(f"attacks: got '{part.strip()}'; {name} takes the budgets of pgd_l2:… and pgd_linf:….")
        names.append(name)
        grids |= {field: tuple(sorted(map(_number, numbers))) for field in _GRIDS[name] if numbers}
    return dataclasses.replace(RobustnessConfig(attacks=tuple(names)), **grids)


def _number(text: str) -> float:
    """A number or a fraction, "0.5" or "8/255"."""
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise SpecError(f"attacks: got '{text}', expected a number such as 0.5 or 8/255.") from None
