"""What verdicts on recipes rest on, as figures and tables need it: L, log F²/control, filters, estimators."""

from __future__ import annotations

from collections.abc import Sequence

from tangency.evaluate.verdicts.entries import ManifoldUnder, RecipeVerdict
from tangency.report.read.score import score_card
from tangency.report.read.trials import filter_twins, is_reference
from tangency.study.plan import FILTERED
from tangency.study.summary.entries import StudySummary
from tangency.study.summary.sweep_entries import CellEntry


def judged(summary: StudySummary) -> list[CellEntry]:
    """The cells with a verdict, by the rule on L."""
    return [cell for cell in summary.cells if cell.verdict]


def trained_cells(summary: StudySummary) -> list[CellEntry]:
    """Those of trained recipes."""
    return [cell for cell in judged(summary) if not is_reference(cell.objective)]


def directions(summary: StudySummary) -> list[str]:
    """The Bayes directions under which L was measured."""
    return list(dict.fromkeys(target for cell in trained_cells(summary) for target in _of(cell).aligned))


def estimators(summary: StudySummary) -> dict[str, str]:
    """Tangent estimator as keys name it ("" for the first) to its own name, of those that verdicts rest on."""
    keys = dict.fromkeys(key for cell in trained_cells(summary) for key in _of(cell).manifold)
    names = estimator_names(summary)
    return {key: names.get(key, key) for key in keys}


def estimator_names(summary: StudySummary) -> dict[str, str]:
    """The same of all estimators of the study, by either rule."""
    named = [each.name for each in summary.tangents.estimators] if summary.tangents else []
    first, *others = named or [score_card(summary).kind]
    return {"": first} | {name: name for name in others}


def reference(summary: StudySummary, objective: str) -> RecipeVerdict | None:
    """The verdict on a reference, such as the Bayes rule; None where it was not measured."""
    return next((cell.verdict for cell in judged(summary) if cell.objective == objective), None)


def filtered(summary: StudySummary, direction: str) -> RecipeVerdict | None:
    """The verdict on the standard network behind the filter that was chosen for a direction."""
    return reference(summary, FILTERED[direction]) if direction in FILTERED else None


def filter_names(summary: StudySummary, direction: str) -> str:
    """The filters that were chosen for a direction, each seed having its own; "" for none."""
    own = [trial.filter.name for trial in summary.trials if trial.objective == FILTERED.get(direction) and trial.filter]
    return ", ".join(dict.fromkeys(own))


def twins(summary: StudySummary) -> dict[str, str]:
    """Trial or cell behind the filter of the second direction to that of the first, where they are the same networks.

    A cell is where all of its networks are.
    """
    trials = [t for t in summary.trials if t.filter]
    own = filter_twins((t.id, t.objective, t.seed, t.filter.name) for t in trials if t.filter)
    seeds = {t.seed for t in trials if t.id in own}
    cells = {cell.objective: cell for cell in summary.cells if cell.objective in FILTERED.values()}
    first, second = (cells.get(name) for name in FILTERED.values())
    if first and second and set(first.seeds) == set(second.seeds) == seeds:
        own[second.id] = first.id
    return own


def least_each(under: ManifoldUnder) -> list[float]:
    """log F²/control of each network against its own best control."""
    return [min(values) for values in zip(*(e.each for e in under.controls.values()), strict=True)]


def least_networks(summary: StudySummary) -> int:
    """The smallest number of networks of a judged recipe; 0 where none is judged."""
    return min((_of(cell).networks for cell in trained_cells(summary)), default=0)


def by_objective(cells: Sequence[CellEntry]) -> dict[str, list[CellEntry]]:
    """Objective to its cells, in the order of the summary."""
    groups: dict[str, list[CellEntry]] = {}
    for cell in cells:
        groups.setdefault(cell.objective, []).append(cell)
    return groups


def _of(cell: CellEntry) -> RecipeVerdict:
    assert cell.verdict is not None
    return cell.verdict
