"""Products of matrices, attention, and normalisation by statistics of the training images, an image, or a group."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.models.onnx.operators.calls import Call, GraphError, operator


@operator("Gemm", together=True)
def gemm(call: Call, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """alpha a b + beta c, with a and b transposed where the attributes say so."""
    a, b = (a.mT if call.get("transA") else a), (b.mT if call.get("transB") else b)
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    if c is not None and alpha == beta == 1 and c.dim() == 1 and a.is_floating_point():
        return torch.addmm(c, a, b)
    product = torch.matmul(a, b) if alpha == 1 else alpha * torch.matmul(a, b)
    if c is None:
        return product
    return product + (c if beta == 1 else beta * c)


@operator("Einsum", together=True)
def einsum(call: Call, *inputs: Tensor) -> Tensor:
    """Sums of products over named axes."""
    return torch.einsum(call.get("equation"), *inputs)


def _heads(x: Tensor, count: int | None) -> Tensor:
    """(N, heads, length, size) of (N, length, heads · size)."""
    if x.dim() == 4:
        return x
    if x.dim() != 3 or not count or x.shape[2] % count:
        raise GraphError(f"Attention: {list(x.shape)} as {count} heads.")
    return x.reshape(*x.shape[:2], count, x.shape[2] // count).transpose(1, 2)


def _hidden(call: Call, q: Tensor, k: Tensor) -> Tensor:
    """(queries, keys): the keys that a query may not look at, by a window or because they come later."""
    left, right = call.get("left_window_size", -1), call.get("right_window_size", -1)
    right = 0 if call.get("is_causal") else right
    places = torch.arange(k.shape[2], device=q.device) - torch.arange(q.shape[2], device=q.device)[:, None]
    hidden = torch.zeros_like(places, dtype=torch.bool)
    hidden = hidden | (places < -left) if left >= 0 else hidden
    return hidden | (places > right) if right >= 0 else hidden


@operator("Attention", together=True)
def attention(call: Call, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *past: Tensor | None) -> Tensor:
    """softmax(scale q kᵀ + mask) v for each head (opset 23 and later); refused with a memory of earlier keys."""
    if any(value is not None for value in past) or call.outputs > 1:
        raise GraphError("Attention: keys and values of before, or their scores, are not computed here.")
    flat = q.dim() == 3
    q = _heads(q, call.get("q_num_heads"))
    k, v = (_heads(value, call.get("kv_num_heads")) for value in (k, v))
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scale = call.get("scale", q.shape[-1] ** -0.5)
    scores = torch.matmul(q * scale**0.5, k.mT * scale**0.5)
    if call.get("softcap"):
        scores = call.get("softcap") * (scores / call.get("softcap")).tanh()
    scores = scores.masked_fill(_hidden(call, q, k), -torch.inf)
    if mask is not None:
        if mask.shape[-1] != k.shape[2]:
            raise GraphError(f"Attention: a mask of {mask.shape[-1]} for {k.shape[2]} keys.")
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    shut = (scores == -torch.inf).all(-1, keepdim=True)  # a query that may look at no key gives zeros
    shares = scores.masked_fill(shut, 0).softmax(-1).masked_fill(shut, 0)
    mixed = torch.matmul(shares, v)
    return mixed.transpose(1, 2).flatten(2) if flat else mixed


@operator("BatchNormalization", together=True)
def batch_normalization(call: Call, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """By running statistics, per channel, or per number where `spatial` is 0; refused by those of a batch."""
    epsilon = call.get("epsilon", 1e-5)
    if call.get("training_mode") or call.outputs > 1:
        raise GraphError(
            "BatchNormalization is in training mode, so that what it returns for an image depends on the others of "
            "its batch. Export the network in eval mode."
        )
    if call.get("spatial", 1) == 0:
        normalised: Tensor = (x - mean) / (variance + epsilon).sqrt() * scale + bias
    elif len({value.dtype for value in (x, scale, mean)}) == 1:
        normalised = F.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)
    else:
        axes = (-1, *[1] * (x.dim() - 2))
        factor = scale / (variance + epsilon).sqrt()
        normalised = ((x - mean.reshape(axes)) * factor.reshape(axes) + bias.reshape(axes)).to(x.dtype)
    return normalised


def _root(call: Call, x: Tensor, axes: list[int]) -> Tensor:
    """1 / √(mean square + epsilon) over axes, which stay as axes of length 1."""
    root: Tensor = ((x * x).mean(axes, keepdim=True) + call.get("epsilon", 1e-5)).rsqrt()
    return root


@operator("InstanceNormalization", together=True)
def instance_normalization(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """By the statistics of each channel of each image."""
    axes, shape = list(range(2, x.dim())), (-1, *[1] * (x.dim() - 2))
    centred = x - x.mean(axes, keepdim=True)
    return centred * _root(call, centred, axes) * scale.reshape(shape) + bias.reshape(shape)


@operator("LayerNormalization", together=True)
def layer_normalization(call: Call, x: Tensor, scale: Tensor | None = None, bias: Tensor | None = None) -> Any:
    """By the statistics over the last axes."""
    axis = call.get("axis", -1) % x.dim()
    over = x.shape[axis:]
    fits = (scale is None or scale.shape == over) and (bias is None or bias.shape == over)
    if fits and call.outputs == 1:
        return F.layer_norm(x, over, scale, bias, call.get("epsilon", 1e-5))
    axes = list(range(axis, x.dim()))
    mean = x.mean(axes, keepdim=True)
    inverse = _root(call, x - mean, axes)
    normalised = (x - mean) * inverse
    normalised = normalised if scale is None else normalised * scale
    normalised = normalised if bias is None else normalised + bias
    return (normalised, mean, inverse)[: call.outputs] if call.outputs > 1 else normalised


@operator("RMSNormalization", together=True)
def rms_normalization(call: Call, x: Tensor, scale: Tensor) -> Tensor:
    """By the root of the mean square over the last axes."""
    return x * _root(call, x, list(range(call.get("axis", -1) % x.dim(), x.dim()))) * scale


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
def local_response(call: Call, x: Tensor) -> Any:
    """By the squares of neighbouring channels."""
    size = call.get("size")
    squares = F.pad(x * x, [0, 0] * (x.dim() - 2) + [(size - 1) // 2, size - 1 - (size - 1) // 2])
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
