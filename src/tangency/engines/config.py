"""Which engine does the jobs of a study, and its options."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tangency.errors import SpecError

_OF_RAY, _OF_SLURM = ("address",), ("partition", "time", "mem", "account", "sbatch")


class EngineConfig(BaseModel):
    """Where the jobs of a study are done; no result depends on it.

    Args:
        kind: "local" processes, "ray", or "slurm".
        address: of a Ray cluster, "auto" or HOST:PORT; "" starts one on this machine.
        partition, account: of Slurm.
        time: limit of a Slurm job, in minutes; work goes on in another one where it is reached.
        mem: of a worker, in GB; 0 for what its tasks need. Slurm only.
        gpus_per_task: of each worker; a fraction where several share one.
        sbatch: further options of Slurm's sbatch, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["local", "ray", "slurm"] = "local"
    address: str = ""
    partition: str = ""
    time: Annotated[int, Field(ge=0)] = 0
    gpus_per_task: Annotated[float, Field(ge=0.0)] = 0.0
    mem: Annotated[float, Field(ge=0.0)] = 0.0
    account: str = ""
    sbatch: dict[str, str] = {}

    @model_validator(mode="after")
    def _of_this_kind(self) -> Self:
        foreign = {"local": (*_OF_RAY, *_OF_SLURM, "gpus_per_task"), "ray": _OF_SLURM, "slurm": _OF_RAY}[self.kind]
        for name in foreign:
            if getattr(self, name):
                raise SpecError(f"engine.{name}: got it with the engine {self.kind}, which has no such option.")
        if self.kind == "slurm" and self.gpus_per_task > 1 and self.gpus_per_task != int(self.gpus_per_task):
            raise SpecError(
                f"engine.gpus_per_task: got {self.gpus_per_task:g} with the engine slurm, expected a whole number, or "
                "a fraction of one, as 0.25 where four workers share a GPU."
            )
        return self

    @property
    def sharing(self) -> int:
        """Workers that share a GPU."""
        return int(1 / self.gpus_per_task + 1e-9) if 0 < self.gpus_per_task < 1 else 1
