"""Sums, extrema and order along axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tangency.models.onnx.operators.calls import Call, GraphError, axes_of, ints, operator


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


def _reduction(name: str) -> None:
    function = REDUCTIONS[name]

    def apply(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
        wanted = ints(call, "axes", axes)
        if not wanted and call.get("noop_with_empty_axes"):
            wanted, keep = [], True
        else:
            wanted, keep = wanted or list(range(x.dim())), bool(call.get("keepdims", 1))
        along = sorted(axes_of(wanted, x.dim()))
        if x.dim() == 0:
            return function(x[None], [0])[0]
        if not along:  # of one number each
            return function(x[None], [0])[0]
        found = function(x, along).to(x.dtype)
        return found if keep else found.reshape([n for i, n in enumerate(found.shape) if i not in along])

    operator(name)(apply)


for _name in REDUCTIONS:
    _reduction(_name)


def _place(call: Call, x: Tensor, largest: bool) -> Tensor:
    axis, last = call.get("axis", 0), bool(call.get("select_last_index"))
    flipped = x.flip(axis) if last else x
    keep = bool(call.get("keepdims", 1))
    found = flipped.argmax(axis, keepdim=keep) if largest else flipped.argmin(axis, keepdim=keep)
    return x.shape[axis] - 1 - found if last else found


@operator("ArgMax")
def arg_max(call: Call, x: Tensor) -> Tensor:
    """Where the largest is."""
    return _place(call, x, True)


@operator("ArgMin")
def arg_min(call: Call, x: Tensor) -> Tensor:
    """Where the smallest is."""
    return _place(call, x, False)


@operator("TopK")
def top_k(call: Call, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k largest or smallest and where they are; of equal ones the first."""
    count = ints(call, "k", k) if k is not None else [int(call.get("k"))]
    if not count or count[0] > x.shape[call.get("axis", -1)]:
        raise GraphError(f"TopK: {count} of {x.shape[call.get('axis', -1)]}.")
    axis, largest = call.get("axis", -1), bool(call.get("largest", 1))
    values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, count[0]), places.narrow(axis, 0, count[0])


def _running(name: str, function: Callable[..., Tensor], neutral: int) -> None:
    def apply(call: Call, x: Tensor, axis: Tensor) -> Tensor:
        along = axes_of([int(axis)], x.dim())[0]
        backwards = bool(call.get("reverse"))
        x = x.flip(along) if backwards else x
        found = function(x, dim=along, dtype=x.dtype)
        if call.get("exclusive"):
            first = torch.full_like(found.narrow(along, 0, 1), neutral)
            found = torch.cat([first, found.narrow(along, 0, x.shape[along] - 1)], along)
        return found.flip(along) if backwards else found

    operator(name)(apply)


_running("CumSum", torch.cumsum, 0)
_running("CumProd", torch.cumprod, 1)
