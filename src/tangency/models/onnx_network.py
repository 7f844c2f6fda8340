"""ONNX networks as differentiable modules, checked against onnxruntime on random input."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tangency.errors import ModelError, unknown_name
from tangency.models.feeding import Feeding
from tangency.models.onnx_graph import Graph, read_graph, with_free_batch, without_ending
from tangency.models.orientation import ORIENTATIONS, turned_sides
from tangency.models.outputs import inverted
from tangency.types import Dataset

LAYOUTS = ("nchw", "nhwc", "flat", "flat-nhwc")
ENDINGS = ("strip", "log", "keep")
BATCHES = ("any", "each", "loop")
TOLERANCE = 1e-4
_TRIAL_IMAGES = 3


class OnnxNetwork(nn.Module):
    """An ONNX graph from images (N, C, H, W) to logits (N, classes).

    Args:
        graph: (bytes,) uint8, the protobuf, kept as a buffer so that it travels with the weights.
        dims: what the graph calls one image, behind the batch axis.
        layout: how an image becomes that: nchw, nhwc, flat (channels first) or flat-nhwc.
        log: whether the graph returns probabilities, of which logarithms are taken.
        batch: any (the graph takes batches), each (one image at a time, vectorised by `torch.func.vmap`) or loop.

    Raises:
        ModelError: onnx2torch is absent, or lacks an operation.
    """

    graph: Tensor

    def __init__(self, graph: Tensor, dims: list[int], layout: str, log: bool, batch: str) -> None:
        super().__init__()
        self.register_buffer("graph", graph)
        self.dims, self.layout, self.log, self.batch = tuple(dims), layout, log, batch
        self.net = _converted(graph.numpy().tobytes())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        moved = x.permute(0, 2, 3, 1) if self.layout.endswith("nhwc") else x
        fed = moved.reshape(len(x), *self.dims)
        out = self._run(fed).flatten(1)
        return inverted(out, "softmax") if self.log else out

    def _run(self, fed: Tensor) -> Tensor:
        if self.batch == "any" or not len(fed):
            return self.net(fed)
        if self.batch == "each":
            found: Tensor = torch.func.vmap(lambda image: self.net(image[None])[0])(fed)
            return found
        return torch.cat([self.net(image[None]) for image in fed])


def _converted(data: bytes) -> nn.Module:
    try:
        import onnx
        from onnx2torch import convert
    except ImportError as error:
        raise ModelError(f"onnx: {error}; install the extra with pip install 'tangency[onnx]'.") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx2torch copies read-only arrays, and says so
        try:
            return convert(onnx.load_from_string(data), attach_onnx_mapping=False)
        except NotImplementedError as error:
            raise ModelError(f"onnx: onnx2torch lacks an operation of this graph ({error}).") from error


def _as_tensor(model: Any) -> Tensor:
    return torch.frombuffer(bytearray(model.SerializeToString()), dtype=torch.uint8)


def runtime(model: Any, path: Path | str) -> Callable[[np.ndarray], list[np.ndarray]]:
    """onnxruntime's own evaluation of a model: its one input to its outputs; refusals are ModelErrors."""
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
        raise ModelError(f"{path}: onnxruntime refuses this graph ({error}). Export it again.") from error
    name = session.get_inputs()[0].name

    def run(values: np.ndarray) -> list[np.ndarray]:
        try:
            return session.run(None, {name: values})
        except refusals as error:
            raise ModelError(f"{path}: onnxruntime cannot run it on an image ({error}). Export it again.") from error

    return run


