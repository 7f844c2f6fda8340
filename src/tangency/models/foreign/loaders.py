"""One loader for each kind of reference to a foreign classifier."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tangency.data.classes import CIFAR10
from tangency.errors import ModelError, unknown_name
from tangency.models.foreign.feeding import PRESETS, Feeding, graph_layout
from tangency.models.foreign.opening import WEIGHTS, Opened, Request, check_channels, from_states
from tangency.models.foreign.rebuilt import optional
from tangency.models.foreign.states import read_states
from tangency.models.foreign.twins import twins_of
from tangency.models.orientation import Shape
from tangency.models.registry import ARCHITECTURES
from tangency.references import Registry, makes

if TYPE_CHECKING:
    from tangency.models.onnx.graph import Graph


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
    # All of torchvision's weights were trained with the mean and std of ImageNet, at the size of their transform.
    size = next(iter(get_model_weights(name))).transforms().crop_size[0]
    mean, std = PRESETS["imagenet"]
    note = f"input as torchvision's own weights of {name}: {size}x{size}, mean and std of ImageNet"
    known = Feeding(native=(size, size), input_range=(0.0, 1.0), mean=mean, std=std, notes=(note,))
    return replace(opened, feeding=opened.feeding.or_else(known))


def _is_published(name: str, file: Path) -> bool:
    """Whether a file is one of torchvision's own weights, whose addresses hold the beginning of their SHA-256."""
    with open(file, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    hashes = [re.search(r"-([0-9a-f]{8})\.pth$", address) for address in _published(name)]
    return any(match and digest.startswith(match[1]) for match in hashes)


def _published(name: str) -> list[str]:
    """Addresses of torchvision's own weights of a network."""
    from torchvision.models import get_model_weights

    return [weights.url for weights in get_model_weights(name)]


def _timm(request: Request) -> Opened:
    from tangency.models.foreign.timm_models import own_feeding

    if "weights" not in request.reference.options and request.path.is_dir():
        return _timm_folder(request)
    optional("timm", "timm")
    request.check("weights", *WEIGHTS, "img_size")
    name, file = request.reference.location, Path(request.option("weights", "FILE.safetensors")).expanduser()
    size = request.reference.integer("img_size")
    opened = from_states(request, f"timm:{name}", file, None, {"img_size": size} if size else None)
    decided_later = any(value is not None for value in (opened.feeding.mean, request.requested.mean, request.data))
    known = own_feeding(name, opened.outputs, opened.channels, size, decided_later)
    return replace(opened, feeding=opened.feeding.or_else(known))


def _timm_folder(request: Request) -> Opened:
    """A folder that timm wrote, or transformers' wrapper around timm."""
    from tangency.models.foreign.shards import weights_of
    from tangency.models.foreign.timm_models import WHAT, read_timm_folder

    request.check("variant")
    settings = read_timm_folder(request.path)
    file = weights_of(request.path, WHAT, request.reference.options.get("variant"))
    opened = from_states(request, f"timm:{settings.architecture}", file, None, settings.options)
    if settings.outputs not in (None, opened.outputs):
        raise ModelError(
            f"{request.reference.text}: config.json says {settings.outputs} classes, the weights have "
            f"{opened.outputs}; they are of different networks."
        )
    return replace(opened, feeding=opened.feeding.or_else(settings.feeding(opened.channels)))


def _state_dict(request: Request) -> Opened:
    file = request.path if request.reference.kind == "state_dict" else Path(request.reference.kind)
    file = file.expanduser()
    if not request.reference.options.get("arch"):
        read_states(file)  # a file without weights is the first error
    architecture = request.option("arch", "cifar:resnet18")
    own, twins = _own_options(request, architecture), twins_of(architecture)
    request.check("arch", *WEIGHTS, "img_size", *own, *([twins.option] if twins else []))
    size = request.reference.integer("img_size")
    extra = {name: value for name, value in own.items() if value is not None} | ({"img_size": size} if size else {})
    return from_states(request, architecture, file, None, extra, twins)


def _own_options(request: Request, architecture: str) -> dict[str, object]:
    """Options of an architecture of ours, each of the type of its default; None for those that are not given."""
    if architecture not in ARCHITECTURES:
        return {}
    options: dict[str, object] = {}
    for name, parameter in inspect.signature(ARCHITECTURES[architecture]).parameters.items():
        text = request.reference.options.get(name)
        if name in ("shape", "classes"):
            continue
        if text is not None and isinstance(parameter.default, int):
            options[name] = request.reference.integer(name)
        elif text is None or isinstance(parameter.default, str):
            options[name] = text
        else:
            options[name] = [int(part) for part in text.split(",")]
    return options


def _hf(request: Request) -> Opened:
    from tangency.models.foreign.huggingface import check_outputs, folder_config, open_folder
    from tangency.models.foreign.timm_models import is_timm_config

    if is_timm_config(folder_config(request.path)):
        return _timm_folder(request)
    request.check("variant", "channels")
    chosen = request.reference.options
    opened = open_folder(request.path, chosen.get("variant"), chosen.get("channels"))
    channels, native = opened.channels, opened.feeding.native
    check_channels(request, channels)
    if request.shape is None and native is not None:
        opened = replace(opened, feeding=replace(opened.feeding, shape=(channels, *native)))
    size = request.requested.resize or native or (request.shape or (channels,))[1:]
    if len(size) == 2:
        check_outputs(opened.module, (channels, *size), opened.outputs, request.path)
    return opened


@dataclass(frozen=True)
class _Trained:
    """A data set of robustness.datasets.

    Args:
        family: of its architectures.
        sides: (H, W) of its images.
        mean, std: of its networks' normalisation.
        classes: names, where robustness fixes them.
    """

    family: str
    sides: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] | None = None


