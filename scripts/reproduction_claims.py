"""The paper's claims on the rows of a sweep, by the verdict rules of tangency (docs/preregistration.md)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from scipy.stats import spearmanr

from reproduction_rows import PackedSweep
from tangency.evaluate.verdicts import Recipe, SweepVerdicts, verdicts
from tangency.evaluate.verdicts.aligned import ACCURACY, aligned, difference
from tangency.evaluate.verdicts.entries import AlignmentUnder, ManifoldUnder, WorstControl
from tangency.evaluate.verdicts.manifold import change, corrected, on_manifold
from tangency.evaluate.verdicts.recipes import directions, estimators, shared_seeds
from tangency.measures.keys import Key
from tangency.statistics.crossed import crossed_mean, crossed_sets
from tangency.statistics.regimes import Thresholds
from tangency.study.summary.correlations import correlations
from tangency.study.summary.curves import curve_entries
from tangency.study.summary.gate import convergence_entries, withheld
from tangency.study.summary.sweep import curves_of, log_kappa

HOLDS, PART, NOT, OPEN = "holds", "in part", "does not", "cannot be decided"
FEWEST = 5  # networks of a recipe, below which a sweep has no verdict
LEVEL = 0.95
WORDS = {
    "bayes_gradient": "mixture",
    "network_bayes_gradient": "trained score",
    "gradient_norm": "gradient norm",
    "pgd_l2": "PGD ℓ₂",
    "noise_augmentation": "noise augmentation",
    "noise_consistency": "noise consistency",
}


class Interval(Protocol):
    """A number with its ends."""

    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Estimate:
    """One number of a claim; NaN ends where it has no interval."""

    name: str
    mean: float
    low: float = float("nan")
    high: float = float("nan")

    @classmethod
    def of(cls, name: str, own: Interval) -> Estimate:
        return cls(name, own.mean, own.low, own.high)


@dataclass(frozen=True)
class Claim:
    """One row of docs/reproduction.md.

    Args:
        claim: letter of docs/preregistration.md.
        part: of the reproduction.
        definition: "ours", or "pags" for the published one.
        measure: what was measured, in words and keys.
        verdict: one of the four answers.
        estimates: the numbers that it rests on.
        ungated: what would be said without the gate; "" where the gate has no say.
        note: why, in a sentence.
    """

    claim: str
    part: str
    definition: str
    measure: str
    verdict: str
    estimates: list[Estimate] = field(default_factory=list)
    ungated: str = ""
    note: str = ""


@dataclass(frozen=True)
class Judged:
    """A sweep with everything that several claims rest on."""

    part: str
    sweep: PackedSweep
    verdicts: SweepVerdicts
    withheld: Mapping[str, str]

    @classmethod
    def of(cls, part: str, sweep: PackedSweep) -> Judged:
        """The verdicts and the gate, anew from the rows."""
        gate = convergence_entries(sweep.rows, sweep.longer, sweep.columns, Thresholds())
        return cls(part, sweep, verdicts(sweep.rows), withheld(sweep.rows, gate, {}))

    @property
    def objectives(self) -> dict[str, list[Recipe]]:
        """Objective to its recipes, without the standard one."""
        return {name: own[1:] for name, own in curves_of(self.sweep.rows).items()}

    @property
    def networks(self) -> int:
        """The least number of networks of a recipe."""
        return min(len(recipe.networks) for recipe in self.sweep.rows.recipes)

    def said(self, verdict: str, gated: bool) -> tuple[str, str, str]:
        """Verdict, what would be said without the gate, and why."""
        if self.networks < FEWEST:
            several = "networks" if self.networks > 1 else "network"
            return OPEN, "", f"{self.networks} {several} of each recipe: points, no verdict"
        if not gated:
            return verdict, "", ""
        if not self.sweep.longer:
            return OPEN, verdict, "no network was trained longer, so that nobody knows whether they have converged"
        if held := [words(name) for name in self.objectives if name in self.withheld]:
            return OPEN, verdict, f"not converged: {', '.join(held)}"
        return verdict, "", ""


def words(name: str) -> str:
    """An objective or a direction in plain words."""
    return WORDS.get(name, name)


def of_all(shown: Sequence[bool], partly: Sequence[bool], refuted: Sequence[bool]) -> str:
    """Holds for all, in part for some, or for all in part; does not where it is refuted for all; open for none."""
    if not shown:
        return OPEN
    if all(shown):
        return HOLDS
    if any(shown) or all(partly):
        return PART
    return NOT if all(refuted) else OPEN


def alignment_claim(judged: Judged) -> Claim:
    """A: L above the standard network's and beyond the best fixed linear filter, under every direction."""
    rows, targets = judged.sweep.rows, directions(judged.sweep.rows.recipes)
    estimates, shown, risen, refuted = [_accuracy(judged)], [], [], []
    for objective, recipes in judged.objectives.items():
        thresholds = Thresholds(level=corrected(LEVEL, len(recipes)))
        by_recipe = {
            recipe.name: [u for t, k in targets.items() if (u := aligned(rows, recipe, t, k, thresholds))]
            for recipe in recipes
        }
        several = len(targets) > 1 or rows.exact
        shown.append(several and any(all(_beyond(u) for u in own) for own in by_recipe.values()))
        risen.append(any(all(_low(u.over_standard) > 0 for u in own) for own in by_recipe.values()))
        refuted.append(all(any(_high(u.over_standard) <= 0 for u in own) for own in by_recipe.values()))
        best = max(recipes, key=lambda recipe: min(_low(u.beyond_filter) for u in by_recipe[recipe.name]))
        for under in by_recipe[best.name]:
            at = f"{words(objective)} {best.strength:g}, {words(Key.parse(under.column).target)}"
            if under.over_standard:
                estimates.append(Estimate.of(f"{at}: L − standard", under.over_standard))
            if under.beyond_filter:
                estimates.append(Estimate.of(f"{at}: beyond the filter", under.beyond_filter))
    verdict, ungated, note = judged.said(of_all(shown, risen, refuted), gated=False)
    measure = "L = cosine of ∇margin with a Bayes direction − shuffled; − standard; − standard behind the best filter"
    return Claim("A", judged.part, "ours", measure, verdict, estimates, ungated, note)


