"""Convolutions and pooling, of one to three axes: the places of their windows, and the computation in each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.models.onnx.operators.calls import Call, GraphError, operator, operators


@dataclass(frozen=True)
class Windows:
    """Windows over spatial axes, one number an axis.

    Args:
        kernel, strides, dilations: of the windows.
        before, after: padding of the graph.
        beyond: cells after that padding that the last window of `ceil_mode` reaches.
        outputs: how many windows there are.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    beyond: list[int]
    outputs: list[int]

    @property
    def padding(self) -> list[int]:
        """For `F.pad`, without the cells beyond."""
        return _padding(self.before, self.after)

    @property
    def reach(self) -> list[int]:
        """For `F.pad`, with the cells beyond."""
        return _padding(self.before, [a + b for a, b in zip(self.after, self.beyond, strict=True)])


def _padding(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Amounts before and behind each axis as `F.pad` takes them, the last axis first."""
    return [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]


def _of_axes(name: str, call: Call, x: Tensor) -> Callable[..., Any]:
    """The function of torch for the number of spatial axes of x, such as conv2d."""
    if not 3 <= x.dim() <= 5:
        raise GraphError(f"{call.op}: a tensor of {x.dim()} axes, expected 3 to 5.")
    function: Callable[..., Any] = getattr(F, f"{name}{x.dim() - 2}d")
    return function


def windows(call: Call, sizes: Sequence[int], kernel: Sequence[int]) -> Windows:
    """Windows of a convolution or pooling over axes of given sizes."""
    dims = len(sizes)
    strides, dilations = (list(call.get(name, [1] * dims)) for name in ("strides", "dilations"))
    pads = list(call.get("pads", [0] * 2 * dims))
    shown = f"{call.op}: kernel {list(kernel)}, strides {strides}, dilations {dilations}, pads {pads}"
    if not (len(kernel) == len(strides) == len(dilations) == dims and len(pads) == 2 * dims):
        raise GraphError(f"{shown} on {dims} axes.")
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    if min([*spans, *strides, *dilations], default=1) < 1 or max(map(abs, pads), default=0) > 2**20:
        raise GraphError(f"{shown}.")
    before, after = pads[:dims], pads[dims:]
    auto = call.get("auto_pad", "NOTSET")
    outputs, beyond = [], []
    for i, size in enumerate(sizes):
        if auto.startswith("SAME"):
            count = -(-size // strides[i])
            missing = max(0, (count - 1) * strides[i] + spans[i] - size)
            small, large = missing // 2, missing - missing // 2
            before[i], after[i] = (small, large) if auto == "SAME_UPPER" else (large, small)
        elif auto == "VALID":
            before[i] = after[i] = 0
        padded = size + before[i] + after[i]
        steps = (padded - spans[i]) / strides[i]
        count = (math.ceil(steps) if call.get("ceil_mode") else math.floor(steps)) + 1
        if call.get("ceil_mode") and (count - 1) * strides[i] >= size + before[i]:
            count -= 1  # a window that begins behind the image does not count
        outputs.append(count)
        beyond.append(max(0, (count - 1) * strides[i] + spans[i] - padded))
    if min(outputs, default=1) < 1:
        raise GraphError(f"{call.op}: windows of {list(kernel)} on an image of {list(sizes)}.")
    return Windows(list(kernel), strides, dilations, before, after, beyond, outputs)


def _check_weights(call: Call, x: Tensor, weight: Tensor) -> None:
    if weight.dim() != x.dim():
        raise GraphError(
            f"{call.op}: weights of {weight.dim()} axes on a tensor of {x.dim()}; expected 3 to 5 of both."
        )


@operator("Conv", together=True)
def convolution(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """With padding that may differ before and behind."""
    function = _of_axes("conv", call, x)
    _check_weights(call, x, weight)
    at = windows(call, x.shape[2:], weight.shape[2:])
    padding = at.before
    if at.before != at.after or min(padding) < 0:
        x, padding = F.pad(x, at.padding), [0] * len(padding)
    return function(x, weight, bias, at.strides, padding, at.dilations, call.get("group", 1))


@operator("ConvTranspose", together=True)
def transposed_convolution(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The adjoint of a convolution; what padding takes off is cut."""
    function, dims = _of_axes("conv_transpose", call, x), x.dim() - 2
    _check_weights(call, x, weight)
    strides, dilations = call.get("strides", [1] * dims), call.get("dilations", [1] * dims)
    extra, pads = list(call.get("output_padding", [0] * dims)), list(call.get("pads", [0] * 2 * dims))
    spans = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    whole = [(n - 1) * s + span for n, s, span in zip(x.shape[2:], strides, spans, strict=True)]
    auto, sizes = call.get("auto_pad", "NOTSET"), call.get("output_shape")
    if sizes is None and auto.startswith("SAME"):
        sizes = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if sizes is not None:
        surplus = [w + e - size for w, e, size in zip(whole, extra, list(sizes)[-dims:], strict=True)]
        halves = [max(0, n) // 2 if auto == "SAME_UPPER" else max(0, n) - max(0, n) // 2 for n in surplus]
        pads = [*halves, *(n - half for n, half in zip(surplus, halves, strict=True))]
    image: Tensor = function(x, weight, None, strides, 0, 0, call.get("group", 1), dilations)
    ends = [e - after for e, after in zip(extra, pads[dims:], strict=True)]
    image = F.pad(image, _padding([-n for n in pads[:dims]], ends))
    return image if bias is None else image + bias.reshape(-1, *[1] * dims)


@operator("MaxPool")
def max_pool(call: Call, x: Tensor) -> Any:
    """The largest within each window, and where it is, where the graph uses that."""
    function, kind = _of_axes("max_pool", call, x), x.dtype
    at = windows(call, x.shape[2:], call.get("kernel_shape"))
    x = x if x.is_floating_point() else x.double()
    small = all(b <= k // 2 for b, k in zip(at.before, at.kernel, strict=True))
    if at.before == at.after and not any(at.beyond) and small and call.outputs == 1:
        return function(x, at.kernel, at.strides, at.before, at.dilations).to(kind)
    padded = F.pad(x, at.reach, value=-torch.inf)
    if call.outputs == 1:
        return function(padded, at.kernel, at.strides, 0, at.dilations).to(kind)
    largest, places = function(padded, at.kernel, at.strides, 0, at.dilations, return_indices=True)
    return largest.to(kind), _unpadded(call, places, padded.shape, x.shape, at)


def _unpadded(call: Call, places: Tensor, padded: torch.Size, sizes: torch.Size, at: Windows) -> Tensor:
    """Places in the padded image as places in the whole tensor, rows before columns unless storage_order is 1."""
    parts: list[Tensor] = []
    for i in range(len(at.kernel) - 1, -1, -1):
        parts.insert(0, places % padded[2 + i] - at.before[i])
        places = places // padded[2 + i]
    whole = torch.zeros_like(places)
    for i in sorted(range(len(parts)), reverse=bool(call.get("storage_order"))):
        whole = whole * sizes[2 + i] + parts[i]
    planes = torch.arange(sizes[0] * sizes[1], device=places.device).reshape(sizes[0], sizes[1], *[1] * len(parts))
    return whole + planes * sizes[2:].numel()


def _mean(call: Call, x: Tensor, at: Windows) -> Tensor:
    """Mean over windows of an image that is padded already."""
    if set(at.dilations) == {1}:
        means: Tensor = _of_axes("avg_pool", call, x)(x, at.kernel, at.strides)
        return means
    kernel = x.new_ones(1, 1, *at.kernel) / torch.Size(at.kernel).numel()
    means = _of_axes("conv", call, x)(x.reshape(-1, 1, *x.shape[2:]), kernel, None, at.strides, 0, at.dilations)
    return means.reshape(*x.shape[:2], *means.shape[2:])


@operator("AveragePool")
def average_pool(call: Call, x: Tensor) -> Tensor:
    """The mean of each window; of the image alone, or with its padding (count_include_pad)."""
    at = windows(call, x.shape[2:], call.get("kernel_shape"))
    means = _mean(call, F.pad(x, at.reach) if any(at.reach) else x, at)
    if not any(at.reach) or (call.get("count_include_pad") and not any(at.beyond)):
        return means
    ones = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device)
    if call.get("count_include_pad"):
        ones = F.pad(F.pad(ones, at.padding, value=1.0), _padding([0] * len(at.beyond), at.beyond))
    else:
        ones = F.pad(ones, at.reach)
    return means / _mean(call, ones, at)


@operator("LpPool")
def lp_pool(call: Call, x: Tensor) -> Any:
    """The p-norm of each window."""
    at, p = windows(call, x.shape[2:], call.get("kernel_shape")), call.get("p", 2)
    return (_mean(call, F.pad(x.abs() ** p, at.reach), at) * torch.Size(at.kernel).numel()) ** (1 / p)


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


operators(
    {
        "GlobalAveragePool": lambda call, x: x.mean(_spatial(x), keepdim=True),
        "GlobalMaxPool": lambda call, x: x.amax(_spatial(x), keepdim=True),
        "GlobalLpPool": lambda call, x: (
            (x.abs() ** call.get("p", 2)).sum(_spatial(x), keepdim=True) ** (1 / call.get("p", 2))
        ),
    }
)
