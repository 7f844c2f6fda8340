"""The convergence gate: which networks are trained longer, what moved, and what is withheld for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from study_support import tiny_spec, write_data
from tangency.data import load
from tangency.errors import SpecError
from tangency.evaluate.verdicts import Recipe, SweepRows
from tangency.statistics.regimes import Thresholds
from tangency.study import parse_spec, run_study
from tangency.study.convergence import lengthened_cells
from tangency.study.plan import Trial, cell_of, plan_longer, plan_trials
from tangency.study.summary.gate import convergence_entries, withheld

SWEEP = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.1, 1.0, 10.0]}]
N, D, K = 400, 64, 3


def planned(folder: Path, seeds: list[int]) -> tuple[list[Trial], list[Trial]]:
    """Trials of a study, and all of them trained longer."""
    spec = parse_spec(tiny_spec(write_data(folder), sweep=SWEEP, seeds=seeds), "test")
    data = load(spec.data)
    return plan_trials(spec, data), plan_longer(spec, data)


def test_ends_and_peak_are_chosen(tmp_path: Path) -> None:
    trials, _ = planned(tmp_path, [0, 1])

    def chosen(*levels: float) -> list[str]:
        by_cell = dict(
            zip(["standard-0", "gradient_norm-0.1", "gradient_norm-1", "gradient_norm-10"], levels, strict=True)
        )
        return lengthened_cells(trials, {t.id: by_cell[cell_of(t)] for t in trials if t.objective})

    assert chosen(0.1, 0.2, 0.3, 0.2) == ["standard-0", "gradient_norm-1", "gradient_norm-10"]
    assert chosen(0.1, 0.2, 0.3, 0.4) == ["standard-0", "gradient_norm-10"]
    assert chosen(0.1, 0.4, float("nan"), 0.3) == ["standard-0", "gradient_norm-0.1", "gradient_norm-10"]


def network(fraction: float, seed: int) -> dict[str, np.ndarray]:
    """Columns of a network of this mean F², its controls at half of it."""
    f = fraction * np.random.default_rng(seed).uniform(0.8, 1.2, N)
    made = {"accuracy": np.ones(N), "tangent_rank": np.full(N, float(K)), "tangent_fraction.margin": f}
    for control in ("shuffled", "shuffled_class", "dct", "pca", "phase"):
        made[f"tangent_fraction.margin.{control}"] = np.full(N, fraction / 2)
        made[f"tangent_overlap.{control}"] = np.full(N, 0.3)
    return made


def gate(folder: Path, seeds: int, change: float, spread: float = 0.02, diverged: bool = False) -> tuple[list, dict]:
    """Entries and what is withheld where F² of gradient_norm-10 alone is multiplied by `change`."""
    _, longer = planned(folder, list(range(seeds)))
    longer = [t for t in longer if cell_of(t) in ("standard-0-long", "gradient_norm-10-long")]
    spreads = {seed: 1 + spread * (seed - (seeds - 1) / 2) for seed in range(seeds)}
    levels = {"standard-0": 0.1, "gradient_norm-0.1": 0.15, "gradient_norm-10": 0.2}
    recipes = [
        Recipe(
            name,
            name.partition("-")[0],
            float(name.partition("-")[2]),
            {s: network(f * spreads[s], s) for s in spreads},
        )
        for name, f in levels.items()
    ]
    columns = {}
    for trial in longer:
        name = cell_of(trial).removesuffix("-long")
        own = network(levels[name] * spreads[trial.seed], trial.seed)
        if name == "gradient_norm-10":
            own["tangent_fraction.margin"] = own["tangent_fraction.margin"] * change
        columns[trial.id] = own
    if diverged:
        del columns["gradient_norm-10-long-s0"]
    rows = SweepRows(recipes, constant=0.1, dimension=D)
    entries = convergence_entries(rows, longer, columns, Thresholds())
    return entries, withheld(rows, entries, {})


def test_numbers_that_stay_withhold_nothing(tmp_path: Path) -> None:
    entries, why = gate(tmp_path, 3, 1.0)
    assert [entry.cell for entry in entries] == ["standard-0", "gradient_norm-10"]
    assert not any(entry.moved for entry in entries)
    assert why == {}


def test_a_change_of_log_kappa_is_measured_exactly_and_withholds_its_objective(tmp_path: Path) -> None:
    entries, why = gate(tmp_path, 3, 1.2)
    f = np.array([network(0.2 * (1 + 0.02 * (s - 1)), s)["tangent_fraction.margin"].mean() for s in range(3)])
    change = np.log((1 - 1.2 * f) / (1.2 * f)) - np.log((1 - f) / f)
    assert entries[1].log_kappa.each == pytest.approx(change.tolist())
    assert abs(entries[1].log_kappa.change) > 0.08
    assert entries[1].fraction[""].change == pytest.approx(np.log(1.2))
    assert entries[1].moved
    assert not entries[0].moved
    assert set(why) == {"gradient_norm", "gradient_norm-0.1", "gradient_norm-10"}
    assert "gradient_norm-10, trained 2 times as long: ln κ moved by -0.2" in why["gradient_norm-0.1"]


def test_two_sds_of_networks_are_allowed_and_of_one_network_two_of_its_images(tmp_path: Path) -> None:
    entries, _ = gate(
        tmp_path, 3, 1.05
    )  # ln κ moves by .06; F² and its controls move together: sds are of images alone
    moved = entries[1].fraction[""]
    levels = [np.log(network(0.2, s)["tangent_fraction.margin"].mean() / 0.1) for s in range(3)]
    assert moved.allowed == pytest.approx(2 * np.std(levels, ddof=1))
    assert (moved.unit, entries[1].moved) == ("networks", True)
    (tmp_path / "one").mkdir()
    alone, _ = gate(tmp_path / "one", 1, 1.01)
    values = network(0.2, 0)["tangent_fraction.margin"]
    error = values.std(ddof=1) / values.mean() / np.sqrt(N)
    assert alone[1].fraction[""].allowed == pytest.approx(2 * error, rel=5e-3)
    assert alone[1].fraction[""].unit == "images"


def test_a_network_that_diverges_when_trained_longer_is_not_converged(tmp_path: Path) -> None:
    entries, why = gate(tmp_path, 3, 1.0, diverged=True)
    assert entries[1].moved
    assert "1 of its networks diverged" in why["gradient_norm-10"]


def rows_of(**seeds: list[int]) -> SweepRows:
    """Rows of the cells standard, weak and strong (of one objective), other, and untrained, with networks of these."""
    objectives = {"weak": "gradient_norm", "strong": "gradient_norm"}
    made = {
        name: Recipe(name, objectives.get(name, name), place, {s: network(0.2, s) for s in seeds.get(name, [0, 1, 2])})
        for place, name in enumerate(["standard", "weak", "strong", "other", "untrained"])
    }
    reference = made.pop("untrained")
    return SweepRows(list(made.values()), constant=0.1, dimension=D, references=[reference])


def test_what_the_standard_recipe_lost_withholds_all_that_is_judged_against_it() -> None:
    everyone = {"standard", "weak", "strong", "other", "untrained", "gradient_norm"}
    diverged = withheld(rows_of(standard=[0]), [], {"standard": 2})
    assert set(diverged) == everyone
    assert diverged["standard"] == "2 of its networks diverged, and the others are a selection."
    words = "Of the standard networks 2 diverged, and nothing is claimed against a selection of them."
    assert {diverged[name] for name in everyone - {"standard"}} == {words}
    both = withheld(rows_of(standard=[0, 1]), [], {"standard": 1}, 1)
    assert both["other"].startswith("Of the standard networks 1 diverged and 1 collapsed, and nothing is claimed")
    assert set(withheld(rows_of(), [], {}, 1)) == everyone


def test_what_another_cell_lost_withholds_its_label_and_the_sweep_of_its_objective() -> None:
    why = withheld(rows_of(strong=[0]), [], {"strong": 2, "standard": 0})
    assert set(why) == {"strong", "gradient_norm"}
    assert why["strong"] == "2 of its networks diverged, and the others are a selection."
    assert why["gradient_norm"].startswith("2 of the networks of strong diverged; its sweep is made of the seeds")


def test_the_gate_wants_a_standard_network_and_the_new_rule() -> None:
    with pytest.raises(SpecError, match="convergence: got true with rule: kappa"):
        parse_spec({"sweep": SWEEP, "convergence": True, "rule": "kappa"}, "spec")
    with pytest.raises(SpecError, match="without the objective standard"):
        parse_spec({"sweep": SWEEP[1:], "convergence": True}, "spec")


@pytest.mark.processes
def test_a_study_with_the_gate_trains_longer_once_and_keeps_those_rows(tmp_path: Path) -> None:
    content = tiny_spec(write_data(tmp_path), convergence=True, train={"epochs": 1, "batch_size": 40})
    summary = run_study(parse_spec(content, "test"), tmp_path / "run")
    assert [entry["cell"] for entry in summary["convergence"]] == ["standard-0", "gradient_norm-0.1"]
    assert [entry["epochs"] for entry in summary["convergence"]] == [[1, 2]] * 2
    names = {"standard-0-long-s0", "gradient_norm-0.1-long-s0"}
    assert names <= set(pl.read_parquet(tmp_path / "run" / "rows.parquet")["trial"])
    assert not names & {trial["id"] for trial in summary["trials"]}
    assert summary["unused_networks"] == 0
    moved = [entry["moved"] for entry in summary["convergence"]]
    labels = {cell["id"]: cell["regime"] for cell in summary["cells"]}
    assert any(moved)  # of one epoch
    assert labels["gradient_norm-0.1"] is None
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("trials/*/*") if path.is_file()}
    again = run_study(parse_spec(content, "test"), tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert json.dumps(again["convergence"]) == json.dumps(summary["convergence"])
