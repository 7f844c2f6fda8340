"""One loader for each kind of reference to a foreign classifier."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tangency.data.classes import CIFAR10
from tangency.data.references import Reference
from tangency.errors import ModelError, unknown_name
from tangency.models.feeding import OPTIONS, PRESETS, Feeding
from tangency.models.foreign import FAMILIES, build_foreign, is_foreign, needs
from tangency.models.registry import ARCHITECTURES
from tangency.models.states import State, fit_states, read_states
from tangency.models.weights import fill
from tangency.types import Dataset

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Opened:
    """A network as a loader found it.

    Args:
        module: maps images, scaled and normalised, to (N, classes) logits.
        architecture, options: what a card needs to rebuild it; "custom" where it cannot be.
        outputs: number of logits.
        feeding: what its files say of its input.
        file: where its weights are from.
        settled: whether what it returns is known to be logits, and not to be found out.
    """

    module: nn.Module
    architecture: str
    outputs: int
    options: dict[str, Any] = field(default_factory=dict)
    feeding: Feeding = field(default_factory=Feeding)
    file: Path | None = None
    settled: bool = False


@dataclass(frozen=True)
class Request:
    """What a loader is asked for.

    Args:
        reference: parsed.
        asked: what its options say of the input.
        data: what it is to be measured on, if known.
    """

    reference: Reference
    asked: Feeding
    data: Dataset | None

    @property
    def shape(self) -> Shape | None:
        """(C, H, W) that the network is fed: as asked or as the data, at the size they are brought to."""
        found = self.asked.shape or (self.data.test.shape if self.data is not None else None)
        if found is None or self.asked.resize is None:
            return found
        return found[0], *self.asked.resize

    def option(self, name: str, example: str) -> str:
        """An option that must be given."""
        value = self.reference.options.get(name)
        if not value:
            local = " Nothing is ever fetched from the network." if name == "weights" else ""
            raise ModelError(f"{self.reference.text}: no {name}; give ?{name}={example}.{local}")
        return value

    def check(self, *known: str) -> None:
        """Raise where an option is none of these nor of the input's."""
        self.reference.check_options((*known, *OPTIONS))

    @property
    def path(self) -> Path:
        """The location as a path."""
        return self.reference.path(None)


