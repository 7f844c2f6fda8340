"""Pooling over windows and over whole images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.models.onnx.operators.calls import Call, GraphError, operator
from tangency.models.onnx.operators.windows import Windows, windows

_MAX: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_CONV: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def _windows(call: Call, x: Tensor) -> Windows:
    if x.dim() - 2 not in _MAX:
        raise GraphError(f"{call.op}: a tensor of {x.dim()} axes, expected 3 to 5.")
    return windows(call, x.shape[2:], call.get("kernel_shape"))


@operator("MaxPool")
def max_pool(call: Call, x: Tensor) -> Any:
    """The largest within each window, and where it is, where asked."""
    at = _windows(call, x)
    kind, dims = x.dtype, x.dim() - 2
    if not x.is_floating_point():
        x = x.double()
    small = all(b <= k // 2 for b, k in zip(at.before, at.kernel, strict=True))
    if at.before == at.after and not any(at.beyond) and small and call.outputs == 1:
        return _MAX[dims](x, at.kernel, at.strides, at.before, at.dilations).to(kind)
    padded = F.pad(x, at.reach, value=-torch.inf)
    if call.outputs == 1:
        return _MAX[dims](padded, at.kernel, at.strides, 0, at.dilations).to(kind)
    found, places = _MAX[dims](padded, at.kernel, at.strides, 0, at.dilations, return_indices=True)
    return found.to(kind), _unpadded(call, places, padded.shape, x.shape, at)


def _unpadded(call: Call, places: Tensor, padded: torch.Size, sizes: torch.Size, at: Windows) -> Tensor:
    """Places in the padded image as places in the whole tensor, rows before columns unless storage_order is 1."""
    parts: list[Tensor] = []
    for i in range(len(at.kernel) - 1, -1, -1):
        parts.insert(0, places % padded[2 + i] - at.before[i])
        places = places // padded[2 + i]
    order = list(range(len(parts)))
    order = order[::-1] if call.get("storage_order") else order
    found = torch.zeros_like(places)
    for i in order:
        found = found * sizes[2 + i] + parts[i]
    planes = torch.arange(sizes[0] * sizes[1], device=places.device).reshape(sizes[0], sizes[1], *[1] * len(parts))
    return found + planes * sizes[2:].numel()


def _mean(x: Tensor, at: Windows) -> Tensor:
    """Mean over windows of an image that is padded already."""
    dims = x.dim() - 2
    if set(at.dilations) == {1}:
        found: Tensor = _MEAN[dims](x, at.kernel, at.strides)
        return found
    flat = x.reshape(-1, 1, *x.shape[2:])
    kernel = x.new_ones(1, 1, *at.kernel) / torch.Size(at.kernel).numel()
    found = _CONV[dims](flat, kernel, None, at.strides, 0, at.dilations)
    return found.reshape(*x.shape[:2], *found.shape[2:])


@operator("AveragePool")
def average_pool(call: Call, x: Tensor) -> Tensor:
    """The mean of each window; of the image alone, or of padding as well (count_include_pad)."""
    at = _windows(call, x)
    found = _mean(F.pad(x, at.reach) if any(at.reach) else x, at)
    if not any(at.reach) or (call.get("count_include_pad") and not any(at.beyond)):
        return found
    ones = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device)
    if call.get("count_include_pad"):
        ones = F.pad(ones, at.padding, value=1.0)
        ones = F.pad(ones, [n for i in reversed(at.beyond) for n in (0, i)])
    else:
        ones = F.pad(ones, at.reach)
    return found / _mean(ones, at)


@operator("LpPool")
def lp_pool(call: Call, x: Tensor) -> Tensor:
    """The p-norm of each window."""
    at, p = _windows(call, x), call.get("p", 2)
    count = torch.Size(at.kernel).numel()
    return (_mean(F.pad(x.abs() ** p, at.reach), at) * count) ** (1 / p)


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


@operator("GlobalAveragePool")
def global_average_pool(call: Call, x: Tensor) -> Tensor:
    """The mean of each channel."""
    return x.mean(_spatial(x), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(call: Call, x: Tensor) -> Tensor:
    """The largest of each channel."""
    return x.amax(_spatial(x), keepdim=True)


@operator("GlobalLpPool")
def global_lp_pool(call: Call, x: Tensor) -> Tensor:
    """The p-norm of each channel."""
    p = call.get("p", 2)
    return (x.abs() ** p).sum(_spatial(x), keepdim=True) ** (1 / p)
