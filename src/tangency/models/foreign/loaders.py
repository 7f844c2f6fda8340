"""One loader for each kind of reference to a foreign classifier."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tangency.errors import ModelError
from tangency.models.foreign.feeding import PRESETS, Feeding, graph_layout
from tangency.models.foreign.opening import WEIGHTS, Opened, Request, check_channels, from_states
from tangency.models.foreign.robustness_loader import open_robustness
from tangency.models.foreign.states import read_states
from tangency.models.foreign.twins import twins_of
from tangency.models.registry import ARCHITECTURES
from tangency.references import Registry, makes


def _torchvision(request: Request) -> Opened:
    from torchvision.models import get_model_weights

    name = request.reference.location
    twins = twins_of(f"torchvision:{name}")
    request.check("weights", *WEIGHTS, *([twins.option] if twins else []))
    file = Path(request.option("weights", "FILE.pth")).expanduser()
    published = twins.published if twins is not None and file.is_file() and _is_published(name, file) else None
    opened = from_states(request, f"torchvision:{name}", file, twins=twins, choice=published)
    if opened.outputs != 1000:
        return opened
    # Each of torchvision's sets of weights was trained with the means of ImageNet, at the size of its own transform.
    size = next(iter(get_model_weights(name))).transforms().crop_size[0]
    mean, std = PRESETS["imagenet"]
    note = f"input as torchvision's own weights of {name}: {size}x{size}, mean and std of ImageNet"
    known = Feeding(native=(size, size), input_range=(0.0, 1.0), mean=mean, std=std, notes=(note,))
    return replace(opened, feeding=opened.feeding.or_else(known))


def _is_published(name: str, file: Path) -> bool:
    """Whether a file is one of torchvision's own weights, whose addresses hold the beginning of their SHA-256."""
    hashes = [re.search(r"-([0-9a-f]{8})\.pth$", address) for address in _published(name)]
    with open(file, "rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    return any(match and found.startswith(match[1]) for match in hashes)


def _published(name: str) -> list[str]:
    """Addresses of torchvision's own weights of a network."""
    from torchvision.models import get_model_weights

    return [weights.url for weights in get_model_weights(name)]


def _timm(request: Request) -> Opened:
    from tangency.models.foreign.timm_models import imported, own_feeding

    if "weights" not in request.reference.options and request.path.is_dir():
        return _timm_folder(request)
    imported()
    request.check("weights", *WEIGHTS, "img_size")
    name, file = request.reference.location, Path(request.option("weights", "FILE.safetensors")).expanduser()
    size = request.reference.integer("img_size")
    opened = from_states(request, f"timm:{name}", file, None, {"img_size": size} if size else None)
    found_later = any(found is not None for found in (opened.feeding.mean, request.asked.mean, request.data))
    known = own_feeding(name, opened.outputs, opened.channels, size, found_later)
    return replace(opened, feeding=opened.feeding.or_else(known))


def _timm_folder(request: Request) -> Opened:
    """A folder that timm wrote, or transformers' wrapper around timm."""
    from tangency.models.foreign.shards import weights_of
    from tangency.models.foreign.timm_models import WHAT, read_timm_folder

    request.check("variant")
    said = read_timm_folder(request.path)
    file = weights_of(request.path, WHAT, request.reference.options.get("variant"))
    opened = from_states(request, f"timm:{said.architecture}", file, None, said.options)
    if said.outputs not in (None, opened.outputs):
        raise ModelError(
            f"{request.reference.text}: config.json says {said.outputs} classes, the weights have {opened.outputs}; "
            "they are of different networks."
        )
    return replace(opened, feeding=opened.feeding.or_else(said.feeding(opened.channels)))


def _state_dict(request: Request) -> Opened:
    file = request.path if request.reference.kind == "state_dict" else Path(request.reference.kind)
    file = file.expanduser()
    if not request.reference.options.get("arch"):
        read_states(file)  # a file that holds no weights is told before anybody looks up what they are of
    architecture = request.option("arch", "cifar:resnet18")
    own, twins = _own_options(request, architecture), twins_of(architecture)
    request.check("arch", *WEIGHTS, "img_size", *own, *([twins.option] if twins else []))
    size = request.reference.integer("img_size")
    extra = {name: value for name, value in own.items() if value is not None} | ({"img_size": size} if size else {})
    return from_states(request, architecture, file, None, extra, twins)


def _own_options(request: Request, architecture: str) -> dict[str, Any]:
    """Options of an architecture of ours, each of its default's kind."""
    if architecture not in ARCHITECTURES:
        return {}
    parameters = inspect.signature(ARCHITECTURES[architecture]).parameters.values()
    known = {p.name: p.default for p in parameters if p.name not in ("shape", "classes")}
    found: dict[str, Any] = dict.fromkeys(known)
    for name, default in known.items():
        text = request.reference.options.get(name)
        if text is not None and isinstance(default, int):
            found[name] = request.reference.integer(name)
        elif text is not None:
            found[name] = text if isinstance(default, str) else [int(part) for part in text.split(",")]
    return found


def _hf(request: Request) -> Opened:
    from tangency.models.foreign.huggingface import channels_of, folder_config, open_folder, tried
    from tangency.models.foreign.timm_models import is_timm_config

    folder, asked = request.path, request.reference.options
    if is_timm_config(folder_config(folder)):
        return _timm_folder(request)
    request.check("variant", "channels")
    module, options, outputs, known, file = open_folder(folder, asked.get("variant"), asked.get("channels"))
    channels = channels_of(module.net.config)
    check_channels(request, channels)
    if request.shape is None and known.native is not None:
        known = replace(known, shape=(channels, *known.native))
    size = request.asked.resize or known.native or (request.shape or (channels,))[1:]
    if len(size) == 2:
        tried(module, (channels, *size), outputs, folder)
    return Opened(module, "hf:folder", outputs, options, known, file, channels)


def _onnx(request: Request) -> Opened:
    from tangency.models.onnx.graph import read_graph
    from tangency.models.onnx.network import load_onnx, onnx_feeding
    from tangency.models.onnx.reading import told_of

    request.check("ending", "batch", "output")
    options = request.reference.options
    chosen = {name: options.get(name) for name in ("ending", "batch")}
    chosen["layout"], returns = graph_layout(request.reference), options.get("outputs")
    chosen["ending"] = chosen["ending"] or ("keep" if returns == "logits" else None)
    with told_of(request.path):
        graph = read_graph(request.path, options.get("output"))
        shape, native = onnx_feeding(graph, request.path, request.asked, request.data)
        network, found, notes = load_onnx(graph, request.path, shape, **chosen)
    if returns not in (None, "logits", graph.ending.lower() or returns):
        raise ModelError(f"{request.reference.text}: ends in {graph.ending}, but outputs={returns} is asked for.")
    known = Feeding(native=native, notes=tuple(notes))
    if graph.inside is not None and graph.inside.input_range is not None:
        low, high = graph.inside.input_range
        note = f"normalisation is inside the graph, for images in [{low:g}, {high:g}]"
        inside = Feeding(input_range=graph.inside.input_range, mean=(), std=(), notes=(note,))
        known = known.or_else(inside)
    with torch.no_grad():
        outputs = network(torch.zeros(1, *shape)).shape[1]
    settled = bool(graph.ending or chosen["ending"] or found["log"])
    return Opened(network, "onnx", outputs, found, known, request.path, settled=settled, beside=graph.beside)


# kind -> loader; what stands before the colon of a reference.
LOADERS: Registry[Callable[[Request], Opened]] = Registry(
    "model",
    "tangency.models",
    {
        "torchvision": _torchvision,
        "timm": _timm,
        "hf": _hf,
        "robustness": open_robustness,
        "state_dict": _state_dict,
        "onnx": _onnx,
    },
    "a function (request) to an Opened",
    makes(1),
    ModelError,
)
