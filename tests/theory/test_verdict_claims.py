"""Claims about verdicts hold, and each fails for some mistake."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tangency.autodiff import scalars
from tangency.evaluate.verdicts import Recipe, aligned
from tangency.statistics.crossed import CrossedEstimate
from tangency.tangents import TangentSpace
from tangency.theory import Claim
from tangency.theory.verdicts import on_a_decoder, on_a_fitted_mixture, on_one_subspace, on_parallel_subspaces
from tangency.types import Direction
from tangency.worlds import World, make_world

RULE, OFF, SCALED = "the exact Bayes rule", "parallel subspaces", "logits × c"
ALIGNED = {
    f"{RULE} is labelled Bayes-aligned (1 for yes)",
    f"{RULE}: lower bound of L beyond the best fixed linear filter",
}
WRAPPED = "the standard network behind a PCA projection is labelled Bayes-aligned (0 for no)"
GLOBAL, LOCAL = f"{RULE} is on-manifold (global) (1 for yes)", f"{RULE} is on-manifold (1 for yes)"
STANDARD = "the standard network is shown not to be on-manifold: upper bound of log F²/control"
NOWHERE = {
    f"{OFF}: verdicts that do not say 'not on-manifold'",
    f"{OFF}: the largest upper bound of log F²/control",
    f"{OFF}: the thesis is reported to fail (1 for yes)",
}
LABELS = f"{SCALED}: labels that change"
LEVELS = {
    f"{SCALED}: change of {what}"
    for what in ("L and its interval", "log F²/control and its intervals", "the effective strength")
}


def spoiled(monkeypatch: pytest.MonkeyPatch, change: Callable[[World], World]) -> None:
    monkeypatch.setattr("tangency.theory.verdicts.make_world", lambda reference: change(make_world(reference)))


def of_kind(kind: type[World]) -> Callable[[World], World]:
    return lambda true: kind(true.name, true.core, true.embedding, true.class_names)


class SwappedClass(World):
    """The Bayes gradient of the next class."""

    def bayes_direction(self, x, y, sigma) -> Direction:
        return super().bayes_direction(x, (y + 1) % self.classes, sigma)


class Misplaced(World):
    """Tangent spaces that are moved by half an image."""

    def tangent_basis(self, x) -> tuple[torch.Tensor, torch.Tensor]:
        basis, rank = super().tangent_basis(x)
        return basis.roll(self.dimension // 2, 1), rank


def swapped_class(monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled(monkeypatch, of_kind(SwappedClass))


def misplaced(monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled(monkeypatch, of_kind(Misplaced))


def normal_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 − F² in place of F²."""
    true = TangentSpace.fraction
    monkeypatch.setattr(TangentSpace, "fraction", lambda self, x: 1 - true(self, x))


def chance_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No control but k/d."""
    monkeypatch.setattr("tangency.evaluate.verdicts.manifold.CONTROLS", ("chance",))


def no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond smoothing is above the standard network."""

    def above(rows, recipe: Recipe, target: str, key: str, thresholds) -> CrossedEstimate | None:
        return aligned.alignment_difference(recipe, rows.standard, key, thresholds.level)

    monkeypatch.setattr(aligned, "_beyond", above)


def soft_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probability of the true class in place of whether it is the largest."""

    def soft(batch, logits: torch.Tensor) -> torch.Tensor:
        return logits.double().softmax(1).gather(1, batch.truth[:, None]).squeeze(1)

    monkeypatch.setattr("tangency.measures.robustness.changes._right", soft)


def log_odds(monkeypatch: pytest.MonkeyPatch) -> None:
    """log p/(1 − p) in place of the hard margin."""
    monkeypatch.setitem(scalars._SCALARS, "margin", scalars.log_odds)


Mistake = Callable[[pytest.MonkeyPatch], None]
Claims = Callable[[int], list[Claim]]
EVERYWHERE = (on_one_subspace, on_a_fitted_mixture, on_parallel_subspaces, on_a_decoder)
MISTAKES: dict[Mistake, dict[Claims, set[str]]] = {  # the claims that fail, by where they are made
    swapped_class: dict.fromkeys(EVERYWHERE, ALIGNED),
    misplaced: {on_one_subspace: {GLOBAL}, on_a_fitted_mixture: {LOCAL}, on_a_decoder: {LOCAL}},
    normal_share: {on_parallel_subspaces: NOWHERE},
    chance_alone: {on_a_fitted_mixture: {LOCAL, STANDARD}},
    no_filter: {claims: {WRAPPED} for claims in EVERYWHERE},
    soft_accuracy: {on_one_subspace: {LABELS}},
    log_odds: {on_one_subspace: LEVELS},
}


SLOW_MISTAKES = (swapped_class, no_filter, misplaced, soft_accuracy, log_odds)


@pytest.mark.parametrize(
    "mistake",
    [pytest.param(m, id=m.__name__, marks=[pytest.mark.slow] if m in SLOW_MISTAKES else []) for m in MISTAKES],
)
def test_a_mistake_in_verdicts_is_seen(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(monkeypatch)
    failed = {claims: {claim.claim for claim in claims(0) if not claim.passed} for claims in MISTAKES[mistake]}
    assert failed == MISTAKES[mistake]


@pytest.mark.parametrize("claims", EVERYWHERE)
def test_every_claim_about_verdicts_holds_and_fails_for_some_mistake(claims: Claims) -> None:
    made = claims(0)
    assert [claim for claim in made if not claim.passed] == []
    assert {claim.claim for claim in made} == set().union(*(by.get(claims, set()) for by in MISTAKES.values()))
