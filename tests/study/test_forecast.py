"""What a study will take: the simulated schedule, what is left to do, what is missing, and a calibration in small."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch

from study_support import tiny_spec, write_data
from tangency.devices import resolve_device
from tangency.errors import DataError, SpecError
from tangency.models import build
from tangency.study import checked_plan, parse_spec, run_study
from tangency.study.forecast import foresee, makespan
from tangency.study.forecast.calibrate import TaskTimings, representatives
from tangency.study.forecast.foresee import Foreseen, task_seconds
from tangency.study.forecast.memory import PeakMemory
from tangency.study.forecast.miniature import Miniature
from tangency.study.forecast.tasks import foreseen_phases
from tangency.study.layout import Layout
from tangency.study.phases import phases, to_measure
from tangency.study.spec import StudySpec
from tangency.study.work.tasks import Task
from tangency.worlds import load_dataset

WORLD = "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=12"


def by_hand(phases: list[list[float]], workers: int) -> float:
    """The slow one: in steps of a second, each free worker takes the longest task that is left."""
    clock = 0
    for phase in phases:
        left, busy = sorted(phase, reverse=True), [0] * workers
        while left or any(busy):
            busy = [b or (int(left.pop(0)) if left else 0) for b in busy]
            clock, busy = clock + 1, [max(b - 1, 0) for b in busy]
    return clock


@pytest.mark.parametrize(
    ("phases", "workers", "seconds"),
    [
        ([], 4, 0.0),
        ([[]], 4, 0.0),
        ([[2.5]], 4, 2.5),
        ([[1.0] * 10], 4, 3.0),  # ⌈10/4⌉
        ([[1.0] * 10], 1, 10.0),
        ([[1.0] * 10], 64, 1.0),
        ([[5, 5, 4, 4, 3, 3, 3]], 3, 11.0),  # Graham's worst case; the best order takes 9
        ([[7, 1, 1, 1], [2, 2]], 2, 9.0),  # the second phase waits for the 7
        ([[7, 1, 1, 1, 2, 2]], 2, 7.0),
    ],
)
def test_the_simulated_schedule_has_its_closed_forms(phases: list, workers: int, seconds: float) -> None:
    assert makespan(phases, workers) == seconds


def test_the_simulated_schedule_is_that_of_a_clock_and_lies_within_grahams_bounds() -> None:
    draw = torch.Generator().manual_seed(0)
    for _, workers in itertools.product(range(20), (1, 2, 3, 5)):
        phases = [torch.randint(1, 20, (int(n),), generator=draw).tolist() for n in torch.randint(0, 9, (2,))]
        seconds = makespan(phases, workers)
        assert seconds == by_hand(phases, workers)
        least = sum(max(sum(phase) / workers, max(phase, default=0)) for phase in phases)
        assert least <= seconds <= least * 2
    with pytest.raises(SpecError, match="expected at least 1"):
        makespan([[1.0]], 0)


def test_the_peak_of_memory_is_seen() -> None:
    with PeakMemory("cpu") as nothing:
        pass
    with PeakMemory("cpu") as peak:
        held = torch.ones(60_000_000)
        del held
    assert 100e6 < peak.bytes - nothing.bytes < 400e6  # pages that were freed before are used again
    assert peak.scaled(1.0) == peak.bytes
    assert 200e6 < peak.scaled(2.0) - nothing.bytes < 800e6


def spec_of(**changes: object) -> StudySpec:
    content = tiny_spec(Path("none.npz"), score={"kind": "exact"}) | {"data": WORLD} | changes
    return parse_spec(content, "spec")


def costs(phases: list[list]) -> list[list[float]]:
    return [sorted(task.cost for task in phase) for phase in phases if phase]


@pytest.mark.slow
@pytest.mark.processes
def test_what_is_foreseen_is_what_a_run_does(tmp_path: Path) -> None:
    """On an empty folder a run's phases are those foreseen; on a finished one nothing is left."""
    spec = spec_of(train={"epochs": 1, "batch_size": 20})
    data, run = load_dataset(spec.data), tmp_path / "run"
    plan = checked_plan(spec, data)
    before = foreseen_phases(plan, data, Layout(run))
    assert not run.exists()
    done: list[list] = []
    run_study(spec, run, lambda phase, work, event, *_: done.append(work) if event is None else None)
    assert costs(before) == costs(done)
    assert [phase for phase in foreseen_phases(plan, data, Layout(run)) if phase] == []
    forecast = foresee(spec, run, calibrated=False).forecast
    assert (forecast.trained, forecast.measured) == (4, 4)
    assert [list(phase) for _, phase in phases(plan, data, Layout(run))] == [[], []]


