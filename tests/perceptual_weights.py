"""Random weights in the files that LPIPS-VGG, LPIPS-Squeeze and DISTS are read from: the real ones are not shipped."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tangency.perceptual.backbones import BACKBONES

LINEAR = {"vgg": (64, 128, 256, 512, 512), "squeeze": (64, 128, 256, 384, 384, 512, 512)}


def backbone(network: str) -> nn.Module:
    """torchvision's network with random weights that keep activations alive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchvision import models
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return models.squeezenet1_1(weights=None) if network == "squeeze" else _vgg(models)


def _vgg(models: object) -> nn.Module:
    """VGG-16's convolutions; its classifier of 120 million weights is not needed."""
    net = nn.Module()
    net.features = models.vgg.make_layers(models.vgg.cfgs["D"])
    for layer in net.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.uniform_(layer.bias, -0.1, 0.1)
    return net


def write(folder: Path) -> dict[str, nn.Module]:
    """All three files; returns the backbones "vgg" and "squeeze"."""
    nets = {name: backbone(name) for name in LINEAR}
    draws = torch.Generator().manual_seed(3)
    for name, net in nets.items():
        found = {key: net.state_dict()[key].clone() for key in BACKBONES[name].parameter_names()}
        linear = {f"linear.{i}": torch.rand(c, generator=draws) for i, c in enumerate(LINEAR[name])}
        save_file(found | linear, folder / f"lpips_{name}.safetensors")
        if name == "vgg":
            weights: dict[str, Tensor] = {key: torch.rand(1475, generator=draws) for key in ("alpha", "beta")}
            save_file(found | weights, folder / "dists.safetensors")
    return nets
