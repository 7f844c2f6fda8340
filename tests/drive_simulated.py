"""A driver of simulated jobs on Slurm, in a process of its own: python drive_simulated.py RUN WORKERS JOBS STEPS."""

from __future__ import annotations

import sys
from pathlib import Path

from simulated_work import BRISK, SimulatedWork, simulated
from tangency.engines import EngineConfig
from tangency.engines.slurm import SlurmEngine

if __name__ == "__main__":
    run, workers, jobs, steps = Path(sys.argv[1]), *map(int, sys.argv[2:])
    with SlurmEngine(EngineConfig(kind="slurm"), SimulatedWork(), run, workers, "cpu", BRISK) as engine:
        planned = [simulated(f"j{i}", steps, 0.5, cost=i) for i in range(jobs)]
        missing = [job for job in planned if not (run / job.outputs[0]).exists()]  # as a study plans: once it is open
        engine.do(missing, lambda event: print(event.job.name, event.state, flush=True))