def test_the_gate_and_pictures_are_foreseen(tmp_path: Path) -> None:
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [0.1, 0.2, 0.3]}]
    spec = spec_of(convergence=True, sweep=sweep, generate=[{"task": "generate", "count": 3}])
    data = load_dataset(spec.data)
    plan = checked_plan(spec, data)
    training, filtering, measuring, longer, measuring_longer, making, judging = foreseen_phases(
        plan, data, Layout(tmp_path / "run")
    )
    assert len(training) == 7  # five networks, the score and the judge
    assert [len(filtering), len(longer)] == [1, 3]  # longer: the standard network and two strengths
    assert {len(task.trials) for task in measuring_longer} == {3}
    assert [len(making), len(judging)] == [6, 6]  # the references, and each network but the filtered one
    assert {task.kind for task in measuring} == {"measure", "pictures"}
    made = TaskTimings({"standard": 0.5, "gradient_norm": 2.0})
    steps = math.ceil(57 / 40)
    assert sorted(task_seconds(task, plan, data, made) for task in longer) == [4 * steps * each for each in (0.5, 2, 2)]
    assert list(tmp_path.iterdir()) == []


def test_a_task_measures_no_more_networks_than_a_worker_can_hold(tmp_path: Path) -> None:
    spec = spec_of()
    plan = checked_plan(spec, load_dataset(spec.data))
    weights = sum(value.nbytes for value in build("convnet", (1, 8, 8), 2).state_dict().values())
    assert plan.held * weights <= 1e9 < (plan.held + 1) * weights
    whole = to_measure(plan, [0, 1, 2], Layout(tmp_path))
    assert [(task.index, task.trials) for task in whole] == [(0, (0, 1, 2)), (1, (0, 1, 2))]
    cut = to_measure(dataclasses.replace(plan, held=2), [0, 1, 2], Layout(tmp_path))
    assert [(t.index, t.trials, t.cost) for t in cut if t.index == 0] == [(0, (0, 1), 12.0), (0, (2,), 6.0)]
    assert sorted((t.index, i) for t in cut for i in t.trials) == [(s, i) for s in (0, 1) for i in (0, 1, 2)]


def test_each_objective_is_timed_at_its_middle_strength() -> None:
    sweep = [{"objective": "standard"}, {"objective": "gradient_norm", "strengths": [3, 1, 2]}]
    sweep += [{"objective": "pgd_l2", "strengths": [1], "options": {"steps": 2}}]
    spec = spec_of(sweep=sweep)
    trials = checked_plan(spec, load_dataset(spec.data)).trials
    chosen = representatives(trials)
    assert [(t.name, t.strength) for t in chosen.values()] == [("standard", 0), ("gradient_norm", 2), ("pgd_l2", 1)]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Foreseen, Path]:
    folder = tmp_path_factory.mktemp("foreseen")
    spec = parse_spec(tiny_spec(write_data(folder), device="cpu"), "spec")
    return foresee(spec, folder / "run"), folder


