"""Worst cases: accuracy under attack, and the largest change on and off the manifold for equal budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from tangency.attacks import Strongest, Threat, autoattack, pgd_restarts, success_falls
from tangency.errors import SpecError
from tangency.measures.batch import Batch
from tangency.measures.comparison.frames import Frame
from tangency.measures.definition import Columns, Measure, Scale, guessing
from tangency.measures.keys import Key
from tangency.measures.robustness.changes import Change
from tangency.measures.working import WorkingSize
from tangency.numerics import flat, masked_orthonormal
from tangency.seeding import Draw
from tangency.tangents import TangentSpace

Norm = Literal["l2", "linf"]
_NORMS: tuple[tuple[Norm, str], ...] = (("l2", "ℓ₂"), ("linf", "ℓ∞"))


def attacked(batch: Batch) -> Columns:
    """Every worst case that `config.robustness.attacks` names.

    An image counts as robust where it is classified rightly both at x, which lies in every ball, and at the attacked
    image. An image that no run could attack (zero gradient) is NaN, right or wrong, and so counted as degenerate.
    """
    robustness = batch.config.robustness
    columns: Columns = {}
    if "autoattack" in robustness.attacks and not batch.comparison.bounded:
        raise SpecError(
            "attacks: got autoattack for images that are not confined to [0, 1], which it needs; use pgd_l2 or "
            "pgd_linf with restarts."
        )
    for norm, _ in _NORMS:
        budgets = robustness.l2_epsilons if norm == "l2" else robustness.linf_epsilons
        if f"pgd_{norm}" in robustness.attacks:
            columns |= _pgd(batch, norm, budgets)
        if "autoattack" in robustness.attacks:
            for epsilon in budgets:
                reached = autoattack(batch.model, batch.x, batch.truth, epsilon, norm, seed=batch.config.seed)
                columns[str(Key(f"accuracy_autoattack_{norm}").at(eps=epsilon))] = _robust(batch, reached)
    if "worst_case" in robustness.attacks:
        for frame in batch.comparison.frames:
            columns |= _worst_case(batch, frame)
    return columns


def _pgd(batch: Batch, norm: Norm, budgets: tuple[float, ...]) -> Columns:
    """Accuracy under PGD of each budget; at the largest one also with half the steps, to see whether steps help."""
    robustness, family, columns = batch.config.robustness, Key(f"accuracy_pgd_{norm}"), {}
    half = robustness.steps // 2
    runs = [(epsilon, robustness.steps, family.at(eps=epsilon)) for epsilon in budgets]
    runs += [(epsilon, half, family.at(eps=epsilon, steps=half)) for epsilon in budgets[-1:]]
    for epsilon, steps, key in runs:
        reached = pgd_restarts(
            batch.model,
            batch.x,
            batch.truth,
            Threat(epsilon, norm, steps, bounds=(0.0, 1.0) if batch.comparison.bounded else None),
            restarts=robustness.restarts,
            draw=Draw(batch.config.seed, batch.comparison.ids, f"pgd {norm}"),
        )
        columns[str(key)] = _robust(batch, reached)
    return columns


def _worst_case(batch: Batch, frame: Frame) -> Columns:
    """Largest softmax change by PGD inside x + T_x and inside x + its normal space, ‖δ‖₂ ≤ ε in both.

    The attack moves away from the predicted class, starting at x, and is not clipped to [0, 1], which would leave the
    subspace. A soft tangent space is attacked in the whole span of its basis. NaN where the space is {0}, or the
    gradient in it. With a working size the two spaces are those of its lifted steps: T_x lifted, and what is normal to
    that among all lifted steps.
    """
    config, change, working = batch.config, Change(batch.logits), batch.comparison.working
    space, columns = _lifted(frame.space.cut(frame.space.rank), working), {}

    def reject(x: Tensor) -> Tensor:
        return space.reject(working.inside(x))

    sides = (("on", space.project, space.rank > 0), ("off", reject, space.rank < frame.space.dimension))
    for side, project, exists in sides:
        for epsilon in config.robustness.worst_epsilons or config.epsilons:
            reached = pgd_restarts(
                batch.model,
                batch.x,
                batch.logits.argmax(1),
                Threat(epsilon, "l2", config.robustness.steps, bounds=None, random_start=False, project=project),
                restarts=config.robustness.restarts,
                draw=Draw(config.seed, batch.comparison.ids, f"worst {side}"),
            )
            key, usable = Key(f"worst_{side}").at(eps=epsilon, tangents=frame.label), exists & ~reached.stalled
            columns[str(key)] = change.softmax(reached.logits).where(usable, torch.nan)
            columns[str(key.of(f"accuracy_worst_{side}"))] = _robust(batch, reached).where(usable, torch.nan)
    return columns


def _lifted(space: TangentSpace, working: WorkingSize) -> TangentSpace:
    """The tangent spaces at the images' own size: the spans of their lifted directions."""
    if working.whole:
        return space
    n, _, k = space.basis.shape
    steps = space.basis.mT.reshape(n * k, *working.shape)
    basis, rank = masked_orthonormal(flat(working.lift(steps)).reshape(n, k, -1).mT)
    return TangentSpace(basis, rank)


