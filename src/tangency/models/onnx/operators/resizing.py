"""Images brought to another size: every kind of ONNX is a matrix along each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.models.onnx.operators.calls import Call, GraphError, axes_of, operator

_LARGEST = 2**25  # numbers of the matrix of one axis


@dataclass(frozen=True)
class _Axis:
    """One axis: its length before and after, the factor between them, and the part of it that is cropped out."""

    size: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    def places(self, how: str) -> np.ndarray:
        """Where each cell of the result lies in the original."""
        at: np.ndarray = np.arange(self.out, dtype=np.float64)
        if how == "half_pixel":
            return (at + 0.5) / self.scale - 0.5
        if how == "asymmetric":
            return at / self.scale
        if how == "align_corners":
            length = self.scale * self.size
            return at * (self.size - 1) / (length - 1) if length != 1 else at * 0
        if how == "pytorch_half_pixel":
            return (at + 0.5) / self.scale - 0.5 if self.out > 1 else at * 0
        if how == "tf_half_pixel_for_nn":
            return (at + 0.5) / self.scale
        if how == "half_pixel_symmetric":
            centre = self.size / 2
            moved = centre * (1 - self.out / (self.scale * self.size))
            return np.add(moved + (at + 0.5) / self.scale, -0.5)
        if how == "tf_crop_and_resize":
            if self.out == 1:
                return np.full(1, 0.5 * (self.start + self.end) * (self.size - 1))
            step = (self.end - self.start) * (self.size - 1) / (self.out - 1)
            return np.asarray(self.start * (self.size - 1) + at * step)
        raise GraphError(f"Resize: coordinates by '{how}' are not known here.")


def _nearest(places: np.ndarray, size: int, how: str) -> np.ndarray:
    places = np.round(places, 9)  # halves that are exact in real numbers should not fall to the other side
    cells = {
        "round_prefer_floor": np.ceil(places - 0.5),
        "round_prefer_ceil": np.floor(places + 0.5),
        "floor": np.floor(places),
        "ceil": np.ceil(places),
    }[how]
    return np.asarray(np.clip(cells, 0, size - 1), np.int64)


def _kernel(distance: np.ndarray, mode: str, a: float) -> np.ndarray:
    d = np.abs(distance)
    if mode == "linear":
        return np.asarray(np.maximum(0, 1 - d))
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _matrix(axis: _Axis, call: Call, mode: str) -> np.ndarray:
    """(out, size): the weight of each cell in each cell of the result."""
    places = axis.places(call.get("coordinate_transformation_mode", "half_pixel"))
    shrink = min(1.0, axis.scale) if call.get("antialias") else 1.0
    radius = (1 if mode == "linear" else 2) / shrink
    first = np.floor(places - radius).astype(np.int64)
    cells = first[:, None] + np.arange(int(2 * radius) + 3)
    weights = _kernel((cells - places[:, None]) * shrink, mode, call.get("cubic_coeff_a", -0.75))
    inside = (cells >= 0) & (cells < axis.size)
    if call.get("exclude_outside"):
        weights = np.where(inside, weights, 0)
    if call.get("exclude_outside") or call.get("antialias"):
        weights = weights / weights.sum(1, keepdims=True)
    matrix = np.zeros((axis.out, axis.size))
    rows = np.broadcast_to(np.arange(axis.out)[:, None], cells.shape)
    np.add.at(matrix, (rows, np.clip(cells, 0, axis.size - 1)), weights)
    return matrix


def _along(x: Tensor, i: int, axis: _Axis, call: Call, mode: str) -> Tensor:
    how = call.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest":
        places = _nearest(axis.places(how), axis.size, call.get("nearest_mode", "round_prefer_floor"))
        resized = x.index_select(i, torch.from_numpy(places).to(x.device))
    else:
        matrix = torch.from_numpy(_matrix(axis, call, mode)).to(x.device, x.dtype)
        resized = torch.matmul(x.transpose(i, -1), matrix.T).transpose(i, -1)
    if how == "tf_crop_and_resize":
        places = axis.places(how)
        outside = torch.from_numpy((places < 0) | (places > axis.size - 1)).to(x.device)
        shape = [1] * x.dim()
        shape[i] = -1
        resized = torch.where(outside.reshape(shape), call.get("extrapolation_value", 0.0), resized)
    return resized


def _numbers(value: Tensor | None) -> list[float]:
    return [] if value is None else [float(one) for one in value.reshape(-1).tolist()]


@operator("Resize")
def resize(
    call: Call, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    """By factors, or to sizes; nearest, linear or cubic."""
    if call.opset < 11:  # (x, scales)
        return upsample(call, x, roi)
    axes = axes_of(list(call.get("axes", range(x.dim()))), x.dim())
    factors, targets = _numbers(scales), [int(n) for n in _numbers(sizes)]
    if not factors and not targets:
        raise GraphError("Resize: neither scales nor sizes.")
    policy = call.get("keep_aspect_ratio_policy", "stretch")
    if targets and policy != "stretch":
        ratios = [n / x.shape[axis] for n, axis in zip(targets, axes, strict=True)]
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        factors = [ratio] * len(axes)
        targets = [math.floor(ratio * x.shape[axis] + 0.5) for axis in axes]
    return _resized(call, x, axes, factors, targets, _numbers(roi))


def _resized(
    call: Call, x: Tensor, axes: Sequence[int], factors: list[float], targets: list[int], crop: list[float]
) -> Tensor:
    mode = call.get("mode", "nearest")
    mode = {"bilinear": "linear"}.get(mode, mode)
    if len(targets or factors) != len(axes) or mode not in ("nearest", "linear", "cubic"):
        raise GraphError(f"{call.op}: {len(targets or factors)} sizes for {len(axes)} axes, mode '{mode}'.")
    crops = call.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    for j, i in enumerate(axes):
        size = x.shape[i]
        out = targets[j] if targets else math.floor(size * factors[j])
        scale = factors[j] if factors else out / size
        start, end = (crop[j], crop[j + len(axes)]) if crops and crop else (0.0, 1.0)
        if out < 0 or out > 2**20 or out * size > _LARGEST or scale <= 0:
            raise GraphError(f"{call.op}: an axis of {size} to {out}.")
        if out != size or crops or scale != 1:
            x = _along(x, i, _Axis(size, out, scale, start, end), call, mode)
    return x


@operator("Upsample")
def upsample(call: Call, x: Tensor, scales: Tensor | None = None) -> Tensor:
    """By factors, coordinates asymmetric and rounded down, as `Resize` up to opset 10."""
    old = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    factors = _numbers(scales) or list(call.get("scales", []))
    return _resized(replace(call, attributes={**call.attributes, **old}), x, range(x.dim()), factors, [], [])


@operator("GridSample", together=True)
def grid_sample(call: Call, x: Tensor, grid: Tensor) -> Tensor:
    """Values at places of a grid in [−1, 1]."""
    mode = call.get("mode", "bilinear")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    return F.grid_sample(x, grid, mode, call.get("padding_mode", "zeros"), bool(call.get("align_corners", 0)))
