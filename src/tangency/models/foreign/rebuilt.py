"""Architectures of other packages by name, rebuilt from a card without running code that comes with a file."""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import ModelError, quoted, unknown_name
from tangency.models.architectures.cifar import build_cifar
from tangency.models.orientation import ORIENTATIONS, Shape, turned, turned_sides
from tangency.models.outputs import logits_of

ADAPTATIONS = ("resize", "order", "orientation", "outputs")  # options of a card that `Adapted` takes


class Adapted(nn.Module):
    """A network whose images are turned and resized, and whose outputs are converted to logits and reordered.

    Args:
        net: maps (N, C, *resize) to (N, classes).
        resize: (H, W) to which images are resized, bilinearly, with low-pass filtering where they shrink; None for no
            change.
        order: logit i of the result is logit order[i] of the network; None for the network's own order.
        orientation: of `ORIENTATIONS`, how images are turned first; None for no turn.
        outputs: what the network returns, as for `logits_of`.
    """

    def __init__(
        self,
        net: nn.Module,
        resize: list[int] | None = None,
        order: list[int] | None = None,
        orientation: str | None = None,
        outputs: str | None = None,
    ) -> None:
        super().__init__()
        if orientation is not None and orientation not in ORIENTATIONS:
            raise ModelError(unknown_name("orientation", orientation, ORIENTATIONS))
        self.net = net
        self.resize, self.order, self.orientation, self.outputs = resize, order, orientation, outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        x = turned(x, self.orientation)
        if self.resize is not None and list(x.shape[2:]) != self.resize:
            shrinks = self.resize[0] < x.shape[2] or self.resize[1] < x.shape[3]
            x = F.interpolate(x, tuple(self.resize), mode="bilinear", align_corners=False, antialias=shrinks)
        logits: Tensor = logits_of(self.net, x, self.outputs)
        if self.order is None:
            return logits
        if isinstance(logits, Tensor) and logits.dim() == 2 and logits.shape[1] <= max(self.order):
            raise ModelError(
                f"class map: names output {max(self.order)}, the network has {logits.shape[1]}; expected 0 to "
                f"{logits.shape[1] - 1}."
            )
        return logits[:, self.order]

    def reordered(self, order: list[int]) -> Adapted:
        """The same network with other logits kept, or in another order."""
        changed = copy.copy(self)
        changed.order = order
        return changed


def adapted(module: nn.Module, options: Mapping[str, Any]) -> nn.Module:
    """The module with the `ADAPTATIONS` of a card's options; itself where there are none."""
    adaptations = {name: options[name] for name in ADAPTATIONS if options.get(name)}
    return Adapted(module, **adaptations) if adaptations else module


def fed_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """(C, H, W) of the input of the network within `Adapted`, for images of `shape`."""
    return shape[0], *(options.get("resize") or turned_sides(shape[1:], options.get("orientation")))


class HuggingFaceNetwork(nn.Module):
    """An image classifier of transformers as a function of pixels to logits.

    Args:
        net: of transformers.
        channels: channel c of its input is channel channels[c] of x; None for the order of x.
    """

    def __init__(self, net: nn.Module, channels: list[int] | None = None) -> None:
        super().__init__()
        self.net = net
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        if self.channels is not None:
            x = x[:, self.channels]
        output = self.net(pixel_values=x)
        # PP-LCNet calls its logits last_hidden_state; in other networks its shape shows that it holds no logits.
        logits: Tensor = output.logits if "logits" in output else output.last_hidden_state
        return logits


def needs(package: str, extra: str, error: ImportError) -> ModelError:
    """The error for an optional package that is not installed."""
    return ModelError(f"{package} is not installed ({quoted(error)}); install it with pip install 'tangency[{extra}]'.")


def optional(package: str, extra: str) -> Any:
    """An optional package, or a ModelError that says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise needs(package, extra, error) from error


def _torchvision(name: str, shape: Shape, classes: int, options: dict[str, Any]) -> nn.Module:
    import torchvision
    from torchvision.models import get_model, list_models

    if name not in list_models(module=torchvision.models):
        raise ModelError(unknown_name("classifier of torchvision", name, list_models(module=torchvision.models)))
    if shape[0] != 3:
        raise ModelError(f"torchvision:{name}: takes colour images, got {shape[0]} channels; use a network for these.")
    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": False, "transform_input": True, **options}
    stride = options.get("stride", "3x3")
    net = get_model(name, weights=None, num_classes=classes, **{k: v for k, v in options.items() if k != "stride"})
    return net if stride == "3x3" else _strided_before(net)


def _strided_before(net: nn.Module) -> nn.Module:
    """The network with each 3×3 convolution's stride in the 1×1 convolution before it."""
    from torchvision.models.resnet import Bottleneck

    for block in net.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return net


def _timm(name: str, shape: Shape, classes: int, options: dict[str, Any]) -> nn.Module:
    timm = optional("timm", "timm")
    if not timm.is_model(name):
        raise ModelError(unknown_name("model of timm", name, timm.list_models()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm warns of old names
        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=shape[0], **options)
    return net


def _hf(name: str, shape: Shape, classes: int, options: dict[str, Any]) -> nn.Module:
    transformers, settings = optional("transformers", "hf"), dict(options["config"])
    config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    net = transformers.AutoModelForImageClassification.from_config(config, attn_implementation="eager")
    return HuggingFaceNetwork(net, options.get("channels"))


# Family -> maker(name, shape, classes, options); a card names `FAMILY:NAME`.
FAMILIES: dict[str, Callable[[str, Shape, int, dict[str, Any]], nn.Module]] = {
    "cifar": lambda name, shape, classes, options: build_cifar(name, shape, classes, **options),
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _hf,
}


def is_foreign(architecture: str) -> bool:
    """Whether a card's architecture is one of another package."""
    family, colon, _ = architecture.partition(":")
    return (family in FAMILIES and bool(colon)) or architecture == "onnx"


def build_foreign(
    architecture: str,
    shape: Shape,
    classes: int,
    options: Mapping[str, Any],
    tensors: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """A module by name, with the weights that its constructor gives it.

    Args:
        architecture: "cifar:…", "torchvision:…", "timm:…", "hf:…" or "onnx".
        shape: (C, H, W) of the images.
        classes: number of logits.
        options: of its constructor, `ADAPTATIONS`, and `logits`, the network's number of logits where fewer are kept.
        tensors: for "onnx", whose graph is one of them.

    Raises:
        ModelError: an unknown name, a package that is not installed, or options that do not fit.
    """
    inner = {name: value for name, value in options.items() if name not in (*ADAPTATIONS, "logits")}
    classes = options.get("logits", classes)
    family, _, name = architecture.partition(":")
    try:
        if family == "onnx":
            module = _onnx(inner, tensors or {})
        else:
            module = FAMILIES[family](name, fed_shape(shape, options), classes, inner)
    except ImportError as error:
        raise needs(f"a package that {architecture} takes", "models", error) from error
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError, AssertionError) as error:
        raise ModelError(f"{architecture}: cannot be built with options {inner}: {quoted(error)}.") from error
    return adapted(module, options)


def _onnx(options: dict[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    from tangency.models.onnx.network import OnnxNetwork

    graph = tensors.get("graph", tensors.get("net.graph"))
    if graph is None or graph.dtype != torch.uint8:
        raise ModelError("onnx: the file holds no graph, expected its bytes under 'graph'.")
    return OnnxNetwork(graph, **options)
