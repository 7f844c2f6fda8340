"""Recipes of generation: intervals of networks crossed with pictures, their coverage, and the unit in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from crossed_worlds import Cell, draws
from study_support import tiny_spec, write_data
from tangency.evaluate.entries import MeasureEntry
from tangency.evaluate.generation.judges import JudgeQuality
from tangency.evaluate.generation.numbers import SetNumbers, long_table
from tangency.generation.tasks.inputs import OWN, START
from tangency.measures.keys import FRACTION
from tangency.report.page.generated import generated_section
from tangency.report.page.html import environment
from tangency.report.read.run import RunFiles
from tangency.statistics import PairedBootstrap, crossed_difference, crossed_mean, crossed_sets
from tangency.statistics.resamples import Array
from tangency.study import parse_spec
from tangency.study.generation.cells import distance_of_networks, means_of_networks
from tangency.study.generation.collect import GeneratedEntry
from tangency.study.generation.entries import GenerationEntry
from tangency.study.generation.plan import plan_entries
from tangency.study.generation.shards import JudgedPictures
from tangency.study.generation.summary import Joined, summarise_generation
from tangency.study.plan import FILTERED, plan_trials
from tangency.worlds import load_dataset

COUNT, MEASURED, ALIGNMENT = 20, 12, "alignment_cosine.margin.bayes_gradient.sigma=0.5"


def coverage(cell: Cell, repetitions: int, quality: str = "psnr_gain") -> float:
    """Share of the intervals of a recipe's quality that hold the truth."""
    boot, held = PairedBootstrap(cell.images, 2), 0
    for _, truth, table in draws(cell, repetitions):
        found = means_of_networks({quality: table}, boot, {}).measures[quality]
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    return held / repetitions


@pytest.mark.parametrize(("share", "ratio"), [(0.9, 0.0), (0.5, 6.0)])
def test_intervals_of_a_recipe_cover(share: float, ratio: float) -> None:
    """Binomial error of 400 draws: .010. The seed bootstrap has .79 to .88 with three networks."""
    assert 0.92 < coverage(Cell("levels", share, ratio, 3, images=60), 400) < 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("share", "ratio", "networks"), list(product((0.0, 0.5, 0.9), (0.0, 2.0, 6.0), (3, 5, 10))))
def test_intervals_of_a_recipe_cover_everywhere(share: float, ratio: float, networks: int) -> None:
    assert coverage(Cell("levels", share, ratio, networks), 2000) == pytest.approx(0.955, abs=0.025)


@pytest.mark.parametrize("networks", [1, 3])
def test_a_picture_without_a_value_is_left_out_for_all_networks(networks: int) -> None:
    table = np.random.default_rng(0).normal(size=(networks, 30))
    holed = table.copy()
    holed[0, 3] = np.nan
    found = means_of_networks({"psnr": holed}, PairedBootstrap(30, 50), {"psnr": 0.25})
    whole = means_of_networks({"psnr": np.delete(table, 3, 1)}, PairedBootstrap(29, 50), {})
    entry, expected = found.measures["psnr"], whole.measures["psnr"]
    assert (entry.mean, entry.low, entry.high) == (expected.mean, expected.low, expected.high)
    assert (entry.n, entry.degenerate, entry.chance) == (29 * networks, networks, 0.25)
    assert found.draws["psnr"][0] == pytest.approx(entry.mean)


def test_a_kid_has_students_t_and_its_standard_error() -> None:
    """t₂² s²/3 + z² · mean e²: the errors of networks that share their real images do not average out."""
    values, errors = np.array([0.5, 0.7, 0.3]), np.array([0.1, 0.2, 0.2])
    sets = [
        SetNumbers("judge", 1000, 5000, {"kid": v, "kid_standard_error": e})
        for v, e in zip(values.tolist(), errors.tolist(), strict=True)
    ]
    found = distance_of_networks(sets, 20_000, 0)
    half = np.sqrt(4.302653**2 * 0.04 / 3 + 1.959964**2 * 0.03)
    entry = found.measures["kid"]
    assert (entry.mean, entry.high) == (pytest.approx(0.5), pytest.approx(0.5 + half))
    assert (entry.n, entry.networks, entry.unit, entry.each) == (3000, 3, "networks", values.tolist())
    low, high = np.quantile(found.draws["kid"][1:], [0.025, 0.975])
    assert high - low == pytest.approx(2 * half, rel=0.05)
    alone = distance_of_networks(sets[:1], 20_000, 0)
    assert alone.measures["kid"].unit == "images"
    assert np.quantile(alone.draws["kid"][1:], 0.975) == pytest.approx(0.5 + 0.196, abs=0.006)


