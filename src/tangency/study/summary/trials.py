"""What summary.json says of each trial: its outcome, its numbers, its regime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tangency.evaluate.numbers import Columns, TrialNumbers, as_json, fraction_null
from tangency.evaluate.regimes import STANDARD, bands, criteria
from tangency.evaluate.significance import add_holm, add_significance
from tangency.measures.keys import Key
from tangency.measures.registry import has_controls
from tangency.statistics import Criteria, Verdict
from tangency.study.plan import REFERENCES, UNTRAINED, Trial
from tangency.study.summary.headline import baselines
from tangency.study.summary.optimum import excess_risks
from tangency.types import Dataset


@dataclass(frozen=True)
class Results:
    """Numbers of a study.

    Args:
        planned: every trial of the study, in its order.
        numbers: id to numbers of each trial that could be measured.
        collapsed: ids of the trained trials whose accuracy is not shown to be above that of the best constant answer.
    """

    planned: list[Trial]
    numbers: dict[str, TrialNumbers]
    collapsed: set[str]

    @classmethod
    def of(cls, data: Dataset, planned: list[Trial], numbers: dict[str, TrialNumbers]) -> Results:
        """The same, with the collapsed ones named."""
        guessing = float(data.test.class_counts.max()) / len(data.test)
        collapsed = {
            trial.id
            for trial in planned
            if trial.id in numbers and trial.name not in REFERENCES
            if not numbers[trial.id].estimates["accuracy"].low > guessing
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
            if trial.id in self.numbers and trial.seed in standard and trial.name not in (*REFERENCES, STANDARD)
        }

    def criteria(self, change: str) -> dict[str, Criteria]:
        """What each sound trial's regime is judged by, against the standard trial of its seed.

        Args:
            change: key of the change of the output along the manifold.
        """
        sound = self.sound
        standard = baselines(self.planned, sound)
        return {
            trial.id: criteria(self.numbers[trial.id], self.numbers[standard[trial.seed].id], change)
            for trial in self.planned
            if trial.id in sound and trial.seed in standard and trial.name not in REFERENCES
        }


def trial_entries(
    results: Results,
    outcomes: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, Columns],
    dimension: int,
    verdicts: Mapping[str, Verdict],
    sensitivity: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """An entry for each trial, with p-values adjusted over the trained ones.

    Args:
        results: of the study.
        outcomes: id to how the training of each trial ended.
        columns: id to the rows of each measured trial.
        dimension: d of an image at the working size.
        verdicts, sensitivity: id to regime, and to the regime at other margins of accuracy.
    """
    null = fraction_null(next(iter(columns.values()))["tangent_rank"], dimension)
    risks = excess_risks(results.planned, results.numbers)
    entries = []
    for trial in results.planned:
        outcome = {**outcomes[trial.id], **({"outcome": "collapsed"} if trial.id in results.collapsed else {})}
        untrained = results.numbers.get(f"{UNTRAINED}-s{trial.seed}")
        entry = _entry(trial, outcome, results.numbers.get(trial.id), untrained, null)
        entry |= {"excess_risk": risks[trial.id]} if trial.id in risks else {}
        entry |= _regime(verdicts.get(trial.id), sensitivity.get(trial.id, {}))
        add_significance(entry, columns.get(trial.id, {}))
        entries.append(entry)
    add_holm(entry for entry in entries if entry["objective"] not in REFERENCES)
    return entries


def _entry(
    trial: Trial,
    outcome: Mapping[str, Any],
    numbers: TrialNumbers | None,
    untrained: TrialNumbers | None,
    null: tuple[float, float],
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": trial.id,
        "objective": trial.name,
        "strength": trial.strength,
        "seed": trial.seed,
        "outcome": outcome["outcome"],
        "train_hash": trial.train_hash,
        "measure_hash": trial.measure_hash,
        "seconds": outcome["seconds"],
        "epochs": outcome["epochs"],
        "measures": {},
        "excess": {},
    }
    if numbers is None:
        return entry
    for key, estimate in numbers.estimates.items():
        parsed = Key.parse(key)
        more = {"null": list(null)} if parsed.family == "tangent_fraction" else {}
        entry["measures"][key] = as_json(estimate, chance=numbers.chance[key], **more)
        if untrained and has_controls(parsed):
            control = as_json(untrained.estimates[key], chance=numbers.chance[key])
            entry["measures"][str(parsed.under("untrained"))] = control
    for key, excess in numbers.excess.items():
        controls = {name: as_json(control) for name, control in excess.controls.items()}
        entry["excess"][key] = as_json(excess.estimate, best_control=excess.best, controls=controls)
    return entry


def _regime(verdict: Verdict | None, sensitivity: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "regime": verdict.regime if verdict else None,
        "regime_sensitivity": sensitivity,
        "regime_bands": bands(verdict),
    }
