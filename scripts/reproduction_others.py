"""Claims that are no sweep of ours: foreign networks, Bayes rules of worlds, distractor, cause, generation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import t as student

from reproduction_claims import FEWEST, HOLDS, LEVEL, NOT, OPEN, PART, Claim, Estimate, of_all, words
from reproduction_rows import NOISE, ROWS, read_study, read_table
from tangency.evaluate.verdicts import Recipe, SweepRows, verdicts
from tangency.evaluate.verdicts.aligned import mean_of
from tangency.evaluate.verdicts.manifold import corrected
from tangency.evaluate.verdicts.recipes import shared_seeds
from tangency.measures.definition import rank_key
from tangency.measures.keys import Key
from tangency.statistics import CrossedEstimate, crossed, crossed_difference, crossed_log_ratio
from tangency.statistics.regimes import Thresholds
from tangency.study.summary.sweep import curves_of

_FRACTION, _COSINE = "tangent_fraction.logp_y", "alignment_cosine.logp_y.bayes_gradient.sigma=0.5"
_ESTIMATORS = ("", ".tangents=local-pca")
_CONTROLS = ("shuffled", "shuffled_class", "dct", "pca")
FOREIGN_COLUMNS = (
    "accuracy",
    "kappa.logp_y",
    "change_off.eps=2",
    "change_on.eps=2",
    _COSINE,
    f"{_COSINE}.shuffled",
    *(
        f"{_FRACTION}{estimator}{control}"
        for estimator in _ESTIMATORS
        for control in ("", *(f".{c}" for c in _CONTROLS))
    ),
)


def welch(name: str, a: np.ndarray, b: np.ndarray) -> Estimate:
    """mean(a) − mean(b) with the 95 % interval of Welch's t."""
    parts = [own.var(ddof=1) / len(own) for own in (a, b)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(own) - 1) for part, own in zip(parts, (a, b), strict=True))
    half = float(student.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(sum(parts))
    middle = float(a.mean() - b.mean())
    return Estimate(name, middle, middle - half, middle + half)


def auc(values: np.ndarray, robust: np.ndarray) -> tuple[float, float]:
    """Share of pairs in which the robust network is higher, and the exact one-sided p over all ways to label them."""

    def share(labels: np.ndarray) -> float:
        a, b = values[labels][:, None], values[~labels][None]
        return float(((a > b) + 0.5 * (a == b)).mean())

    own, n = share(robust), len(values)
    ways = [np.isin(np.arange(n), chosen) for chosen in itertools.combinations(range(n), int(robust.sum()))]
    return own, sum(share(labels) >= own - 1e-12 for labels in ways) / len(ways)


def foreign_claims(folder: Path = ROWS) -> list[Claim]:
    """Robust against standard networks of others: the unit is the network, the file has means over images."""
    table = read_table("foreign", folder)
    if table is None:
        return []
    frame = table[0]
    robust = frame["robust"].to_numpy()
    column = {name: frame[name].cast(pl.Float64).to_numpy() for name in FOREIGN_COLUMNS}
    cosine = column[_COSINE] - column[f"{_COSINE}.shuffled"]
    ratios = [
        np.log(column[f"{_FRACTION}{estimator}"] / column[f"{_FRACTION}{estimator}.{control}"])
        for estimator in _ESTIMATORS
        for control in _CONTROLS
    ]
    least, kappa = np.min(ratios, axis=0), -np.log(column["kappa.logp_y"])
    steps = column["change_on.eps=2"] - column["change_off.eps=2"]
    words_of = {"A": "cosine − shuffled (σ = .5, mixture only)", "B": "log F²/best of four controls"}
    claims = []
    for letter, values in (("A", cosine), ("B", least)):
        apart, (area, p) = (
            welch(f"{words_of[letter]}: robust − standard", values[robust], values[~robust]),
            auc(values, robust),
        )
        alone = welch(f"{words_of[letter]}: robust", values[robust], np.zeros(len(robust)))
        estimates = [apart, alone, Estimate("AUC, robust above standard", area), Estimate("its exact p", p)]
        above = apart.low > 0 and p < 1 - LEVEL
        verdict = (
            HOLDS if letter == "B" and above and alone.low > 0 else PART if above else NOT if apart.high < 0 else OPEN
        )
        note = (
            "one direction only"
            if letter == "A"
            else "networks of several architectures; no chance, no phases in the file"
        )
        claims.append(Claim(letter, "foreign", "ours", words_of[letter], verdict, estimates, "", note))
    numbers = [welch("on − off, ε = 2: robust − standard", steps[robust], steps[~robust])]
    numbers += [Estimate("AUC by on − off", auc(steps, robust)[0]), Estimate("AUC by κ", auc(kappa, robust)[0])]
    verdict = HOLDS if numbers[0].low > 0 else OPEN
    return [*claims, Claim("B", "foreign", "pags", "`change_on.eps=2` − `change_off.eps=2`; κ", verdict, numbers)]


def world_claims(folder: Path = ROWS) -> list[Claim]:
    """C: is the exact Bayes rule on-manifold, world by world? Tangent spaces are exact."""
    table = read_table("worlds", folder)
    if table is None:
        return []
    frame, about = table
    estimates, spoken, shown = [], [], []
    for name, world in about["worlds"].items():
        own = frame.filter(pl.col("trial") == name)
        columns = {c: own[c].cast(pl.Float64).fill_null(np.nan).to_numpy() for c in own.columns[2:]}
        columns = {c: v for c, v in columns.items() if c.startswith("tangent_") or np.isfinite(v).any()}
        recipe = Recipe(name, "standard", 0.0, {0: columns})
        rows = SweepRows([recipe], constant=world["constant"], dimension=world["dimension"], exact=True)
        verdict = verdicts(rows).recipes[name]
        under = verdict.manifold[""]
        fraction = mean_of(recipe.values("tangent_fraction.margin"), LEVEL)
        if fraction:
            estimates.append(Estimate.of(f"{name}: F²", fraction))
        if under.worst:
            estimates.append(Estimate.of(f"{name}: log F²/{under.worst.control}", under.worst))
        shown.append(verdict.on_manifold.startswith("shown"))
        spoken.append(f"{name}: {verdict.on_manifold}")
    answer = HOLDS if all(shown) else PART if any(shown) else NOT
    measure = "log F²/best control of the exact Bayes rule, exact tangent spaces; unit: images"
    return [Claim("C", "worlds", "ours", measure, answer, estimates, "", "on-manifold: " + "; ".join(spoken))]


def onnx_claims(folder: Path = ROWS) -> list[Claim]:
    """B: two standard networks of others, each alone; with nothing to compare them with there is no verdict."""
    table = read_table("onnx", folder)
    if table is None:
        return []
    frame, about = table
    estimates = []
    for name, own in about["networks"].items():
        mine = frame.filter(pl.col("trial") == name)
        columns = {c: mine[c].cast(pl.Float64).fill_null(np.nan).to_numpy() for c in mine.columns[2:]}
        recipe = Recipe(name, "standard", 0.0, {0: columns})
        rows = SweepRows([recipe], constant=0.1, dimension=math.prod(own["shape"]))
        verdict = verdicts(rows).recipes[name]
        if verdict.accuracy:
            estimates.append(Estimate.of(f"{name}: accuracy", verdict.accuracy))
        estimates += [
            Estimate.of(f"{name}, {estimator or 'mfa'}: log F²/{under.worst.control}", under.worst)
            for estimator, under in verdict.manifold.items()
            if under.worst
        ]
    note = "two standard networks, each alone; unit: images"
    return [Claim("B", "onnx", "ours", "log F²/best control", OPEN, estimates, "", note)]


def distractor_claims(folder: Path = ROWS) -> list[Claim]:
    """H: gradient energy on the digit, and the change under noise on it over that on the letter."""
    sweep = read_study("distractor", folder)
    if sweep is None:
        return []
    rows, estimates, shown, refuted = sweep.rows, [], [], []
    assert rows.standard is not None
    for objective, recipes in curves_of(rows).items():
        for recipe in recipes[1:]:
            at = f"{words(objective)} {recipe.strength:g}"
            energy = mean_of(
                recipe.values("signal_fraction.margin") - rows.standard.values("signal_fraction.margin"), LEVEL
            )
            noise = _relative(recipe, rows.standard)
            estimates += [Estimate.of(f"{at}: share of energy on the digit − standard", e) for e in (energy,) if e]
            estimates.append(Estimate.of(f"{at}: log (change by noise on the digit/letter) − standard", noise))
            both = [each for each in (energy, noise) if each]
            shown += [each.low > 0 for each in both]
            refuted += [each.high <= 0 for each in both]
    networks = min(len(recipe.networks) for recipe in rows.recipes)
    answer = of_all(shown, [False] * len(shown), refuted) if networks >= FEWEST else OPEN
    measure = f"`signal_fraction.margin`; `noise_signal.sigma={NOISE}` / `noise_distractor.sigma={NOISE}`"
    return [Claim("H", "distractor", "ours", measure, answer, estimates)]


def _relative(recipe: Recipe, standard: Recipe) -> Any:
    """log of the pooled ratio of changes − the standard network's, crossed."""
    estimates, influence = 0.0, 0.0
    for own, sign in ((recipe, 1.0), (standard, -1.0)):
        for key, power in ((f"noise_signal.sigma={NOISE}", 1.0), (f"noise_distractor.sigma={NOISE}", -1.0)):
            values = own.values(key)
            means = values.mean(1)
            estimates = estimates + sign * power * np.log(means)
            influence = influence + sign * power * (values / means[:, None] - 1)
    return crossed(np.asarray(estimates), np.asarray(influence))


def cause_claims(names: Sequence[str], folder: Path = ROWS) -> list[Claim]:
    """F: own tangent spaces against the best sham that is matched, criterion by criterion, from the rows."""
    answers = {"holds": HOLDS, "does not hold": NOT, "cannot be decided": OPEN, "no claim": OPEN}
    claims = []
    for name in names:
        sweep = read_study(f"cause-{name}", folder)
        if sweep is None:
            continue
        cause = sweep.about["cause"]
        arms = {
            arm: next(r for r in sweep.rows.recipes if r.name == own["recipe"]) for arm, own in cause["arms"].items()
        }
        shams = [arm for arm, own in cause["arms"].items() if own["sham"] and own["matched"]]
        estimates, said = [], []
        for criterion in (own for own in cause["criteria"] if own["held_out"]):
            said.append(answers[criterion["verdict"]])
            rivals = shams if cause["arms"]["off-own"]["matched"] else []
            estimates += _arms_compared(criterion, arms, rivals, sweep.rows.dimension)
        whole = answers[cause["verdict"]]
        verdict = HOLDS if said and all(s == HOLDS for s in said) else PART if HOLDS in said else whole
        note = f"`tangency cause`: {cause['verdict']}; matched shams: {', '.join(shams) or 'none'}"
        matched = "radius and accuracy" if cause["match"]["radius"] is not None else "accuracy alone"
        measure = f"own − best sham at matched {matched}, held-out criteria; cosines, or log F²"
        claims.append(Claim("F", f"cause-{name}", "ours", measure, verdict, estimates, "", note))
    return claims


def _arms_compared(
    criterion: Mapping[str, Any], arms: Mapping[str, Recipe], shams: Sequence[str], dimension: int
) -> list[Estimate]:
    """Level of own; − others; − best sham: least mean and lower end, least upper end at a level for their number."""
    seeds, name, column = shared_seeds(*arms.values()), criterion["criterion"], criterion["column"]
    others = [arm for arm in ("whole", "none") if arm in arms]
    values = {arm: arms[arm].values(column, seeds) for arm in ("off-own", *shams, *others)}
    usable = np.isfinite(np.stack(list(values.values()))).all((0, 1))
    own = values["off-own"][:, usable]
    fraction = column.startswith("tangent_fraction")

    def difference(arm: str, level: float) -> CrossedEstimate:
        other = values[arm][:, usable]
        if not fraction:
            return crossed_difference(own, other, level)
        rank = float(np.nanmean(arms["off-own"].values(str(rank_key(Key.parse(column))))))
        return crossed_log_ratio(own, other, Thresholds().floor * rank / dimension, level)

    level = crossed(own.mean(1), own - own.mean(1, keepdims=True))
    estimates = [Estimate.of(f"{name}: {'F²' if fraction else 'cosine'} of off-own", level)]
    if shams:
        each = [difference(sham, LEVEL) for sham in shams]
        high = min(difference(sham, corrected(LEVEL, len(shams))).high for sham in shams)
        means, lows = [one.mean for one in each], [one.low for one in each]
        estimates.append(Estimate(f"{name}: off-own − best sham", min(means), min(lows), high))
    return estimates + [Estimate.of(f"{name}: off-own − {arm}", difference(arm, LEVEL)) for arm in others]


def generation_claims(folder: Path = ROWS) -> list[Claim]:
    """G: robust networks − standard ones in what their gradients make, over networks."""
    table = read_table("generation", folder)
    if table is None:
        return []
    frame, estimates = table[0], []
    shown: dict[str, list[bool]] = {}
    refuted: dict[str, list[bool]] = {}
    for (task, objective), own in frame.filter(pl.col("objective") != "standard").group_by(
        "task", "objective", maintain_order=True
    ):
        base = (
            frame.filter((pl.col("task") == task) & (pl.col("objective") == "standard"))
            .sort("seed")["value"]
            .to_numpy()
        )
        strengths = own["strength"].unique().sort().to_list()
        level = 1 - (1 - LEVEL) / len(strengths)
        each = {s: own.filter(pl.col("strength") == s).sort("seed")["value"].to_numpy() - base for s in strengths}
        half = {
            s: float(student.ppf((1 + level) / 2, len(d) - 1)) * d.std(ddof=1) / math.sqrt(len(d))
            for s, d in each.items()
        }
        best = max(strengths, key=lambda s: each[s].mean() - half[s])
        middle = float(each[best].mean())
        estimates.append(
            Estimate(
                f"{task}, {words(str(objective))} {best:g}: − standard",
                middle,
                middle - half[best],
                middle + half[best],
            )
        )
        shown.setdefault(str(task), []).append(middle > half[best])
        refuted.setdefault(str(task), []).append(all(each[s].mean() + half[s] <= 0 for s in strengths))
    tasks = [all(own) for own in shown.values()]
    answer = of_all(tasks, [False] * len(tasks), [all(own) for own in refuted.values()])
    note = "three networks of each recipe: intervals over networks only"
    return [
        Claim(
            "G", "generation", "ours", "PSNR gain, judge's accuracy; − standard networks", OPEN, estimates, answer, note
        )
    ]
