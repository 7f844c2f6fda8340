"""Two measured classifiers on the images that both have: paired differences, effect sizes, p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tangency.errors import RunError, unknown_name
from tangency.evaluate.entries import EstimateEntry, fields_json, plain_number
from tangency.evaluate.folders import open_measured
from tangency.evaluate.measured import Measured
from tangency.evaluate.numbers import Columns, check_replicates, controlled, pooled_statistics
from tangency.evaluate.significance import PERMUTATIONS, SHUFFLED
from tangency.measures import Rows
from tangency.measures.definition import Better
from tangency.measures.keys import Key
from tangency.measures.registry import describe, is_fixed
from tangency.models.independence import averaged_note
from tangency.statistics import (
    Contrast,
    Estimate,
    PairedBootstrap,
    SignFlips,
    Statistic,
    holm,
    pair_dz,
    paired,
    swap_p,
)

FEWEST = 2


@dataclass(frozen=True)
class MeasureDifference:
    """A measure of two classifiers A and B over the images that both have.

    Args:
        key: of the measure.
        better: which way is better.
        a, b, difference: of A, of B, and A − B, with 95 % intervals, in the measure's unit.
        dz: Cohen's; None where it is not finite.
        p, p_holm: of A and B being exchangeable, and adjusted over the measures compared; None where undefined.
    """

    key: str
    better: Better
    a: EstimateEntry
    b: EstimateEntry
    difference: EstimateEntry
    dz: float | None
    p: float | None
    p_holm: float | None


@dataclass(frozen=True)
class ModelComparison:
    """Two measured classifiers, compared image by image.

    Args:
        a, b: their references, or "A" and "B" for rows.
        data: name of the data set.
        images: number of images that both have.
        left_out: of the images of each ("a", "b").
        level: of the intervals.
        permutations: that p-values rest on.
        warnings: in sentences.
        only: measures that one has alone ("a", "b").
        measures: the differences, largest |dz| first.
    """

    a: str
    b: str
    data: str
    images: int
    left_out: dict[str, int]
    level: float
    permutations: int
    warnings: list[str]
    only: dict[str, list[str]]
    measures: tuple[MeasureDifference, ...]

    def to_json(self) -> dict[str, Any]:
        """As `tangency compare --json` prints it."""
        return fields_json(self)


@dataclass(frozen=True)
class _Side:
    """One classifier's statistics over the shared images."""

    measured: Measured
    statistics: dict[str, Statistic]


