"""Architectures whose weights have the same names and shapes, and which are different functions of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Twins:
    """What a file of weights leaves open.

    Args:
        option: of a reference, that chooses.
        choices: value of the option to (architecture, options of its constructor).
        words: value of the option to a description.
        usual: the choice where nothing contradicts it; None where there is no usual one.
        published: the choice that belongs to the weights that the owner publishes.
    """

    option: str
    choices: Mapping[str, tuple[str, Mapping[str, object]]]
    words: Mapping[str, str]
    usual: str | None = None
    published: str | None = None

    def sentence(self, value: str) -> str:
        """A choice in words, with the option that makes it."""
        return f"{self.words[value]} (?{self.option}={value})"

    @property
    def question(self) -> str:
        """What the user must say."""
        return f"the same weights fit {' or '.join(self.sentence(value) for value in self.choices)}"


_SAME = r"\g<0>"
# Pattern of the architectures -> twins, whose architectures are templates of the match.
_TWINS = {
    r"(cifar:preactresnet\d+)(bn)?": Twins(
        "shortcut",
        {"raw": (_SAME, {}), "activated": (r"\1v2\2", {})},
        {
            "raw": "a shortcut taken before bn1, as in RobustBench",
            "activated": "a shortcut taken after bn1 and relu, as in pytorch-cifar",
        },
    ),
    r"cifar:wrn-\d+-\d+": Twins(
        "block",
        {"trades": (_SAME, {}), "fixmatch": (rf"{_SAME}-fixmatch", {})},
        {
            "trades": "the wide ResNet of TRADES and RobustBench",
            "fixmatch": "that of FixMatch-pytorch, with leaky ReLUs and raw shortcuts",
        },
        usual="trades",
    ),
    r"torchvision:(googlenet|inception_v3)": Twins(
        "transform_input",
        {"true": (_SAME, {"transform_input": True}), "false": (_SAME, {"transform_input": False})},
        {
            "true": "a network that rescales its input, as torchvision's own weights and those tuned from them",
            "false": "one that takes its input as it is, as torchvision makes it for training from scratch",
        },
        published="true",
    ),
    # Networks of Bottleneck blocks, whose first block of a stage may halve the image at either convolution.
    r"torchvision:(resnet(50|101|152)|resnext(50|101)_\d+x\d+d|wide_resnet(50|101)_2)": Twins(
        "stride",
        {"3x3": (_SAME, {}), "1x1": (_SAME, {"stride": "1x1"})},
        {
            "3x3": "stages that halve the image in a 3x3 convolution, as torchvision's do",
            "1x1": "stages that halve it in the 1x1 convolution before, as Caffe's and the first ResNets do",
        },
        usual="3x3",
        published="3x3",
    ),
}


def twins_of(architecture: str) -> Twins | None:
    """What the name of an architecture leaves open, or None.

    Example:
        >>> twins_of("cifar:preactresnet18").choices["activated"]
        ('cifar:preactresnet18v2', {})
    """
    for pattern, twins in _TWINS.items():
        if match := re.fullmatch(pattern, architecture):
            choices = {value: (match.expand(name), options) for value, (name, options) in twins.choices.items()}
            return replace(twins, choices=choices)
    return None
