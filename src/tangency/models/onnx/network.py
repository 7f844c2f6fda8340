"""ONNX networks as differentiable modules, checked against onnxruntime on random input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tangency.errors import ModelError, counted, quoted, unknown_name
from tangency.models.foreign.feeding import Feeding
from tangency.models.onnx.edits import with_free_batch, without_ending
from tangency.models.onnx.graph import Graph
from tangency.models.onnx.program import Program, without_weights
from tangency.models.onnx.reading import onnx_package
from tangency.models.onnx.runtime import runtime
from tangency.models.onnx.values import limited
from tangency.models.orientation import ORIENTATIONS, turned_sides
from tangency.models.outputs import inverted
from tangency.types import Dataset

LAYOUTS = ("nchw", "nhwc", "flat", "flat-nhwc")
ENDINGS = ("strip", "log", "keep")
BATCHES = ("any", "each", "loop")
TOLERANCE = 1e-4
_TRIAL_IMAGES = 3
_STEP_BYTES = 2 << 30  # of one result for one image


class OnnxNetwork(nn.Module):
    """An ONNX graph from images (N, C, H, W) to logits (N, classes).

    Args:
        graph: (bytes,) uint8, the protobuf of `without_weights`, a buffer so that it travels with the weights.
        dims: what the graph calls one image, behind the batch axis.
        layout: how an image becomes that: nchw, nhwc, flat (channels first) or flat-nhwc.
        log: whether the graph returns probabilities, of which logarithms are taken.
        batch: any (the graph takes batches), each (parts of `size` images, vectorised by `torch.func.vmap`) or loop
            (such parts one by one).
        size: how many images such a part has; the last one is filled up.
        weights: of `without_weights`; None leaves them to be filled.

    Raises:
        ModelError: onnx is absent, or the graph is none that was written here.
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
        self.program = Program(model, weights)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        moved = x.permute(0, 2, 3, 1) if self.layout.endswith("nhwc") else x
        fed = moved.reshape(len(x), *self.dims)
        out = self._run(fed).flatten(1)
        return inverted(out, "softmax") if self.log else out

    def _run(self, fed: Tensor) -> Tensor:
        if self.batch == "any":
            found: Tensor = self.program(fed)
            return found
        missing = -len(fed) % self.size if len(fed) else self.size
        if missing:
            last = fed[-1:] if len(fed) else fed.new_zeros(1, *self.dims)
            filled = torch.cat([fed, last.expand(missing, *self.dims)])
        else:
            filled = fed
        if self.batch == "each":
            out = torch.func.vmap(self.program)(filled.reshape(-1, self.size, *self.dims)).flatten(0, 1)
        else:
            out = torch.cat([self.program(part) for part in filled.split(self.size)])
        return out[: len(fed)]


def _network(model: Any, options: Mapping[str, Any], batch: str, size: int) -> OnnxNetwork:
    light, weights = without_weights(model)
    graph = torch.frombuffer(bytearray(light.SerializeToString()), dtype=torch.uint8)
    return OnnxNetwork(graph, **options, batch=batch, size=size, weights=weights).eval()


def load_onnx(
    graph: Graph,
    path: Path | str,
    shape: tuple[int, int, int],
    layout: str | None = None,
    ending: str | None = None,
    batch: str | None = None,
) -> tuple[OnnxNetwork, dict[str, Any], list[str]]:
    """An ONNX graph as a module, its options for a card, and what was found out about it, in sentences.

    Args:
        graph: of `read_graph`.
        path: its file, for errors.
        shape: (C, H, W) of the images.
        layout, ending, batch: in place of what is detected.

    Raises:
        ModelError: the graph is no such network, does not take such images, or onnxruntime disagrees by more than 1e-4.
    """
    layout, dims, notes = _layout(graph, shape, layout, path)
    model, plain, log, said = _ended(graph, ending, path)
    notes += said
    _tried(graph, plain, dims)
    reference = runtime(model, path)
    images = np.random.default_rng(0).random((_TRIAL_IMAGES, *shape), dtype=np.float32)
    expected = _expected(reference, graph, images, layout, dims, path)
    if log is None:
        log = bool((expected >= 0).all() and np.allclose(expected.sum(1), 1, atol=1e-4))
        notes += ["it returns probabilities, so their logarithms are the logits"] if log else []
    target = _logarithms(expected) if log else expected
    options: dict[str, Any] = {"dims": list(dims), "layout": layout, "log": log}
    network, said = _batched(graph, plain, options, batch, images, target, path)
    return network, options, [*notes, *said]


