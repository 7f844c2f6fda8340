"""Generative quality beside alignment: rank correlations, peaks and their words, on numbers with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tangency.evaluate.entries import fields_json
from tangency.evaluate.generation.numbers import SetNumbers, long_table
from tangency.statistics import PairedBootstrap
from tangency.study.generation.cells import RecipeNumbers, SweepCell
from tangency.study.generation.entries import Correlation
from tangency.study.generation.join import peaks, rank_correlations
from tangency.study.generation.shards import JudgedPictures
from tangency.study.generation.summary import qualities, trial_draws

B = 400


def cells(
    quality: list[float], aligned: list[float], spread: float = 0.0, objective: str = "gradient_norm"
) -> list[SweepCell]:
    """The standard network and one objective at strengths 1, 2, …; resamples differ by independent normal noise."""
    rng = np.random.default_rng(0)
    sweep = []
    for strength, (q, a) in enumerate(zip(quality, aligned, strict=True)):
        noise = spread * rng.standard_normal((2, 1 + B))
        noise[:, 0] = 0
        name = objective if strength else "standard"
        draws = {"psnr": q + noise[0], "lpips": -q + noise[0], "f": a + noise[1]}
        sweep.append(
            SweepCell(
                f"{name}-{strength}",
                name,
                float(strength),
                "bayes_aligned" if a == max(aligned) else "weak",
                RecipeNumbers(draws=draws),
            )
        )
    return sweep


def of(correlations: list[Correlation], quality: str, against: str, scope: str) -> dict:
    (entry,) = [e for e in correlations if (e.quality, e.against, e.scope) == (quality, against, scope)]
    return fields_json(entry)


def peaks_of(sweep: list[SweepCell], qualities: dict[str, str]) -> list[dict]:
    return [each.to_json() for each in peaks(sweep, qualities, {"f": "F²"}, "standard", 3)]


def test_the_rank_correlation_of_a_known_order() -> None:
    """Spearman of 1 2 3 4 5 with 2 1 3 5 4 is 1 − 6·4/(5·24) = 0.8; the strengths 1 … 4 have 1 3 5 4, so 0.8."""
    found = rank_correlations(cells([1, 2, 3, 4, 5], [2, 1, 3, 5, 4]), ["psnr", "lpips"], {"f": "F²"}, "standard")
    assert of(found, "psnr", "F²", "all")["rho"] == pytest.approx(0.8)
    assert of(found, "lpips", "F²", "all")["rho"] == pytest.approx(-0.8)
    assert of(found, "psnr", "F²", "gradient_norm")["n"] == 5
    strength = of(found, "psnr", "log_strength", "gradient_norm")
    assert (strength["rho"], strength["n"]) == (pytest.approx(1), 4)  # the standard network has no log strength
    whole = of(found, "psnr", "F²", "all")
    assert whole["low"] <= 0.8 <= whole["high"]
    assert 0.05 < whole["p"] < 0.2  # 2·8/120 of the orders of five are as far from zero


def test_fewer_than_three_cells_have_no_correlation() -> None:
    found = rank_correlations(cells([1, 2], [1, 2]), ["psnr"], {"f": "F²"}, "standard")
    assert of(found, "psnr", "F²", "all") == {
        "quality": "psnr",
        "against": "F²",
        "scope": "all",
        "n": 2,
        **dict.fromkeys(("rho", "low", "high", "p")),
    }


def test_a_constant_quality_has_no_correlation() -> None:
    assert (
        of(rank_correlations(cells([1, 1, 1], [1, 2, 3]), ["psnr"], {"f": "F²"}, "standard"), "psnr", "F²", "all")[
            "rho"
        ]
        is None
    )


@pytest.mark.parametrize(
    ("quality", "aligned", "spread", "words"),
    [
        ([1, 5, 2], [1, 5, 2], 0.1, "they peak together (the same strength in 100% of resamples)"),
        ([1, 5, 2], [1, 2, 5], 0.1, "they do not peak together (the same strength in 0% of resamples)"),
        ([1, 5, 4.9], [1, 2, 5], 1.0, "the estimates differ, but the data do not settle it"),
        ([1, 5, 4.9], [1, 5, 2], 1.0, "the estimates agree, but the data do not settle it"),
    ],
)
def test_peaks_and_their_words(quality: list[float], aligned: list[float], spread: float, words: str) -> None:
    (found,) = (
        each.to_json()
        for each in peaks(cells(quality, aligned, spread), {"psnr": "higher"}, {"f": "F²"}, "standard", 3)
    )
    assert words in found["words"]
    assert found["peak"]["strength"] == 1
    assert sum(found["peak"]["shares"].values()) == pytest.approx(1)
    assert found["F²"]["regime"] == "bayes_aligned"
    assert "Bayes-aligned" in found["words"]
    assert ("the largest of the sweep" in found["words"]) == (aligned[2] == 5)


def test_two_that_rise_to_the_end_have_no_peak_to_compare() -> None:
    (found,) = (
        each.to_json()
        for each in peaks(cells([1, 2, 5], [1, 2, 5], 0.1), {"psnr": "higher"}, {"f": "F²"}, "standard", 3)
    )
    assert "neither peak is seen" in found["words"]
    assert found["F²"]["together"] == 1


def test_lower_is_better_for_distances_and_ties_are_shared() -> None:
    (found,) = (
        each.to_json() for each in peaks(cells([1, 5, 2], [3, 3, 3]), {"lpips": "lower"}, {"f": "F²"}, "standard", 3)
    )
    assert found["peak"]["strength"] == 1
    assert found["peak"]["share"] == 1
    assert found["F²"]["shares"] == {"0": pytest.approx(1 / 3), "1": pytest.approx(1 / 3), "2": pytest.approx(1 / 3)}
    assert found["F²"]["together"] == pytest.approx(1 / 3)
    assert "do not settle it" in found["words"]


def test_a_peak_at_the_standard_network_is_told() -> None:
    (found,) = (
        each.to_json() for each in peaks(cells([5, 2, 1], [1, 2, 3]), {"psnr": "higher"}, {"f": "F²"}, "standard", 3)
    )
    assert found["words"].startswith("Best PSNR at the standard network")


@pytest.mark.parametrize(("networks", "says"), [(1, True), (3, False)])
def test_the_peak_of_one_network_is_no_claim_about_its_recipe(networks: int, says: bool) -> None:
    (found,) = peaks(cells([1, 5, 2], [1, 5, 2]), {"psnr": "higher"}, {"f": "F²"}, "standard", networks)
    assert found.words.endswith(" This is of one network at each strength: other seeds may peak elsewhere.") == says


def test_each_objective_is_told_apart() -> None:
    both = cells([1, 5, 2], [1, 5, 2]) + cells([1, 2, 5], [1, 5, 2], objective="pgd_l2")[1:]
    found = peaks(both, {"psnr": "higher"}, {"f": "F²"}, "standard", 3)
    assert [(each.objective, each.peak.strength) for each in found] == [("gradient_norm", 1), ("pgd_l2", 2)]


def test_a_kid_has_the_interval_of_its_standard_error() -> None:
    """Its resamples are normal: 0.5 ± 1.96 · 0.1, independent between trials; means over pictures are resampled."""
    rows = long_table(torch.arange(50), torch.zeros(50), {"classifier": {"judge_accuracy": torch.arange(50) % 2}})
    sets = {"classifier": SetNumbers("alexnet-lpips", 1000, 1000, {"kid": 0.5, "kid_standard_error": 0.1})}
    told = JudgedPictures(rows, {}, torch.zeros(0), {}, sets, {})
    one, other = (trial_draws(told, PairedBootstrap(50, 4000), (whose,)) for whose in "ab")
    assert one["kid"][0] == 0.5
    assert np.quantile(one["kid"][1:], [0.025, 0.975]) == pytest.approx([0.304, 0.696], abs=0.015)
    assert abs(np.corrcoef(one["kid"][1:], other["kid"][1:])[0, 1]) < 0.06
    assert one["judge_accuracy"][0] == 0.5
    np.testing.assert_array_equal(one["judge_accuracy"], other["judge_accuracy"])  # paired
    assert qualities("generate", one) == {"judge_accuracy": "higher", "kid": "lower"}
