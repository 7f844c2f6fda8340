"""One process or many: devices and sums over processes through Hugging Face accelerate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tangency.objectives.coupling import batch_coupled

if TYPE_CHECKING:
    from accelerate import Accelerator


def accelerator_for(device: torch.device | str) -> Accelerator:
    """The accelerator of this process; `accelerate launch` or `torchrun` make it one of many."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    cpu = torch.device(device).type == "cpu"
    state = PartialState._shared_state
    if state and state["_cpu"] != cpu and PartialState().num_processes == 1:
        # accelerate keeps one state per process and would stay on the device of an earlier training.
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=cpu)


def device_of(accelerator: Accelerator, device: torch.device | str) -> torch.device:
    """The requested device; where there are many processes, the one that accelerate gave this process."""
    return torch.device(device) if accelerator.num_processes == 1 else accelerator.device


def own_share(accelerator: Accelerator, ids: Tensor) -> Tensor:
    """The images of a batch that this process works on."""
    return ids[accelerator.process_index :: accelerator.num_processes]


def sum_gradients(accelerator: Accelerator, parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
    """Replace each gradient by its sum over the processes; the sum of the losses is returned.

    One explicit all-reduce instead of DistributedDataParallel, whose hooks do not support the double backward pass of
    the gradient penalty. With losses divided by the whole batch size, the result does not depend on the number of
    processes.
    """
    if accelerator.num_processes == 1:
        return loss.detach()
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    joined = torch.cat([loss.detach().reshape(1), *(gradient.reshape(-1) for gradient in gradients)])
    total: Tensor = accelerator.reduce(joined, "sum")
    parts = torch.split(total[1:], [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.reshape(gradient.shape))
    return total[0]


def average_statistics(accelerator: Accelerator, module: nn.Module) -> None:
    """Give every process the mean of the running statistics, so that all keep the same classifier."""
    if accelerator.num_processes == 1:
        return
    for part in batch_coupled(module):
        for statistic in (part.running_mean, part.running_var):
            if isinstance(statistic, Tensor):
                statistic.copy_(accelerator.reduce(statistic.clone(), "mean"))
