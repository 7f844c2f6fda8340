"""Sums, extrema and order along axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tangency.models.onnx.operators.calls import Call, GraphError, axes_of, ints, operator, operators


def _product(x: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        x = x.prod(axis, keepdim=True)
    return x


def _sum(x: Tensor, axes: list[int]) -> Tensor:
    return x.sum(axes, keepdim=True, dtype=x.dtype)


def _extreme(largest: bool) -> Callable[[Tensor, list[int]], Tensor]:
    def apply(x: Tensor, axes: list[int]) -> Tensor:
        if any(x.shape[axis] == 0 for axis in axes):
            worst: float | bool = -torch.inf if largest else torch.inf
            if not x.is_floating_point():
                limits = None if x.dtype == torch.bool else torch.iinfo(x.dtype)
                worst = not largest if limits is None else limits.min if largest else limits.max
            return x.new_full([1 if i in axes else size for i, size in enumerate(x.shape)], worst)
        if x.dtype == torch.bool:
            return x.any(axes, keepdim=True) if largest else x.all(axes, keepdim=True)
        return x.amax(axes, keepdim=True) if largest else x.amin(axes, keepdim=True)

    return apply


REDUCTIONS: dict[str, Callable[[Tensor, list[int]], Tensor]] = {
    "ReduceL1": lambda x, axes: _sum(x.abs(), axes),
    "ReduceL2": lambda x, axes: (
        torch.linalg.vector_norm(x, 2, axes, keepdim=True) if x.is_floating_point() else _sum(x * x, axes).sqrt()
    ),
    "ReduceLogSum": lambda x, axes: _sum(x, axes).log(),
    "ReduceLogSumExp": lambda x, axes: x.logsumexp(axes, keepdim=True),
    "ReduceMax": _extreme(True),
    "ReduceMean": lambda x, axes: x.mean(axes, keepdim=True),
    "ReduceMin": _extreme(False),
    "ReduceProd": _product,
    "ReduceSum": _sum,
    "ReduceSumSquare": lambda x, axes: _sum(x * x, axes),
}


def _reduced(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """A reduction along the named axes, or along all."""
    named, keep = ints(call, "axes", axes), bool(call.get("keepdims", 1))
    if not named and call.get("noop_with_empty_axes"):
        named, keep = [], True
    else:
        named = named or list(range(x.dim()))
    along = sorted(axes_of(named, x.dim()))
    function = REDUCTIONS[call.op]
    if x.dim() == 0 or not along:  # of one number each
        return function(x[None], [0])[0]
    values = function(x, along).to(x.dtype)
    return values if keep else values.reshape([n for i, n in enumerate(values.shape) if i not in along])


operators(dict.fromkeys(REDUCTIONS, _reduced))


@operator("ArgMax", "ArgMin")
def extreme_place(call: Call, x: Tensor) -> Tensor:
    """Where the largest or smallest is; of equal ones the first, or the last where the attribute says so."""
    axis, last = call.get("axis", 0), bool(call.get("select_last_index"))
    function = torch.argmax if call.op == "ArgMax" else torch.argmin
    places = function(x.flip(axis) if last else x, axis, keepdim=bool(call.get("keepdims", 1)))
    return x.shape[axis] - 1 - places if last else places


@operator("TopK")
def top_k(call: Call, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k largest or smallest and where they are; of equal ones the first."""
    axis, count = call.get("axis", -1), int(call.get("k")) if k is None else int(k.reshape(-1)[0])
    if count > x.shape[axis]:
        raise GraphError(f"TopK: {count} of {x.shape[axis]}.")
    values, places = torch.sort(x, dim=axis, descending=bool(call.get("largest", 1)), stable=True)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


@operator("CumProd", "CumSum")
def running(call: Call, x: Tensor, axis: Tensor) -> Tensor:
    """Sums or products up to each place, along an axis."""
    function, neutral = (torch.cumsum, 0) if call.op == "CumSum" else (torch.cumprod, 1)
    along, backwards = axes_of([int(axis)], x.dim())[0], bool(call.get("reverse"))
    values = function(x.flip(along) if backwards else x, dim=along, dtype=x.dtype)
    if call.get("exclusive"):
        first = torch.full_like(values.narrow(along, 0, 1), neutral)
        values = torch.cat([first, values.narrow(along, 0, x.shape[along] - 1)], along)
    return values.flip(along) if backwards else values
