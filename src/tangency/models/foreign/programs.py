"""Programs of torch.export and TorchScript: batch sizes, a softmax at their end, and their graph beside weights."""

from __future__ import annotations

import contextlib
import copy
import io
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

PROGRAMS = ("export", "torchscript")
PROGRAM = "program"
_TRIED_BATCHES = (1, 2, *range(4, 65), 100, 128, 200, 250, 256, 500, 512, 1000, 1024)
_MOVES = ("aten::flatten", "aten::squeeze", "aten::reshape", "aten::view", "aten::contiguous")


class TorchProgram(nn.Module):
    """A program of torch.export or TorchScript, which has one mode and may take only batches of some sizes.

    Args:
        net: the program.
        batch: the smallest and the largest batch that it takes, None for no limit. Larger batches are cut up, and a
            part that is too small is filled with copies of its last image, whose logits are dropped.
        program: its graph, of `packed`, kept as a buffer so that it is saved with the weights.
    """

    program: Tensor | None

    def __init__(self, net: nn.Module, batch: Sequence[int | None] = (1, None), program: Tensor | None = None) -> None:
        super().__init__()
        self.net = net
        self.batch = batch
        self.register_buffer(PROGRAM, program)
        # The last operation of a TorchScript function is hidden from Python, so it is applied here.
        self.body: Callable[..., Tensor] | None
        self.body, self.ending = _split(net) if isinstance(net, torch.jit.ScriptModule) else (None, "")

    def __deepcopy__(self, memo: dict[int, object]) -> TorchProgram:
        return TorchProgram(copy.deepcopy(self.net, memo), self.batch, copy.deepcopy(self.program, memo))

    def train(self, mode: bool = True) -> TorchProgram:
        """Its own flag only: an exported program refuses to change its mode."""
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Any:
        """(N, C, H, W) to (N, classes)."""
        least, most = self.batch[0] or 1, self.batch[1]
        if not len(x) or (len(x) >= least and (most is None or len(x) <= most)):
            return self._run(x)
        cuts = [] if most is None else list(range(most, len(x), most))
        return torch.cat([self._filled(part, least) for part in x.tensor_split(cuts)])

    def _filled(self, x: Tensor, least: int) -> Tensor:
        missing = max(0, least - len(x))
        logits: Tensor = self._run(torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing else x)
        return logits[: len(x)]

    def _run(self, x: Tensor) -> Any:
        if self.body is None:
            return self.net(x)
        logits = self.body(self.net._c, x)
        return logits.softmax(1) if self.ending == "softmax" else logits.sigmoid()


def _split(net: Any) -> tuple[Callable[..., Tensor] | None, str]:
    """A TorchScript program without its last softmax or sigmoid, and the name of that; (None, "") without one."""
    graph = net.inlined_graph.copy()
    torch._C._jit_pass_constant_propagation(graph)
    outputs = list(graph.outputs())
    node = outputs[0].node() if len(outputs) == 1 else None
    moved = False
    while node is not None and node.kind() in _MOVES and len(node.output().uses()) == 1:
        node, moved = next(node.inputs()).node(), True
    if node is None or node.kind() not in ("aten::softmax", "aten::sigmoid") or len(node.output().uses()) != 1:
        return None, ""
    kind, source = node.kind().removeprefix("aten::"), list(node.inputs())
    if kind == "softmax" and source[1].toIValue() not in ((1,) if moved else (1, -1)):
        return None, ""
    node.output().replaceAllUsesWith(source[0])
    return torch._C._create_function_from_graph("forward", graph), kind


def read_program(kind: str, source: Path | io.BytesIO) -> nn.Module:
    """The module of a program; errors of torch pass through."""
    with _quiet():
        if kind == "export":
            return torch.export.load(source).module()
        return _script(source).eval()


def _script(source: Path | io.BytesIO) -> nn.Module:
    script: nn.Module = torch.jit.load(source, map_location="cpu")  # type: ignore[no-untyped-call, unused-ignore]
    return script


def batch_sizes(kind: str, path: Path, net: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int | None] | None:
    """The smallest and the largest batch that a program takes, None for no limit; None where it takes no images.

    An export names it in its signature. A TorchScript function is tried out: it takes any batch if it takes 3 images,
    else the one size with which it works.
    """
    if kind == "export":
        with _quiet():
            return _signature(torch.export.load(path))
    if _takes(net, 3, shape):
        return (1, None) if _takes(net, 1, shape) else (3, None)
    return next(((size, size) for size in _TRIED_BATCHES if _takes(net, size, shape)), None)


def _signature(program: Any) -> tuple[int, int | None]:
    names = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    size: Any = next((value.shape[0] for value in values if isinstance(value, Tensor) and value.dim()), None)
    if size is None or isinstance(size, int):
        return (1, None) if size is None else (size, size)
    limits = program.range_constraints.get(size.node.expr)
    if limits is None:
        return 1, None
    upper = float(limits.upper)
    return max(1, int(limits.lower)), int(upper) if math.isfinite(upper) and upper < 2**31 else None


def _takes(net: nn.Module, size: int, shape: tuple[int, int, int]) -> bool:
    try:
        with torch.no_grad():
            return len(net(torch.zeros(size, *shape))) == size
    except (RuntimeError, ValueError, TypeError, AssertionError):
        return False


def packed(kind: str, path: Path) -> Tensor:
    """A program as (bytes,) uint8, compressed, with all weights zero, since they are saved beside it by name."""
    buffer = io.BytesIO()
    with _quiet(), torch.no_grad():
        if kind == "export":
            program = torch.export.load(path)
            _zero(program.state_dict)
            torch.export.save(program, buffer)
        else:
            script = _script(path)
            _zero(script.state_dict())
            torch.jit.save(script, buffer)  # type: ignore[no-untyped-call, unused-ignore]
    return torch.frombuffer(bytearray(zlib.compress(buffer.getvalue())), dtype=torch.uint8)


def unpacked(kind: str, program: Tensor) -> nn.Module:
    """The module of a packed program; errors of torch pass through."""
    return read_program(kind, io.BytesIO(zlib.decompress(program.numpy().tobytes())))


def _zero(state: Mapping[str, Tensor]) -> None:
    for tensor in state.values():
        tensor.zero_()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that its formats are old, or new
        yield