def from_states(
    request: Request,
    architecture: str,
    file: Path,
    feeding: Feeding | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Opened:
    """A network by name, filled with the weights of a file; how many classes and channels it has, the file says.

    Args:
        request: names the dict of weights (`key`), where there are several.
        architecture: "cifar:resnet18", "torchvision:…", "timm:…", or one of ours.
        file: safetensors or a checkpoint of `torch.save`.
        feeding: what is known of its input beside what the file says.
        extra: options of the architecture.
    """
    states, options = read_states(file), dict(extra or {})
    if request.shape is None and architecture in ARCHITECTURES:
        raise ModelError(
            f"{request.reference.text}: nothing says what images it takes; give ?shape=3x32x32, or --data."
        )
    assumed = request.shape or (3, 32, 32)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        probe = build(architecture, assumed, 10, options)
    channels, outputs = _sizes(probe, states, assumed[0])
    shape = request.shape or (channels or 3, 32, 32)
    if channels is not None and channels != shape[0]:
        raise ModelError(
            f"{request.reference.text}: a network for images of {channels} channel{'s' * (channels > 1)}, these have "
            f"{shape[0]}; {_way_out(channels)}"
        )
    with torch.random.fork_rng(devices=[]):
        module = build(architecture, shape, outputs or 10, options)
    unused = ("sub_block1.",) if architecture.startswith("cifar:wrn") else ()
    found = fit_states(states, module, file, request.reference.options.get("key"), unused)
    fill(module, found.tensors, file)
    own = Feeding(
        input_range=(0.0, 1.0) if found.mean else None,
        mean=found.mean or None,
        std=found.std or None,
        notes=found.notes,
    )
    return Opened(module, architecture, outputs or 10, options, own.or_else(feeding or Feeding()), file)


def _way_out(channels: int) -> str:
    if channels == 3:
        return "grey images need a network for grey images, or data in colour (grey repeated three times)."
    return "colour images need a network for colour images, or data in grey."


def build(architecture: str, shape: Shape, classes: int, options: Mapping[str, Any]) -> nn.Module:
    """A module of ours or of another package, by name."""
    if is_foreign(architecture):
        return build_foreign(architecture, shape, classes, options)
    if architecture not in ARCHITECTURES:
        known = [*ARCHITECTURES, *(f"{family}:NAME" for family in FAMILIES if family != "hf")]
        raise ModelError(unknown_name("architecture", architecture, known))
    return ARCHITECTURES[architecture](shape, classes, **options)


def _sizes(probe: nn.Module, states: Mapping[str, State], assumed: int) -> tuple[int | None, int | None]:
    """Channels of the images and rows of the last layer, as the weights have them; the probe has `assumed` channels."""
    own = probe.state_dict()
    convolutions = [name for name, tensor in own.items() if tensor.dim() == 4]
    inputs = _dimension(states, convolutions[0], 1) if convolutions else None
    # Pixels may be folded into channels before the first convolution.
    channels = None if inputs is None else inputs * assumed // own[convolutions[0]].shape[1]
    return channels or None, _dimension(states, list(own)[-1], 0)


def _dimension(states: Mapping[str, State], name: str, axis: int) -> int | None:
    """A size of the tensor of that name, under any prefix."""
    for state in states.values():
        for key, tensor in state.items():
            if (key == name or key.endswith(f".{name}")) and tensor.dim() > axis:
                return tensor.shape[axis]
    return None


def _torchvision(request: Request) -> Opened:
    from torchvision.models import get_model_weights

    request.check("weights", "key")
    name, file = request.reference.location, Path(request.option("weights", "FILE.pth")).expanduser()
    opened = from_states(request, f"torchvision:{name}", file)
    if opened.outputs != 1000:
        return opened
    # Each of torchvision's sets of weights was trained with the means of ImageNet, at the size of its own transform.
    size = next(iter(get_model_weights(name))).transforms().crop_size[0]
    mean, std = PRESETS["imagenet"]
    note = f"input as torchvision's own weights of {name}: {size}x{size}, mean and std of ImageNet"
    known = Feeding(native=(size, size), input_range=(0.0, 1.0), mean=mean, std=std, notes=(note,))
    return Opened(opened.module, opened.architecture, 1000, opened.options, opened.feeding.or_else(known), file)


def _timm(request: Request) -> Opened:
    try:
        import timm
    except ImportError as error:
        raise needs("timm", "timm", error) from error

    request.check("weights", "key", "img_size")
    name, file = request.reference.location, Path(request.option("weights", "FILE.safetensors")).expanduser()
    size = request.reference.integer("img_size")
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    known = Feeding()
    if config is not None:
        _, height, width = config.input_size
        native = (size, size) if size else (height, width)
        grey = request.shape is not None and request.shape[0] == 1
        known = Feeding(
            native=native,
            input_range=(0.0, 1.0),
            mean=config.mean[:1] if grey else tuple(config.mean),
            std=config.std[:1] if grey else tuple(config.std),
            notes=(f"input as timm's configuration of {name}: {native[0]}x{native[1]}, mean {config.mean}",),
        )
    return from_states(request, f"timm:{name}", file, known, {"img_size": size} if size else None)


def _state_dict(request: Request) -> Opened:
    file = request.path if request.reference.kind == "state_dict" else Path(request.reference.kind)
    file = file.expanduser()
    if not request.reference.options.get("arch"):
        read_states(file)  # a file that holds no weights is told before anybody looks up what they are of
    architecture = request.option("arch", "cifar:resnet18")
    own = _own_options(request, architecture)
    request.check("arch", "key", "img_size", *own)
    size = request.reference.integer("img_size")
    extra = {name: value for name, value in own.items() if value is not None} | ({"img_size": size} if size else {})
    return from_states(request, architecture, file, None, extra)


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


_ROBUSTNESS = {"cifar": ("cifar", "cifar", (32, 32)), "imagenet": ("torchvision", "imagenet", (224, 224))}


def _robustness(request: Request) -> Opened:
    request.check("arch", "dataset", "key")
    if not {"arch", "dataset"} <= request.reference.options.keys():
        read_states(request.path)
    name, dataset = request.option("arch", "resnet18"), request.option("dataset", "cifar")
    if dataset not in _ROBUSTNESS:
        raise ModelError(f"{request.reference.text}: {unknown_name('dataset', dataset, _ROBUSTNESS)}")
    family, preset, native = _ROBUSTNESS[dataset]
    mean, std = PRESETS[preset]
    known = Feeding(
        native=native,
        input_range=(0.0, 1.0),
        mean=mean,
        std=std,
        classes=CIFAR10 if dataset == "cifar" else None,
        notes=(f"input as robustness feeds {dataset}",),
    )
    opened = from_states(request, f"{family}:{name}", request.path, known)
    if isinstance(opened.feeding.classes, tuple) and len(opened.feeding.classes) != opened.outputs:
        raise ModelError(f"{request.reference.text}: {opened.outputs} outputs, dataset={dataset} has 10 classes.")
    return opened


def _hf(request: Request) -> Opened:
    from tangency.models.huggingface import open_folder

    request.check()
    module, options, outputs, known, file = open_folder(request.path)
    return Opened(module, "hf:folder", outputs, options, known, file)


def _onnx(request: Request) -> Opened:
    from tangency.models.onnx_network import load_onnx, onnx_feeding

    request.check("layout", "ending", "batch", "output")
    options = request.reference.options
    chosen = {name: options.get(name) for name in ("layout", "ending", "batch", "output")}
    returns = options.get("outputs")
    chosen["ending"] = chosen["ending"] or ("keep" if returns == "logits" else None)
    shape, native = onnx_feeding(request.path, request.asked, request.data, chosen["output"])
    network, found, notes, graph = load_onnx(request.path, shape, **chosen)
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
    return Opened(network, "onnx", outputs, found, known, request.path, settled)


# kind -> loader; what stands before the colon of a reference.
LOADERS: dict[str, Callable[[Request], Opened]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _hf,
    "robustness": _robustness,
    "state_dict": _state_dict,
    "onnx": _onnx,
}
