"""Nonlinearities of layers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.models.onnx.operators.calls import Call, operator

_SELU = (1.67326319217681884765625, 1.05070102214813232421875)


@operator("Relu")
def relu(call: Call, x: Tensor) -> Tensor:
    """max(x, 0)."""
    return F.relu(x)


@operator("Sigmoid")
def sigmoid(call: Call, x: Tensor) -> Tensor:
    """1 / (1 + exp(−x))."""
    return x.sigmoid()


@operator("LeakyRelu")
def leaky_relu(call: Call, x: Tensor) -> Tensor:
    """x, or alpha x below zero."""
    return F.leaky_relu(x, call.get("alpha", 0.01))


@operator("PRelu", together=True)
def prelu(call: Call, x: Tensor, slope: Tensor) -> Tensor:
    """x, or slope x below zero."""
    return torch.where(x < 0, slope * x, x)


@operator("Elu")
def elu(call: Call, x: Tensor) -> Tensor:
    """x, or alpha (exp x − 1) below zero."""
    return F.elu(x, call.get("alpha", 1.0))


@operator("Celu")
def celu(call: Call, x: Tensor) -> Tensor:
    """max(0, x) + min(0, alpha (exp(x / alpha) − 1))."""
    return F.celu(x, call.get("alpha", 1.0))


@operator("Selu")
def selu(call: Call, x: Tensor) -> Tensor:
    """gamma x, or gamma alpha (exp x − 1) below zero."""
    alpha, gamma = call.get("alpha", _SELU[0]), call.get("gamma", _SELU[1])
    return gamma * F.elu(x, alpha)


@operator("Gelu")
def gelu(call: Call, x: Tensor) -> Tensor:
    """x Φ(x), or its approximation by tanh."""
    return F.gelu(x, approximate=call.get("approximate", "none"))


@operator("HardSigmoid")
def hard_sigmoid(call: Call, x: Tensor) -> Tensor:
    """alpha x + beta within [0, 1]."""
    return (call.get("alpha", 0.2) * x + call.get("beta", 0.5)).clamp(0, 1)


@operator("HardSwish")
def hard_swish(call: Call, x: Tensor) -> Tensor:
    """x clip(x / 6 + 1/2, 0, 1)."""
    return F.hardswish(x)


@operator("Swish")
def swish(call: Call, x: Tensor) -> Tensor:
    """x sigmoid(alpha x)."""
    return x * (call.get("alpha", 1.0) * x).sigmoid()


@operator("Mish")
def mish(call: Call, x: Tensor) -> Tensor:
    """x tanh(log(1 + exp x))."""
    return F.mish(x)


@operator("Softplus")
def softplus(call: Call, x: Tensor) -> Tensor:
    """log(1 + exp x)."""
    return torch.logaddexp(x, torch.zeros_like(x))


@operator("Softsign")
def softsign(call: Call, x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return F.softsign(x)


@operator("ThresholdedRelu")
def thresholded_relu(call: Call, x: Tensor) -> Tensor:
    """x above alpha, else 0."""
    return torch.where(x > call.get("alpha", 1.0), x, torch.zeros_like(x))


@operator("Shrink")
def shrink(call: Call, x: Tensor) -> Tensor:
    """x brought towards zero by `bias` beyond ±lambd, 0 between."""
    limit, bias = call.get("lambd", 0.5), call.get("bias", 0.0)
    zero = torch.zeros_like(x)
    return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, zero)).to(x.dtype)


def flattened(call: Call, x: Tensor) -> tuple[Tensor, int]:
    """What a softmax is over, and the axis: up to opset 12 all axes from `axis` on are one."""
    axis = call.get("axis", -1 if call.opset >= 13 else 1)
    if call.opset >= 13:
        return x, axis
    rows = 1
    for size in x.shape[: axis % x.dim()]:
        rows *= size
    return x.reshape(rows, -1), 1


@operator("Softmax")
def softmax(call: Call, x: Tensor) -> Tensor:
    """exp x over its sum."""
    flat, axis = flattened(call, x)
    return flat.softmax(axis).reshape(x.shape)


@operator("LogSoftmax")
def log_softmax(call: Call, x: Tensor) -> Tensor:
    """The logarithm of softmax."""
    flat, axis = flattened(call, x)
    return flat.log_softmax(axis).reshape(x.shape)


@operator("Hardmax")
def hardmax(call: Call, x: Tensor) -> Tensor:
    """1 at the first largest, else 0."""
    flat, axis = flattened(call, x)
    first = flat.argmax(axis, keepdim=True)
    place = torch.arange(flat.shape[axis], device=x.device)
    shape = [1] * flat.dim()
    shape[axis] = -1
    return (first == place.reshape(shape)).to(x.dtype).reshape(x.shape)
