"""Attention as one operator (opset 23 and later)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tangency.models.onnx.operators.calls import Call, GraphError, operator


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
def attention(call: Call, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *past: Tensor | None) -> Any:
    """softmax(scale q kᵀ + mask) v for each head; with a memory of earlier keys it is refused."""
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
        missing = k.shape[2] - mask.shape[-1]
        if missing:
            raise GraphError(f"Attention: a mask of {mask.shape[-1]} for {k.shape[2]} keys.")
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    shut = (scores == -torch.inf).all(-1, keepdim=True)  # what may look at nothing gets nothing
    shares = scores.masked_fill(shut, 0).softmax(-1).masked_fill(shut, 0)
    found = torch.matmul(shares, v)
    return found.transpose(1, 2).flatten(2) if flat else found