def _beyond(under: AlignmentUnder) -> bool:
    return _low(under.over_standard) > 0 and _low(under.beyond_filter) > 0


def _low(estimate: Interval | None) -> float:
    return -np.inf if estimate is None or np.isnan(estimate.low) else estimate.low


def _high(estimate: Interval | None) -> float:
    return np.inf if estimate is None or np.isnan(estimate.high) else estimate.high


def _accuracy(judged: Judged) -> Estimate:
    standard = judged.sweep.rows.standard
    assert standard is not None
    return Estimate.of("accuracy of the standard networks", crossed_mean(standard.values(ACCURACY)))


def tangency_claim(judged: Judged) -> Claim:
    """B: log F²/control above the standard network's and above 0 against every control, under every estimator."""
    rows, keys = judged.sweep.rows, estimators(judged.sweep.rows.recipes)
    estimates, shown, risen, refuted = [_accuracy(judged)], [], [], []
    for objective, recipes in judged.objectives.items():
        thresholds = Thresholds(level=corrected(LEVEL, len(recipes)))
        on = {r.name: [on_manifold(rows, r, key, thresholds) for key in keys.values()] for r in recipes}
        rise = {
            r.name: [change(rows, r, key, Thresholds(), thresholds.level) for key in keys.values()] for r in recipes
        }
        up = {name: all(_low(each) > 0 for each in own) for name, own in rise.items()}
        above = {name: all(each.status.startswith("shown") for each in own) for name, own in on.items()}
        shown.append(any(up[r.name] and above[r.name] for r in recipes))
        risen.append(any(up.values()))
        refuted.append(all(each.status == "not" for own in on.values() for each in own))
        best = max(recipes, key=lambda recipe: _low(_worst(on[recipe.name])))
        at = f"{words(objective)} {best.strength:g}"
        if worst := _worst(on[best.name]):
            estimates.append(Estimate.of(f"{at}: log F²/{worst.control}", worst))
        changes = [each for each in rise[best.name] if each]
        if changes:
            estimates.append(Estimate.of(f"{at}: − standard", min(changes, key=lambda each: each.low)))
    verdict, ungated, note = judged.said(of_all(shown, risen, refuted), gated=True)
    measure = "log F²/best control of equal rank, the worse of two tangent estimators; − standard"
    return Claim("B", judged.part, "ours", measure, verdict, estimates, ungated, note)


def _worst(levels: Iterable[ManifoldUnder]) -> WorstControl | None:
    known = [level.worst for level in levels if level.worst]
    return min(known, key=lambda worst: worst.low) if known else None


