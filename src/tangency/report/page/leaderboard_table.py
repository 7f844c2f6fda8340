"""The numbers of a leaderboard: its columns, its rows with their ranks, and the controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tangency.evaluate.entries import EstimateEntry, ExcessEntry, MeasureEntry, to_json
from tangency.evaluate.ranking import Ranking, WorstEntry, directions
from tangency.measures.keys import FRACTION, KAPPA, Key
from tangency.report.page.tables import ColumnHead
from tangency.report.read.keys import alignment_key, nearest_key
from tangency.report.read.models import LabelledModel, ModelNumbers, rank_ranges, ranked_by
from tangency.report.text.glossary import REGIMES, control_name
from tangency.report.text.leaderboard import model_warnings
from tangency.report.text.measures import heading
from tangency.report.text.numbers import capital, number, number_or_dash

FAMILIES = ("accuracy", "tangent_fraction", "kappa", "change_on", "change_off", "alignment_cosine")
ROBUST = ("accuracy_", "certified_accuracy")  # families of accuracies: under attack, under noise, certified
CSV_COLUMNS = ["model", "data", "measure", "mean", "low", "high", "n", "degenerate", "chance", "p", "p_holm", "dz"]
_STEP = 2.0  # ε of the steps that are shown, or the nearest that was measured


@dataclass(frozen=True)
class RankedHead(ColumnHead):
    """A column of log F²/control: the smallest of all, which ranks models, or that under the estimator `key`."""

    @property
    def source(self) -> str:
        """What it is, for the tooltip of the heading."""
        if self.kind == "worst":
            return "log F²/control of the margin's gradient: the least over estimators and controls"
        return f"log F²/control under {self.key or 'the first estimator'}: the least over controls"

    def worst(self, ranking: Ranking | None) -> WorstEntry | None:
        """The entry of a model, or None."""
        if ranking is None:
            return None
        return ranking.worst if self.kind == "worst" else ranking.tangency.get(self.key)


RANKED_BY = RankedHead("log F²/best control", "", "worst", True)


@dataclass(frozen=True)
class TableCell:
    """An estimate as the table prints it, with notes on its control and its p-value."""

    estimate: EstimateEntry
    text: str
    notes: list[str]


@dataclass(frozen=True)
class TableRow:
    """A model: its range of ranks, its cells, its warnings."""

    label: str
    model: str
    images: int
    rank: str
    regime: str
    cells: list[TableCell | None]
    warnings: list[str]


@dataclass(frozen=True)
class ControlRow:
    """A model: a measure and its controls, and its excess over the best of them."""

    label: str
    cells: list[MeasureEntry | None]
    excess: ExcessEntry | None


@dataclass(frozen=True)
class ControlTable:
    """A measure beside each of its controls, which `names` gives with their words."""

    title: str
    names: list[tuple[str, str]]
    rows: list[ControlRow]


def _keys(models: Sequence[LabelledModel]) -> list[str]:
    """Measures that at least one model has."""
    return list(dict.fromkeys(key for model in models for key in model.numbers.measures))


def column_heads(models: Sequence[LabelledModel]) -> list[ColumnHead]:
    """Columns that at least one model has, what ranks them first."""
    keys = _keys(models)
    rankings = [model.numbers.ranking for model in models if model.numbers.ranking]
    heads: list[ColumnHead] = [RANKED_BY] if rankings else []
    heads += [ColumnHead("Accuracy", "accuracy")] if "accuracy" in keys else []
    if FRACTION in keys:
        heads.append(ColumnHead("F²", FRACTION))
    estimators = dict.fromkeys(name for ranking in rankings for name in ranking.tangency)
    if len(estimators) > 1:
        heads += [
            RankedHead(f"log F²/control, {name or 'first estimator'}", name, "tangency", True) for name in estimators
        ]
    for key in directions(keys):
        heads += [ColumnHead(heading(key), key), ColumnHead(f"{heading(key)}, minus shuffled", key, "excess", True)]
    if KAPPA in keys:
        heads.append(ColumnHead("κ (pooled)", KAPPA))
    for side, title in (("on", "On-manifold change"), ("off", "Off-manifold change")):
        step = nearest_key(keys, f"change_{side}", _STEP)
        heads += [ColumnHead(f"{title}, ε = {Key.parse(step).setting('eps')}", step)] if step else []
    return heads + [ColumnHead(_robust_title(key), key) for key in keys if Key.parse(key).family.startswith(ROBUST)]


def _robust_title(key: str) -> str:
    """The title of an accuracy under attack or noise: "Accuracy pgd l2, eps = 0.5"."""
    parsed = Key.parse(key)
    rest = str(parsed.of(""))
    return capital(f"{parsed.family.replace('_', ' ')}{', ' + rest.replace('=', ' = ') if rest else ''}")


def table_rows(models: Sequence[LabelledModel], heads: Sequence[ColumnHead]) -> list[TableRow]:
    """One row for each model."""
    ranks = rank_ranges([ranked_by(model.numbers) for model in models])
    return [
        TableRow(
            label=model.label,
            model=model.measured.name,
            images=len(model.measured.ids),
            rank=rank,
            regime=REGIMES[model.numbers.regime][0] if model.numbers.regime in REGIMES else "",
            cells=[_cell(head, model.numbers) for head in heads],
            warnings=model_warnings(model),
        )
        for model, rank in zip(models, ranks, strict=True)
    ]


def _cell(head: ColumnHead, numbers: ModelNumbers) -> TableCell | None:
    """An estimate with its text and notes, or None."""
    if isinstance(head, RankedHead):
        return _worst_cell(head, head.worst(numbers.ranking))
    entry = head.of(numbers)
    if entry is None or entry.mean is None:
        return None
    p = None if isinstance(entry, MeasureEntry) else to_json(entry.p_holm)
    notes = [] if p is None else [f"Holm's p {f'= {p:.2g}' if p >= 1e-3 else '< 0.001'}"]
    return TableCell(entry, number_or_dash(entry.mean, 3, head.signed), notes)


def _worst_cell(head: RankedHead, worst: WorstEntry | None) -> TableCell | None:
    """A number that is the least of several, with the one that it is of."""
    if worst is None or worst.estimate.mean is None:
        return None
    under = f", {worst.part.tangents}" if worst.part.tangents and head.kind == "worst" else ""
    notes = [f"over {worst.part.control.replace('_', ' ')}{under}"]
    return TableCell(worst.estimate, number_or_dash(worst.estimate.mean, 3, head.signed), notes)


def chance_levels(heads: Sequence[ColumnHead], models: Sequence[LabelledModel]) -> list[str]:
    """Chance level of each column, as a range where models differ."""
    out = []
    for head in heads:
        if head.kind != "measures":
            out.append("0")
            continue
        entries = [model.numbers.measures.get(head.key) for model in models]
        levels = [entry.chance for entry in entries if entry and entry.chance is not None]
        low, high = (number(f(levels), 3) for f in (min, max)) if levels else ("–", "–")
        out.append(low if low == high else f"{low} to {high}")
    return out


def control_tables(models: Sequence[LabelledModel]) -> list[ControlTable]:
    """F² and the headline alignment beside each of their controls: a table for each measure, a row for each model."""
    keys = _keys(models)
    out = []
    for key in filter(None, (FRACTION if FRACTION in keys else "", alignment_key(keys))):
        own = Key.parse(key)
        names = [k.control for k in map(Key.parse, keys) if k.control and k.base == own]
        if not names:
            continue
        rows = [
            ControlRow(
                model.label,
                [model.numbers.measures.get(k) for k in (key, *(str(own.under(name)) for name in names))],
                model.numbers.excess.get(key),
            )
            for model in models
        ]
        titles = [(name, control_name(name, own.family)) for name in names]
        out.append(ControlTable(heading(key), titles, rows))
    return out


def csv_rows(models: Sequence[LabelledModel]) -> list[list[str | float | None]]:
    """All numbers of all models, for the download."""
    return [
        [model.label, model.measured.about["data"], name, *(to_json(entry).get(column) for column in CSV_COLUMNS[3:])]
        for model in models
        for name, entry in _named(model.numbers).items()
    ]


def _named(numbers: ModelNumbers) -> dict[str, EstimateEntry]:
    """Measures, excesses and what ranks the model, by key."""
    held: dict[str, EstimateEntry] = dict(numbers.measures)
    held |= {str(Key.parse(key).minus()): entry for key, entry in numbers.excess.items()}
    if numbers.ranking is not None:
        held["log_fraction_over_control"] = numbers.ranking.worst.estimate
        for name, worst in numbers.ranking.tangency.items():
            held[str(Key("log_fraction_over_control").at(tangents=name or "first"))] = worst.estimate
    return held
