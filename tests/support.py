"""What several test files build on."""

from __future__ import annotations

import socket
import subprocess
import sys

import torch

from processes import Processes
from tangency.mixtures import Mixture


def make_mixture(
    shape: tuple[int, int, int] = (1, 3, 5),
    classes: int = 3,
    components: int = 2,
    rank: int = 2,
    noise: float = 0.01,
    seed: int = 0,
    isotropic: bool = True,
) -> Mixture:
    """A random mixture of factor analysers with uneven weights."""
    generator = torch.Generator().manual_seed(seed)
    k, d = classes * components, shape[0] * shape[1] * shape[2]

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    psi = torch.full((k, d), noise, dtype=torch.float64) * (1 + torch.rand(k, 1, generator=generator).double())
    if not isotropic:
        psi = psi * (0.5 + torch.rand(k, d, generator=generator).double())
    return Mixture(
        shape=shape,
        means=0.5 + 0.25 * normal(k, d),
        loadings=0.2 * normal(k, d, rank),
        noise=psi,
        log_weights=normal(k).log_softmax(0),
        component_class=torch.arange(classes).repeat_interleave(components),
        classes=classes,
    )


def two_processes(processes: Processes, script: str, *arguments: object) -> list[subprocess.Popen[bytes]]:
    """A script in two processes that train together, as `torchrun` starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return [processes.start(command, {**common, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"]
