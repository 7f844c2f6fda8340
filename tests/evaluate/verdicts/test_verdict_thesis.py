"""The thesis on made-up sweeps: it holds, it fails in both ways, and it stays open."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tangency.evaluate.verdicts import Recipe, ThesisVerdict, verdicts
from verdict_support import IMAGES, Truth, columns, shared_images, sweep

TOGETHER = {
    "one": Truth(alignment=0.15, fraction=0.25),
    "two": Truth(alignment=0.3, fraction=0.5),
    "three": Truth(alignment=0.2, fraction=0.4),
}


def judged(truths: dict[str, Truth], seeds: int = 5) -> ThesisVerdict:
    return verdicts(sweep(truths, seeds)).thesis["pgd"]


def test_it_holds_where_both_rise_together_and_the_best_is_on_manifold() -> None:
    result = judged(TOGETHER)
    assert result.status == "holds"
    assert result.best == {"bayes_gradient": "two", "network_bayes_gradient": "two"}
    assert len(result.reasons) == 5
    assert all(each.startswith("one sign at") for each in result.reasons[:3])
    change = result.changes["two"].fraction[""]
    assert change.mean == pytest.approx(np.log(0.5 / 0.15), abs=0.03)


def test_it_fails_where_the_fraction_falls_as_alignment_rises() -> None:
    result = judged({**TOGETHER, "away": Truth(alignment=0.25, fraction=0.1)})
    assert result.status == "fails"
    assert result.reasons[0].startswith("opposite signs at away: ΔL (closed form) +0.1")


def test_it_fails_where_the_best_is_not_on_manifold() -> None:
    result = judged({"best": Truth(alignment=0.3, fraction=0.2)})
    assert result.changes["best"].fraction[""].low > 0
    assert result.status == "fails"
    assert result.reasons[-1].endswith("is that of best, on-manifold: not")


def test_it_is_open_where_a_sign_is_not_shown() -> None:
    result = judged({**TOGETHER, "still": Truth(alignment=0.1, fraction=0.15)})
    assert result.status == "open"
    assert any(each.startswith("not both shown at still") for each in result.reasons)


def test_it_is_open_where_directions_disagree() -> None:
    result = judged({**TOGETHER, "split": Truth(alignment=0.2, trained=0.02, fraction=0.4)})
    assert result.status == "open"


def test_collapsed_recipes_are_left_out_by_name() -> None:
    result = judged({**TOGETHER, "dead": Truth(alignment=0.6, fraction=0.01, accuracy=0.09)})
    assert (result.status, result.left_out) == ("holds", ["dead"])
    assert "dead" not in result.changes


def test_the_standard_recipe_may_be_the_best() -> None:
    result = judged({"less": Truth(alignment=0.05, fraction=0.1)})
    assert set(result.best.values()) == {"standard"}
    assert result.status == "fails"


def test_nothing_of_it_can_be_said_without_a_standard_recipe() -> None:
    rows = sweep(TOGETHER)
    result = verdicts(dataclasses.replace(rows, recipes=rows.recipes[1:])).thesis["pgd"]
    assert result.status == "open"
    assert "no baseline" in result.reasons[0]
    assert "nothing is measured" in result.reasons[1]


@pytest.mark.parametrize("off", ["one", "two"])
def test_a_best_that_another_recipe_may_be_as_well_decides_nothing_alone(off: str) -> None:
    """L is the same; which of both is the highest is chance, and one is on-manifold, the other is not."""
    truths = dict.fromkeys(("one", "two"), Truth(alignment=0.3, fraction=0.5))
    truths[off] = Truth(alignment=0.3, fraction=0.5, controls={"dct": 0.54})
    result = judged(truths)
    assert result.status == "open"
    assert any("; not shown to be below it: " in each for each in result.reasons)


@pytest.mark.parametrize("fraction", [0.05, 0.5])
def test_nothing_of_it_is_said_beside_a_collapsed_standard_recipe(fraction: float) -> None:
    rows = sweep({"one": Truth(alignment=0.3, fraction=fraction)})
    for own in rows.recipes[0].networks.values():
        own["accuracy"][:] = np.arange(IMAGES) % 10 == 0  # type: ignore[index]
    result = verdicts(rows).thesis["pgd"]
    assert result.status == "open"
    assert "no baseline" in result.reasons[0]


def test_each_objective_has_its_own() -> None:
    rows = sweep(TOGETHER)
    networks = {
        seed: columns(Truth(alignment=0.3, fraction=0.05), np.random.default_rng([7, seed]), shared_images())
        for seed in range(5)
    }
    result = verdicts(dataclasses.replace(rows, recipes=[*rows.recipes, Recipe("other", "noise", 1.0, networks)]))
    assert {name: each.status for name, each in result.thesis.items()} == {"pgd": "holds", "noise": "fails"}
