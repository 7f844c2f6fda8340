"""A classifier: a module together with the range, normalisation and classes that it needs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tangency.errors import ModelError, quoted, unknown_name
from tangency.models.foreign.rebuilt import adapted
from tangency.models.outputs import OUTPUTS
from tangency.notebook import card as html_card
from tangency.types import Card

_NAMED, _LONGEST = 10, 60  # classes and letters of a value that a notebook shows


class Classifier(nn.Module):
    """Images in [0, 1] to logits: (low + x (high − low) − mean) / std, then the module.

    Range and normalisation are part of it, so that attacks, measures and gradients are in the units of the pixels and
    no caller can normalise twice.

    Args:
        module: maps (N, C, H, W), scaled and normalised, to (N, classes) logits.
        card: input shape and range, normalisation, class names.

    Raises:
        ModelError: the card contradicts itself, or (at a call) the images or the logits do not fit it.

    Example:
        >>> net = Classifier.wrap(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2), ["cat", "dog"])
        >>> net(torch.rand(5, 3, 2, 2)).shape
        torch.Size([5, 2])
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, module: nn.Module, card: Card) -> None:
        super().__init__()
        card = checked_card(card)
        self.module = module
        self.card = card
        low, high = card.input_range
        mean = torch.tensor(card.mean or (0.0,), dtype=torch.float64).reshape(1, -1, 1, 1)
        std = torch.tensor(card.std or (1.0,), dtype=torch.float64).reshape(1, -1, 1, 1)
        where = next(module.parameters(), mean).device
        # Derived from the card, hence not part of the weights.
        self.register_buffer("scale", ((high - low) / std).float().to(where), persistent=False)
        self.register_buffer("shift", ((low - mean) / std).float().to(where), persistent=False)

    @classmethod
    def wrap(
        cls,
        module: nn.Module,
        shape: tuple[int, int, int],
        classes: Sequence[str] | int,
        input_range: tuple[float, float] = (0.0, 1.0),
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        outputs: str | None = None,
    ) -> Classifier:
        """A classifier around any module.

        Args:
            module: maps (N, C, H, W) in `input_range`, normalised by `mean` and `std`, to (N, classes) logits, or to
                what `outputs` says.
            shape: (C, H, W) of one image.
            classes: class names, index = logit; or their number.
            input_range: the module's values of black and white before normalisation: (0, 1), (−1, 1), (0, 255).
            mean, std: per channel, or one number for all, in units of `input_range`; empty for none.
            outputs: "logits", or "softmax" or "sigmoid" of them, which is then undone; where it is None, measuring
                detects it.

        Raises:
            ModelError: an unknown name of outputs, or numbers that contradict each other.
        """
        if outputs is not None and outputs not in OUTPUTS:
            raise ModelError(unknown_name("outputs", outputs, OUTPUTS))
        options: dict[str, object] = {} if outputs is None else {"outputs": outputs}
        card = Card(
            architecture="custom",
            options=options,
            shape=shape,
            classes=class_names(classes),
            input_range=input_range,
            mean=tuple(mean),
            std=tuple(std),
        )
        return cls(adapted(module, options), card)

    def _repr_html_(self) -> str:
        """What its card says."""
        names = ", ".join(self.card.classes[:_NAMED]) + (", …" if self.classes > _NAMED else "")
        known = {name: value for name, value in self.card.provenance.items() if isinstance(value, str | int | float)}
        facts = {
            "images": "×".join(map(str, self.card.shape)) + " in [0, 1]",
            "fed with": "{:g} to {:g}".format(*self.card.input_range),
            "mean, std": f"{_few(self.card.mean)}; {_few(self.card.std)}" if self.card.mean or self.card.std else "",
            "classes": f"{self.classes}: {names}",
            "parameters": f"{sum(each.numel() for each in self.parameters()):,}",
            **{name.replace("_", " "): str(value)[:_LONGEST] for name, value in known.items()},
        }
        return html_card(f"Classifier: {self.card.architecture}", facts)

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.card.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to (N, classes) logits."""
        if x.dim() != 4 or tuple(x.shape[1:]) != self.card.shape:
            raise ModelError(_image_mismatch(tuple(x.shape), self.card.shape))
        logits = self.module(x * self.scale + self.shift)
        if not isinstance(logits, Tensor) or tuple(logits.shape) != (len(x), self.classes):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ModelError(
                f"{type(self.module).__name__}: returned {got} for {len(x)} images, expected logits of shape "
                f"({len(x)}, {self.classes}). Wrap the module so that it returns logits only, and check that the card "
                "names as many classes as the last layer has outputs."
            )
        return logits


def _few(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values) or "none"


def class_names(classes: Sequence[str] | int) -> tuple[str, ...]:
    """The names; a number n becomes "0" … "n−1"."""
    return tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)


def _image_mismatch(got: tuple[int, ...], expected: tuple[int, int, int]) -> str:
    channels, height, width = expected
    hint = "Resize the images, or choose a classifier trained at their size."
    if len(got) != 4:
        hint = "x[None] adds a batch axis."
    elif got[1] != channels:
        hint = "Convert the images: grey to colour is x.expand(-1, 3, -1, -1), colour to grey x.mean(1, keepdim=True)."
    return f"classifier: got images of shape {got}, expected (N, {channels}, {height}, {width}). {hint}"


def checked_card(card: Card) -> Card:
    """The card with tuples where JSON or YAML gave lists; a ModelError if it contradicts itself."""
    try:
        channels, height, width = card.shape
        low, high = card.input_range
        classes, mean, std = tuple(card.classes), _each(card.mean, channels), _each(card.std, channels)
        problem = _card_problem((channels, height, width), (low, high), classes, mean, std)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"card: a value of the wrong kind ({quoted(error)}); expected shape (C, H, W), input range (low, high), "
            f"class names, numbers for mean and std, got {card}."
        ) from error
    if problem:
        raise ModelError(f"card: {problem}")
    return dataclasses.replace(
        card, shape=(channels, height, width), input_range=(low, high), classes=classes, mean=mean, std=std
    )


def _each(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """A number for each channel; a single one is that of all."""
    numbers = tuple(map(float, values))
    return numbers * channels if len(numbers) == 1 else numbers


def _card_problem(
    shape: tuple[int, int, int],
    input_range: tuple[float, float],
    classes: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> str:
    """What is wrong with a card and the way out, or nothing."""
    if min(shape) < 1:
        return f"got shape {shape}, expected (channels, height, width), all positive."
    if len(classes) < 2:
        return f"got {len(classes)} classes, expected at least 2; give their names or number."
    if not input_range[0] < input_range[1]:
        return f"got input range {input_range}, expected low < high, for example (0, 1)."
    if {len(mean), len(std)} - {0, shape[0]}:
        return (
            f"got {len(mean)} means and {len(std)} stds for {shape[0]} channels; give one each, one for all, or none."
        )
    if not all(0 < value < math.inf for value in std):
        return f"got std {std}, expected positive numbers; leave it empty for no scaling."
    return ""
