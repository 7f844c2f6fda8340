"""Cascading randomisation: does what is measured depend on what the network has learnt?

Weights are drawn anew from the layer next to the output down to the first (Adebayo et al., "Sanity checks for saliency
maps", NeurIPS 2018). A measure that stays as it was says nothing of the network.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from tangency.errors import ModelError
from tangency.seeding import derive_seed


def layers_of(model: nn.Module) -> list[str]:
    """Names of the modules that hold weights of their own, from the input to the output in order of registration."""
    return [name for name, part in model.named_modules() if any(True for _ in part.parameters(recurse=False))]


def cascade(model: nn.Module, seed: int = 0, stages: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """The model with its last layer drawn anew, its last two, and so on, down to all of them.

    Args:
        model: classifier; left as it is, copies are changed.
        seed: of the weights.
        stages: how many models, spread evenly over the layers, the last with every weight random; 0 for one a layer.

    Returns:
        Pairs of the lowest layer that is random, and the model in eval mode. Each goes on from the one before: the same
        object, changed in place, so it is to be used before the next is taken.

    Raises:
        ModelError: for a model without weights.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> [name for name, _ in cascade(model)]
        ['2', '0']
    """
    names = layers_of(model)[::-1]
    if not names:
        raise ModelError("classifier: no layer holds weights, so that there are none to draw anew.")
    count = min(stages, len(names)) if stages > 0 else len(names)
    ends = {round(len(names) * (stage + 1) / count) for stage in range(count)}
    changed = copy.deepcopy(model).eval()
    for done, name in enumerate(names, 1):
        _draw_anew(changed.get_submodule(name), name, seed)
        if done in ends:
            yield name, changed


def _draw_anew(layer: nn.Module, name: str, seed: int) -> None:
    """As PyTorch initialises it; what has no initialiser from a normal law of its own mean and spread.

    A parameter of equal values, or of one, has no spread and stays.
    """
    reset = getattr(layer, "reset_parameters", None)
    device = next(layer.parameters(recurse=False)).device
    layer.cpu()  # so that the weights are the same on every device
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        # default_generator: torch.manual_seed would also reset the accelerators, which fork_rng here does not restore.
        torch.default_generator.manual_seed(derive_seed(seed, "cascade", name))
        if callable(reset):
            reset()
        else:
            for parameter in layer.parameters(recurse=False):
                parameter.copy_(parameter.mean() + parameter.std(correction=0) * torch.randn_like(parameter))
    layer.to(device)