def compare(
    a: str | Path | Rows,
    b: str | Path | Rows,
    keys: Sequence[str] = (),
    *,
    replicates: int = 2000,
    permutations: int = PERMUTATIONS,
) -> ModelComparison:
    """Paired differences A − B of every measure that two classifiers share, over the images that both have.

    Intervals resample images, the same for both. p is two-sided, by swapping A and B image by image,
    p = (1 + #{|swapped| ≥ |observed|})/(1 + P), and Holm-adjusted over the measures compared. dz is Cohen's,
    mean(A − B)/sd(A − B) over images; of pooled ratios by their pseudo-values; medians are
    tested by the shares of images above the median of both.

    Args:
        a, b: folders of `tangency measure --out`, or run:RUN/trials/ID; or both `Rows` of `measure`, which do not say
            what they were measured on: that their images are the same is up to the caller, and is warned of where
            measures that no classifier changes show otherwise.
        keys: measures to compare, each with everything that begins with it; all but controls by default.
            "excess.KEY.CONTROL" is KEY minus its control.
        replicates: bootstrap resamples, ≥ 2.
        permutations: P, ≥ 1.

    Returns:
        A `ModelComparison`: `images` that both have, `left_out` of each, `warnings`, measures that `only` one has, and
        `measures`, largest |dz| first, each with its key, which way is better, `a`, `b` and `difference` (mean, low,
        high, n, degenerate, with 95 % intervals, in the measure's unit), dz, p and p_holm. `.to_json()` makes
        dictionaries of it.

    Raises:
        RunError: a folder cannot be read, the data differ, fewer than two images are shared, no key fits, or rows are
            to be compared with a folder.
        NumericsError: fewer than two replicates, or a column is missing that a pooled number rests on.

    Source: p-values that count the observed, Phipson & Smyth (2010); Holm (1979).

    Example:
        >>> import torch, tangency
        >>> data = tangency.load_data("fashion-mnist-5k")
        >>> config = tangency.MeasureConfig(sigmas=(0.5,), directions=1, metrics=("cosine",))
        >>> nets = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)) for _ in range(2)]
        >>> x, y, few = data.test.images()[:6], data.test.labels[:6], data.train.subset(slice(0, None, 9))
        >>> one, two = (tangency.measure(net, x, y, train_data=few, config=config) for net in nets)
        >>> compared = compare(one, two, ["accuracy"], replicates=50, permutations=99)
        >>> compared.images, [difference.key for difference in compared.measures]
        (6, ['accuracy'])
    """
    if isinstance(a, Rows) != isinstance(b, Rows):
        raise RunError(
            "compare: got rows and a folder, expected two of a kind; rows do not say what they were measured on. "
            "Measure both with tangency.measure, or both into folders."
        )
    first, second = _opened(a, "A"), _opened(b, "B")
    a, b = first.name if isinstance(a, Rows) else str(a), second.name if isinstance(b, Rows) else str(b)
    _check_same_data(first, second, a, b)
    ids, in_a, in_b = np.intersect1d(first.ids, second.ids, assume_unique=True, return_indices=True)
    if len(ids) < FEWEST:
        raise RunError(
            f"compare: '{a}' and '{b}' share {len(ids)} measured images, expected at least {FEWEST}. Measure both on "
            "more images of the same data (--limit)."
        )
    sides = _side(first, in_a), _side(second, in_b)
    chosen = _chosen(sides, keys)
    return ModelComparison(
        a=a,
        b=b,
        data=first.about["data"],
        images=len(ids),
        left_out={"a": len(first.ids) - len(ids), "b": len(second.ids) - len(ids)},
        level=0.95,
        permutations=permutations,
        warnings=[
            *setting_warnings(first.about["settings"], second.about["settings"]),
            *_averaged_alone(first.about, second.about),
            *(_other_images(first, second, in_a, in_b) if not first.about["digest"] else []),
        ],
        only={"a": _only(first, second), "b": _only(second, first)},
        measures=_differences(sides, chosen, len(ids), replicates, permutations),
    )


def _opened(given: str | Path | Rows, side: str) -> Measured:
    """A measured classifier from its folder, or from rows."""
    if not isinstance(given, Rows):
        return open_measured(str(given))
    ids = given.ids.cpu().numpy()
    if len(np.unique(ids)) < len(ids):
        raise RunError(f"compare: the rows of {side} hold an image twice, expected distinct ids.")
    order = np.argsort(ids)
    columns: Columns = {key: values.cpu().numpy().astype(np.float64)[order] for key, values in given.columns.items()}
    about: dict[str, Any] = {
        "data": "rows",
        "digest": "",
        "shape": [given.dimension, 1, 1],
        "classes": given.classes,
        "settings": {},
        "reading": list(given.notes),
    }
    return Measured(side, Path(), about, {}, ids[order], columns)


def _other_images(first: Measured, second: Measured, in_a: np.ndarray, in_b: np.ndarray) -> list[str]:
    """A sentence where measures that no classifier changes differ, as those of other images or settings do."""
    differ = [
        key
        for key, values in first.columns.items()
        if ((parsed := Key.parse(key)).family == "tangent_rank" or is_fixed(parsed))
        and key in second.columns
        and not np.allclose(values[in_a], second.columns[key][in_b], rtol=1e-3, atol=1e-6, equal_nan=True)
    ]
    if not differ:
        return []
    return [
        f"{', '.join(differ)}: differ between A and B, though no classifier changes them: images, tangent spaces or "
        "settings were not the same."
    ]


def _check_same_data(first: Measured, second: Measured, a: str, b: str) -> None:
    if first.dimension != second.dimension and not first.about["digest"]:
        raise RunError(
            f"compare: A has images of {first.dimension} pixels, B of {second.dimension}; expected the same images."
        )
    if first.about["digest"] != second.about["digest"]:
        raise RunError(
            f"compare: '{a}' was measured on '{first.about['data']}' (digest {first.about['digest'][:12]}), '{b}' on "
            f"'{second.about['data']}' (digest {second.about['digest'][:12]}): other images cannot be paired. Measure "
            "both on the same data: tangency measure --model REF --data REF --out DIR."
        )
    if first.about["classes"] != second.about["classes"]:
        raise RunError(
            f"compare: classes are {first.about['classes']} for '{a}' and {second.about['classes']} for '{b}', "
            "expected the same in the same order."
        )


