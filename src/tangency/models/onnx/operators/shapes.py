"""Tensors put into other shapes, joined, split, padded; and those that are made from a shape alone."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.models.onnx.operators.calls import Call, GraphError, axes_of, ints, operator, operators

operators({"Concat": lambda call, *inputs: torch.cat(inputs, call.get("axis", 1))}, together=True)
operators(
    {
        "Expand": lambda call, x, target: x.expand(np.broadcast_shapes(x.shape, ints(call, "shape", target) or [])),
        "Shape": lambda call, x: torch.tensor(list(x.shape)[call.get("start", 0) : call.get("end")], dtype=torch.int64),
        "Size": lambda call, x: torch.tensor(math.prod(x.shape), dtype=torch.int64),
        "Tile": lambda call, x, repeats: x.repeat(ints(call, "repeats", repeats) or []),
        "Transpose": lambda call, x: x.permute(*call.get("perm", range(x.dim() - 1, -1, -1))),
    }
)


@operator("Reshape")
def reshape(call: Call, x: Tensor, target: Tensor | None = None) -> Tensor:
    """0 keeps an axis (except with allowzero), −1 takes the remaining size."""
    sizes = ints(call, "shape", target) or []
    if not call.get("allowzero"):
        sizes = [x.shape[i] if n == 0 and i < x.dim() else n for i, n in enumerate(sizes)]
    if 0 in sizes and -1 in sizes:
        raise GraphError(f"Reshape: {list(x.shape)} into {sizes}.")
    return x.reshape(sizes)


@operator("Flatten")
def flatten(call: Call, x: Tensor) -> Tensor:
    """Into a matrix, the axes before `axis` by the others."""
    axis = call.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Squeeze")
def squeeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Without these axes of length 1; without all such, where none is named."""
    wanted = ints(call, "axes", axes)
    if wanted is None:
        return x.squeeze()
    drop = axes_of(wanted, x.dim())
    if any(x.shape[axis] != 1 for axis in drop):
        raise GraphError(f"Squeeze: axes {drop} of {list(x.shape)} are not of length 1.")
    return x.reshape([n for i, n in enumerate(x.shape) if i not in drop])


@operator("Unsqueeze")
def unsqueeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """With axes of length 1 at these places of the result."""
    wanted = ints(call, "axes", axes) or []
    for axis in sorted(axes_of(wanted, x.dim() + len(wanted))):
        x = x.unsqueeze(axis)
    return x


@operator("Split")
def split(call: Call, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Into parts of given sizes, or into as many as there are outputs, the last one smaller."""
    axis, parts = call.get("axis", 0), call.get("num_outputs", call.outputs)
    each = -(-x.shape[axis] // parts)
    equal = [max(0, min(each, x.shape[axis] - i * each)) for i in range(parts)]
    return torch.split_with_sizes(x, ints(call, "split", sizes, equal) or [], axis)


@operator("ConstantOfShape")
def constant_of_shape(call: Call, target: Tensor) -> Tensor:
    """One number everywhere, float 0 by default; integers stay on the CPU."""
    value = call.get("value", torch.zeros(1)).reshape(-1)[0]
    kind = call.dtype if value.dtype == torch.float32 else value.dtype
    return torch.full(ints(call, "shape", target) or [], value.item(), dtype=kind)


@operator("Range")
def numbers(call: Call, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """start, start + delta, … before limit."""
    first, end, step = start.item(), limit.item(), delta.item()
    count = max(0, math.ceil((end - first) / step))
    kind = torch.float64 if start.is_floating_point() else torch.int64
    return torch.add(torch.arange(count, dtype=kind) * step, first).to(start.dtype)


@operator("EyeLike")
def eye_like(call: Call, x: Tensor) -> Tensor:
    """1 on the k-th diagonal, else 0."""
    kind = x.dtype if call.get("dtype") is None else call.kind(call.get("dtype"))
    rows, columns = torch.arange(x.shape[0], device=x.device), torch.arange(x.shape[1], device=x.device)
    return torch.eq(columns[None] - rows[:, None], call.get("k", 0)).to(kind)


@operator("Trilu")
def triangle(call: Call, x: Tensor, k: Tensor | None = None) -> Tensor:
    """The upper or the lower triangle, zeros elsewhere."""
    diagonal = 0 if k is None else int(k)
    return x.triu(diagonal) if call.get("upper", 1) else x.tril(diagonal)


@operator("DepthToSpace")
def depth_to_space(call: Call, x: Tensor) -> Tensor:
    """Blocks of channels to blocks of pixels; DCR or CRD is the order of the axes within a block of channels."""
    n, c, h, w = x.shape
    b = call.get("blocksize")
    if call.get("mode", "DCR") == "DCR":
        split = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        split = x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return split.reshape(n, c // b**2, h * b, w * b)


@operator("SpaceToDepth")
def space_to_depth(call: Call, x: Tensor) -> Tensor:
    """Blocks of pixels to channels, before (DCR) or behind (CRD) the present ones."""
    n, c, h, w = x.shape
    b = call.get("blocksize")
    order = (0, 1, 3, 5, 2, 4) if call.get("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    return x.reshape(n, c, h // b, b, w // b, b).permute(order).reshape(n, c * b**2, h // b, w // b)


@operator("Pad")
def pad(
    call: Call, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    """With a constant, a reflection, the edge, or periodically; a negative number cuts."""
    amounts, mode = ints(call, "pads", pads, call.get("paddings")) or [], call.get("mode", "constant")
    along = axes_of(ints(call, "axes", axes, range(x.dim())) or [], x.dim())
    if len(amounts) != 2 * len(along) or max(map(abs, amounts), default=0) > 2**20:
        raise GraphError(f"Pad: amounts {amounts[:8]} for {len(along)} axes.")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise GraphError(f"Pad: the mode '{mode}' is not known here.")
    both = {axis: (amounts[i], amounts[i + len(along)]) for i, axis in enumerate(along)}
    if mode == "constant":
        flat = [n for axis in range(x.dim() - 1, -1, -1) for n in both.get(axis, (0, 0))]
        number = call.get("value", 0.0) if value is None or not value.numel() else value.item()
        return F.pad(x, flat, value=number)
    for axis, (before, after) in both.items():
        if before or after:
            places = np.pad(np.arange(x.shape[axis]), (max(before, 0), max(after, 0)), mode=mode)
            places = places[max(-before, 0) : len(places) - max(-after, 0)]
            x = x.index_select(axis, torch.from_numpy(places).to(x.device))
    return x
