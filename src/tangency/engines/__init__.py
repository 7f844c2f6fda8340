"""Engines: the processes that do the jobs of a study, on this machine or on a cluster."""

from __future__ import annotations

from pathlib import Path

from tangency.engines.bulletin import Bulletin, Going, read_going
from tangency.engines.config import EngineConfig
from tangency.engines.contract import ATTEMPTS, DoJob, Engine, Event, Job, OnEvent, Progress, Resources, Work
from tangency.engines.local import LocalEngine
from tangency.engines.queue import dismiss
from tangency.engines.ray import RayEngine
from tangency.engines.slurm import SlurmEngine
from tangency.engines.slurm_left import SlurmLeft, left_on_slurm

__all__ = [
    "ATTEMPTS",
    "Bulletin",
    "DoJob",
    "Engine",
    "EngineConfig",
    "Event",
    "Going",
    "Job",
    "LocalEngine",
    "OnEvent",
    "Progress",
    "RayEngine",
    "Resources",
    "SlurmEngine",
    "SlurmLeft",
    "Work",
    "left_on_slurm",
    "open_engine",
    "read_going",
]


def open_engine(config: EngineConfig, work: Work, run: Path, workers: int, device: str) -> Engine:
    """The engine of a configuration.

    Args:
        config: kind and options.
        work: what its workers do.
        run: folder that jobs read and write.
        workers: how many there are at most.
        device: of the workers: "auto", "cpu", "cuda" or "cuda:N".
    """
    if config.kind != "slurm":
        dismiss(run)  # workers that a killed driver left on Slurm
    if config.kind == "ray":
        return RayEngine(work, run, workers, device, config.address, config.gpus_per_task)
    if config.kind == "slurm":
        return SlurmEngine(config, work, run, workers, device)
    return LocalEngine(work, run, workers, device)
