"""Whether an attack gets weaker where it should get stronger: a sign of gradients that hide what a classifier does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from tangency.attacks.pgd import Threat
from tangency.attacks.restarts import pgd_restarts
from tangency.errors import NumericsError
from tangency.seeding import Draw


@dataclass(frozen=True)
class Fall:
    """Two strengths of an attack of which the greater one fools fewer images, by more than chance explains.

    Args:
        weaker, stronger: the strengths, in words.
        lost: images that only the weaker one fools.
        gained: images that only the stronger one fools.
        p_value: of the one-sided exact sign test, P(Binomial(lost + gained, ½) ≥ lost).
    """

    weaker: str
    stronger: str
    lost: int
    gained: int
    p_value: float

    def __str__(self) -> str:
        return (
            f"success falls from {self.weaker} to {self.stronger}: {self.lost} images are fooled by the weaker attack "
            f"only, {self.gained} by the stronger only (sign test p = {self.p_value:.1g}). A true worst case cannot "
            "fall; the gradients are masked, or the steps too coarse: raise steps and restarts, or ask for autoattack."
        )


def success_falls(fooled: Tensor, strengths: Sequence[str], level: float = 0.01) -> list[Fall]:
    """Neighbouring strengths between which an attack's success falls.

    Args:
        fooled: (M, N) bool, whether each image is fooled at each strength, from the weakest to the strongest.
        strengths: M names.
        level: of the one-sided sign test on the images that only one of the two fools.

    Returns:
        The falls that chance does not explain at that level; none for an exact attack.

    Raises:
        NumericsError: as many names as rows are needed.

    Example:
        >>> fooled = torch.tensor([[True] * 20, [False] * 20])
        >>> [(fall.lost, fall.gained) for fall in success_falls(fooled, ["ε = 1", "ε = 2"])]
        [(20, 0)]
    """
    from scipy.stats import binom

    if fooled.dim() != 2 or len(fooled) != len(strengths):
        raise NumericsError(f"fooled: got shape {tuple(fooled.shape)} for {len(strengths)} strengths, expected (M, N).")
    falls = []
    for names, (weaker, stronger) in zip(pairwise(strengths), pairwise(fooled), strict=True):
        lost, gained = int((weaker & ~stronger).sum()), int((~weaker & stronger).sum())
        falls.append(Fall(*names, lost, gained, float(binom.sf(lost - 1, lost + gained, 0.5))))
    return [fall for fall in falls if fall.p_value < level]


def masking_check(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    epsilons: Sequence[float],
    steps: Sequence[int] = (5, 10, 20),
    *,
    restarts: int = 1,
    draw: Draw,
) -> list[Fall]:
    """Falls of PGD's success along rising budgets (at most steps) and along rising steps (at the largest budget).

    Args:
        model, x, y, restarts, draw: as for `pgd_restarts`.
        threat: norm and bounds; its budget and steps are replaced.
        epsilons: budgets, in [0, 1] pixel units.
        steps: numbers of gradient steps.

    Returns:
        The falls of `success_falls`; an empty list means no sign of masked gradients.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> x, y = torch.rand(8, 1, 2, 2), torch.zeros(8, dtype=torch.int64)
        >>> masking_check(model, x, y, Threat(1.0), (0.1, 1.0), steps=(5, 10), draw=Draw(0, torch.arange(8)))
        []
    """
    budgets, counts = sorted(epsilons), sorted(steps)
    if not budgets or not counts:
        raise NumericsError("masking_check: got no budgets or no steps, expected at least one of each.")

    def fooled(epsilon: float, number: int) -> Tensor:
        stronger = dataclasses.replace(threat, epsilon=epsilon, steps=number, random_start=True)
        return pgd_restarts(model, x, y, stronger, restarts=restarts, draw=draw).fooled

    along = [fooled(epsilon, counts[-1]) for epsilon in budgets]
    longer = [fooled(budgets[-1], number) for number in counts[:-1]] + along[-1:]
    falls = success_falls(torch.stack(along), [f"ε = {epsilon:g}" for epsilon in budgets])
    return falls + success_falls(torch.stack(longer), [f"{number} steps" for number in counts])
