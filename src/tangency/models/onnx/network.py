"""ONNX networks as differentiable modules, checked against onnxruntime on random input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from tangency.errors import ModelError, counted, quoted, unknown_name
from tangency.models.onnx.edits import with_free_batch, without_ending
from tangency.models.onnx.graph import Graph
from tangency.models.onnx.interpreter import Interpreter, without_weights
from tangency.models.onnx.reading import onnx_package
from tangency.models.onnx.values import limited
from tangency.models.orientation import ORIENTATIONS
from tangency.models.outputs import inverted

if TYPE_CHECKING:
    from onnx import ModelProto

LAYOUTS = ("nchw", "nhwc", "flat", "flat-nhwc")
ENDINGS = ("strip", "log", "keep")
BATCHES = ("any", "each", "loop")
TOLERANCE = 1e-4
_TRIAL_IMAGES = 3
_STEP_BYTES = 2 << 30  # of one result for one image


class OnnxNetwork(nn.Module):
    """An ONNX graph from images (N, C, H, W) to logits (N, classes).

    Args:
        graph: (bytes,) uint8, the protobuf of `without_weights`, a buffer so that it is saved with the weights.
        dims: axes of one image in the graph, without the batch axis.
        layout: how an image is laid out for the graph: nchw, nhwc, flat (channels first) or flat-nhwc.
        log: whether the graph returns probabilities, whose logarithms are then taken.
        batch: any (the graph takes batches), each (parts of `size` images, vectorised by `torch.func.vmap`) or loop
            (such parts one by one).
        size: number of images of such a part; the last one is filled up.
        weights: of `without_weights`; None leaves them to be filled.

    Raises:
        ModelError: onnx is absent, or the graph was not written here.
    """

    graph: Tensor

    def __init__(
        self,
        graph: Tensor,
        dims: list[int],
        layout: str,
        log: bool,
        batch: str,
        size: int = 1,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("graph", graph)
        self.dims, self.layout, self.log, self.batch, self.size = tuple(dims), layout, log, batch, size
        model = onnx_package("onnx").load_from_string(graph.numpy().tobytes())
        self.program = Interpreter(model, weights)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        moved = x.permute(0, 2, 3, 1) if self.layout.endswith("nhwc") else x
        out = self._run(moved.reshape(len(x), *self.dims)).flatten(1)
        return inverted(out, "softmax") if self.log else out

    def _run(self, x: Tensor) -> Tensor:
        run: Callable[[Tensor], Tensor] = self.program
        if self.batch == "any":
            return run(x)
        missing = -len(x) % self.size if len(x) else self.size
        last = x[-1:] if len(x) else x.new_zeros(1, *self.dims)
        filled = torch.cat([x, last.expand(missing, *self.dims)]) if missing else x
        if self.batch == "each":
            out: Tensor = torch.func.vmap(run)(filled.reshape(-1, self.size, *self.dims)).flatten(0, 1)
        else:
            out = torch.cat([run(part) for part in torch.split(filled, self.size)])
        return out[: len(x)]


def _network(model: ModelProto, options: Mapping[str, object], batch: str, size: int) -> OnnxNetwork:
    light, weights = without_weights(model)
    graph = torch.frombuffer(bytearray(light.SerializeToString()), dtype=torch.uint8)
    return OnnxNetwork(graph, **options, batch=batch, size=size, weights=weights).eval()  # type: ignore[arg-type]


def load_onnx(
    graph: Graph,
    shape: tuple[int, int, int],
    layout: str | None = None,
    ending: str | None = None,
    batch: str | None = None,
) -> tuple[OnnxNetwork, dict[str, object], list[str]]:
    """An ONNX graph as a module, its options for a card, and how it was read, in sentences.

    Args:
        graph: of `read_graph`.
        shape: (C, H, W) of the images.
        layout, ending, batch: replace the detected ones.

    Raises:
        ModelError: the graph is no such network, does not take such images, or onnxruntime disagrees by more than 1e-4.
    """
    for option, value, known in (
        ("layout", layout, (*LAYOUTS, *ORIENTATIONS)),
        ("ending", ending, ENDINGS),
        ("batch", batch, BATCHES),
    ):
        if value is not None and value not in known:
            raise ModelError(f"{graph.path}: {unknown_name(option, value, known)}")
    layout, dims, notes = _layout(graph, shape, layout)
    model, plain, log, ending_notes = _without_ending(graph, ending)
    notes += ending_notes
    _check_size(graph, plain, dims)
    images = np.random.default_rng(0).random((_TRIAL_IMAGES, *shape), dtype=np.float32)
    expected = _expected(graph, model, images, layout, dims)
    if log is None:
        log = bool((expected >= 0).all() and np.allclose(expected.sum(1), 1, atol=1e-4))
        notes += ["it returns probabilities, so their logarithms are the logits"] if log else []
    options: dict[str, object] = {"dims": list(dims), "layout": layout, "log": log}
    network, gap = _batched(graph, plain, options, batch, images, _logarithms(expected) if log else expected)
    options |= {"batch": network.batch, "size": network.size}
    return network, options, [*notes, *_batch_notes(network.batch, graph, gap)]


def _check_size(graph: Graph, plain: ModelProto, dims: tuple[int, ...]) -> None:
    """Refuse a graph that cannot be computed, or would take all memory, before it is computed without a limit."""
    size = graph.batch or 1
    network = _network(plain, {"dims": list(dims), "layout": "nchw", "log": False}, "loop", size)
    with torch.no_grad(), limited(_STEP_BYTES * size):
        network.program(torch.zeros(size, *dims))


def _layout(graph: Graph, shape: tuple[int, int, int], requested: str | None) -> tuple[str, tuple[int, ...], list[str]]:
    """How an image is laid out for the graph, and the axes that it then has."""
    channels, height, width = shape
    by_name = {"nchw": (channels, height, width), "nhwc": (height, width, channels)}
    fits = [name for name, axes in by_name.items() if _match(graph.dims, axes)]
    flat = all(graph.dims) and int(np.prod([d or 0 for d in graph.dims])) == channels * height * width
    if not fits and flat:
        fits = ["flat"]
    chosen = requested or (fits[0] if fits else None)
    if chosen is None or (not flat and not _match(graph.dims, by_name.get(chosen, ()))):
        raise ModelError(
            f"{graph.path}: takes {graph.shown} numbers an image, the images are {channels}x{height}x{width}; expected "
            "as many, as nchw, nhwc or flat. Give the network's ?shape=CxHxW, or resize=HxW where the data are of "
            "another size."
        )
    dims = by_name[chosen] if chosen in by_name and not flat else tuple(d or 0 for d in graph.dims)
    notes = [f"its input is {chosen} ({'x'.join(map(str, dims))} an image{', as asked' if requested else ''})"]
    if chosen == "flat" and channels > 1 and requested is None:
        notes.append("flat pixels are taken channel by channel; ?layout=flat-nhwc takes them pixel by pixel")
    return chosen, dims, notes


def _match(dims: tuple[int | None, ...], axes: tuple[int, ...]) -> bool:
    return len(dims) == len(axes) and all(d in (None, a) for d, a in zip(dims, axes, strict=True))


def _without_ending(graph: Graph, requested: str | None) -> tuple[ModelProto, ModelProto, bool | None, list[str]]:
    """The model and its simplified form, whether logarithms are taken (None: not known yet), and sentences."""
    if requested is None and not graph.ending:
        return graph.model, graph.plain, None, []
    if requested in (None, "strip") and graph.ending:
        bare = [without_ending(model, graph.output_name) for model in (graph.model, graph.plain)]
        return bare[0], bare[1], False, [f"its last {graph.ending} is taken off, so that it returns logits"]
    notes = [f"its last operation is kept, as asked (ending={requested})"]
    return graph.model, graph.plain, requested == "log", notes


def _logarithms(shares: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities, rows of NaN where one underflows."""
    known = (shares >= np.finfo(shares.dtype).tiny).all(1, keepdims=True)
    return np.where(known, np.log(np.maximum(shares, np.finfo(shares.dtype).tiny)), np.nan)


