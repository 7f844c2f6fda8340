"""Labels of trials and cells, curves and headline of a study, by the rule that its spec names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tangency.evaluate.numbers import Columns
from tangency.evaluate.verdicts import verdicts
from tangency.statistics import KappaThresholds
from tangency.statistics.regimes import ORDER, Thresholds
from tangency.study.plan import Trial, cell_of
from tangency.study.spec import StudySpec
from tangency.study.summary.curves import curve_entries
from tangency.study.summary.entries import RegimesEntry
from tangency.study.summary.gaps import absent, unshared
from tangency.study.summary.gate import convergence_entries, withheld
from tangency.study.summary.headline import headline
from tangency.study.summary.kappa import judged_epsilon, kappa_labels
from tangency.study.summary.sweep import Sweep, thesis_by_estimator, verdicts_by_trial
from tangency.study.summary.sweep_entries import ConvergenceEntry, HeadlineEntry, SweepCurveEntry
from tangency.study.summary.trials import Labelled, Results

_BANDS = "95 %; of cells, networks crossed with images; of one network, over images, which says nothing of other seeds"
_TEXT = (
    "A regime is a statement about a sweep: each network is judged against the standard network of its seed, and the "
    "network of a trial alone over images only. Cells are recipes: all seeds together."
)
_KAPPA_BANDS = (
    "95 %; of trials, simultaneous over trials and criteria (bootstrap of max |t| over images), which says nothing of "
    "other seeds; of cells of several seeds, of each criterion, networks crossed with images"
)
_KAPPA_TEXT = (
    "The former rule, on κ: each trial is judged against the standard network of its seed. Cells are recipes: all "
    "seeds together."
)


@dataclass(frozen=True)
class JudgedStudy:
    """What a study says of its networks.

    Args:
        trials, cells: id to label.
        rule: how they were labelled.
        headline, curves, convergence: as in summary.json; none by rule: kappa.
        absent: cells without a network and objectives without a curve, in sentences.
    """

    trials: Mapping[str, Labelled]
    cells: Mapping[str, Labelled]
    rule: RegimesEntry
    headline: HeadlineEntry | None = None
    curves: list[SweepCurveEntry] = field(default_factory=list)
    convergence: list[ConvergenceEntry] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


def judge(
    sweep: Sweep, results: Results, spec: StudySpec, longer: Sequence[Trial], columns: Mapping[str, Columns]
) -> JudgedStudy:
    """Label the networks of a study.

    Args:
        sweep: its recipes.
        results: numbers of its trials.
        spec: names the rule.
        longer: trials of the convergence gate.
        columns: trial id to rows, those of `longer` among them.
    """
    constant = sweep.rows.constant
    if spec.rule == "kappa":
        trials, cells = kappa_labels(results, spec, columns, sweep.rows.dimension)
        rule = RegimesEntry(
            rule=spec.rule,
            kappa=KappaThresholds(),
            epsilon=judged_epsilon(spec),
            constant=constant,
            bands=_KAPPA_BANDS,
            text=_KAPPA_TEXT,
        )
        return JudgedStudy(trials, cells, rule, absent=absent(sweep, []))
    thresholds = Thresholds()
    together = verdicts(sweep.rows, thresholds)
    gate = convergence_entries(sweep.rows, longer, columns, thresholds)
    standard = sweep.rows.standard
    collapsed = standard is not None and together.recipes[standard.name].regime == "collapsed"
    fallen = 0 if collapsed or standard is None else sum(t.id in results.collapsed for t in sweep.trials[standard.name])
    why = withheld(sweep.rows, gate, sweep.lost, fallen)
    alone = withheld(sweep.rows, gate, {})  # a lost network of another seed says nothing of this one
    by_trial = verdicts_by_trial(sweep, together)
    cell_names = {trial.id: cell_of(trial) for own in sweep.trials.values() for trial in own}
    curves = curve_entries(sweep.rows, together, thesis_by_estimator(sweep.rows), why, sweep.diverged)
    everyone = {**together.recipes, **together.references}
    return JudgedStudy(
        trials={name: Labelled.of(each, alone.get(cell_names[name])) for name, each in by_trial.items()},
        cells={name: Labelled.of(each, why.get(name)) for name, each in everyone.items()},
        rule=RegimesEntry(
            rule=spec.rule, order=list(ORDER), thresholds=thresholds, constant=constant, bands=_BANDS, text=_TEXT
        ),
        headline=None if collapsed else headline(sweep, together, why, spec),
        curves=curves,
        convergence=gate,
        absent=absent(sweep, curves) + unshared(sweep),
    )
