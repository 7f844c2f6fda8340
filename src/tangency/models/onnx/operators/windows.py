"""Where windows lie over the axes of an image: padding and the number of places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tangency.models.onnx.operators.calls import Call, GraphError


@dataclass(frozen=True)
class Windows:
    """Windows over spatial axes, one number an axis.

    Args:
        kernel, strides, dilations: of the windows.
        before, after: padding that the graph asks for.
        beyond: further cells behind that padding that the last window of `ceil_mode` reaches.
        outputs: how many windows there are.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    beyond: list[int]
    outputs: list[int]

    @property
    def padding(self) -> list[int]:
        """As of `F.pad`, without what lies beyond."""
        return [n for pair in zip(reversed(self.before), reversed(self.after), strict=True) for n in pair]

    @property
    def reach(self) -> list[int]:
        """As of `F.pad`, with what lies beyond."""
        ends = [a + b for a, b in zip(self.after, self.beyond, strict=True)]
        return [n for pair in zip(reversed(self.before), reversed(ends), strict=True) for n in pair]


def windows(call: Call, sizes: Sequence[int], kernel: Sequence[int]) -> Windows:
    """Windows of a convolution or pooling over axes of given sizes."""
    dims = len(sizes)
    strides = list(call.get("strides", [1] * dims))
    dilations = list(call.get("dilations", [1] * dims))
    pads = list(call.get("pads", [0] * 2 * dims))
    if not (len(kernel) == len(strides) == len(dilations) == dims and len(pads) == 2 * dims):
        raise GraphError(
            f"{call.op}: kernel {list(kernel)}, strides {strides}, dilations {dilations}, pads {pads} on {dims} axes."
        )
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    if min([*spans, *strides, *dilations], default=1) < 1 or max(map(abs, pads), default=0) > 2**20:
        raise GraphError(f"{call.op}: kernel {list(kernel)}, strides {strides}, dilations {dilations}, pads {pads}.")
    before, after = pads[:dims], pads[dims:]
    auto = call.get("auto_pad", "NOTSET")
    outputs, beyond = [], []
    for i, size in enumerate(sizes):
        if auto.startswith("SAME"):
            count = -(-size // strides[i])
            missing = max(0, (count - 1) * strides[i] + spans[i] - size)
            small, large = missing // 2, missing - missing // 2
            before[i], after[i] = (small, large) if auto == "SAME_UPPER" else (large, small)
        elif auto == "VALID":
            before[i] = after[i] = 0
        padded = size + before[i] + after[i]
        steps = (padded - spans[i]) / strides[i]
        count = (math.ceil(steps) if call.get("ceil_mode") else math.floor(steps)) + 1
        if call.get("ceil_mode") and (count - 1) * strides[i] >= size + before[i]:
            count -= 1  # a window that begins behind the image is none
        outputs.append(count)
        beyond.append(max(0, (count - 1) * strides[i] + spans[i] - padded))
    if min(outputs, default=1) < 1:
        raise GraphError(f"{call.op}: windows of {list(kernel)} on an image of {list(sizes)}.")
    return Windows(list(kernel), strides, dilations, before, after, beyond, outputs)