def test_a_calibration_times_every_kind_of_task_and_writes_nothing(calibrated: tuple[Foreseen, Path]) -> None:
    foreseen, folder = calibrated
    forecast = foreseen.forecast
    kinds = {kind.kind: kind for kind in forecast.kinds}
    assert {name: kind.tasks for name, kind in kinds.items()} == {
        "initialise": 1,
        "train standard": 1,
        "train gradient_norm": 1,
        "score": 1,
        "filter": 1,
        "measure": 2,
        "pictures": 1,
    }
    assert all(0 < kind.longest <= kind.seconds < 60 for name, kind in kinds.items() if name != "initialise")
    assert all(50e6 < (kind.memory or 0) < 8e9 for name, kind in kinds.items() if name != "initialise")
    assert all(kind.measured for kind in kinds.values())
    assert forecast.device == resolve_device("cpu")
    assert forecast.wall[1] == pytest.approx(forecast.seconds)
    assert forecast.wall[1] >= forecast.wall[8] >= forecast.wall[64] >= max(kind.longest for kind in kinds.values())
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.npz"]
    assert math.isfinite(forecast.to_json()["seconds"])


def test_seconds_of_tasks_grow_with_what_they_do(calibrated: tuple[Foreseen, Path]) -> None:
    plan = calibrated[0].plan
    assert plan is not None
    data = load_dataset(plan.spec.data)
    made = TaskTimings({"standard": 0.5, "gradient_norm": 2.0}, 3.0, (1.0, 0.1), {"pictures": 4.0}, 0.01)
    steps = math.ceil(len(data.train) * 0.95 / 40)
    assert task_seconds(Task("train", 1), plan, data, made) == pytest.approx(2 * (steps * 0.5 + 3))
    assert task_seconds(Task("train", 2), plan, data, made) == pytest.approx(2 * (steps * 2.0 + 3))
    assert task_seconds(Task("train", 0), plan, data, made) == 0
    assert task_seconds(Task("measure", 0, (0, 1, 2)), plan, data, made) == pytest.approx(6 * 1.3)
    assert task_seconds(Task("pictures", 0, (0, 1)), plan, data, made) == pytest.approx(4 + 2 * 3 * 0.01)


def test_pictures_are_timed_on_the_study_s_own_images_where_tangent_spaces_are_fitted_to_few(tmp_path: Path) -> None:
    learnt = "autoencoder?latent=3&width=4&epochs=1&rank=2"
    world = WORLD.replace("train=60&test=12", "train=400&test=300")
    study = spec_of(data=world, score={"kind": "exact"}, tangents=[learnt], measured=50)
    data = load_dataset(world)
    small = Miniature.of(checked_plan(study, data), data, tmp_path, "cpu")
    assert max(small.plan.pictured) >= len(small.few.test)  # else these images would be among the few
    assert small.fit_tangents()[0] > 0
    assert small.draw() > 0
    assert min(small.measure()) > 0


def test_missing_data_are_named_and_trials_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANGENCY_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    from tangency.study import load_spec

    foreseen = foresee(load_spec("paper/cifar10"), tmp_path / "run")
    assert foreseen.plan is None
    assert sum(t.name not in ("standard", "untrained", "filtered") for t in foreseen.trials) == 360
    data, score = foreseen.forecast.wants
    assert "was not found" in data.missing
    assert "edm-cifar10-32x32-uncond-vp.pkl" in score.missing
    assert "https://nvlabs-fi-cdn.nvidia.com/edm/pretrained/edm-cifar10-32x32-uncond-vp.pkl" in score.advice
    assert str(tmp_path / "edm-cifar10-32x32-uncond-vp.pkl") in score.advice
    assert foreseen.forecast.kinds == ()
    with pytest.raises(DataError, match="unknown data set"):
        foresee(spec_of(data="cifar11", score={"components": 1, "rank": 3}), tmp_path / "run")


def test_a_study_whose_trained_score_is_missing_is_planned_without_it(tmp_path: Path) -> None:
    alignments = [["margin", "bayes_gradient"], ["margin", "network_bayes_gradient"]]
    content = tiny_spec(write_data(tmp_path), network_score="edm:none.pkl")
    content["measures"] = content["measures"] | {"alignments": alignments}
    foreseen = foresee(parse_spec(content, "spec"), tmp_path / "run", calibrated=False)
    assert [want.key for want in foreseen.forecast.missing] == ["network_score"]
    assert [trial.id for trial in foreseen.trials] == [
        "untrained-s0",
        "standard-0-s0",
        "gradient_norm-0.1-s0",
        "filtered-s0",
        "filtered_network-s0",
    ]
