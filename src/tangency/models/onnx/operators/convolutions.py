"""Convolutions and their transposes, of one to three axes."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from tangency.models.onnx.operators.calls import Call, GraphError, operator
from tangency.models.onnx.operators.windows import windows

_FORWARD: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@operator("Conv", together=True)
def convolution(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """With padding that may differ before and behind."""
    dims = x.dim() - 2
    if dims not in _FORWARD or weight.dim() != x.dim():
        raise GraphError(f"Conv: weights of {weight.dim()} axes on a tensor of {x.dim()}; expected 3 to 5 of both.")
    at = windows(call, x.shape[2:], weight.shape[2:])
    padding = at.before
    if at.before != at.after or min(padding) < 0:
        x, padding = F.pad(x, at.padding), [0] * dims
    found: Tensor = _FORWARD[dims](x, weight, bias, at.strides, padding, at.dilations, call.get("group", 1))
    return found


@operator("ConvTranspose", together=True)
def transposed_convolution(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The adjoint of a convolution; what padding takes off is cut."""
    dims = x.dim() - 2
    if dims not in _TRANSPOSED or weight.dim() != x.dim():
        raise GraphError(f"ConvTranspose: weights of {weight.dim()} axes on a tensor of {x.dim()}.")
    strides, dilations = call.get("strides", [1] * dims), call.get("dilations", [1] * dims)
    extra, pads = list(call.get("output_padding", [0] * dims)), list(call.get("pads", [0] * 2 * dims))
    spans = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    whole = [(n - 1) * s + span for n, s, span in zip(x.shape[2:], strides, spans, strict=True)]
    auto, wanted = call.get("auto_pad", "NOTSET"), call.get("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if wanted is not None:
        surplus = [w + e - size for w, e, size in zip(whole, extra, list(wanted)[-dims:], strict=True)]
        halves = [max(0, n) // 2 if auto == "SAME_UPPER" else max(0, n) - max(0, n) // 2 for n in surplus]
        pads = [*halves, *(n - half for n, half in zip(surplus, halves, strict=True))]
    found: Tensor = _TRANSPOSED[dims](x, weight, None, strides, 0, 0, call.get("group", 1), dilations)
    ends = [e - after for e, after in zip(extra, pads[dims:], strict=True)]
    found = F.pad(found, [n for i in range(dims - 1, -1, -1) for n in (-pads[i], ends[i])])
    return found if bias is None else found + bias.reshape(-1, *[1] * dims)
