"""Everything that a run needs to continue as if it had never stopped, in one safetensors file.

There is no random state to save: order, noise, attacks and augmentation are functions of (seed, epoch, image).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import ModelError, RunError, quoted
from tangency.models.weights import fill
from tangency.tensors import digest, read_tensors, write_tensors
from tangency.training.config import TrainConfig
from tangency.types import LabelledImages

Row = dict[str, float | int | None]


@dataclass
class Progress:
    """Progress of a run: `epoch` and `step` come next; `seconds` are of the epoch, `cpu_seconds` of all processes."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    best_epoch: int | None = None
    best_merit: float | None = None
    history: list[Row] = field(default_factory=list)


def fingerprint(
    config: TrainConfig, data: LabelledImages, validation: LabelledImages | None, more: Mapping[str, object]
) -> str:
    """SHA-256 of config, data and everything else (JSON values) that decides the result of a training."""
    parts = {
        "config": {name: value for name, value in config.plain().items() if name != "checkpoint_seconds"},
        "data": _content(data),
        "validation": None if validation is None else _content(validation),
        **more,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _content(data: LabelledImages) -> str:
    return digest({"pixels": data.pixels, "labels": data.labels})


def save_checkpoint(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    identity: dict[str, str],
    more: Mapping[str, Tensor],
) -> None:
    """Write module, optimiser, progress and more tensors; an older checkpoint stays until this one is complete."""
    tensors: dict[str, Tensor] = {f"module.{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"more.{name}": value for name, value in more.items()}
    scalars: dict[str, Any] = {}
    for number, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            (tensors if isinstance(value, Tensor) else scalars)[f"optimiser.{number}.{key}"] = value
    write_tensors(path, tensors, {"identity": identity, "progress": asdict(progress), "scalars": scalars})


def restore_checkpoint(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    identity: dict[str, str],
    more: Mapping[str, Tensor],
) -> Progress:
    """Load what `save_checkpoint` wrote into module, optimiser and tensors; a fresh start where there is no file."""
    if not path.exists():
        return Progress()
    try:
        tensors, header = read_tensors(path)
    except ModelError as error:
        raise RunError(f"{quoted(error)} Or remove this checkpoint to start its training again.") from error
    if header.get("identity") != identity:
        raise RunError(
            f"{path}: the checkpoint belongs to another training (other data, objective, settings or initial "
            "weights). Give another folder, or remove this one to start again."
        )
    fill(module, {name[7:]: value for name, value in tensors.items() if name.startswith("module.")}, path)
    for name, value in more.items():
        value.copy_(tensors[f"more.{name}"])
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **header["scalars"]}.items():
        if name.startswith("optimiser."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return Progress(**header["progress"])
