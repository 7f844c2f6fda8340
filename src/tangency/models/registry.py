"""Architectures by name, initialised from a seed alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tangency.errors import ModelError, quoted, unknown_name
from tangency.models.architectures.convnet import ConvNet
from tangency.models.architectures.resnet import ResNet18
from tangency.models.classifier import Classifier, class_names
from tangency.models.foreign.rebuilt import ADAPTATIONS, adapted, build_foreign, fed_shape, is_foreign
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

# Grey values map to [−2, 2] whatever the data, so that one learning rate serves all data sets.
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
    """The classifier that a card describes, with whatever weights the constructor gives it.

    Args:
        card: of one of `ARCHITECTURES`, or of a foreign one (`torchvision:resnet18`, `onnx`, …).
        tensors: of its file, for "onnx", whose graph is one of them.
    """
    if is_foreign(card.architecture):
        return Classifier(build_foreign(card.architecture, card.shape, len(card.classes), card.options, tensors), card)
    if card.architecture not in ARCHITECTURES:
        raise ModelError(unknown_name("architecture", card.architecture, ARCHITECTURES))
    make = ARCHITECTURES[card.architecture]
    known = [name for name in inspect.signature(make).parameters if name not in ("shape", "classes")]
    inner = {name: value for name, value in card.options.items() if name not in (*ADAPTATIONS, "logits")}
    for option in inner:
        if option not in known:
            raise ModelError(unknown_name(f"option of {card.architecture}", option, known))
    try:
        module = make(fed_shape(card.shape, card.options), card.options.get("logits", len(card.classes)), **inner)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{card.architecture}: cannot be built with options {inner}: {quoted(error)}.") from error
    return Classifier(adapted(module, card.options), card)
