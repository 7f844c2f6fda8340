"""The section on regimes: a row for each recipe with all that its label rests on; of `rule: kappa`, for each trial."""

from __future__ import annotations

from dataclasses import dataclass

from tangency.evaluate.entries import IntervalEntry
from tangency.evaluate.verdicts.entries import AlignmentUnder, ManifoldUnder, RecipeVerdict
from tangency.evaluate.verdicts.manifold import CONTROLS
from tangency.measures.keys import KAPPA
from tangency.report.read.sweep import directions, estimators, filter_names, judged, least_networks, twins
from tangency.report.read.trials import STANDARD, is_reference, mean_of
from tangency.report.text.glossary import control_name
from tangency.report.text.panels import story_keys
from tangency.report.text.score import direction_label, direction_name
from tangency.report.text.trials import label_of, trial_name
from tangency.report.text.verdict import interval_of
from tangency.statistics import CrossedEstimate
from tangency.study.summary.entries import StudySummary, TrialEntry

_BOTH = ", for both directions"  # a filter that was chosen for both
FEW = 5  # networks; below it every one of them is shown


@dataclass(frozen=True)
class AlignedCell:
    """L under one direction and its rises; None where not measured."""

    level: CrossedEstimate | None
    over_standard: CrossedEstimate | None
    over_filter: CrossedEstimate | None


@dataclass(frozen=True)
class ManifoldCell:
    """log F² over its best control under one estimator."""

    status: str
    worst: IntervalEntry | None
    control: str


@dataclass(frozen=True)
class ControlsRow:
    """Every control of F² of a recipe under one estimator, in the order of the headings, and what is left out."""

    estimator: str
    status: str
    values: list[CrossedEstimate | None]
    left_out: str
    missing: str


@dataclass(frozen=True)
class VerdictRow:
    """A recipe, or one network of it.

    Args:
        name: in words.
        id: of the cell or trial.
        label: in words.
        reason: the test that decided it; why it is withheld, where it is.
        networks: S.
        accuracy, accuracy_difference: itself, and against the standard recipe.
        aligned, manifold: in the order of the headings.
        radius: effective strength.
        sensitivity: label at each other δ.
        controls: of F².
    """

    name: str
    id: str
    label: str
    reason: str
    networks: int
    accuracy: CrossedEstimate | None
    accuracy_difference: CrossedEstimate | None
    aligned: list[AlignedCell]
    disattenuated: CrossedEstimate | None
    manifold: list[ManifoldCell]
    on_manifold: str
    radius: float | None
    sensitivity: list[str | None]
    controls: list[ControlsRow]


@dataclass(frozen=True)
class RegimesSection:
    """The section by the rule on L.

    Args:
        directions: label, name and filter of each Bayes direction.
        estimators: names.
        controls: headings of the folded table.
        margins: δ besides the chosen one.
        recipes, references: rows.
        networks: a row for each network, where recipes have several.
        few: whether recipes have fewer networks than an interval over them can carry far.
    """

    directions: list[tuple[str, str, str]]
    estimators: list[str]
    controls: list[str]
    margins: list[str]
    recipes: list[VerdictRow]
    references: list[VerdictRow]
    networks: list[VerdictRow]
    few: bool


def regimes_section(summary: StudySummary) -> RegimesSection | None:
    """The section; None for a study by rule: kappa."""
    if summary.regimes.rule == "kappa":
        return None
    same = twins(summary)
    rows = {
        cell.id: _row(
            summary,
            cell.id,
            f"{trial_name(cell)}{_BOTH * (cell.id in same.values())}",
            label_of(cell),
            cell.withheld,
            cell.verdict,
        )
        for cell in judged(summary)
        if cell.verdict and cell.id not in same
    }
    references = {cell.id for cell in summary.cells if is_reference(cell.objective)}
    several = least_networks(summary) > 1
    networks = [
        _row(
            summary, trial.id, f"{trial_name(trial)}, seed {trial.seed}", label_of(trial), trial.withheld, trial.verdict
        )
        for trial in summary.trials
        if several and trial.verdict and not is_reference(trial.objective)
    ]
    return RegimesSection(
        directions=[
            (direction_label(each), direction_name(summary, each), filter_names(summary, each))
            for each in directions(summary)
        ],
        estimators=list(estimators(summary).values()),
        controls=list(CONTROLS),
        margins=margins(summary),
        recipes=[row for name, row in rows.items() if name not in references],
        references=[row for name, row in rows.items() if name in references],
        networks=networks,
        few=least_networks(summary) < FEW,
    )


