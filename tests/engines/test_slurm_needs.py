"""What Slurm jobs ask for: time, memory, GPUs that several workers share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.pretended_slurm import GONE, RUNS, Cluster, begin
from simulated_work import simulated
from tangency.engines import EngineConfig, Job, Resources, slurm_jobs
from tangency.engines import slurm_control as control
from tangency.engines.slurm import SlurmEngine, _Care, _PhaseWatch
from tangency.engines.slurm_jobs import Submission


def test_options_of_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"gpu": 4 * 60, "": None}
    monkeypatch.setattr(slurm_jobs, "time_limit", limits.get)
    plain = Submission(EngineConfig(kind="slurm"), "name", tmp_path / "queue" / "slurm", "abc", 2).parameters(1, 0)
    assert (plain["time"], plain["signal_delay_s"], plain["cpus_per_task"]) == (24 * 60, 90, 2)
    assert plain["additional_parameters"] == {"requeue": True}
    assert not {"partition", "account", "mem", "gpus_per_node"} & set(plain)
    options = {"partition": "gpu", "account": "a", "mem": 1.5, "gpus_per_task": 1, "sbatch": {"qos": "low"}}
    chosen = Submission(EngineConfig(kind="slurm", **options), "name", tmp_path / "queue" / "slurm", "abc", 1)
    more = chosen.parameters(1, chosen.memory(0))
    assert (more["time"], more["partition"], more["account"]) == (4 * 60, "gpu", "a")
    assert (more["mem"], more["gpus_per_node"]) == ("1500MB", 1)
    assert more["additional_parameters"] == {"requeue": True, "qos": "low"}
    short = dataclasses.replace(chosen, config=EngineConfig(kind="slurm", time=2)).parameters(1, 0)
    assert (short["time"], short["signal_delay_s"]) == (2, 30)


def test_four_workers_that_share_a_gpu_ask_for_one_and_for_four_times_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_jobs, "time_limit", lambda _: None)
    config = EngineConfig(kind="slurm", gpus_per_task=0.25)
    asked = Submission(config, "name", tmp_path / "queue" / "slurm", "abc", 2).parameters(config.sharing, 1500)
    assert (asked["gpus_per_node"], asked["cpus_per_task"], asked["mem"]) == (1, 8, "6000MB")
    assert asked["srun_args"] == ["--cpus-per-task=8"]


@pytest.mark.parametrize(
    ("share", "workers", "processes", "jobs"),
    [
        (0.25, 8, 4, 2),
        (0.25, 4, 4, 1),
        (0.25, 6, 3, 2),
        (0.25, 5, 2, 2),
        (0.25, 1, 1, 1),
        (0.34, 4, 2, 2),
        (1 / 3, 6, 3, 2),
        (0.6, 2, 1, 2),
        (1, 3, 1, 3),
        (2, 3, 1, 3),
        (0, 3, 1, 3),
    ],
)
def test_workers_are_spread_evenly_over_as_many_gpus_as_they_need(
    opened: Callable[..., SlurmEngine], share: float, workers: int, processes: int, jobs: int
) -> None:
    one = opened(workers, gpus_per_task=share)
    assert (one._processes, one._jobs) == (processes, jobs)
    assert processes * jobs <= workers


def test_no_more_slurm_jobs_are_asked_for_than_there_are_tasks_for_their_processes(
    cluster: Cluster, opened: Callable[..., SlurmEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    def look(care: _Care, wanted: int, watch: _PhaseWatch) -> None:
        raise Enough(wanted)

    monkeypatch.setattr(_Care, "look", look)
    for tasks, wanted in ((1, 1), (4, 1), (5, 2), (80, 4)):
        with pytest.raises(Enough, match=f"^{wanted}$"), opened(16, gpus_per_task=0.25) as one:
            one.do([simulated(f"j{i}") for i in range(tasks)], lambda event: None)


def needing(name: str, memory: int) -> Job:
    return dataclasses.replace(simulated(name), resources=Resources(memory=memory))


@pytest.mark.parametrize(
    ("given", "options", "needed", "asked"),
    [
        ("node", {}, 2_000_000_000, 3000),  # half as much again
        ("default", {}, 2_000_000_000, 3000),
        ("nothing", {}, 2_000_000_000, 0),  # sbatch may refuse what such a cluster does not count
        ("node", {}, 0, 4000),
        ("default", {}, 0, 0),
        ("nothing", {}, 0, 0),
        ("node", {"mem": 1}, 2_000_000_000, 1000),  # what the user says
        ("nothing", {"mem": 1}, 0, 1000),
        ("node", {"sbatch": {"mem-per-cpu": "2G"}}, 2_000_000_000, 0),
        ("node", {"sbatch": {"mem": "2G"}}, 0, 0),
    ],
)
def test_memory_that_workers_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, options: dict[str, object], needed: int, asked: int
) -> None:
    monkeypatch.setattr(slurm_jobs, "memory_given", lambda partition: given)
    submission = Submission(EngineConfig(kind="slurm", **options), "name", tmp_path, "abc", 1)
    assert submission.memory(needed) == asked


def test_workers_with_less_memory_than_the_next_phase_needs_are_replaced(tmp_path: Path, cluster: Cluster) -> None:
    _, care, watch, _ = begin(tmp_path, cluster, [needing("a", 1_000_000_000), needing("b", 2_000_000_000)])
    care.look(1, watch)
    cluster.known = {"100_0": RUNS}
    care.publish([needing("c", 1_000_000_000)])
    assert cluster.cancelled == []
    _, care, watch, _ = begin(tmp_path, cluster, [needing("c", 1_000_000_000)])  # another driver knows it, too
    care.look(1, watch)
    assert cluster.cancelled == []
    care.publish([needing("d", 3_000_000_000)])
    assert cluster.cancelled == ["100_0"]
    cluster.known = {"100_0": GONE}
    care.look(1, watch)
    assert (cluster.submitted, cluster.asked) == ([1, 1], [2000, 3000])


@pytest.mark.parametrize(
    ("kinds", "partition", "config", "given"),
    [
        ("CR_CORE", "DefMemPerNode=UNLIMITED", "DefMemPerNode = UNLIMITED", "nothing"),
        ("CR_CORE_MEMORY", "DefMemPerNode=UNLIMITED", "DefMemPerNode = UNLIMITED", "node"),
        ("CR_CORE_MEMORY", "DefMemPerCPU=2000", "DefMemPerNode = UNLIMITED", "default"),
        ("CR_CPU_MEMORY", "DefMemPerNode=UNLIMITED", "DefMemPerCPU = 2000", "default"),
        ("CR_CORE_MEMORY", "JobDefaults=DefMemPerGPU=9000", "DefMemPerNode = UNLIMITED", "default"),
        ("CR_CORE", "SelectTypeParameters=CR_SOCKET_MEMORY", "DefMemPerNode = UNLIMITED", "node"),
    ],
)
def test_what_slurm_says_of_memory(
    monkeypatch: pytest.MonkeyPatch, kinds: str, partition: str, config: str, given: str
) -> None:
    said = {
        "show partition": f"PartitionName=main Default=YES {partition}\n",
        "show config": f"Configuration data\n{config}\nSelectType = x\nSelectTypeParameters    = {kinds}\n",
    }
    monkeypatch.setattr(control, "_run", lambda *words: next(v for k, v in said.items() if k in " ".join(words)))
    assert control.memory_given("") == control.memory_given("main") == given