def summed(folder: Path, seeds: Sequence[int]) -> tuple[GenerationEntry, dict[str, dict[str, Array]]]:
    """The entry of a study with made-up pictures, and the tables (S, N) of each cell."""
    content = tiny_spec(write_data(folder), seeds=list(seeds), judge={"options": {"width": 2}})
    spec = parse_spec(content | {"generate": [{"task": "denoise", "count": COUNT}]}, "test")
    data = load_dataset(spec.data)
    trials = [trial for trial in plan_trials(spec, data) if trial.name not in FILTERED.values()]
    (planned,) = plan_entries(spec, data)
    rng, y = np.random.default_rng(0), torch.zeros(COUNT)
    hard, columns, judged = rng.normal(size=COUNT), {}, {}
    tables: dict[str, dict[str, list[Array]]] = {}
    for trial in trials:
        gain = hard + rng.normal(size=COUNT) + 5 * trial.strength
        own = {key: rng.normal(size=MEASURED) for key in (FRACTION, ALIGNMENT)}
        columns[trial.id] = own | {f"{key}.shuffled": rng.normal(size=MEASURED) for key in own}
        rows = long_table(planned.ids, y, {OWN: {"psnr_gain": torch.from_numpy(gain)}})
        kid = SetNumbers("judge", 1000, 1000, {"kid": 0.1 * float(rng.random()), "kid_standard_error": 0.01})
        judged[trial.id] = JudgedPictures(rows, {}, y, {}, {OWN: kid}, {})
        cell = tables.setdefault(trial.id.removesuffix(f"-s{trial.seed}"), {"psnr_gain": [], FRACTION: [], "kid": []})
        cell["psnr_gain"].append(gain)
        cell[FRACTION].append(own[FRACTION] - columns[trial.id][f"{FRACTION}.shuffled"])
        cell["kid"].append(np.array(kid.distances["kid"]))
    rows = long_table(planned.ids, y, {START: {"psnr_gain": torch.from_numpy(hard)}})
    made = GeneratedEntry(planned, JudgedPictures(rows, {}, y, {START: "as it was"}, {}, {}), judged)
    quality = JudgeQuality(MeasureEntry(mean=0.9, low=0.8, high=1.0, n=30, chance=1 / 3), "")
    joined = Joined(columns, set(), {}, ALIGNMENT)
    told = summarise_generation(spec, data, trials, [made], quality, joined)
    return told, {name: {key: np.stack(each) for key, each in own.items()} for name, own in tables.items()}


def test_cells_have_crossed_intervals(tmp_path: Path) -> None:
    told, tables = summed(tmp_path, (0, 1, 2))
    (entry,) = told.entries
    assert (entry.networks, entry.unit) == (3, "networks")
    assert [cell.id for cell in entry.cells] == list(tables) == ["untrained", "standard-0", "gradient_norm-0.1"]
    for cell in entry.cells:
        own = tables[cell.id]
        errors = np.full(3, 0.01)
        expected = {
            "psnr_gain": crossed_mean(own["psnr_gain"]),
            "kid": crossed_sets(own["kid"], errors, 1000),
            FRACTION: crossed_difference(own[FRACTION], np.zeros_like(own[FRACTION])),
        }
        for name, interval in expected.items():
            found = (cell.measures | cell.excess)[name]
            assert (found.mean, found.low, found.high) == pytest.approx((interval.mean, interval.low, interval.high))
            assert (found.networks, found.unit, len(found.each)) == (3, "networks", 3)
        assert cell.measures["psnr_gain"].n == 3 * COUNT
        assert cell.excess[FRACTION].n == 3 * MEASURED
    assert "3 networks crossed with the images" in told.method


def test_one_network_is_no_recipe(tmp_path: Path) -> None:
    told, tables = summed(tmp_path, (0,))
    (entry,) = told.entries
    assert (entry.networks, entry.unit) == (1, "images")
    values = tables["standard-0"]["psnr_gain"]
    found = entry.cells[1].measures["psnr_gain"]
    expected = crossed_mean(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.low < values.mean() - values.std(ddof=1) / COUNT**0.5
    assert (found.networks, found.unit) == (1, "images")
    assert "they are about this network, and nothing is said of other seeds" in told.method


@pytest.mark.parametrize(
    ("seeds", "unit", "said"),
    [
        ((0,), "images of one network", "over images of one network, which say nothing of other seeds"),
        ((0, 1, 2), "3 networks crossed with images", "over 3 networks crossed with images, small points the networks"),
    ],
)
def test_the_page_names_the_unit(seeds: Sequence[int], unit: str, said: str, tmp_path: Path) -> None:
    told, _ = summed(tmp_path, seeds)
    generated = {f"denoise.trial.{trial.id}": np.zeros((1, 1, 8, 8)) for trial in told.entries[0].trials}
    generated["denoise.labels"] = np.zeros(1)
    summary = SimpleNamespace(generation=told, data=SimpleNamespace(classes=["a", "b", "c"]))
    section = generated_section(cast("RunFiles", SimpleNamespace(summary=summary, generated=generated)))
    assert section is not None
    assert [row.unit for row in section.entries[0].rows] == ["images", *[unit] * 3]
    context: dict[str, Any] = {"generation": section, "kappa": False}
    page = environment().get_template("generated.html.j2").render(context)
    assert said in page
    assert f"with 95 % intervals over recipes and {unit}:" in page
    assert page.count(f"<td>{unit}</td>") == 3
