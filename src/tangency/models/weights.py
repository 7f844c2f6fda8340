"""Classifiers to and from safetensors files whose header is the card."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import ModelError, listed, quoted
from tangency.models.classifier import Classifier, checked_card
from tangency.models.foreign.code import check_trusted, from_code, is_code
from tangency.models.foreign.rebuilt import is_foreign
from tangency.models.registry import ARCHITECTURES, from_card
from tangency.tensors import read_tensors, write_tensors
from tangency.types import Card


def save_classifier(classifier: Classifier, path: Path | str) -> None:
    """Write the weights with the card in the header key "tangency"; the file is whole or absent."""
    write_tensors(path, classifier.module.state_dict(), dataclasses.asdict(classifier.card))


def read_classifier(path: Path | str, device: torch.device | str = "cpu", trust_code: bool = False) -> Classifier:
    """Rebuild a classifier from a file of `save_classifier`, in eval mode.

    Args:
        path: the file.
        device: where it is put.
        trust_code: whether code may run, where the card says that the network exists as code only.

    Raises:
        ModelError: the file is unreadable, has no card, its tensors do not fit the architecture it names, or that is
            code which is not trusted, or was changed.

    Example:
        >>> from tangency.models import build
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_classifier(build("convnet", (1, 8, 8), 3), folder + "/net.safetensors")
        ...     read_classifier(folder + "/net.safetensors").card.architecture
        'convnet'
    """
    tensors, header = read_tensors(path)
    card = read_card(header, path)
    code = is_code(card.architecture)
    if code:
        check_trusted(card, path, trust_code)
    elif card.architecture not in ARCHITECTURES and not is_foreign(card.architecture):
        raise ModelError(
            f"{path}: the architecture '{card.architecture}' is not one that can be rebuilt from its name "
            f"({', '.join(sorted(ARCHITECTURES))}). Build the module, wrap it, and call load_weights(classifier, path)."
        )
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights that are overwritten at once
        classifier = from_code(card, tensors, path) if code else from_card(card, tensors)
    fill(classifier.module, tensors, path)
    return classifier.to(device).eval()


def load_weights(classifier: Classifier, path: Path | str) -> Classifier:
    """Load the tensors of a file into a classifier whose module was built elsewhere; its card becomes the file's."""
    tensors, header = read_tensors(path)
    card = read_card(header, path)
    if (card.shape, len(card.classes)) != (classifier.card.shape, classifier.classes):
        raise ModelError(
            f"{path}: made for images {card.shape} and {len(card.classes)} classes, the classifier has "
            f"{classifier.card.shape} and {classifier.classes}. Wrap the module with the shape and classes of the file."
        )
    fill(classifier.module, tensors, path)
    rebuilt = Classifier(classifier.module, card)
    classifier.card = card
    classifier.scale.copy_(rebuilt.scale)
    classifier.shift.copy_(rebuilt.shift)
    return classifier


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Copy tensors into a module, or say which are missing, unexpected or of another shape."""
    if problem := misfit({name: tensor.shape for name, tensor in module.state_dict().items()}, tensors):
        raise ModelError(f"{path}: the tensors do not fit {type(module).__name__}: {problem}.")
    module.load_state_dict(dict(tensors))


def misfit(shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> str:
    """Which tensors are missing, unexpected or of another shape; "" where they fit.

    Args:
        shapes: of the tensors that are needed.
        tensors: those at hand.
    """
    wrong = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(shape)}"
        for name, shape in sorted(shapes.items())
        if name in tensors and tuple(tensors[name].shape) != tuple(shape)
    ]
    parts = {
        "missing": sorted(shapes.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - shapes.keys()),
        "of another shape": wrong,
    }
    return "; ".join(f"{what} {listed(names, 5)}" for what, names in parts.items() if names)


def read_card(header: Mapping[str, Any], path: Path | str) -> Card:
    """The card in a header; its lists become tuples again."""
    names = {field.name for field in dataclasses.fields(Card)}
    required = {"architecture", "shape", "classes"}
    if not isinstance(header, Mapping) or not required <= header.keys() or not header.keys() <= names:
        got = sorted(header) if isinstance(header, Mapping) else type(header).__name__
        raise ModelError(
            f"{path}: the header is not a card of this version: got {got}, expected {sorted(names)}. It may hold "
            "something else than a classifier, or come from a newer tangency."
        )
    kinds = {"architecture": str, "options": Mapping, "provenance": Mapping}
    wrong = [name for name, kind in kinds.items() if name in header and not isinstance(header[name], kind)]
    if wrong:
        raise ModelError(
            f"{path}: the card's {', '.join(wrong)} are of the wrong kind, expected a name for the architecture and "
            "mappings for options and provenance. The file was altered: fetch or write it again."
        )
    try:
        return checked_card(Card(**header))
    except ModelError as error:
        raise ModelError(f"{path}: {quoted(error)}") from error