def _side(measured: Measured, rows: np.ndarray) -> _Side:
    columns: Columns = {key: values[rows] for key, values in measured.columns.items()}
    statistics = pooled_statistics(columns, measured.dimension)
    for key, (values, controls) in controlled(columns).items():
        for name, control in controls.items():
            statistics[str(Key.parse(key).minus(name))] = Contrast(values, control)
    return _Side(measured, statistics)


def _chosen(sides: tuple[_Side, _Side], keys: Sequence[str]) -> list[str]:
    shared = [key for key in sides[0].statistics if key in sides[1].statistics and not is_fixed(Key.parse(key))]
    if not keys:
        chosen = [key for key in shared if _by_default(Key.parse(key))]
    else:
        begun = {key: [known for known in shared if Key.parse(known).begins(key)] for key in keys}
        unknown = [key for key, known in begun.items() if not known]
        if unknown:
            raise RunError(f"keys: {unknown_name('measure', unknown[0], shared)}")
        chosen = [known for known in shared if any(known in each for each in begun.values())]
    if not chosen:
        raise RunError("compare: the two share no measure. Measure both with the same settings.")
    return chosen


def _by_default(key: Key) -> bool:
    return key.control == SHUFFLED if key.excess else not key.control


def _differences(
    sides: tuple[_Side, _Side], keys: list[str], images: int, replicates: int, permutations: int
) -> tuple[MeasureDifference, ...]:
    check_replicates(replicates)
    pairs = [paired(sides[0].statistics[key], sides[1].statistics[key]) for key in keys]
    draws = PairedBootstrap(images, replicates).evaluate([each for pair in pairs for each in pair])
    p = swap_p(SignFlips(images, permutations), pairs)
    differences = []
    for i, (key, pair, adjusted) in enumerate(zip(keys, pairs, holm(p), strict=True)):
        n = int(pair[0].usable().sum())
        of_a, of_b = draws[2 * i], draws[2 * i + 1]
        a, b, difference = (
            EstimateEntry.of(Estimate.of(row, n, images - n, fewest=pair[0].fewest))
            for row in (of_a, of_b, of_a - of_b)
        )
        dz, own_p, p_holm = map(plain_number, (pair_dz(*pair), p[i], float(adjusted)))
        differences.append(MeasureDifference(key, _better(key), a, b, difference, dz, own_p, p_holm))
    return tuple(sorted(differences, key=_by_size))


def _better(key: str) -> Better:
    """Which way is better; neither of a control by itself."""
    parsed = Key.parse(key)
    return describe(parsed).better if parsed.excess or not parsed.control else "neither"


def _by_size(difference: MeasureDifference) -> tuple[bool, float]:
    """Largest effect first, what has none last; one without spread (dz infinite) stands first."""
    if difference.difference.mean is None:
        return True, 0.0
    return False, -abs(difference.dz) if difference.dz is not None else -np.inf


def _only(own: Measured, other: Measured) -> list[str]:
    return [key for key in own.columns if key not in other.columns]


def setting_warnings(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """One sentence for each setting in which two measurements differ, named by its path."""
    flat_a, flat_b = flat(a), flat(b)
    return [
        f"{name}: {said(flat_a.get(name))} for A, {said(flat_b.get(name))} for B."
        for name in dict.fromkeys([*flat_a, *flat_b])
        if flat_a.get(name) != flat_b.get(name)
    ]


def _averaged_alone(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """A sentence where one of two classifiers is random and averaged, and the other is not."""
    averaged = [averaged_note() in about.get("reading", []) for about in (a, b)]
    if averaged[0] == averaged[1]:
        return []
    one, other = ("A", "B") if averaged[0] else ("B", "A")
    return [f"{one}: {averaged_note()}; {other} is measured as it is."]


def flat(settings: dict[str, Any], head: str = "") -> dict[str, Any]:
    """Nested settings as one level, named by their paths: {"measures.directions": 4, …}."""
    out: dict[str, Any] = {}
    for name, value in settings.items():
        out |= flat(value, f"{head}{name}.") if isinstance(value, dict) else {f"{head}{name}": value}
    return out


def said(value: Any) -> str:
    """A setting as a sentence has it."""
    if value is None or value in ("", []):
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
