"""Tensors put into other shapes, joined, split, padded; and those that are made from a shape alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.models.onnx.operators.calls import Call, GraphError, axes_of, ints, operator


@operator("Shape")
def shape(call: Call, x: Tensor) -> Tensor:
    """Its sizes, on the CPU."""
    sizes = list(x.shape)[call.get("start", 0) : call.get("end")]
    return torch.tensor(sizes, dtype=torch.int64)


@operator("Size")
def size(call: Call, x: Tensor) -> Tensor:
    """How many numbers it has."""
    return torch.tensor(math.prod(x.shape), dtype=torch.int64)


@operator("Reshape")
def reshape(call: Call, x: Tensor, target: Tensor | None = None) -> Tensor:
    """0 keeps an axis (but with allowzero), −1 is what is left."""
    wanted = ints(call, "shape", target) or []
    if not call.get("allowzero"):
        wanted = [x.shape[i] if n == 0 and i < x.dim() else n for i, n in enumerate(wanted)]
    if 0 in wanted and -1 in wanted:
        raise GraphError(f"Reshape: {list(x.shape)} into {wanted}.")
    return x.reshape(wanted)


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


@operator("Transpose")
def transpose(call: Call, x: Tensor) -> Tensor:
    """Axes in another order, by default the reverse."""
    return x.permute(*call.get("perm", range(x.dim() - 1, -1, -1)))


@operator("Expand")
def expand(call: Call, x: Tensor, target: Tensor) -> Tensor:
    """Repeated along axes of length 1, in both directions of broadcasting."""
    return x.expand(torch.broadcast_shapes(x.shape, ints(call, "shape", target) or []))


@operator("Tile")
def tile(call: Call, x: Tensor, repeats: Tensor) -> Tensor:
    """Repeated as a whole along each axis."""
    return x.repeat(ints(call, "repeats", repeats) or [])


@operator("Concat", together=True)
def concat(call: Call, *inputs: Tensor) -> Tensor:
    """One behind the other."""
    return torch.cat(inputs, call.get("axis", 1))


@operator("Split")
def split(call: Call, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Into parts of given sizes, or into as many as there are outputs, the last one smaller."""
    axis, wanted = call.get("axis", 0), ints(call, "split", sizes)
    if wanted is None:
        parts = call.get("num_outputs", call.outputs)
        each = -(-x.shape[axis] // parts)
        wanted = [max(0, min(each, x.shape[axis] - i * each)) for i in range(parts)]
    return tuple(x.split(wanted, axis))


@operator("ConstantOfShape")
def constant_of_shape(call: Call, target: Tensor) -> Tensor:
    """One number everywhere, float 0 by default; integers stay on the CPU."""
    value = call.get("value", torch.zeros(1)).reshape(-1)[0]
    kind = call.dtype if value.dtype == torch.float32 else value.dtype
    return value.to(kind).expand(ints(call, "shape", target)).clone()


@operator("Range")
def numbers(call: Call, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """start, start + delta, … before limit."""
    first, end, step = start.item(), limit.item(), delta.item()
    count = max(0, math.ceil((end - first) / step))
    return (first + torch.arange(count, dtype=torch.float64 if start.is_floating_point() else torch.int64) * step).to(
        start.dtype
    )


@operator("EyeLike")
def eye_like(call: Call, x: Tensor) -> Tensor:
    """1 on the k-th diagonal, else 0."""
    kind = call.kind(call.get("dtype")) if call.get("dtype") is not None else x.dtype
    rows, columns = torch.arange(x.shape[0], device=x.device), torch.arange(x.shape[1], device=x.device)
    return (columns[None] - rows[:, None] == call.get("k", 0)).to(kind)


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
        return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)
    return x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // b**2, h * b, w * b)


@operator("SpaceToDepth")
def space_to_depth(call: Call, x: Tensor) -> Tensor:
    """Blocks of pixels to channels, before (DCR) or behind (CRD) those that are there."""
    n, c, h, w = x.shape
    b = call.get("blocksize")
    if call.get("mode", "DCR") == "CRD":
        return x.reshape(n, c, h // b, b, w // b, b).permute(0, 1, 3, 5, 2, 4).reshape(n, c * b**2, h // b, w // b)
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


_MODES: dict[str, Any] = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


@operator("Pad")
def pad(
    call: Call, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    """With a constant, a reflection, the edge, or periodically; a negative number cuts."""
    amounts, mode = ints(call, "pads", pads, call.get("paddings")) or [], call.get("mode", "constant")
    along = axes_of(ints(call, "axes", axes, range(x.dim())) or [], x.dim())
    if len(amounts) != 2 * len(along) or max(map(abs, amounts), default=0) > 2**20:
        raise GraphError(f"Pad: amounts {amounts[:8]} for {len(along)} axes.")
    both = {axis: (amounts[i], amounts[i + len(along)]) for i, axis in enumerate(along)}
    if mode == "constant":
        flat = [n for axis in range(x.dim() - 1, -1, -1) for n in both.get(axis, (0, 0))]
        number = call.get("value", 0.0) if value is None or not value.numel() else value.item()
        return F.pad(x, flat, value=number)
    for axis, (before, after) in both.items():
        if before or after:
            places = np.pad(np.arange(x.shape[axis]), (max(before, 0), max(after, 0)), mode=_MODES[mode])
            places = places[max(-before, 0) : len(places) - max(-after, 0)]
            x = x.index_select(axis, torch.from_numpy(places).to(x.device))
    return x
