"""Which device a computation runs on."""

from __future__ import annotations

import psutil
import torch

from tangency.errors import SpecError


def resolve_device(name: str = "auto", worker: int = 0) -> str:
    """A device that is there: "auto" is an accelerator where there is one (spread over workers), else the CPU.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:N".
        worker: number of the worker process; "auto" and "cuda" give each its own device in turn.

    Raises:
        SpecError: unknown name, or a device that this machine does not have.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and count == 0):
        return "cpu"
    if name in ("auto", "cuda") and count:
        return f"cuda:{worker % count}"
    kind, _, index = name.partition(":")
    if kind == "cuda" and index.isdigit() and int(index) < count:
        return name
    if kind == "cuda":
        raise SpecError(f"device '{name}': this machine has {count} CUDA devices; use --device auto or cpu.")
    raise SpecError(f"device: got '{name}', expected auto, cpu, cuda or cuda:N.")


def free_memory() -> None:
    """Give back to the accelerator what PyTorch keeps for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def chunk_bytes(device: torch.device | str) -> int:
    """Bytes that a chunk of a computation may take: a quarter of what is free, and no more than serves speed.

    An accelerator is fastest when it is filled; a processor as long as a chunk stays near its caches.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return min(int(torch.cuda.mem_get_info(device)[0]) // 4, 1 << 30)
    return min(int(psutil.virtual_memory().available) // 4, 1 << 25)
