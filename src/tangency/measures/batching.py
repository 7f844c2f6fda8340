"""How many images are measured at once: as many as memory holds, which changes no result."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from tangency.autodiff import undisturbed
from tangency.errors import NumericsError

BatchSize = int | Literal["auto"]
BUDGET = 1 << 30  # bytes on a CPU at most
_SHARE = 4  # of what is free
TRANSIENT = 1.25  # what a pass needs for each byte that it keeps for the backward pass
_MEMORY = Path("/proc/meminfo")


def check_batch_size(batch_size: object) -> None:
    """Raise a `NumericsError` unless it is "auto" or a whole number of at least 1."""
    if batch_size != "auto" and (not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1):
        raise NumericsError(f"batch_size: got {batch_size}, expected auto, or at least 1 image.")


def kept_bytes(model: nn.Module, x: Tensor) -> int:
    """Bytes that one forward pass of x (N, C, H, W) keeps for the gradient with respect to x, without parameters."""
    known = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
        inputs = x.detach().clone().requires_grad_(True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = model(inputs.clone())
        del logits
    return sum(kept.values())


def fitting_batch(batch_size: BatchSize, models: Iterable[nn.Module], x: Tensor, more: int, most: int) -> int:
    """Images at once: the number that is given, or for "auto" as many as a share of the free memory holds.

    That share is a quarter; on a CPU a gigabyte at most.

    Args:
        batch_size: the number, or "auto".
        models: classifiers that are measured one after the other.
        x: (1, C, H, W), an image that each of them is tried with.
        more: bytes an image that are held beside the classifier's own.
        most: images, where memory does not matter.
    """
    check_batch_size(batch_size)
    if batch_size != "auto":
        return batch_size
    largest = max((kept_bytes(model, x) for model in models), default=0)
    return max(1, min(most, int(free_bytes(x.device) // (TRANSIENT * largest + more + 1))))


def free_bytes(device: torch.device) -> int:
    """The bytes that a batch may take on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // _SHARE
    try:
        lines = _MEMORY.read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return BUDGET
    free = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    return min([BUDGET, *(each // _SHARE for each in free)])


def held_bytes(shape: tuple[int, ...], own: tuple[int, ...], ranks: Iterable[int], signals: int, steps: int) -> int:
    """About how many bytes an image's comparison takes: bases with their controls, directions, scores, lifted steps.

    Args:
        shape, own: of the image at the working size and at its own.
        ranks: largest rank of each estimator.
        signals: scores and stand-ins that are held.
        steps: random directions.
    """
    ranks = list(ranks)
    return 4 * (math.prod(shape) * (6 * sum(ranks) + 2 * steps * len(ranks) + signals) + math.prod(own) * (steps + 8))