def load_onnx(
    path: Path | str,
    shape: tuple[int, int, int],
    layout: str | None = None,
    ending: str | None = None,
    batch: str | None = None,
    output: str | None = None,
) -> tuple[OnnxNetwork, dict[str, Any], list[str], Graph]:
    """An ONNX file as a module, its options for a card, and what was found out about it, in sentences.

    Args:
        path: the file.
        shape: (C, H, W) of the images.
        layout, ending, batch: in place of what is detected.
        output: the one to take of several.

    Raises:
        ModelError: the file is no such network, does not take such images, or onnxruntime disagrees by more than 1e-4.
    """
    graph = read_graph(path, output)
    layout, dims, notes = _layout(graph, shape, layout, path)
    model, log, said = _ended(graph, ending, path)
    notes += said
    reference = runtime(model, path)
    images = np.random.default_rng(0).random((_TRIAL_IMAGES, *shape), dtype=np.float32)
    expected = _expected(reference, graph, images, layout, dims)
    if log is None:
        log = bool((expected >= 0).all() and np.allclose(expected.sum(1), 1, atol=1e-4))
        notes += ["it returns probabilities, so their logarithms are the logits"] if log else []
    target = _logarithms(expected) if log else expected
    options: dict[str, Any] = {"dims": list(dims), "layout": layout, "log": log}
    network, said = _batched(graph, model, options, batch, images, target, path)
    return network, options, [*notes, *said], graph


def _layout(
    graph: Graph, shape: tuple[int, int, int], asked: str | None, path: Path | str
) -> tuple[str, tuple[int, ...], list[str]]:
    """How an image is laid out for the graph, and the axes that it then has."""
    if asked is not None and asked not in LAYOUTS:
        raise ModelError(f"{path}: {unknown_name('layout', asked, (*LAYOUTS, *ORIENTATIONS))}")
    channels, height, width = shape
    by_name = {"nchw": (channels, height, width), "nhwc": (height, width, channels)}
    fits = [name for name, axes in by_name.items() if _match(graph.dims, axes)]
    flat = all(graph.dims) and int(np.prod([d or 0 for d in graph.dims])) == channels * height * width
    if not fits and flat:
        fits = ["flat"]
    chosen = asked or (fits[0] if fits else None)
    if chosen is None or (not flat and not _match(graph.dims, by_name.get(chosen, ()))):
        axes = "x".join("?" if d is None else str(d) for d in graph.dims)
        raise ModelError(
            f"{path}: takes {axes} numbers an image, the images are {channels}x{height}x{width}; expected as many, as "
            "nchw, nhwc or flat. Give the network's ?shape=CxHxW, or resize=HxW where the data are of another size."
        )
    dims = by_name[chosen] if chosen in by_name and not flat else tuple(d or 0 for d in graph.dims)
    told = [f"its input is {chosen} ({'x'.join(map(str, dims))} an image{', as asked' if asked else ''})"]
    if chosen == "flat" and channels > 1 and asked is None:
        told.append("flat pixels are taken channel by channel; ?layout=flat-nhwc takes them pixel by pixel")
    return chosen, dims, told


def _match(dims: tuple[int | None, ...], axes: tuple[int, ...]) -> bool:
    return len(dims) == len(axes) and all(d in (None, a) for d, a in zip(dims, axes, strict=True))


def _ended(graph: Graph, asked: str | None, path: Path | str) -> tuple[Any, bool | None, list[str]]:
    """The model to convert, whether logarithms are taken (None: to be found out), and sentences."""
    if asked is not None and asked not in ENDINGS:
        raise ModelError(f"{path}: {unknown_name('ending', asked, ENDINGS)}")
    if asked is None and not graph.ending:
        return graph.model, None, []
    if asked in (None, "strip") and graph.ending:
        return without_ending(graph), False, [f"its last {graph.ending} is taken off, so that it returns logits"]
    return graph.model, asked == "log", [f"its last operation is kept, as asked (ending={asked})"]


