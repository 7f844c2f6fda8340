"""Penalties on what a classifier computes before its last linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from tangency.models import with_features
from tangency.objectives.cost import declare, positive
from tangency.objectives.coupling import batch_coupled, layer_chance, repeat_chance, running_statistics, wide
from tangency.objectives.losses import cross_entropy
from tangency.seeding import Draw


@declare(lambda options, classes: 2.0, positive("sigma"))
def feature_smoothing(
    model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, sigma: float = 0.1
) -> Tensor:
    """ℓ_i + strength · ‖h(x_i + sigma n_i) − h(x_i)‖₂², n_i ~ N(0, I), h what goes into the last linear layer.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits, the last step a linear layer.
        x: (N, C, H, W), in [0, 1].
        y: (N,) int64.
        draw: random numbers of the noise, by image id.
        strength: weight of the penalty, ≥ 0.
        sigma: of the noise, > 0, in [0, 1] pixel units; noisy images are not clipped.

    Returns:
        (N,) losses.

    Raises:
        ModelError: the classifier's last layer with weights is not an nn.Linear.

    Example:
        >>> import torch
        >>> body = nn.Linear(4, 2)
        >>> model, draw = nn.Sequential(nn.Flatten(), body, nn.Linear(2, 3)), Draw(0, torch.arange(5))
        >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64)
        >>> penalty = feature_smoothing(model, x, y, draw, 1.0) - cross_entropy(model(x), y)
        >>> change = 0.1 * draw.of("noise").normal((4,)) @ body.weight.T
        >>> torch.allclose(penalty, change.square().sum(1), atol=1e-5)
        True

    Source: Zheng et al., "Improving the robustness of deep neural networks via stability training", arXiv 1604.04326,
        with their Gaussian noise and the distance of their feature embeddings. That stable features lower the curvature
        of the loss: Nguyen et al., arXiv 2405.18499.
    Deviation: the squared distance, which has a gradient at zero.
    """
    if strength == 0:
        return cross_entropy(model(x), y)
    noisy = x + sigma * draw.of("noise").normal(x.shape[1:], x.dtype)
    coupled, chance = bool(batch_coupled(model)), layer_chance(x.device)
    with running_statistics(model):
        logits, features = with_features(model, x)
        repeat_chance(chance, x.device)
        moved = with_features(model, noisy)[1]
    if coupled:
        logits = model(x)
    penalty: Tensor = strength * (wide(moved) - wide(features)).square().sum(1)
    return cross_entropy(logits, y) + penalty