def _tried(graph: Graph, plain: Any, dims: tuple[int, ...]) -> None:
    """Refuse what cannot be computed, or would take all memory, before anything else computes it."""
    size = graph.batch or 1
    network = _network(plain, {"dims": list(dims), "layout": "nchw", "log": False}, "loop", size)
    with torch.no_grad(), limited(_STEP_BYTES * size):
        network.program(torch.zeros(size, *dims))


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


def _ended(graph: Graph, asked: str | None, path: Path | str) -> tuple[Any, Any, bool | None, list[str]]:
    """The model as it is and made plain, whether logarithms are taken (None: to be found out), and sentences."""
    if asked is not None and asked not in ENDINGS:
        raise ModelError(f"{path}: {unknown_name('ending', asked, ENDINGS)}")
    if asked is None and not graph.ending:
        return graph.model, graph.plain, None, []
    if asked in (None, "strip") and graph.ending:
        bare = [without_ending(model, graph.output_name) for model in (graph.model, graph.plain)]
        return bare[0], bare[1], False, [f"its last {graph.ending} is taken off, so that it returns logits"]
    return graph.model, graph.plain, asked == "log", [f"its last operation is kept, as asked (ending={asked})"]


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
    path: Path | str,
) -> np.ndarray:
    """(N, classes) of onnxruntime, in batches of the graph's own size."""
    moved = images.transpose(0, 2, 3, 1) if layout.endswith("nhwc") else images
    fed = np.ascontiguousarray(moved).reshape(len(images), *dims)
    rows = []
    for image in fed:
        batch = np.repeat(image[None], graph.batch or 1, axis=0)
        rows.append(_logits(reference(batch)[0], len(batch), graph.output_name, path)[0])
    return np.stack(rows)


def _logits(found: np.ndarray, images: int, name: str, path: Path | str) -> np.ndarray:
    """(N, classes) of an output; one that could not be logits is refused."""
    kind = f"{found.dtype} numbers of shape {'x'.join(map(str, found.shape)) or 'none'} for {counted(images, 'image')}"
    what = f"{path}: its output '{name}' is {kind}, expected floats of shape {images}xCLASSES, the logits"
    if not np.issubdtype(found.dtype, np.floating):
        raise ModelError(f"{what}. Places and labels have no gradients: give the network without its last argmax.")
    if found.ndim < 2 or len(found) != images or sum(size > 1 for size in found.shape[1:]) > 1:
        raise ModelError(f"{what}. Of a network with several outputs choose them with ?output=NAME.")
    if found[0].size < 2:
        raise ModelError(f"{what} of two classes or more. One logit z of two classes is (0, z): give it with both.")
    return found.reshape(images, -1)


def _batched(
    graph: Graph,
    plain: Any,
    options: dict[str, Any],
    asked: str | None,
    images: np.ndarray,
    target: np.ndarray,
    path: Path | str,
) -> tuple[OnnxNetwork, list[str]]:
    """The network with the first way of taking batches under which it agrees with onnxruntime."""
    if asked is not None and asked not in BATCHES:
        raise ModelError(f"{path}: {unknown_name('batch', asked, BATCHES)}")
    tried, size = [], graph.batch or 1
    for way in (asked,) if asked else BATCHES:
        edited = with_free_batch(plain, size) if way == "any" and graph.batch else plain
        try:
            network = _network(edited, options, way, size)
            gap = _gap(network, images, target)
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
            tried.append(f"batch={way}: {type(error).__name__}: {quoted(error)}")
            continue
        if gap <= TOLERANCE:
            options |= {"batch": way, "size": size}
            return network, _said(way, graph, gap)
        tried.append(f"batch={way}: differs by {gap:.2g}")
    raise ModelError(
        f"{path}: computed with torch, it does not give what onnxruntime gives to {TOLERANCE:g} on random images "
        f"({'; '.join(tried)}). A network that draws random numbers, or was exported in training mode, does that: "
        "export it in eval mode; else give it as state_dict:, timm:, hf:, export: or torchscript:."
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
    size = graph.batch or 1
    parts = "one by one (slow)" if size == 1 else f"in parts filled up to {size}, one by one (slow)"
    how = {
        "any": "rewritten to take any" if graph.batch else "free",
        "each": f"of {size}, vectorised with torch.func.vmap",
        "loop": f"of {size}, so images go through {parts}",
    }[way]
    how = how if way == "any" or graph.batch else f"said to be free, but taken to be {how}"
    return [f"its batch is {how}", f"it agrees with onnxruntime to {gap:.1g} of the largest logit on random images"]


def onnx_feeding(
    graph: Graph, path: Path | str, asked: Feeding, data: Dataset | None
) -> tuple[tuple[int, int, int], tuple[int, int] | None]:
    """(C, H, W) that a graph is fed, and its own (H, W) where its input says so.

    Raises:
        ModelError: neither the graph, the reference nor the data say the shape.
    """
    dims = graph.dims
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
