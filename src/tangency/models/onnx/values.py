"""Tensors of ONNX files as tensors of torch and back, and a limit on the size of results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from tangency.models.onnx.operators.calls import KINDS, GraphError

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

_BFLOAT16 = 16
_NUMBERS = {kind: number for number, kind in KINDS.items()}
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def to_tensor(proto: TensorProto) -> Tensor:
    """A tensor of a file, copied."""
    from onnx import numpy_helper

    if proto.data_type not in KINDS:
        raise GraphError(f"the tensor '{proto.name}' holds numbers of ONNX type {proto.data_type}, expected floats.")
    values = np.array(numpy_helper.to_array(proto))
    if proto.data_type == _BFLOAT16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)


def to_proto(value: Tensor, name: str) -> TensorProto:
    """A tensor for a file."""
    from onnx import TensorProto

    value = value.detach().cpu().contiguous()
    data = value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
    return TensorProto(name=name, data_type=_NUMBERS[value.dtype], dims=list(value.shape), raw_data=data)


def attributes(node: NodeProto) -> dict[str, Any]:
    """The attributes of a node as Python values, without subgraphs."""
    from onnx import AttributeProto, helper

    values: dict[str, Any] = {}
    for one in node.attribute:
        if one.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            continue
        value = helper.get_attribute_value(one)
        if one.type == AttributeProto.TENSOR:
            value = to_tensor(value)
        elif isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        values[one.name] = list(value) if one.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value
    return values


class _Limited(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]  # its __init_subclass__ has no annotations
    """Refuses operations of torch whose results are larger than a limit, before they are computed."""

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.limit = limit

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = self._bytes(func, args, kwargs)
        if made > self.limit:
            raise GraphError(
                f"{func.__name__.partition('.')[0]} asks for {made / 2**30:.1f} GiB at once, more than the "
                f"{self.limit / 2**30:g} GiB that one step may take."
            )
        return func(*args, **kwargs)

    @staticmethod
    def _bytes(func: Any, args: Any, kwargs: Any) -> int:
        """Size of the results; 0 where it is known only once they are computed, as of numbers read from a tensor."""
        meta = dict(kwargs)
        if any(argument.name == "device" for argument in func._schema.arguments):
            meta["device"] = torch.device("meta")
        try:
            shapes = tree_map(lambda v: v.to("meta") if isinstance(v, Tensor) else v, (args, meta))
            results = tree_flatten(func(*shapes[0], **shapes[1]))[0]
        except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError):
            return 0
        return sum(v.numel() * v.element_size() for v in results if isinstance(v, Tensor))


@contextmanager
def limited(limit: int) -> Iterator[None]:
    """No operation within makes more bytes than this; one that would is a GraphError."""
    with _Limited(limit):
        yield
