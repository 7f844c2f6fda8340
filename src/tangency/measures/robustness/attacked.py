"""Worst cases: accuracy under attack, and the largest change on and off the manifold for equal budgets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.attacks import Strongest, Threat, autoattack, pgd_restarts, success_falls
from tangency.errors import SpecError
from tangency.measures.config import MeasureConfig
from tangency.measures.frames import Frame
from tangency.measures.references import References
from tangency.measures.registry import number
from tangency.measures.robustness.changes import Change
from tangency.measures.working import WorkingSize
from tangency.numerics import flat, masked_orthonormal
from tangency.seeding import Draw
from tangency.tangents import TangentSpace

Columns = dict[str, Tensor]


def attacked(model: nn.Module, logits: Tensor, references: References, config: MeasureConfig) -> Columns:
    """Every worst case that `config.robustness.attacks` names.

    An image counts as robust where it is classified rightly both at x, which lies in every ball, and at the attacked
    image. An image that no run could attack (zero gradient) is NaN, right or wrong, and so counted as degenerate.
    """
    asked = config.robustness
    columns: Columns = {}
    if "autoattack" in asked.attacks and not references.bounded:
        raise SpecError(
            "attacks: got autoattack for images that are not confined to [0, 1], which it needs; use pgd_l2 or "
            "pgd_linf with restarts."
        )
    for norm, budgets in (("l2", asked.l2_epsilons), ("linf", asked.linf_epsilons)):
        if f"pgd_{norm}" in asked.attacks:
            columns |= _pgd(model, logits, references, norm, budgets, config)
        if "autoattack" in asked.attacks:
            for epsilon in budgets:
                found = autoattack(model, references.x, references.truth, epsilon, norm, seed=config.seed)
                columns[f"accuracy_autoattack_{norm}.eps={number(epsilon)}"] = _robust(logits, found, references)
    if "worst_case" in asked.attacks:
        for frame in references.frames:
            columns |= _worst_case(model, logits, references, frame, config)
    return columns


def _pgd(
    model: nn.Module,
    logits: Tensor,
    references: References,
    norm: str,
    budgets: tuple[float, ...],
    config: MeasureConfig,
) -> Columns:
    """Accuracy under PGD of each budget; at the largest one also with half the steps, to see whether steps help."""
    asked, columns = config.robustness, {}
    runs = [(epsilon, asked.steps, "") for epsilon in budgets]
    runs += [(epsilon, asked.steps // 2, f".steps={asked.steps // 2}") for epsilon in budgets[-1:]]
    for epsilon, steps, suffix in runs:
        found = pgd_restarts(
            model,
            references.x,
            references.truth,
            Threat(epsilon, norm, steps, bounds=(0.0, 1.0) if references.bounded else None),
            restarts=asked.restarts,
            draw=Draw(config.seed, references.ids, f"pgd {norm}"),
        )
        columns[f"accuracy_pgd_{norm}.eps={number(epsilon)}{suffix}"] = _robust(logits, found, references)
    return columns


def _worst_case(
    model: nn.Module, logits: Tensor, references: References, frame: Frame, config: MeasureConfig
) -> Columns:
    """Largest softmax change by PGD inside x + T_x and inside x + its normal space, ‖δ‖₂ ≤ ε in both.

    The attack moves away from the predicted class, starting at x, and is not clipped to [0, 1], which would leave the
    subspace. A soft tangent space is attacked in the whole span of its basis. NaN where the space is {0}, or the
    gradient in it. With a working size the two spaces are those of its lifted steps: T_x lifted, and what is normal to
    that among all lifted steps.
    """
    asked, change, working = config.robustness, Change(logits), references.working
    space, columns = _lifted(frame.space.cut(frame.space.rank), working), {}

    def reject(x: Tensor) -> Tensor:
        return space.reject(working.inside(x))

    sides = (("on", space.project, space.rank > 0), ("off", reject, space.rank < frame.space.dimension))
    for side, project, exists in sides:
        for epsilon in asked.worst_epsilons or config.epsilons:
            found = pgd_restarts(
                model,
                references.x,
                logits.argmax(1),
                Threat(epsilon, "l2", asked.steps, bounds=None, random_start=False, project=project),
                restarts=asked.restarts,
                draw=Draw(config.seed, references.ids, f"worst {side}"),
            )
            key = f"{side}.eps={number(epsilon)}{frame.suffix}"
            usable = exists & ~found.stalled
            columns[f"worst_{key}"] = change.softmax(found.logits).where(usable, torch.nan)
            columns[f"accuracy_worst_{key}"] = _robust(logits, found, references).where(usable, torch.nan)
    return columns


def _lifted(space: TangentSpace, working: WorkingSize) -> TangentSpace:
    """The tangent spaces at the images' own size: the spans of their lifted directions."""
    if working.whole:
        return space
    n, _, k = space.basis.shape
    steps = space.basis.mT.reshape(n * k, *working.shape)
    basis, rank = masked_orthonormal(flat(working.lift(steps)).reshape(n, k, -1).mT)
    return TangentSpace(basis, rank)


def _robust(logits: Tensor, found: Strongest, references: References) -> Tensor:
    right = (logits.argmax(1) == references.truth) & (found.logits.argmax(1) == references.truth)
    finite = logits.isfinite().all(1) & found.logits.isfinite().all(1)
    return right.double().where(finite & ~found.stalled, torch.nan)


def masking_warnings(columns: dict[str, Tensor]) -> list[str]:
    """Attacks whose success falls with budget or steps (see `success_falls`), in words; the sign of masked gradients.

    Args:
        columns: of one classifier, by key, (N,) each, as `Rows` has them.
    """
    found = []
    for norm in ("l2", "linf"):
        family = f"accuracy_pgd_{norm}.eps="
        own = {key.removeprefix(family): values for key, values in columns.items() if key.startswith(family)}
        if not own:
            continue
        plain = sorted((key for key in own if ".steps=" not in key), key=float)
        chains = [plain] + [[key, key.partition(".steps=")[0]] for key in own if ".steps=" in key]
        for chain in chains:
            rows = torch.stack([own[key] for key in chain])
            fooled = rows[:, rows.isfinite().all(0)] == 0
            names = [f"ε = {key.replace('.steps=', ' with steps = ')}" for key in chain]
            found += [f"pgd_{norm}: {fall}" for fall in success_falls(fooled, names)]
    return found
