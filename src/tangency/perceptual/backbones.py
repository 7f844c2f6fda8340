"""The ImageNet networks behind LPIPS and DISTS: torchvision's `features` up to the last layer compared."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_PREFIX = "features."  # of the weights, as torchvision names them: "features.0.weight"


@dataclass(frozen=True)
class Backbone:
    """A network of torchvision.

    Args:
        name: its constructor.
        compared: layers of `features` whose outputs are: ReLUs, or the fire modules of SqueezeNet.
    """

    name: str
    compared: tuple[int, ...]

    def layers(self) -> nn.Sequential:
        """`features` up to the last compared layer, without memory for weights."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torchvision import models
        with torch.device("meta"):
            features: nn.Sequential = getattr(models, self.name)(weights=None).features
        return features[: self.compared[-1] + 1]

    def filled(self, weights: Mapping[str, Tensor]) -> nn.Sequential:
        """The layers with weights under the names of `parameter_names`, frozen."""
        layers = self.layers()
        layers.load_state_dict({key.removeprefix(_PREFIX): weights[key] for key in self.parameter_names()}, assign=True)
        return layers.eval().requires_grad_(False)

    def parameter_names(self) -> frozenset[str]:
        """Keys of the weights that are read."""
        return frozenset(f"{_PREFIX}{key}" for key in self.layers().state_dict())

    def compared_layers(self, layers: nn.Sequential, x: Tensor) -> Iterator[Tensor]:
        """The outputs of the compared layers, each (N, C, H, W)."""
        x = x.contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(layers):
            x = layer(x)
            if index in self.compared:
                yield x


BACKBONES = {
    "alex": Backbone("alexnet", (1, 4, 7, 9, 11)),
    "vgg": Backbone("vgg16", (3, 8, 15, 22, 29)),
    "squeeze": Backbone("squeezenet1_1", (1, 4, 7, 9, 10, 11, 12)),
}
