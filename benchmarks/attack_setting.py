"""The network, images and bare passes of the attack benchmarks; needs torch and tangency's attacks only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.autodiff import undisturbed
from tangency.models import build
from tangency.seeding import Draw

BATCH, STEPS, EPSILON = 8, 10, 0.5


def setting() -> tuple[nn.Module, Tensor, Tensor]:
    """A network in eval mode, sure of its answers, images of smooth random colours, and the classes it gives them."""
    model = build("resnet18", (3, 32, 32), 10, seed=0).eval()
    coarse = Draw(0, torch.arange(BATCH), "images").uniform((3, 4, 4))
    x = F.interpolate(coarse, scale_factor=8, mode="bilinear", align_corners=False)
    with torch.no_grad():
        next(part for part in reversed(list(model.modules())) if isinstance(part, nn.Linear)).weight.mul_(30)
        return model, x, model(x).argmax(1)


def bare_gradients(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """What no attack of so many steps can do without: that many input gradients of the loss, parameters frozen."""
    with undisturbed(model):
        for _ in range(STEPS):
            inputs = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(inputs), y, reduction="sum"), inputs)
    return gradient
