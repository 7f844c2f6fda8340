"""A graph evaluated by onnxruntime, for comparison with our own evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tangency.errors import ModelError, quoted

if TYPE_CHECKING:
    from onnx import ModelProto


def runtime(model: ModelProto, path: Path | str) -> Callable[[np.ndarray], list[np.ndarray]]:
    """A model as a function of its one input; refusals are ModelErrors."""
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as kinds
    except ImportError as error:
        raise ModelError(f"onnx: {error}; install the extra with pip install 'tangency[onnx]'.") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    refusals = (kinds.Fail, kinds.InvalidGraph, kinds.InvalidArgument, kinds.NotImplemented, kinds.RuntimeException)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except refusals as error:
        raise ModelError(
            f"{path}: onnxruntime, which it is compared with, refuses this graph ({quoted(error)}). Where the graph is "
            "newer than the package, pip install --upgrade onnxruntime; else export the network again."
        ) from error
    name = session.get_inputs()[0].name

    def run(values: np.ndarray) -> list[np.ndarray]:
        try:
            outputs: list[np.ndarray] = session.run(None, {name: values})
        except refusals as error:
            raise ModelError(
                f"{path}: onnxruntime cannot run it on an image ({quoted(error)}). The graph may be damaged, or made "
                "for images of another size: give ?shape=CxHxW, or export it again."
            ) from error
        return outputs

    return run