_DATASETS = {
    "cifar": _Trained("cifar", (32, 32), *PRESETS["cifar"], CIFAR10),
    "imagenet": _Trained("torchvision", (224, 224), *PRESETS["imagenet"]),
    # Ranges of ImageNet's classes, in robustness' order (tools/constants.py).
    "restricted_imagenet": _Trained(
        "torchvision",
        (224, 224),
        (0.4717, 0.4499, 0.3837),
        (0.2600, 0.2516, 0.2575),
        ("dog", "cat", "frog", "turtle", "bird", "monkey", "fish", "crab", "insect"),
    ),
}


def _robustness(request: Request) -> Opened:
    """`robustness:FILE?arch=NAME&dataset=…`."""
    request.check("arch", "dataset", *WEIGHTS)
    if not {"arch", "dataset"} <= request.reference.options.keys():
        read_states(request.path)
    name, dataset = request.option("arch", "resnet18"), request.option("dataset", "cifar")
    if dataset not in _DATASETS:
        raise ModelError(f"{request.reference.text}: {unknown_name('dataset', dataset, _DATASETS)}")
    known = _DATASETS[dataset]
    feeding = Feeding(
        native=known.sides,
        input_range=(0.0, 1.0),
        mean=known.mean,
        std=known.std,
        classes=known.classes,
        notes=(f"input as robustness feeds {dataset}",),
    )
    opened = from_states(request, f"{known.family}:{name}", request.path, feeding)
    if known.classes is not None and opened.feeding.classes == known.classes and len(known.classes) != opened.outputs:
        raise ModelError(
            f"{request.reference.text}: {opened.outputs} outputs, dataset={dataset} has {len(known.classes)} classes."
        )
    return opened


def _onnx(request: Request) -> Opened:
    from tangency.models.onnx.graph import read_graph
    from tangency.models.onnx.network import load_onnx
    from tangency.models.onnx.reading import naming

    request.check("ending", "batch", "output")
    options, layout = request.reference.options, graph_layout(request.reference)
    returns = options.get("outputs")
    ending = options.get("ending") or ("keep" if returns == "logits" else None)
    with naming(request.path):
        graph = read_graph(request.path, options.get("output"))
        shape, native = _onnx_shape(graph, request)
        network, card_options, notes = load_onnx(graph, shape, layout, ending, options.get("batch"))
    if returns not in (None, "logits", graph.ending.lower() or returns):
        raise ModelError(f"{request.reference.text}: ends in {graph.ending}, but outputs={returns} is given.")
    known = Feeding(native=native, notes=tuple(notes))
    if graph.inside is not None and graph.inside.input_range is not None:
        low, high = graph.inside.input_range
        note = f"normalisation is inside the graph, for images in [{low:g}, {high:g}]"
        known = known.or_else(Feeding(input_range=(low, high), mean=(), std=(), notes=(note,)))
    with torch.no_grad():
        outputs = network(torch.zeros(1, *shape)).shape[1]
    settled = bool(graph.ending or ending or card_options["log"])
    return Opened(network, "onnx", outputs, card_options, known, request.path, settled=settled, beside=graph.beside)


def _onnx_shape(graph: Graph, request: Request) -> tuple[Shape, tuple[int, int] | None]:
    """(C, H, W) of a graph's input, and its own (H, W) where it fixes them."""
    native = None
    if len(graph.dims) == 3 and all(graph.dims):
        first, second, third = (int(d or 0) for d in graph.dims)
        channels_first = first in (1, 3) or third not in (1, 3)
        own = (first, second, third) if channels_first else (third, first, second)
        # A flat image written with axes of length 1 says nothing about channels and sides.
        native = own[1:] if min(own[1:]) > 1 else None
        if native is not None and request.requested.shape is None and request.data is None:
            return own, native
    if request.shape is None:
        raise ModelError(
            f"{request.path}: takes {graph.shown} numbers an image; give the shape of its images as ?shape=1x28x28."
        )
    return request.shape, native


# Kind of a reference -> loader.
LOADERS: Registry[Callable[[Request], Opened]] = Registry(
    "model",
    "tangency.models",
    {
        "torchvision": _torchvision,
        "timm": _timm,
        "hf": _hf,
        "robustness": _robustness,
        "state_dict": _state_dict,
        "onnx": _onnx,
    },
    "a function (request) to an Opened",
    makes(1),
    ModelError,
)
