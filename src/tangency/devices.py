"""Which device a computation runs on, how images come there, and in which arithmetic it is done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psutil
import torch
from torch import Tensor

from tangency.errors import SpecError

PRECISIONS = ("float32", "tf32", "bfloat16")


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


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on a device; from the CPU to CUDA through page-locked memory, without waiting for the copy."""
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@contextlib.contextmanager
def arithmetic(precision: str = "float32") -> Iterator[None]:
    """Within it, CUDA multiplies and convolves float32 numbers in float32, or in TF32 (10 bits after the point).

    torch's own default differs between the two: products in float32, convolutions in TF32.

    Args:
        precision: "float32", "tf32" or "bfloat16"; the last is float32 outside of `autocast`.
    """
    backends: Any = torch.backends
    parts = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    kept = [part.fp32_precision for part in parts]
    try:
        for part in parts:
            part.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for part, before in zip(parts, kept, strict=True):
            part.fp32_precision = before


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Within it, layers compute in bfloat16 where that is the precision; weights and gradients stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