def _logarithms(shares: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities, rows of NaN where one underflows."""
    known = (shares >= np.finfo(shares.dtype).tiny).all(1, keepdims=True)
    return np.where(known, np.log(np.maximum(shares, np.finfo(shares.dtype).tiny)), np.nan)


def _expected(
    reference: Callable[[np.ndarray], list[np.ndarray]],
    graph: Graph,
    images: np.ndarray,
    layout: str,
    dims: tuple[int, ...],
) -> np.ndarray:
    """(N, classes) of onnxruntime, in batches of the graph's own size."""
    moved = images.transpose(0, 2, 3, 1) if layout.endswith("nhwc") else images
    fed = np.ascontiguousarray(moved).reshape(len(images), *dims)
    place = [value.name for value in graph.model.graph.output].index(graph.output_name)
    rows = []
    for image in fed:
        batch = np.repeat(image[None], graph.batch or 1, axis=0)
        rows.append(reference(batch)[place].reshape(len(batch), -1)[0])
    return np.stack(rows)


def _batched(
    graph: Graph,
    model: Any,
    options: dict[str, Any],
    asked: str | None,
    images: np.ndarray,
    target: np.ndarray,
    path: Path | str,
) -> tuple[OnnxNetwork, list[str]]:
    """The network with the first way of taking batches under which it agrees with onnxruntime."""
    if asked is not None and asked not in BATCHES:
        raise ModelError(f"{path}: {unknown_name('batch', asked, BATCHES)}")
    if graph.batch not in (None, 1):
        raise ModelError(
            f"{path}: a fixed batch of {graph.batch}, expected a free one or 1. Export it with a free one."
        )
    tried = []
    for way in (asked,) if asked else BATCHES:
        edited = with_free_batch(model, graph) if way == "any" and graph.batch == 1 else model
        network = OnnxNetwork(_as_tensor(edited), **options, batch=way).eval()
        try:
            gap = _gap(network, images, target)
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
            tried.append(f"batch={way}: {type(error).__name__}: {str(error).splitlines()[0][:100]}")
            continue
        if gap <= TOLERANCE:
            options["batch"] = way
            return network, _said(way, graph, gap)
        tried.append(f"batch={way}: differs by {gap:.2g}")
    raise ModelError(
        f"{path}: converted to torch, it does not give what onnxruntime gives to {TOLERANCE:g} on random images "
        f"({'; '.join(tried)}). Please export it again with a recent opset."
    )


def _gap(network: OnnxNetwork, images: np.ndarray, target: np.ndarray) -> float:
    """Largest difference in units of the largest logit, where there are logits; infinite where one alone has them."""
    with torch.no_grad():
        found = network(torch.from_numpy(images)).numpy().astype(np.float64)
    if found.shape != target.shape:
        raise ValueError(f"an output of shape {found.shape} where onnxruntime has {target.shape}")
    lost = np.isnan(target)
    apart = np.abs(np.where(lost & np.isnan(found), 0.0, found - target)).max()
    return float(apart / max(1.0, np.abs(target[~lost]).max(initial=0.0))) if np.isfinite(apart) else np.inf


def _said(way: str, graph: Graph, gap: float) -> list[str]:
    how = {
        "any": "rewritten to take any" if graph.batch == 1 else "free",
        "each": "of 1, vectorised with torch.func.vmap",
        "loop": "of 1, so images go through one by one (slow)",
    }[way]
    return [f"its batch is {how}", f"it agrees with onnxruntime to {gap:.1g} of the largest logit on random images"]


def onnx_feeding(
    path: Path | str, asked: Feeding, data: Dataset | None, output: str | None
) -> tuple[tuple[int, int, int], tuple[int, int] | None]:
    """(C, H, W) that a graph is fed, and its own (H, W) where its input says so.

    Raises:
        ModelError: neither the graph, the reference nor the data say the shape.
    """
    dims = read_graph(path, output).dims
    native = None
    if len(dims) == 3 and all(dims):
        channels_first = dims[0] in (1, 3) or dims[2] not in (1, 3)
        found = (dims[0], dims[1], dims[2]) if channels_first else (dims[2], dims[0], dims[1])
        own = (int(found[0] or 0), int(found[1] or 0), int(found[2] or 0))
        # A flat image written with axes of length 1 is none of that channel count.
        native = own[1:] if min(own[1:]) > 1 else None
        if native is not None and asked.shape is None and data is None:
            return own, native
    shape = asked.shape or (data.test.shape if data is not None else None)
    if shape is None:
        axes = "x".join("?" if d is None else str(d) for d in dims)
        raise ModelError(f"{path}: takes {axes} numbers an image; give the shape of its images as ?shape=1x28x28.")
    return (shape[0], *(asked.resize or turned_sides(shape[1:], asked.orientation))), native
