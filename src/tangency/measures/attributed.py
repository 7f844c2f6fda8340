"""Attribution maps that the caller gives, or a function that makes them: Captum's, or anybody's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.autodiff import undisturbed
from tangency.errors import NumericsError
from tangency.measures.quantities import check_maps, map_quantity

Method = Callable[[nn.Module, Tensor, Tensor], Tensor]  # (classifier, images, labels) to maps
Attribution = Method | Tensor
_SAME = 1e-3  # relative l2 distance of unit maps that floating-point rounding does not reach


def check_attributions(attributions: Mapping[str, Attribution], images: Tensor) -> dict[str, Attribution]:
    """The same, maps as `check_maps` has them; raises where one is no map nor function, or has no name of a measure."""
    checked: dict[str, Attribution] = {}
    for name, given in attributions.items():
        map_quantity(name)
        if isinstance(given, Tensor):
            checked |= check_maps({name: given}, images, "attribution")
        elif callable(given):
            checked[name] = given
        else:
            raise NumericsError(
                f"attribution '{name}': got {type(given).__name__}, expected a function (model, images, labels) -> "
                "maps (N, C, H, W), or such maps as a tensor."
            )
    return checked


def attributed(model: nn.Module, x: Tensor, y: Tensor, methods: Mapping[str, Method]) -> dict[str, Tensor]:
    """The map of each method for each image, (N, C, H, W), detached.

    Args:
        model: classifier; in eval mode with frozen parameters while a method runs, left as it was found.
        x, y: images (N, C, H, W) and labels (N,).
        methods: by name.

    Raises:
        NumericsError: a method returns no tensor, one of another shape, or values that are not finite.
    """
    maps: dict[str, Tensor] = {}
    for name, method in methods.items():
        with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
            made = method(model, x.detach().clone(), y.clone())  # clones, since a method may overwrite them
        if not isinstance(made, Tensor):
            raise NumericsError(
                f"attribution '{name}': got {type(made).__name__}, expected a tensor of maps {tuple(x.shape)}."
            )
        maps |= check_maps({name: made.detach()}, x, "attribution")
    return maps


def attribution_notes(model: nn.Module, x: Tensor, y: Tensor, methods: Mapping[str, Method]) -> tuple[str, ...]:
    """A note on each method whose map of an image is another one alone than beside others; their shapes are checked."""
    beside, alone = (attributed(model, x[:n], y[:n], methods) for n in (2, 1))
    notes = []
    for name in methods:
        first, second = (F.normalize(maps[name][:1].flatten(1).double()) for maps in (beside, alone))
        if float((first - second).norm()) > _SAME:
            notes.append(
                f"attribution '{name}': its map of an image depends on chance or on the other images of the batch, so "
                "its numbers do not hold for another batch size"
            )
    return tuple(notes)