def _robust(batch: Batch, reached: Strongest) -> Tensor:
    right = (batch.logits.argmax(1) == batch.truth) & (reached.logits.argmax(1) == batch.truth)
    finite = batch.logits.isfinite().all(1) & reached.logits.isfinite().all(1)
    return right.double().where(finite & ~reached.stalled, torch.nan)


def masking_warnings(columns: Mapping[str, Tensor]) -> list[str]:
    """Attacks whose success falls with budget or steps (see `success_falls`), in words; the sign of masked gradients.

    Args:
        columns: of one classifier, by key, (N,) each, as `Rows` has them.
    """
    warnings = []
    for norm, _ in _NORMS:
        own = [key for key in map(Key.parse, columns) if key.family == f"accuracy_pgd_{norm}"]
        halved = [key for key in own if key.setting("steps")]
        plain = sorted((key for key in own if key not in halved), key=lambda key: float(key.setting("eps")))
        chains = [plain, *([key, Key(key.family).at(eps=key.setting("eps"))] for key in halved)]
        for chain in chains if own else ():
            rows = torch.stack([columns[str(key)] for key in chain])
            fooled = rows[:, rows.isfinite().all(0)] == 0
            warnings += [f"pgd_{norm}: {fall}" for fall in success_falls(fooled, list(map(_run, chain)))]
    return warnings


def _run(key: Key) -> str:
    """Budget and steps of a run of PGD, in words."""
    steps = key.setting("steps")
    return f"ε = {key.setting('eps')}" + (f" with steps = {steps}" if steps else "")


_WORST = "found by PGD {}, ‖δ‖₂ ≤ ε, steps of 2.5 ε / steps, not clipped to [0, 1]"
_CHANGE = Scale("probability", 0, 2, "L1 distance, 0 to 2; ε in [0, 1] pixel units")
_SHARE = Scale("fraction", 0, 1, "fraction, 0 to 1; ε in [0, 1] pixel units")
_GUESS = "1 / number of classes, for a constant answer"

MEASURES = {
    "worst_on": Measure(
        "softmax change (l1) at the worst case in the tangent space",
        _CHANGE,
        "neither",
        attacked,
        heading="Worst on-manifold change",
        what=f"Change of the softmax at the worst point {_WORST.format('inside the tangent space')}.",
        chance="none: read it against the worst off-manifold change, whose space has d − k dimensions to search",
        reading="a working classifier must react along the manifold; near 0 it has stopped reacting",
    ),
    "worst_off": Measure(
        "softmax change (l1) at the worst case in the normal space",
        _CHANGE,
        "lower",
        attacked,
        heading="Worst off-manifold change",
        what=f"Change of the softmax at the worst point {_WORST.format('inside the normal space')}.",
        chance="none: read it against the worst on-manifold change, whose space has k dimensions to search",
        reading="no step off the manifold matters to the classifier",
    ),
    "accuracy_worst_on": Measure(
        "accuracy at the worst case in the tangent space",
        _SHARE,
        "neither",
        attacked,
        level=guessing,
        heading="Accuracy at the worst on-manifold point",
        what=f"Share of the images classified rightly at x and at the point {_WORST.format('in the tangent space')}.",
        chance=_GUESS,
        reading="0 where the class can be changed along the manifold, as it often should",
    ),
    "accuracy_worst_off": Measure(
        "accuracy at the worst case in the normal space",
        _SHARE,
        "higher",
        attacked,
        level=guessing,
        heading="Accuracy at the worst off-manifold point",
        what=f"Share of the images classified rightly at x and at the point {_WORST.format('in the normal space')}.",
        chance=_GUESS,
        reading="no step off the manifold changes the class",
    ),
    **{
        f"accuracy_{attack}_{norm}": Measure(
            f"accuracy under {name}, {norm}",
            _SHARE,
            "higher",
            attacked,
            level=guessing,
            heading=f"Accuracy under {name}, {symbol}",
            what=f"Share of the images classified rightly at x and at the image that {name} finds, ‖δ‖ ≤ ε in "
            f"{symbol}, inside [0, 1]; an upper bound of the true one.",
            chance=_GUESS,
            reading="small worst-case changes leave the class alone",
        )
        for attack, name in (("pgd", "PGD"), ("autoattack", "AutoAttack"))
        for norm, symbol in _NORMS
    },
}
