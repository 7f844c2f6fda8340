"""Architectures whose weights have the same names and shapes, and which are other functions of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# torchvision's networks of Bottleneck blocks, whose first block of a stage may halve the image at either convolution.
_BOTTLENECKS = r"torchvision:(resnet(50|101|152)|resnext(50|101)_\d+x\d+d|wide_resnet(50|101)_2)"


@dataclass(frozen=True)
class Twins:
    """What a file of weights leaves open.

    Args:
        option: by which a reference chooses.
        choices: value of the option to (architecture, options of its constructor).
        words: value of the option to what it is.
        usual: taken where nothing tells otherwise; None where one has to be told.
        published: what the weights are that the owner publishes.
    """

    option: str
    choices: Mapping[str, tuple[str, Mapping[str, Any]]]
    words: Mapping[str, str]
    usual: str | None = None
    published: str | None = None

    def said(self, value: str) -> str:
        """A choice in words, with the option that makes it."""
        return f"{self.words[value]} (?{self.option}={value})"

    @property
    def question(self) -> str:
        """What has to be told."""
        return f"the same weights fit {' or '.join(self.said(value) for value in self.choices)}"


def twins_of(architecture: str) -> Twins | None:
    """What the name of an architecture leaves open, or None.

    Example:
        >>> twins_of("cifar:preactresnet18").choices["activated"]
        ('cifar:preactresnet18v2', {})
    """
    preact = re.fullmatch(r"cifar:(preactresnet\d+)(bn)?", architecture)
    if preact:
        return Twins(
            "shortcut",
            {"raw": (architecture, {}), "activated": (f"cifar:{preact[1]}v2{preact[2] or ''}", {})},
            {
                "raw": "a shortcut taken before bn1, as in RobustBench",
                "activated": "a shortcut taken after bn1 and relu, as in pytorch-cifar",
            },
        )
    if re.fullmatch(r"cifar:wrn-\d+-\d+", architecture):
        return Twins(
            "block",
            {"trades": (architecture, {}), "fixmatch": (f"{architecture}-fixmatch", {})},
            {
                "trades": "the wide ResNet of TRADES and RobustBench",
                "fixmatch": "that of FixMatch-pytorch, with leaky ReLUs and raw shortcuts",
            },
            usual="trades",
        )
    if architecture in ("torchvision:googlenet", "torchvision:inception_v3"):
        return Twins(
            "transform_input",
            {value: (architecture, {"transform_input": value == "true"}) for value in ("true", "false")},
            {
                "true": "a network that rescales its input, as torchvision's own weights and those tuned from them",
                "false": "one that takes its input as it is, as torchvision makes it for training from scratch",
            },
            published="true",
        )
    if re.fullmatch(_BOTTLENECKS, architecture):
        return Twins(
            "stride",
            {"3x3": (architecture, {}), "1x1": (architecture, {"stride": "1x1"})},
            {
                "3x3": "stages that halve the image in a 3x3 convolution, as torchvision's do",
                "1x1": "stages that halve it in the 1x1 convolution before, as Caffe's and the first ResNets do",
            },
            usual="3x3",
            published="3x3",
        )
    return None
