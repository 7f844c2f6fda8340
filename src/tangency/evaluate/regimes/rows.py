"""The regime of classifiers against a standard-trained one of the same data, from the rows of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar, cast, overload

import numpy as np
import torch
from torch import Tensor

from tangency.errors import NumericsError, unknown_name
from tangency.evaluate.numbers import best_constant
from tangency.evaluate.regimes.filtered import TARGETS
from tangency.evaluate.regimes.kappa import kappa_regimes
from tangency.evaluate.verdicts import Recipe, RecipeVerdict, SweepRows, verdicts
from tangency.evaluate.verdicts.recipes import STANDARD
from tangency.measures import Rows
from tangency.statistics import KappaThresholds, KappaVerdict
from tangency.statistics.regimes import Thresholds
from tangency.statistics.resamples import Array

BASELINE = "the baseline"
Networks = Rows | Sequence[Rows]
Name = TypeVar("Name", bound=str | tuple[str, float])


@overload
def regimes(
    rows: Mapping[Name, Networks],
    baseline: Networks,
    labels: Tensor,
    *,
    filtered: Mapping[str, Networks] | None = None,
    slack: Mapping[str, float] | None = None,
    exact: bool = False,
    thresholds: Thresholds | None = None,
    rule: Literal["regimes"] = "regimes",
) -> dict[Name, RecipeVerdict]: ...
@overload
def regimes(
    rows: Mapping[Name, Networks],
    baseline: Networks,
    labels: Tensor,
    *,
    thresholds: KappaThresholds | None = None,
    rule: Literal["kappa"],
) -> dict[Name, KappaVerdict]: ...
def regimes(
    rows: Mapping[Name, Networks],
    baseline: Networks,
    labels: Tensor,
    *,
    filtered: Mapping[str, Networks] | None = None,
    slack: Mapping[str, float] | None = None,
    exact: bool = False,
    thresholds: Thresholds | KappaThresholds | None = None,
    rule: Literal["regimes", "kappa"] = "regimes",
) -> dict[Name, RecipeVerdict] | dict[Name, KappaVerdict]:
    """The regime of classifiers against a standard-trained one, by L = cos(∇m, b) − cos(∇m, b′), and why.

    m is the hard margin f_y − max_{j≠y} f_j, b a Bayes direction ∇ log p_σ(y|x) at the largest measured σ, b′ that of
    another image. In this order: "collapsed" where accuracy is not shown to be above that of the best constant answer;
    "excessive" where it is shown to be lower than the baseline's by more than δ, or L is shown to be below that of the
    same objective at a smaller strength under every direction; "bayes_aligned" where L is shown to be above the
    baseline's and above that of the baseline behind the best fixed linear filter, under every direction, two at least
    unless `exact`, and accuracy is shown not to be lower by δ; "weak" where accuracy is, and under some direction L is
    no better than behind that filter; "undetermined" otherwise, and always without `filtered` where it would be
    "bayes_aligned". Beside it log F²/control under every tangent estimator.

    Args:
        rows: name to rows of `measure`, or to those of several seeds of one recipe; on the same images with the same
            settings. The name (objective, strength) sets a recipe into a sweep, for the comparison with smaller
            strengths.
        baseline: rows of a standard-trained classifier of the same architecture and data; of several, one a seed in the
            order of the seeds of `rows`. Rows alone in `rows`, not in a sequence, then stand for every seed (as those
            of a Bayes rule).
        labels: (N,) true classes of the images, in the order of the rows.
        filtered: Bayes direction ("bayes_gradient", "network_bayes_gradient") to rows of the baseline behind the best
            filter for it; see `filtered_baseline`.
        slack: Bayes direction to the L by which another filter may exceed it, `filtered_baseline(…).slack`; 0 where
            nothing is given.
        exact: whether "bayes_gradient" is that of the law that the images are drawn from: one direction then suffices.
        thresholds: δ = 0.05, and the others; of rule "kappa" `tangency.statistics.KappaThresholds`.
        rule: "kappa" for the former rule, on κ/κ₀ and the change R_on of the softmax along on-manifold steps, of one
            network each: `KappaVerdict`, with simultaneous bands. It fails where the truth is known.

    Returns:
        Name to `RecipeVerdict`: `regime`, `reason` in numbers, `aligned` (L by direction, with its rises), `manifold`
        (log F²/control by tangent estimator), `on_manifold`, `accuracy_difference`, `sensitivity` (the label at other
        δ), `radius`. Intervals are over networks crossed with images; of one network over images, and say nothing of
        other seeds.

    Raises:
        NumericsError: no rows, rows of other images, another number of seeds, a direction that does not exist; under
            rule "kappa" rows without κ or steps, or an accuracy that is not shown to be above the best constant answer.

    Source: the regimes of arXiv 2305.19101, which draws them by eye; definitions and thresholds are ours.

    Example:
        >>> import tangency
        >>> world = tangency.make_world("linear?rank=3&classes=2&shape=1x8x8")
        >>> data = tangency.load_data("world:linear?rank=3&classes=2&shape=1x8x8&train=200&test=200")
        >>> rule = tangency.BayesClassifier(world, 0.2)
        >>> config = tangency.MeasureConfig(metrics=("cosine",), sigmas=(0.2,))
        >>> given = {"train_data": data.train, "score": world, "config": config}
        >>> rows = tangency.measure(rule, data.test.images(), data.test.labels, **given)
        >>> regimes({"again": rows}, rows, data.test.labels, exact=True)["again"].regime
        'weak'
    """
    if not rows:
        raise NumericsError("regimes: got no rows, expected those of at least one classifier.")
    own = {_text(name): _networks(_text(name), several) for name, several in rows.items()}
    base = _networks(BASELINE, baseline)
    behind = {target: _networks(f"filtered['{target}']", several) for target, several in (filtered or {}).items()}
    _check_images({**own, **behind}, base, labels)
    if rule == "kappa":
        _check_thresholds(thresholds, KappaThresholds)
        alone = {name: _only(_text(name), own[_text(name)]) for name in rows}
        return kappa_regimes(alone, _only(BASELINE, base), labels, cast("KappaThresholds | None", thresholds))
    if rule != "regimes":
        raise NumericsError(f"rule: got {rule!r:.40}, expected 'regimes' or 'kappa'.")
    _check_thresholds(thresholds, Thresholds)
    if unknown := [target for target in behind if target not in TARGETS]:
        raise NumericsError(unknown_name("Bayes direction of filtered", unknown[0], TARGETS))
    sweep = SweepRows(
        [Recipe(BASELINE, STANDARD, 0.0, _seeds(base)), *(_recipe(n, r, len(base)) for n, r in rows.items())],
        constant=best_constant(labels),
        dimension=base[0].dimension,
        exact=exact,
        filtered={target: _recipe(f"behind the filter for {target}", s, len(base)) for target, s in behind.items()},
        slack=slack or {},
    )
    by_name = verdicts(sweep, cast("Thresholds | None", thresholds)).recipes
    return {name: by_name[_text(name)] for name in rows}


def columns_of(rows: Rows) -> dict[str, Array]:
    """Columns of rows as arrays of float64."""
    return {key: values.cpu().numpy().astype(np.float64) for key, values in rows.columns.items()}


def _text(name: str | tuple[str, float]) -> str:
    return name if isinstance(name, str) else f"{name[0]} {name[1]:g}"


def _networks(name: str, several: Networks) -> list[Rows]:
    """Rows of one network, or of several, as a list."""
    networks = list(several) if isinstance(several, list | tuple) else [cast("Rows", several)]
    if not networks or not all(isinstance(rows, Rows) for rows in networks):
        got = ", ".join({type(rows).__name__ for rows in networks}) or "none"
        raise NumericsError(f"regimes: got {got} for {name}, expected rows of tangency.measure, or several in a list.")
    return networks


def _check_images(several: Mapping[str, Sequence[Rows]], baseline: Sequence[Rows], labels: Tensor) -> None:
    """Raise where the images are not the same for all networks, or their labels are of another number."""
    first = baseline[0]
    for name, networks in {BASELINE: baseline, **several}.items():
        for own in networks:
            if not torch.equal(own.ids.cpu(), first.ids.cpu()) or own.dimension != first.dimension:
                raise NumericsError(
                    f"regimes: the images of '{name}' are not those of the baseline, expected the same."
                )
    if labels.shape != (len(first.ids),):
        raise NumericsError(f"labels: got {tuple(labels.shape)} for {len(first.ids)} images, expected one each.")


def _check_thresholds(given: object, expected: type) -> None:
    if not isinstance(given, expected | None):
        raise NumericsError(f"thresholds: got {type(given).__name__}, expected {expected.__name__} for this rule.")


def _only(name: str, networks: Sequence[Rows]) -> Rows:
    if len(networks) != 1:
        raise NumericsError(
            f"regimes: got {len(networks)} networks of '{name}', expected one; rule 'kappa' has no seeds."
        )
    return networks[0]


def _seeds(networks: Sequence[Rows]) -> dict[int, dict[str, Array]]:
    return {seed: columns_of(rows) for seed, rows in enumerate(networks)}


def _recipe(name: str | tuple[str, float], several: Networks, seeds: int) -> Recipe:
    """A recipe; rows alone beside several baselines are of no seed."""
    networks, text = _networks(_text(name), several), _text(name)
    fixed = isinstance(several, Rows) and seeds > 1
    if not fixed and len(networks) != seeds:
        raise NumericsError(
            f"regimes: got {len(networks)} networks of '{text}' and {seeds} of the baseline, expected as many, "
            "of the same seeds in the same order."
        )
    objective, strength = ("", 0.0) if isinstance(name, str) else name
    return Recipe(text, objective, strength, _seeds(networks), fixed)