def correlation_claim(judged: Judged) -> Claim:
    """D: the thesis of every sweep, and a partial rank correlation beyond that of both controls."""
    theses = {objective: judged.verdicts.thesis[objective].status for objective in judged.objectives}
    estimates, beyond, below = [], [], []
    for entry in correlations(judged.sweep.rows):
        at = words(Key.parse(entry.y).target)
        own = "partial ρ of ln κ with the cosine"
        estimates.append(Estimate(f"{at}: {own}", _number(entry.rho)))
        for control, held in entry.controls.items():
            numbers = [_number(each) for each in (held.difference, held.low, held.high)]
            estimates.append(
                Estimate(f"{at}: − with {'another image' if control == 'shuffled' else control}", *numbers)
            )
        known = [c for c in entry.controls.values() if c.p_holm is not None and c.p_holm < 1 - LEVEL]
        beyond.append(len(known) == 2 and all((c.high or 0) < 0 for c in known))
        below.append(len(known) == 2 and all((c.low or 0) > 0 for c in known))
    all_hold, linked = all(s == "holds" for s in theses.values()), bool(beyond) and all(beyond)
    if all_hold and linked:
        verdict = HOLDS
    elif all(s == "fails" for s in theses.values()) or (below and all(below)):
        verdict = NOT
    else:
        verdict = PART if any(s == "holds" for s in theses.values()) or any(beyond) else OPEN
    verdict, ungated, note = judged.said(verdict, gated=True)
    spoken = "; ".join(f"thesis, {words(name)}: {status}" for name, status in theses.items())
    measure = "thesis of each sweep (signs of ΔL and Δ log F²/control); partial ρ within seeds − controls"
    return Claim(
        "D", judged.part, "ours", measure, verdict, estimates, ungated, "; ".join(filter(None, [spoken, note]))
    )


def _number(value: float | str | None) -> float:
    """NaN for what is not defined, and for ends that lie outside the grid, which are words."""
    return float("nan") if value is None or isinstance(value, str) else value


def regimes_claim(judged: Judged) -> Claim:
    """E: an interior peak of L under every direction, and the three labels in order."""
    curves = curve_entries(judged.sweep.rows, judged.verdicts, {}, {})
    estimates, spoken, shown, partly, refuted = [], [], [], [], []
    for curve in curves:
        labels = [judged.verdicts.recipes[cell].regime for cell in curve.cells]
        peaks = [own.peak for own in curve.directions.values() if own.peak]
        peaked, ordered = bool(peaks) and all(peak.shown for peak in peaks), _in_order(labels)
        shown.append(peaked and ordered)
        partly.append(peaked or len({*labels} & {"weak", "bayes_aligned", "excessive"}) > 1)
        refuted.append(bool(peaks) and not any(peak.shown for peak in peaks) and "undetermined" not in labels)
        for target, own in curve.directions.items():
            at = f"{words(curve.objective)}, {words(target)}"
            for name, crossing in (("t₁", own.t1), ("t₂ by L", own.t2)):
                if crossing and crossing.estimate is not None:
                    numbers = [_number(each) for each in (crossing.estimate, crossing.low, crossing.high)]
                    estimates.append(Estimate(f"{at}: {name}", *numbers))
        if curve.t2_accuracy and curve.t2_accuracy.estimate is not None:
            fall = curve.t2_accuracy
            numbers = [_number(each) for each in (fall.estimate, fall.low, fall.high)]
            estimates.append(Estimate(f"{words(curve.objective)}: t₂ by accuracy", *numbers))
        peak = "peak shown" if peaked else "peak not shown"
        spoken.append(f"{words(curve.objective)}: {peak}; labels by strength {', '.join(labels)}")
    verdict, ungated, note = judged.said(of_all(shown, partly, refuted), gated=True)
    measure = "interior peak of L; labels of the regime rule; strengths t₁ and t₂ at which L rises and falls"
    note = ". ".join(filter(None, [*spoken, note]))
    return Claim(
        "E", judged.part, "ours", measure, verdict, estimates, ungated, note.replace("bayes_aligned", "Bayes-aligned")
    )


def _in_order(labels: Sequence[str]) -> bool:
    """Whether weak, Bayes-aligned and excessive all occur, none before the one that it follows."""
    order = [label for label in labels if label in ("weak", "bayes_aligned", "excessive")]
    ranks = [("weak", "bayes_aligned", "excessive").index(label) for label in order]
    return set(ranks) == {0, 1, 2} and ranks == sorted(ranks)


