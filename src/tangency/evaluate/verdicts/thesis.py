"""The paper's thesis on a sweep: gradients turn to the manifold as, and where, they turn to the Bayes direction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tangency.evaluate.verdicts.aligned import WORDS, alignment, alignment_difference
from tangency.evaluate.verdicts.entries import (
    OnManifold,
    RecipeVerdict,
    StrengthSigns,
    ThesisStatus,
    ThesisVerdict,
    WorstControl,
)
from tangency.evaluate.verdicts.manifold import change, corrected
from tangency.evaluate.verdicts.recipes import STANDARD, Recipe, SweepRows
from tangency.statistics.crossed import CrossedEstimate
from tangency.statistics.regimes import Thresholds, spoken

_BASELESS = "there is no standard network that is not collapsed, and so no baseline"


def thesis(
    rows: SweepRows,
    verdicts: Mapping[str, RecipeVerdict],
    objective: str,
    columns: tuple[Mapping[str, str], Mapping[str, str]],
    thresholds: Thresholds,
) -> ThesisVerdict:
    """Whether at every strength Δ log F²/control and ΔL have one sign, and the recipe of the best L is on-manifold.

    Both signs must be shown. It holds only where all of them do, each at the level; it fails where one strength has
    opposite signs, at a level corrected for the number of strengths, or the best recipe is not on-manifold. The best is
    chosen, so that the recipes not shown to be below it count as it does. Without a sound standard recipe it is open.

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
    level = corrected(thresholds.level, len(kept))
    changes = {recipe.name: _changes(rows, recipe, columns, thresholds, thresholds.level) for recipe in kept}
    signs: dict[str, list[str]] = {"opposite signs": [], "not both shown": [], "one sign": []}
    for recipe in kept:
        strict = _signs(_changes(rows, recipe, columns, thresholds, level))
        plain = _signs(changes[recipe.name])
        kind = "opposite signs" if strict < 0 else "one sign" if plain > 0 else "not both shown"
        signs[kind].append(f"{kind} at {recipe.name}: {_words(changes[recipe.name])}")
    among = [recipe for recipe in rows.recipes if recipe.objective == STANDARD] + kept
    best = _best(among, verdicts)
    rivals = {target: _rivals(among, name, columns[0][target], thresholds.level) for target, name in best.items()}
    reasons = [each for kind in signs.values() for each in kind]
    reasons += [_words_of_best(target, name, rivals[target], verdicts) for target, name in best.items()]
    status: ThesisStatus = "open"
    if rows.standard is None or verdicts[rows.standard.name].regime == "collapsed":
        reasons = [_BASELESS, *reasons]
    else:
        statuses = {verdicts[name].on_manifold for target in best for name in (best[target], *rivals[target])}
        status = _status({kind: len(own) for kind, own in signs.items()}, statuses)
    return ThesisVerdict(
        status=status,
        reasons=reasons,
        best=best,
        changes=changes,
        left_out=left_out,
    )


def _status(signs: Mapping[str, int], best: set[OnManifold]) -> ThesisStatus:
    """From how many strengths have which signs, and whether the recipes that may be the best are on-manifold."""
    if signs["opposite signs"] or best == {"not"}:
        return "fails"
    shown = bool(best) and best <= {"shown", "shown (global)"}
    return "holds" if shown and signs["one sign"] and not signs["not both shown"] else "open"


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


def _rivals(recipes: list[Recipe], best: str, key: str, level: float) -> list[str]:
    """The recipes whose L is not shown to be below that of the best one, at a level corrected for their number."""
    chosen = next(recipe for recipe in recipes if recipe.name == best)
    others = [recipe for recipe in recipes if recipe is not chosen and alignment(recipe, key) is not None]
    differences = {
        other.name: alignment_difference(other, chosen, key, corrected(level, len(others))) for other in others
    }
    return [name for name, estimate in differences.items() if estimate is None or not estimate.high < 0]


def _words_of_best(target: str, best: str, rivals: list[str], verdicts: Mapping[str, RecipeVerdict]) -> str:
    """Whether it is on-manifold, and those that may be the best as well."""
    words = f"the best L under {WORDS.get(target, target)} is that of {best}, on-manifold: {verdicts[best].on_manifold}"
    others = ", ".join(f"{name} ({verdicts[name].on_manifold})" for name in rivals)
    return f"{words}; not shown to be below it: {others}" if rivals else words


def _best(recipes: list[Recipe], verdicts: Mapping[str, RecipeVerdict]) -> dict[str, str]:
    """Bayes direction to the recipe of the highest L."""
    levels: dict[str, dict[str, float]] = {}
    for recipe in recipes:
        for target, under in verdicts[recipe.name].aligned.items():
            levels.setdefault(target, {})[recipe.name] = under.alignment.mean
    return {target: max(each, key=lambda name: each[name]) for target, each in levels.items()}
