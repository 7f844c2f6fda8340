"""Normalisation by statistics: of the training images, of an image, of a layer or a group."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.models.onnx.operators.calls import Call, GraphError, operator


@operator("BatchNormalization", together=True)
def batch_normalization(call: Call, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """By running statistics, per channel, or per number where `spatial` is 0; by those of a batch it is refused."""
    epsilon = call.get("epsilon", 1e-5)
    if call.get("training_mode") or call.outputs > 1:
        raise GraphError(
            "BatchNormalization is in training mode, so that what it returns for an image depends on the others of "
            "its batch. Export the network in eval mode."
        )
    if call.get("spatial", 1) == 0:
        return (x - mean) / (variance + epsilon).sqrt() * scale + bias
    if len({value.dtype for value in (x, scale, mean)}) == 1:
        return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)
    axes = (-1, *[1] * (x.dim() - 2))
    factor = scale / (variance + epsilon).sqrt()
    return ((x - mean.reshape(axes)) * factor.reshape(axes) + bias.reshape(axes)).to(x.dtype)


@operator("InstanceNormalization", together=True)
def instance_normalization(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """By the statistics of each channel of each image."""
    axes, shape = list(range(2, x.dim())), (-1, *[1] * (x.dim() - 2))
    centred = x - x.mean(axes, keepdim=True)
    variance = (centred * centred).mean(axes, keepdim=True)
    return centred * (variance + call.get("epsilon", 1e-5)).rsqrt() * scale.reshape(shape) + bias.reshape(shape)


@operator("LayerNormalization", together=True)
def layer_normalization(call: Call, x: Tensor, scale: Tensor | None = None, bias: Tensor | None = None) -> Any:
    """By the statistics over the last axes."""
    axis, epsilon = call.get("axis", -1) % x.dim(), call.get("epsilon", 1e-5)
    over = x.shape[axis:]
    fits = (scale is None or scale.shape == over) and (bias is None or bias.shape == over)
    if fits and call.outputs == 1:
        return F.layer_norm(x, over, scale, bias, epsilon)
    axes = list(range(axis, x.dim()))
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    inverse = ((centred * centred).mean(axes, keepdim=True) + epsilon).rsqrt()
    found = centred * inverse
    found = found if scale is None else found * scale
    found = found if bias is None else found + bias
    return (found, mean, inverse)[: call.outputs] if call.outputs > 1 else found


@operator("RMSNormalization", together=True)
def rms_normalization(call: Call, x: Tensor, scale: Tensor) -> Tensor:
    """By the root of the mean square over the last axes."""
    axes = list(range(call.get("axis", -1) % x.dim(), x.dim()))
    return x * ((x * x).mean(axes, keepdim=True) + call.get("epsilon", 1e-5)).rsqrt() * scale


@operator("GroupNormalization", together=True)
def group_normalization(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """By the statistics of groups of channels; scale and bias are per group up to opset 20, per channel later."""
    groups = call.get("num_groups")
    if not groups or x.shape[1] % groups:
        raise GraphError(f"GroupNormalization: {groups} groups of {x.shape[1]} channels.")
    if call.opset < 21:
        each = x.shape[1] // groups
        scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
    return F.group_norm(x, groups, scale, bias, call.get("epsilon", 1e-5))


@operator("LRN")
def local_response(call: Call, x: Tensor) -> Tensor:
    """By the squares of neighbouring channels."""
    size = call.get("size")
    padding = [0, 0] * (x.dim() - 2) + [(size - 1) // 2, size - 1 - (size - 1) // 2]
    squares = F.pad(x * x, padding)
    total = torch.stack([squares.narrow(1, i, x.shape[1]) for i in range(size)]).sum(0)
    return x / (call.get("bias", 1.0) + call.get("alpha", 1e-4) / size * total) ** call.get("beta", 0.75)


@operator("LpNormalization")
def lp_normalization(call: Call, x: Tensor) -> Tensor:
    """By the 1-norm or the 2-norm along an axis; zeros where that is zero."""
    norm = torch.linalg.vector_norm(x, call.get("p", 2), call.get("axis", -1), keepdim=True)
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


@operator("MeanVarianceNormalization")
def mean_variance(call: Call, x: Tensor) -> Tensor:
    """By mean and standard deviation over given axes."""
    axes = list(call.get("axes", [0, 2, 3]))
    centred = x - x.mean(axes, keepdim=True)
    return centred / ((centred * centred).mean(axes, keepdim=True).sqrt() + 1e-9)