def _row(
    summary: StudySummary, name: str, words: str, label: str, withheld: str | None, verdict: RecipeVerdict
) -> VerdictRow:
    names = estimators(summary)
    return VerdictRow(
        name=words,
        id=name,
        label=label,
        reason=withheld or verdict.reason,
        networks=verdict.networks,
        accuracy=verdict.accuracy,
        accuracy_difference=verdict.accuracy_difference,
        aligned=[_aligned(verdict.aligned.get(target), verdict.objective) for target in directions(summary)],
        disattenuated=verdict.disattenuated,
        manifold=[_manifold(verdict.manifold.get(key)) for key in names],
        on_manifold=verdict.on_manifold,
        radius=verdict.radius.mean if verdict.radius else None,
        sensitivity=[None if withheld else verdict.sensitivity.get(margin) for margin in margins(summary)],
        controls=[_controls(names[key], under) for key, under in verdict.manifold.items() if key in names],
    )


def _aligned(under: AlignmentUnder | None, objective: str) -> AlignedCell:
    if under is None:
        return AlignedCell(None, None, None)
    over_standard = None if objective == STANDARD else under.over_standard  # of the standard recipe over itself
    return AlignedCell(under.alignment, over_standard, under.over_filter)


def _manifold(under: ManifoldUnder | None) -> ManifoldCell:
    if under is None or under.worst is None:
        return ManifoldCell("not measured" if under is None else under.status, None, "")
    return ManifoldCell(under.status, interval_of(under.worst), control_name(under.worst.control))


def _controls(estimator: str, under: ManifoldUnder) -> ControlsRow:
    same = [
        f"{name} ({'no image has another' if overlap is None else f'overlap {overlap:.3f}'})"
        for name, overlap in under.left_out.items()
    ]
    values = [under.controls.get(name) for name in CONTROLS]
    return ControlsRow(estimator, under.status, values, ", ".join(same), ", ".join(under.missing))


def margins(summary: StudySummary) -> list[str]:
    """The accuracy margins tried besides the chosen one."""
    tried = {margin for trial in summary.trials for margin in trial.regime_sensitivity}
    rule = summary.regimes.thresholds or summary.regimes.kappa
    chosen = rule.accuracy_margin if rule else None
    return sorted((margin for margin in tried if float(margin) != chosen), key=float)


@dataclass(frozen=True)
class KappaRow:
    """A trial against the standard trial of its seed: the ratios that `rule: kappa` compares with its thresholds.

    `sensitivity` holds its label at each other margin of accuracy.
    """

    trial: TrialEntry
    kappa: float | None
    kappa_ratio: float | None
    accuracy_change: float | None
    on_ratio: float | None
    sensitivity: list[str | None]


def kappa_rows(summary: StudySummary) -> list[KappaRow]:
    """A row for each trained trial but the standard ones; none but by rule: kappa."""
    if summary.regimes.rule != "kappa":
        return []
    baselines = {trial.seed: trial for trial in summary.trials if trial.objective == STANDARD}
    on = story_keys(summary).get("on", "")
    out = []
    for trial in summary.trials:
        if trial.objective == STANDARD or is_reference(trial.objective):
            continue
        baseline = baselines.get(trial.seed)
        now, before = ([mean_of(t, k) if t else None for k in (KAPPA, "accuracy", on)] for t in (trial, baseline))
        out.append(
            KappaRow(
                trial=trial,
                kappa=now[0],
                kappa_ratio=ratio(now[0], before[0]),
                accuracy_change=None if now[1] is None or before[1] is None else now[1] - before[1],
                on_ratio=ratio(now[2], before[2]),
                sensitivity=[trial.regime_sensitivity.get(margin) for margin in margins(summary)],
            )
        )
    return out


def ratio(now: float | None, before: float | None) -> float | None:
    """now / before, where both are there."""
    return now / before if now is not None and before else None
