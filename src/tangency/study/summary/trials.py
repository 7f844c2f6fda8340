"""What summary.json says of each trial: its outcome, its numbers, its label."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tangency.autodiff import Temperature
from tangency.evaluate.entries import MeasureEntry, Numbers, with_holm
from tangency.evaluate.numbers import Columns, TrialNumbers, fraction_null
from tangency.evaluate.significance import excess_entries
from tangency.evaluate.verdicts.entries import RecipeVerdict
from tangency.measures import Calibration
from tangency.measures.keys import Key
from tangency.measures.registry import has_controls
from tangency.study.plan import UNTRAINED, Trial, is_reference
from tangency.study.summary.entries import FilterEntry, GivenEntry, TrialEntry
from tangency.study.summary.optimum import excess_risks
from tangency.study.sweep import STANDARD

_OF_TRAINING = ("cpu_seconds", "gpu_seconds", "learning_rate")  # which untrained networks do not have


@dataclass(frozen=True)
class Labelled:
    """The label of a trial or a cell.

    Args:
        regime: None where it is withheld.
        sensitivity: margin of accuracy to the label at it.
        withheld: why there is no label.
        verdict: what it rests on, by rule: regimes.
        bands: by rule: kappa.
    """

    regime: str | None
    sensitivity: Mapping[str, str]
    withheld: str | None = None
    verdict: RecipeVerdict | None = None
    bands: Mapping[str, Numbers] = field(default_factory=dict)

    @classmethod
    def of(cls, verdict: RecipeVerdict, withheld: str | None) -> Labelled:
        """The label of a verdict."""
        if withheld:
            return cls(None, {}, withheld, verdict)
        return cls(verdict.regime, verdict.sensitivity, None, verdict)


@dataclass(frozen=True)
class Results:
    """Numbers of a study.

    Args:
        planned: every trial of the study, in its order.
        numbers: id to numbers of each trial that could be measured.
        collapsed: ids of the trained trials whose accuracy is not shown to be above that of the best constant answer.
    """

    planned: Sequence[Trial]
    numbers: dict[str, TrialNumbers]
    collapsed: set[str]

    @classmethod
    def of(cls, constant: float, planned: Sequence[Trial], numbers: dict[str, TrialNumbers]) -> Results:
        """Results with the collapsed trials marked, by the accuracy of the best constant answer."""
        collapsed = {
            trial.id
            for trial in planned
            if trial.id in numbers and not is_reference(trial.name)
            if not numbers[trial.id].estimates["accuracy"].low > constant
        }
        return cls(planned, numbers, collapsed)

    @property
    def sound(self) -> set[str]:
        """Ids of the measured trials that did not collapse."""
        return self.numbers.keys() - self.collapsed

    def standard_of(self) -> dict[str, str]:
        """Id of each other trained trial to that of the standard trial of its seed."""
        standard = baselines(self.planned, self.sound)
        return {
            trial.id: standard[trial.seed].id
            for trial in self.planned
            if trial.id in self.numbers
            and trial.seed in standard
            and trial.name != STANDARD
            and not is_reference(trial.name)
        }


def baselines(planned: Sequence[Trial], usable: Container[str]) -> dict[int, Trial]:
    """The standard trial of each seed by the recipe of the study, the first where there are several, of these ids."""
    standard: dict[int, Trial] = {}
    for trial in planned:
        if trial.is_baseline and trial.id in usable:
            standard.setdefault(trial.seed, trial)
    return standard


def trial_entries(
    results: Results,
    outcomes: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, Columns],
    dimension: int,
    labels: Mapping[str, Labelled],
) -> list[TrialEntry]:
    """An entry for each trial, with p-values adjusted over the trained ones.

    Args:
        results: of the study.
        outcomes: id to how the training of each trial ended.
        columns: id to the rows of each measured trial.
        dimension: d of an image at the working size.
        labels: id to label.
    """
    null = fraction_null(next(iter(columns.values()))["tangent_rank"], dimension)
    risks = excess_risks(results.planned, results.numbers)
    entries = []
    for trial in results.planned:
        outcome, numbers = outcomes[trial.id], results.numbers.get(trial.id)
        untrained = results.numbers.get(f"{UNTRAINED}-s{trial.seed}")
        label = labels.get(trial.id) or Labelled(None, {})
        entries.append(
            TrialEntry(
                id=trial.id,
                objective=trial.name,
                strength=trial.strength,
                seed=trial.seed,
                outcome="collapsed" if trial.id in results.collapsed else outcome["outcome"],
                train_hash=trial.train_hash,
                measure_hash=trial.measure_hash,
                seconds=outcome["seconds"],
                epochs=outcome["epochs"],
                **{name: outcome.get(name) for name in _OF_TRAINING},
                filter=FilterEntry.of(outcome),
                network=GivenEntry(**outcome["network"]) if "network" in outcome else None,
                calibration=calibration_of(outcome),
                measures=_measures(numbers, untrained, null) if numbers else {},
                excess=excess_entries(numbers.excess, columns[trial.id]) if numbers else {},
                excess_risk=risks.get(trial.id),
                regime=label.regime,
                withheld=label.withheld,
                regime_sensitivity=dict(label.sensitivity),
                regime_bands=dict(label.bands) or None,
                verdict=label.verdict,
            )
        )
    return _adjusted(entries)


def _adjusted(entries: Sequence[TrialEntry]) -> list[TrialEntry]:
    """These entries, with p-values of the trained ones adjusted over all of them."""
    trained = [entry for entry in entries if not is_reference(entry.objective)]
    adjusted = {entry.id: excess for entry, excess in zip(trained, with_holm([e.excess for e in trained]), strict=True)}
    return [dataclasses.replace(entry, excess=adjusted.get(entry.id, entry.excess)) for entry in entries]


def calibration_of(outcome: Mapping[str, Any]) -> Calibration | None:
    """That of a trial's outcome; None where no scalar needs one."""
    if "calibration" not in outcome:
        return None
    content = outcome["calibration"]
    return Calibration(content["temperature"] and Temperature(**content["temperature"]), content["refused"])


def _measures(
    numbers: TrialNumbers, untrained: TrialNumbers | None, null: tuple[float, float]
) -> dict[str, MeasureEntry]:
    """Every measure with its chance level, beside that of the untrained network where it is a control."""
    measures = {}
    for key, estimate in numbers.estimates.items():
        parsed = Key.parse(key)
        random = list(null) if parsed.family == "tangent_fraction" else None
        measures[key] = MeasureEntry.of(estimate, chance=numbers.chance[key], null=random)
        if untrained and has_controls(parsed):
            control = MeasureEntry.of(untrained.estimates[key], chance=numbers.chance[key])
            measures[str(parsed.under("untrained"))] = control
    return measures