def _expected(graph: Graph, model: ModelProto, images: np.ndarray, layout: str, dims: tuple[int, ...]) -> np.ndarray:
    """(N, classes) of onnxruntime, in batches of the graph's own size."""
    evaluate, rows = _onnxruntime(model, graph.path), []
    moved = images.transpose(0, 2, 3, 1) if layout.endswith("nhwc") else images
    for image in np.ascontiguousarray(moved).reshape(len(images), *dims):
        batch = np.repeat(image[None], graph.batch or 1, axis=0)
        rows.append(_logits(evaluate(batch)[0], len(batch), graph)[0])
    return np.stack(rows)


def _onnxruntime(model: ModelProto, path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
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


def _logits(output: np.ndarray, images: int, graph: Graph) -> np.ndarray:
    """(N, classes) of an output; one that could not be logits is refused."""
    sizes = "x".join(map(str, output.shape)) or "none"
    kind = f"{output.dtype} numbers of shape {sizes} for {counted(images, 'image')}"
    expected = f"expected floats of shape {images}xCLASSES, the logits"
    what = f"{graph.path}: its output '{graph.output_name}' is {kind}, {expected}"
    if not np.issubdtype(output.dtype, np.floating):
        raise ModelError(f"{what}. Places and labels have no gradients: give the network without its last argmax.")
    if output.ndim < 2 or len(output) != images or sum(size > 1 for size in output.shape[1:]) > 1:
        raise ModelError(f"{what}. Of a network with several outputs choose them with ?output=NAME.")
    if output[0].size < 2:
        raise ModelError(f"{what} of two classes or more. One logit z of two classes is (0, z): give it with both.")
    return output.reshape(images, -1)


def _batched(
    graph: Graph,
    plain: ModelProto,
    options: Mapping[str, object],
    requested: str | None,
    images: np.ndarray,
    target: np.ndarray,
) -> tuple[OnnxNetwork, float]:
    """The network with the first way of taking batches with which it agrees with onnxruntime, and the difference."""
    failures, size = [], graph.batch or 1
    for way in (requested,) if requested else BATCHES:
        edited = with_free_batch(plain, size) if way == "any" and graph.batch else plain
        try:
            network = _network(edited, options, way, size)
            gap = _gap(network, images, target)
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
            failures.append(f"batch={way}: {type(error).__name__}: {quoted(error)}")
            continue
        if gap <= TOLERANCE:
            return network, gap
        failures.append(f"batch={way}: differs by {gap:.2g}")
    raise ModelError(
        f"{graph.path}: computed with torch, it does not give what onnxruntime gives to {TOLERANCE:g} on random images "
        f"({'; '.join(failures)}). A network that draws random numbers, or was exported in training mode, does that: "
        "export it in eval mode; else give it as state_dict:, timm:, hf:, export: or torchscript:."
    )


def _gap(network: OnnxNetwork, images: np.ndarray, target: np.ndarray) -> float:
    """Largest difference in units of the largest logit, where there are logits; infinite where one alone has them."""
    with torch.no_grad():
        logits = network(torch.from_numpy(images)).numpy().astype(np.float64)
    if logits.shape != target.shape:
        raise ValueError(f"an output of shape {logits.shape} where onnxruntime has {target.shape}")
    lost = np.isnan(target)
    apart = np.abs(np.where(lost & np.isnan(logits), 0.0, logits - target)).max()
    return float(apart / max(1.0, np.abs(target[~lost]).max(initial=0.0))) if np.isfinite(apart) else np.inf


def _batch_notes(way: str, graph: Graph, gap: float) -> list[str]:
    size = graph.batch or 1
    parts = "one by one (slow)" if size == 1 else f"in parts filled up to {size}, one by one (slow)"
    how = {
        "any": "rewritten to take any" if graph.batch else "free",
        "each": f"of {size}, vectorised with torch.func.vmap",
        "loop": f"of {size}, so images go through {parts}",
    }[way]
    how = how if way == "any" or graph.batch else f"said to be free, but taken to be {how}"
    return [f"its batch is {how}", f"it agrees with onnxruntime to {gap:.1g} of the largest logit on random images"]
