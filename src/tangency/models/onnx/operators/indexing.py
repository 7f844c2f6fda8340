"""Parts of tensors taken and written by their places."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.models.onnx.operators.calls import Call, GraphError, axes_of, ints, operator


def _counted(places: Tensor, size: int) -> Tensor:
    """Places from the front, where negative ones count from the back."""
    places = places.long()
    return torch.where(places < 0, places + size, places)


def _axis(call: Call, x: Tensor) -> int:
    return axes_of([call.get("axis", 0)], x.dim())[0]


@operator("Gather", together=True)
def gather(call: Call, x: Tensor, places: Tensor) -> Tensor:
    """Slices along an axis, in the shape of the places."""
    axis = _axis(call, x)
    flat = _counted(places, x.shape[axis]).reshape(-1).to(x.device)
    return x.index_select(axis, flat).reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


@operator("GatherElements", together=True)
def gather_elements(call: Call, x: Tensor, places: Tensor) -> Tensor:
    """Number by number along an axis."""
    axis = _axis(call, x)
    return x.gather(axis, _counted(places, x.shape[axis]))


@operator("GatherND", together=True)
def gather_nd(call: Call, x: Tensor, places: Tensor) -> Tensor:
    """The slices at tuples of places, behind `batch_dims` common axes."""
    batch = call.get("batch_dims", 0)
    common = x.shape[:batch]
    flat, rows = x.reshape(-1, *x.shape[batch:]), places.reshape(-1, *places.shape[batch:])
    parts = [_counted(part, flat.shape[1 + i]) for i, part in enumerate(rows.unbind(-1))]
    own = torch.arange(len(flat), device=x.device).reshape(-1, *[1] * (rows.dim() - 2))
    slices = flat[(own, *parts)]
    return slices.reshape([*common, *places.shape[batch:-1], *slices.shape[places.dim() - batch :]])


@operator("Slice")
def cut(
    call: Call,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """From starts to before ends, by steps, which may be negative."""
    first, last = ints(call, "starts", starts) or [], ints(call, "ends", ends) or []
    along = axes_of(ints(call, "axes", axes, range(len(first))) or [], x.dim())
    by = ints(call, "steps", steps, [1] * len(first)) or []
    if not len(first) == len(last) == len(along) == len(by):
        raise GraphError(f"Slice: {len(first)} starts, {len(last)} ends, {len(along)} axes and {len(by)} steps.")
    for axis, start, end, step in zip(along, first, last, by, strict=True):
        begin, stop, step = slice(start, end, step).indices(x.shape[axis])
        if step > 0:
            x = x[(slice(None),) * axis + (slice(begin, max(begin, stop), step),)]
        else:
            x = x.index_select(axis, torch.arange(begin, min(begin, stop), step, device=x.device))
    return x


_REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("ScatterElements", "Scatter", together=True)
def scatter_elements(call: Call, x: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    """Numbers written along an axis, or combined with the present values (add, mul, …)."""
    axis = _axis(call, x)
    where, how = _counted(places, x.shape[axis]), call.get("reduction", "none")
    if how == "none":
        return x.scatter(axis, where, updates)
    return x.scatter_reduce(axis, where, updates, _REDUCE[how], include_self=True)


@operator("ScatterND", together=True)
def scatter_nd(call: Call, x: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    """Slices written at tuples of places, or combined with the present values (add, mul, …)."""
    how, depth = call.get("reduction", "none"), places.shape[-1]
    parts = [_counted(part, x.shape[i]) for i, part in enumerate(places.unbind(-1))]
    if how in ("none", "add"):
        return x.index_put(tuple(parts), updates, accumulate=how == "add")
    row = torch.zeros_like(parts[0])
    for i, part in enumerate(parts):
        row = row * x.shape[i] + part
    flat = x.reshape(-1, *x.shape[depth:]).reshape(x.shape[:depth].numel(), -1)
    given = updates.reshape(row.numel(), -1)
    where = row.reshape(-1, 1).expand(given.shape)
    return flat.scatter_reduce(0, where, given, _REDUCE[how], include_self=True).reshape(x.shape)


@operator("OneHot", together=True)
def one_hot(call: Call, places: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """values[1] at the places, values[0] elsewhere; only values[0] for a place that does not exist."""
    count = int(depth)
    axis = axes_of([call.get("axis", -1)], places.dim() + 1)[0]
    shape = [1] * (places.dim() + 1)
    shape[axis] = count
    here = torch.arange(count, device=places.device).reshape(shape)
    return torch.where(_counted(places, count).unsqueeze(axis) == here, values[1], values[0])


@operator("NonZero")
def non_zero(call: Call, x: Tensor) -> Tensor:
    """Places of the entries that are not zero, one row per axis."""
    return torch.nonzero(x).T
