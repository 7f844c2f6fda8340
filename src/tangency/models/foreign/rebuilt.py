"""Architectures of other packages by name, rebuilt from a card; no code that comes with a file is run."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import ModelError, quoted, unknown_name
from tangency.models.architectures.cifar import build_cifar
from tangency.models.orientation import ORIENTATIONS, turned, turned_sides
from tangency.models.outputs import logits_of

Shape = tuple[int, int, int]


ADAPTATIONS = ("resize", "order", "orientation", "outputs")  # options of a card that are `Adapted`'s


class Adapted(nn.Module):
    """A network between changes of its images (turn, size) and of what it returns (to logits, their order).

    Args:
        net: maps (N, C, *resize) to (N, classes).
        resize: (H, W) that images are brought to, bilinearly, with low-pass filtering where they shrink; None for none.
        order: logit i of the result is logit order[i] of the network; None for the network's own order.
        orientation: of `ORIENTATIONS`, how images are turned before all else; None for as they are.
        outputs: what the network returns, as of `logits_of`.
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
    """The module behind what a card's options say of `ADAPTATIONS`; itself where they say nothing."""
    found = {name: options[name] for name in ADAPTATIONS if options.get(name)}
    return Adapted(module, **found) if found else module


def fed_shape(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """(C, H, W) that the network within `Adapted` is fed, for images of `shape`."""
    return shape[0], *(options.get("resize") or turned_sides(shape[1:], options.get("orientation")))


class HuggingFaceNetwork(nn.Module):
    """An image classifier of transformers as a function of pixels to logits.

    Args:
        net: of transformers.
        channels: channel c of what it is fed is channel channels[c] of x; None for the order of x.
    """

    def __init__(self, net: nn.Module, channels: list[int] | None = None) -> None:
        super().__init__()
        self.net = net
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        if self.channels is not None:
            x = x[:, self.channels]
        given = self.net(pixel_values=x)
        # PP-LCNet calls its logits last_hidden_state; that those of others are no logits their shape says.
        found: Tensor = given.logits if "logits" in given else given.last_hidden_state
        return found


def needs(package: str, extra: str, error: ImportError) -> ModelError:
    """The error for an optional package that is not there."""
    reason = quoted(error)
    return ModelError(f"{package} is not installed ({reason}); install it with pip install 'tangency[{extra}]'.")


def _cifar(name: str, shape: Shape, classes: int, options: dict[str, Any]) -> nn.Module:
    return build_cifar(name, shape, classes, **options)


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
    try:
        import timm
    except ImportError as error:
        raise needs("timm", "timm", error) from error
    if not timm.is_model(name):
        raise ModelError(unknown_name("model of timm", name, timm.list_models()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that timm itself calls old
        return timm.create_model(name, pretrained=False, num_classes=classes, in_chans=shape[0], **options)


def _hf(name: str, shape: Shape, classes: int, options: dict[str, Any]) -> nn.Module:
    try:
        from transformers import AutoConfig, AutoModelForImageClassification
    except ImportError as error:
        raise needs("transformers", "hf", error) from error
    config = dict(options["config"])
    kind = config.pop("model_type")
    return HuggingFaceNetwork(
        AutoModelForImageClassification.from_config(AutoConfig.for_model(kind, **config), attn_implementation="eager"),
        options.get("channels"),
    )


# family -> maker(name, shape, classes, options); `FAMILY:NAME` is what a card names.
FAMILIES: dict[str, Callable[[str, Shape, int, dict[str, Any]], nn.Module]] = {
    "cifar": _cifar,
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
    """A module by name, with whatever weights its constructor gives it.

    Args:
        architecture: "cifar:…", "torchvision:…", "timm:…", "hf:…" or "onnx".
        shape: (C, H, W) of the images.
        classes: number of logits.
        options: of its constructor, `ADAPTATIONS`, and `logits`, how many the network has where fewer are kept.
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
