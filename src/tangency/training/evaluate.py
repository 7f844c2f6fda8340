"""Loss, accuracy and input gradient of a classifier on held-out images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.autodiff import input_gradient, undisturbed
from tangency.models import Classifier
from tangency.types import LabelledImages


@dataclass(frozen=True)
class Evaluation:
    """Means over the images: cross-entropy, accuracy in [0, 1], ‖∇_x cross-entropy‖₂ per unit of pixel range."""

    loss: float
    accuracy: float
    gradient_norm: float


def evaluate(
    classifier: Classifier, data: LabelledImages, index: Tensor, device: torch.device, batch_size: int = 256
) -> Evaluation:
    """Evaluate in eval mode on the images `index` of the data; NaN for no images."""
    totals = torch.zeros(3, dtype=torch.float64)
    for ids in torch.split(index, batch_size):
        x, y = data.images(ids).to(device), data.labels[ids].to(device)
        with undisturbed(classifier), torch.no_grad():
            logits = classifier(x)
        steepness = input_gradient(classifier, x, y, "loss").log_norm.exp()
        losses = F.cross_entropy(logits, y, reduction="none")
        values = torch.stack([losses, (logits.argmax(1) == y).to(losses), steepness])
        totals += values.to("cpu", torch.float64).sum(1)
    loss, accuracy, gradient_norm = (totals / len(index)).tolist()
    return Evaluation(loss, accuracy, gradient_norm)
