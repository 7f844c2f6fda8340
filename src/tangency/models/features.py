"""What a classifier computes before its last linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from tangency.errors import ModelError

_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention)


def with_features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits f(x) = W h(x) + b, and the features h(x) that go into that last linear layer.

    The last layer is the one that runs last, whatever its name, and must be an nn.Linear.

    Args:
        model: maps (N, C, H, W) to (N, classes) logits; run in the mode that it is in.
        x: (N, C, H, W).

    Returns:
        (N, classes) and (N, D), both with their graph.

    Raises:
        ModelError: the last layer with weights is of another kind, or has no (N, D) input.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 2))
        >>> logits, features = with_features(model, torch.rand(3, 3, 2, 2))
        >>> logits.shape, features.shape
        (torch.Size([3, 2]), torch.Size([3, 5]))
    """
    last: list[tuple[nn.Module, Tensor]] = []

    def seen(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        last[:] = [(module, given[0] if given else x)]

    hooks = [part.register_forward_pre_hook(seen) for part in model.modules() if isinstance(part, _WEIGHTED)]
    try:
        logits: Tensor = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    layer, features = last[0] if last else (None, x)
    if not isinstance(layer, nn.Linear) or features.dim() != 2 or len(features) != len(x):
        got = "none" if layer is None else f"{type(layer).__name__} of an input {tuple(features.shape)}"
        raise ModelError(
            f"features: the last layer with weights that the classifier runs is {got}, expected an nn.Linear of an "
            f"input ({len(x)}, features). End its forward with an nn.Linear, or choose an objective without features."
        )
    return logits, features
