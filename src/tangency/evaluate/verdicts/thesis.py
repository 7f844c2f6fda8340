"""The paper's thesis on a sweep: gradients turn to the manifold as, and where, they turn to the Bayes direction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tangency.evaluate.verdicts.aligned import WORDS, alignment_difference
from tangency.evaluate.verdicts.entries import RecipeVerdict, StrengthSigns, ThesisVerdict, WorstControl
from tangency.evaluate.verdicts.manifold import change
from tangency.evaluate.verdicts.recipes import STANDARD, Recipe, SweepRows
from tangency.statistics.crossed import CrossedEstimate
from tangency.statistics.regimes import Thresholds, spoken


def thesis(
    rows: SweepRows,
    verdicts: Mapping[str, RecipeVerdict],
    objective: str,
    columns: tuple[Mapping[str, str], Mapping[str, str]],
    thresholds: Thresholds,
) -> ThesisVerdict:
    """Whether at every strength Δ log F²/control and ΔL have one sign, and the recipe of the best L is on-manifold.

    Both signs must be shown. It holds only where all of them do, each at the level; it fails where one strength has
    opposite signs, at a level corrected for the number of strengths, or the best recipe is not on-manifold.

    Args:
        rows: of the sweep.
        verdicts: of its trained recipes, by name.
        objective: of the recipes it is said of, beside the standard one.
        columns: Bayes direction to column of the cosine; tangent estimator to column of F².
        thresholds: of the rule.
    """
    own = sorted((r for r in rows.recipes if r.objective == objective), key=lambda recipe: recipe.strength)
    left_out = [recipe.name for recipe in own if verdicts[recipe.name].regime == "collapsed"]
    kept = [recipe for recipe in own if recipe.name not in left_out]
    corrected = 1 - (1 - thresholds.level) / max(1, len(kept))
    changes = {recipe.name: _changes(rows, recipe, columns, thresholds, thresholds.level) for recipe in kept}
    signs: dict[str, list[str]] = {"opposite signs": [], "not both shown": [], "one sign": []}
    for recipe in kept:
        strict = _signs(_changes(rows, recipe, columns, thresholds, corrected))
        plain = _signs(changes[recipe.name])
        kind = "opposite signs" if strict < 0 else "one sign" if plain > 0 else "not both shown"
        signs[kind].append(f"{kind} at {recipe.name}: {_words(changes[recipe.name])}")
    best = _best([recipe for recipe in rows.recipes if recipe.objective == STANDARD] + kept, verdicts)
    statuses = {verdicts[name].on_manifold for name in best.values()}
    shown = bool(best) and statuses <= {"shown", "shown (global)"}
    reasons = [each for kind in signs.values() for each in kind]
    reasons += [
        f"the best L under {WORDS.get(target, target)} is that of {name}, on-manifold: {verdicts[name].on_manifold}"
        for target, name in best.items()
    ]
    fails = bool(signs["opposite signs"]) or statuses == {"not"}
    holds = shown and bool(kept) and len(signs["one sign"]) == len(kept)
    return ThesisVerdict(
        status="fails" if fails else "holds" if holds else "open",
        reasons=reasons,
        best=best,
        changes=changes,
        left_out=left_out,
    )


def _changes(
    rows: SweepRows,
    recipe: Recipe,
    columns: tuple[Mapping[str, str], Mapping[str, str]],
    thresholds: Thresholds,
    level: float,
) -> StrengthSigns:
    """Changes from the standard recipe."""
    cosines = {target: alignment_difference(recipe, rows.standard, key, level) for target, key in columns[0].items()}
    fractions = {name: change(rows, recipe, key, thresholds, level) for name, key in columns[1].items()}
    return StrengthSigns(
        strength=recipe.strength,
        alignment={target: e for target, e in cosines.items() if e is not None},
        fraction={name: e for name, e in fractions.items() if e is not None},
    )


def _signs(changes: StrengthSigns) -> int:
    """+1 where ΔL and Δ log F²/control have one sign, −1 where they have opposite ones, 0 where one is not shown."""
    return _sign(changes.alignment.values()) * _sign(changes.fraction.values())


def _sign(estimates: Iterable[CrossedEstimate | WorstControl]) -> int:
    """The sign that all of them are shown to have; 0 for none."""
    signs = {1 if e.low > 0 else -1 if e.high < 0 else 0 for e in estimates}
    return signs.pop() if len(signs) == 1 else 0


def _words(changes: StrengthSigns) -> str:
    """Both changes with their intervals."""
    words = [f"ΔL ({WORDS.get(target, target)}) {spoken(e)}" for target, e in changes.alignment.items()]
    words += [f"Δ log F²/{e.control} ({name or 'first estimator'}) {spoken(e)}" for name, e in changes.fraction.items()]
    return ", ".join(words) or "nothing is measured"


def _best(recipes: list[Recipe], verdicts: Mapping[str, RecipeVerdict]) -> dict[str, str]:
    """Bayes direction to the recipe of the highest L."""
    levels: dict[str, dict[str, float]] = {}
    for recipe in recipes:
        for target, under in verdicts[recipe.name].aligned.items():
            levels.setdefault(target, {})[recipe.name] = under.alignment.mean
    return {target: max(each, key=lambda name: each[name]) for target, each in levels.items()}
