"""Images that a network is right for by construction: their labels are what it says."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.types import Dataset, LabelledImages


def spread(net: nn.Module, seed: int = 0) -> nn.Module:
    """Every statistic and every vector drawn anew, so that no part of the function is without effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if "running_var" in name or (value.dim() == 1 and name.endswith("weight")):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.dim() == 1:
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))
    return net.eval()


def normalised(net: nn.Module, x: Tensor) -> nn.Module:
    """Batch norms with the statistics of x: deep networks of random weights say the same of all images without them."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, here one
        norm.train()
    with torch.no_grad():
        net(x)
    return net.eval()


def own_labels(net: nn.Module, x: Tensor, head: nn.Linear, classes: int) -> Dataset:
    """Images with the classes that a network says, its last layer made anew so that it says all of them about as often.

    Logit k is the k-th principal component of the features that the last layer sees, in units of its deviation.
    """
    seen = []
    hook = head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for part in x.split(32):
            net(part)
        features = torch.cat(seen)
        _, deviations, axes = torch.linalg.svd(features - features.mean(0), full_matrices=False)
        head.weight.copy_(axes[:classes] / deviations[:classes, None] * len(x) ** 0.5)
        head.bias.copy_(-head.weight @ features.mean(0))
        hook.remove()
        labels = torch.cat([net(part) for part in x.split(32)]).argmax(1)
    assert int(labels.bincount().max()) < 0.65 * len(x)
    split = LabelledImages(x, labels, tuple(f"class {k}" for k in range(classes)), "own")
    return Dataset("own", split, split)


def images(n: int, *shape: int, seed: int = 0) -> Tensor:
    """Smooth random images in [0, 1], unlike each other."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, shape[0], 4, 4, generator=generator)
    fine = nn.functional.interpolate(coarse, shape[1:], mode="bilinear")
    return (fine + 0.2 * torch.rand(n, *shape, generator=generator)).clamp(0, 1)
