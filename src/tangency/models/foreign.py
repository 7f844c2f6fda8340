"""Architectures of other packages by name, rebuilt from a card; no code that comes with a file is run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import ModelError, unknown_name
from tangency.models.cifar import build_cifar
from tangency.models.outputs import logits_of

Shape = tuple[int, int, int]


ADAPTED = ("resize", "order", "outputs")


class Adapted(nn.Module):
    """A network behind a change of image size, before one from probabilities to logits and one of the classes' order.

    Args:
        net: maps (N, C, *resize) to (N, classes).
        resize: (H, W) that images are brought to, bilinearly, with low-pass filtering where they shrink; None for none.
        order: logit i of the result is logit order[i] of the network; None for the network's own order.
        outputs: what the network returns, as of `logits_of`.
    """

    def __init__(
        self,
        net: nn.Module,
        resize: list[int] | None = None,
        order: list[int] | None = None,
        outputs: str | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.resize, self.order, self.outputs = resize, order, outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        if self.resize is not None and list(x.shape[2:]) != self.resize:
            shrinks = self.resize[0] < x.shape[2] or self.resize[1] < x.shape[3]
            x = F.interpolate(x, tuple(self.resize), mode="bilinear", align_corners=False, antialias=shrinks)
        logits: Tensor = logits_of(self.net, x, self.outputs)
        return logits if self.order is None else logits[:, self.order]


def adapted(module: nn.Module, options: Mapping[str, Any]) -> nn.Module:
    """The module as the options `ADAPTED` of a card have it; itself where there are none."""
    chosen = {name: options[name] for name in ADAPTED if options.get(name)}
    return Adapted(module, **chosen) if chosen else module


class HuggingFaceNetwork(nn.Module):
    """An image classifier of transformers as a function of pixels to logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        found: Tensor = self.net(pixel_values=x).logits
        return found


def needs(package: str, extra: str, error: ImportError) -> ModelError:
    """The error for an optional package that is not there."""
    return ModelError(f"{package} is not installed ({error}); install it with pip install 'tangency[{extra}]'.")


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
    return get_model(name, weights=None, num_classes=classes, **options)


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
        AutoModelForImageClassification.from_config(AutoConfig.for_model(kind, **config), attn_implementation="eager")
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
        options: of its constructor, and those of `Adapted`.
        tensors: for "onnx", whose graph is one of them.

    Raises:
        ModelError: an unknown name, a package that is not installed, or options that do not fit.
    """
    inner = {name: value for name, value in options.items() if name not in ADAPTED}
    family, _, name = architecture.partition(":")
    try:
        if family == "onnx":
            module = _onnx(inner, tensors or {})
        else:
            module = FAMILIES[family](name, shape, classes, inner)
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError, AssertionError) as error:
        raise ModelError(f"{architecture}: cannot be built with options {inner}: {error}.") from error
    return adapted(module, options)


def _onnx(options: dict[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    from tangency.models.onnx_network import OnnxNetwork

    graph = tensors.get("graph", tensors.get("net.graph"))
    if graph is None or graph.dtype != torch.uint8:
        raise ModelError("onnx: the file holds no graph, expected its bytes under 'graph'.")
    return OnnxNetwork(graph, **options)
