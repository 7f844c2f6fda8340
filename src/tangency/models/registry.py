"""Architectures by name, initialised from a seed alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import ModelError, quoted, unknown_name
from tangency.models.architectures.convnet import ConvNet
from tangency.models.architectures.resnet import ResNet18
from tangency.models.classifier import Classifier, class_names
from tangency.models.foreign.rebuilt import ADAPTATIONS, FAMILIES, adapted, build_foreign, fed_shape, is_foreign
from tangency.models.orientation import Shape
from tangency.references import Registry, makes
from tangency.seeding import derive_seed
from tangency.types import Card

ARCHITECTURES: Registry[Callable[..., nn.Module]] = Registry(
    "architecture",
    "tangency.architectures",
    {"convnet": ConvNet, "resnet18": ResNet18},
    "a constructor (shape, classes, **options) of an nn.Module, options with defaults that JSON can hold",
    makes(2),
    ModelError,
)

# Grey values map to [−2, 2] for all data, so that one learning rate suits all data sets.
DEFAULT_MEAN, DEFAULT_STD = 0.5, 0.25


def build(
    architecture: str,
    shape: tuple[int, int, int],
    classes: Sequence[str] | int,
    seed: int = 0,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    **options: object,
) -> Classifier:
    """A freshly initialised classifier on the CPU; its weights depend on the arguments only.

    Args:
        architecture: a name in `ARCHITECTURES`.
        shape: (C, H, W) of one image.
        classes: class names, or their number.
        seed: of the initialisation; the caller's random state is neither used nor changed.
        mean, std: per-channel normalisation of images in [0, 1]; by default 0.5 and 0.25, and `()` for none, as in the
            paper.
        options: keyword arguments of the architecture, for example norm="group".

    Raises:
        ModelError: an unknown name, option or value.

    Example:
        >>> build("convnet", (1, 28, 28), 10, seed=3)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """
    names = class_names(classes)
    card = Card(
        architecture=architecture,
        shape=shape,
        classes=names,
        # Lists, as JSON gives back, so that a saved card equals a loaded one.
        options={name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
        mean=(DEFAULT_MEAN,) * shape[0] if mean is None else tuple(mean),
        std=(DEFAULT_STD,) * shape[0] if std is None else tuple(std),
        provenance={"initial_seed": seed},
    )
    with torch.random.fork_rng(devices=[]):
        # default_generator: torch.manual_seed would also reset the accelerators, which fork_rng here does not restore.
        torch.default_generator.manual_seed(derive_seed("initialisation", architecture, seed))
        return from_card(card)


def from_card(card: Card, tensors: Mapping[str, Tensor] | None = None) -> Classifier:
    """The classifier of a card, with the weights that the constructor gives it.

    Args:
        card: of one of `ARCHITECTURES`, or of a foreign one (`torchvision:resnet18`, `onnx`, …).
        tensors: of its file, for "onnx", whose graph is one of them.
    """
    return Classifier(build_module(card.architecture, card.shape, len(card.classes), card.options, tensors), card)


def build_module(
    architecture: str,
    shape: Shape,
    classes: int,
    options: Mapping[str, Any],
    tensors: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """A module of ours or of another package, by name; arguments as of `build_foreign`."""
    if is_foreign(architecture):
        return build_foreign(architecture, shape, classes, options, tensors)
    if architecture not in ARCHITECTURES:
        families = (f"{family}:NAME" for family in FAMILIES if family != "hf")
        raise ModelError(unknown_name("architecture", architecture, [*ARCHITECTURES, *families]))
    make = ARCHITECTURES[architecture]
    known = [name for name in inspect.signature(make).parameters if name not in ("shape", "classes")]
    inner = {name: value for name, value in options.items() if name not in (*ADAPTATIONS, "logits")}
    for option in inner:
        if option not in known:
            raise ModelError(unknown_name(f"option of {architecture}", option, known))
    try:
        module = make(fed_shape(shape, options), options.get("logits", classes), **inner)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{architecture}: cannot be built with options {inner}: {quoted(error)}.") from error
    return adapted(module, options)
