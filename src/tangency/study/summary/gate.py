"""The convergence gate: what moved when networks were trained twice as long, and what is withheld for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tangency.evaluate.entries import plain_number
from tangency.evaluate.numbers import Columns
from tangency.evaluate.verdicts import Recipe, SweepRows
from tangency.evaluate.verdicts.entries import ManifoldUnder
from tangency.evaluate.verdicts.manifold import on_manifold
from tangency.evaluate.verdicts.recipes import estimators
from tangency.statistics.regimes import Thresholds
from tangency.statistics.resamples import Array
from tangency.study.plan import LONGER, Trial, cell_of
from tangency.study.summary.sweep import log_kappa
from tangency.study.summary.sweep_entries import ConvergenceEntry, MovedEntry
from tangency.study.sweep import STANDARD

MOST_LOG_KAPPA = 0.08  # nats that ln κ may move by
MOST_SDS = 2.0  # sds of networks that log F²/control may move by
_LEFT = "its sweep is made of the seeds that are left, a selection"
_Z = 1.959964  # half-widths of 95 % image intervals to standard errors, nearly


def convergence_entries(
    rows: SweepRows, longer: Sequence[Trial], columns: Mapping[str, Columns], thresholds: Thresholds
) -> list[ConvergenceEntry]:
    """An entry for each cell of which networks were trained longer.

    Args:
        rows: of the study.
        longer: the trials that were trained longer, of every seed.
        columns: trial id to its rows; those of networks that diverged are missing.
        thresholds: floor of F² and overlap of controls.
    """
    cells: dict[str, list[Trial]] = {}
    for trial in longer:
        cells.setdefault(cell_of(trial).removesuffix("-long"), []).append(trial)
    recipes = {recipe.name: recipe for recipe in rows.recipes}
    return [
        _entry(rows, recipes[name], trials, columns, thresholds) for name, trials in cells.items() if name in recipes
    ]


def _entry(
    rows: SweepRows,
    recipe: Recipe,
    trials: Sequence[Trial],
    columns: Mapping[str, Columns],
    thresholds: Thresholds,
) -> ConvergenceEntry:
    paired = {t.seed: columns[t.id] for t in trials if t.id in columns and t.seed in recipe.networks}
    lost = sum(t.id not in columns for t in trials)
    before = Recipe(recipe.name, recipe.objective, recipe.strength, {seed: recipe.networks[seed] for seed in paired})
    after = Recipe(recipe.name, recipe.objective, recipe.strength, paired)
    kappa = [np.array([log_kappa(n, rows.dimension) for n in r.networks.values()]) for r in (before, after)]
    log_kappas = _moved(kappa[1] - kappa[0], MOST_LOG_KAPPA, "networks" if len(paired) > 1 else "images")
    fraction = {}
    for name, key in estimators([before, after] if paired else []).items():
        levels = [on_manifold(rows, each, key, thresholds) for each in (before, after)]
        if all(level.controls for level in levels):
            own, allowed = _least(levels[0]), _allowed(levels[0])
            fraction[name] = _moved(_least(levels[1]) - own, allowed, log_kappas.unit)
    words = [f"{lost} of its networks diverged"] if lost else []
    words += [f"ln κ moved by {_spoken(log_kappas)}"] if _too_far(log_kappas) else []
    words += [
        f"log F²/control ({name or 'first estimator'}) moved by {_spoken(each)}"
        for name, each in fraction.items()
        if _too_far(each)
    ]
    start = f"{recipe.name}, trained {LONGER} times as long"
    return ConvergenceEntry(
        cell=recipe.name,
        longer=[trial.id for trial in trials],
        epochs=[trials[0].epochs // LONGER, trials[0].epochs],
        log_kappa=log_kappas,
        fraction=fraction,
        moved=bool(words),
        reason=f"{start}: {'; '.join(words) or 'neither ln κ nor log F²/control moved by more than is allowed'}",
    )


def _least(level: ManifoldUnder) -> Array:
    """log F²/control of each network against its best control, (S,)."""
    least: Array = np.min([estimate.each for estimate in level.controls.values()], axis=0)
    return least


def _allowed(level: ManifoldUnder) -> float:
    """Two sds of networks; of one network two standard errors over images, against its best control."""
    each = _least(level)
    if len(each) > 1:
        return MOST_SDS * float(each.std(ddof=1))
    worst = min(level.controls.values(), key=lambda estimate: estimate.mean)
    return MOST_SDS * (worst.high - worst.low) / (2 * _Z)


def _moved(changes: Array, allowed: float, unit: str) -> MovedEntry:
    change = plain_number(float(changes.mean())) if len(changes) else None
    each = [plain_number(float(value)) for value in changes]
    return MovedEntry(change=change, each=each, allowed=plain_number(allowed), unit=unit)


def _too_far(moved: MovedEntry) -> bool:
    return moved.change is None or (moved.allowed is not None and abs(moved.change) >= moved.allowed)


def _spoken(moved: MovedEntry) -> str:
    if moved.change is None:
        return "an unknown amount"
    return f"{moved.change:+.3f}, allowed are ±{moved.allowed:.3f}"


def withheld(
    rows: SweepRows, entries: Sequence[ConvergenceEntry], lost: Mapping[str, int], collapsed: int = 0
) -> dict[str, str]:
    """Cell id and objective to why nothing is claimed of them, in sentences; those that stand are left out.

    What the standard recipe lost withholds all that is judged against it. What another cell lost withholds its label
    and the sweep of its objective, which is then made of the seeds that are left.

    Args:
        rows: of the study.
        entries: of the gate.
        lost: cell id to how many of its networks diverged; what is left of them is a selection.
        collapsed: how many networks of a standard recipe that is not collapsed are.
    """
    baseline, everyone = _lost_baseline(rows, lost, collapsed), [*rows.recipes, *rows.references]
    whole = {
        objective: _unconverged(rows, entries, objective) + baseline for objective in {r.objective for r in everyone}
    }
    of_sweeps = {objective: list(sentences) for objective, sentences in whole.items()}
    of_cells = {}
    for recipe in everyone:
        if count := lost.get(recipe.name):
            of_cells[recipe.name] = [f"{count} of its networks diverged, and the others are a selection."]
            of_sweeps[recipe.objective].append(f"{count} of the networks of {recipe.name} diverged; {_LEFT}.")
        else:
            of_cells[recipe.name] = whole[recipe.objective]
    return {name: " ".join(sentences) for name, sentences in (of_sweeps | of_cells).items() if sentences}


def _unconverged(rows: SweepRows, entries: Sequence[ConvergenceEntry], objective: str) -> list[str]:
    """What moved of an objective or of the standard recipe, in a sentence; none where nothing did."""
    by_objective = {recipe.name: recipe.objective for recipe in rows.recipes}
    moved = [entry for entry in entries if entry.moved]
    own = [e.reason for each in dict.fromkeys((STANDARD, objective)) for e in moved if by_objective[e.cell] == each]
    return [f"Not converged, so nothing is claimed: {'; '.join(own)}."] if own else []


def _lost_baseline(rows: SweepRows, lost: Mapping[str, int], collapsed: int) -> list[str]:
    """What the standard recipe lost, in a sentence; none for nothing."""
    diverged = lost.get(rows.standard.name, 0) if rows.standard else 0
    counts = {"diverged": diverged, "collapsed": collapsed}
    words = " and ".join(f"{count} {how}" for how, count in counts.items() if count)
    return [f"Of the standard networks {words}, and nothing is claimed against a selection of them."] if words else []