def published_steps(judged: Judged) -> Claim | None:
    """B as published: the softmax changes less off the manifold than on it, under steps of equal length."""
    rows = judged.sweep.rows
    keys = [next((k for k in rows.recipes[0].measured if k.family == f), None) for f in ("change_off", "change_on")]
    if None in keys:
        return None
    off, on = (str(key) for key in keys)
    estimates, shown, refuted = [], [], []
    assert rows.standard is not None
    standard = crossed_mean(rows.standard.values(off) - rows.standard.values(on))
    estimates.append(Estimate.of("standard: off − on", standard))
    for objective, recipes in judged.objectives.items():
        level = corrected(LEVEL, len(recipes))
        own = {r.strength: crossed_mean(r.values(off) - r.values(on), level) for r in recipes}
        shown.append(any(each.high < 0 for each in own.values()))
        refuted.append(all(each.low >= 0 for each in own.values()))
        best = min(own, key=lambda strength: own[strength].high)
        estimates.append(Estimate.of(f"{words(objective)} {best:g}: off − on", own[best]))
    verdict, ungated, note = judged.said(of_all(shown, [False] * len(shown), refuted), gated=False)
    if standard.high < 0:
        note = "; ".join(
            filter(None, ["it is below 0 for the standard networks, too, so that it sets nothing apart", note])
        )
    return Claim("B", judged.part, "pags", f"`{off}` − `{on}`, ℓ₁ of the softmax", verdict, estimates, ungated, note)


def published_alignment(judged: Judged) -> Claim | None:
    """A as published: 1 − LPIPS of the gradient of the sum of logits with the score, no control subtracted."""
    rows = judged.sweep.rows
    keys = [k for k in rows.recipes[0].measured if k.family == "alignment_lpips_pags" and not k.control]
    if not keys or rows.standard is None:
        return None
    key = str(keys[0])
    estimates, shown, refuted = [], [], []
    for objective, recipes in judged.objectives.items():
        level = corrected(LEVEL, len(recipes))
        own = {r.strength: e for r in recipes if (e := difference(r, rows.standard, key, level))}
        shown.append(any(each.low > 0 for each in own.values()))
        refuted.append(all(each.high <= 0 for each in own.values()))
        best = max(own, key=lambda strength: own[strength].low)
        estimates.append(Estimate.of(f"{words(objective)} {best:g}: − standard", own[best]))
    verdict, ungated, note = judged.said(of_all(shown, [False] * len(shown), refuted), gated=False)
    return Claim("A", judged.part, "pags", f"`{key}`, 1 − LPIPS", verdict, estimates, ungated, note)


def published_correlation(judged: Judged) -> Claim | None:
    """D as published: a plain rank correlation over the sweep; beside it another image's target."""
    rows = judged.sweep.rows
    seeds = shared_seeds(*rows.recipes)
    estimates = []
    for target, key in directions(rows.recipes).items():
        for name, column in (("own image", key), ("another image", str(Key.parse(key).under("shuffled")))):
            each = np.array([_plain(rows.recipes, seed, column, rows.dimension) for seed in seeds])
            interval = crossed_sets(each, np.zeros(len(each)), 0) if len(each) > 1 else Estimate("", float(each[0]))
            estimates.append(Estimate.of(f"{words(target)}, {name}", interval))
    if not estimates:
        return None
    own, others = estimates[::2], estimates[1::2]
    shown = all(each.high < 0 for each in own)
    verdict, ungated, note = judged.said(HOLDS if shown else OPEN, gated=False)
    alike = any(other.high < 0 for other in others)
    note = note or ("the score of another image correlates too, so that this shows no link" if alike else "")
    return Claim(
        "D", judged.part, "pags", "ρ of ln κ with the mean cosine over the sweep", verdict, estimates, ungated, note
    )


def _plain(recipes: Sequence[Recipe], seed: int, column: str, dimension: int) -> float:
    kappas = [log_kappa(recipe.networks[seed], dimension) for recipe in recipes]
    return float(spearmanr(kappas, [np.nanmean(recipe.networks[seed][column]) for recipe in recipes]).statistic)


_SWEEP: dict[str, Callable[[Judged], Claim | None]] = {
    "A": alignment_claim,
    "B": tangency_claim,
    "D": correlation_claim,
    "E": regimes_claim,
}
_PUBLISHED: dict[str, Callable[[Judged], Claim | None]] = {
    "A": published_alignment,
    "B": published_steps,
    "D": published_correlation,
}


def sweep_claims(part: str, sweep: PackedSweep, letters: str) -> list[Claim]:
    """The claims of a sweep that was run, ours and as published."""
    judged = Judged.of(part, sweep)
    claims = [function(judged) for letter, function in _SWEEP.items() if letter in letters]
    claims += [function(judged) for letter, function in _PUBLISHED.items() if letter in letters]
    return [claim for claim in claims if claim]


def claim_json(claim: Claim) -> dict[str, Any]:
    """Plain JSON, numbers to six digits; null for what is not defined."""

    def plain(value: float) -> float | None:
        return float(f"{value:.6g}") if np.isfinite(value) else None

    content = dataclasses.asdict(claim)
    content["estimates"] = [
        {"name": own.name, "mean": plain(own.mean), "low": plain(own.low), "high": plain(own.high)}
        for own in claim.estimates
    ]
    return content
