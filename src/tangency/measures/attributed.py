"""Attribution maps that a function of the caller makes: Captum's, or anybody's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from tangency.autodiff import undisturbed
from tangency.errors import NumericsError
from tangency.measures.quantities import check_maps, map_quantity

Attribution = Callable[[nn.Module, Tensor, Tensor], Tensor]
_SAME = 1e-3  # relative l2 distance of unit maps that floating-point rounding does not reach


def check_attributions(attributions: Mapping[str, Attribution], maps: Mapping[str, Tensor]) -> None:
    """Raise where one is no function, has no name that a measure can have, or the name of a map."""
    for name, method in attributions.items():
        map_quantity(name)
        if not callable(method):
            raise NumericsError(
                f"attribution '{name}': got {type(method).__name__}, expected a function (model, images, labels) -> "
                "maps (N, C, H, W); maps that are there already are given as maps."
            )
        if name in maps:
            raise NumericsError(f"attribution '{name}': is the name of a map, too; expected another name.")


def attributed(model: nn.Module, x: Tensor, y: Tensor, attributions: Mapping[str, Attribution]) -> dict[str, Tensor]:
    """The map of each method for each image, (N, C, H, W), detached.

    Args:
        model: classifier; in eval mode with frozen parameters while a method runs, left as it was found.
        x, y: images (N, C, H, W) and labels (N,).
        attributions: name to method.

    Raises:
        NumericsError: a method returns no tensor, one of another shape, or values that are not finite.
    """
    found: dict[str, Tensor] = {}
    for name, method in attributions.items():
        with undisturbed(model), torch.inference_mode(False), torch.enable_grad():
            made = method(model, x.detach().clone(), y.clone())  # clones, since a method may overwrite them
        if not isinstance(made, Tensor):
            raise NumericsError(
                f"attribution '{name}': got {type(made).__name__}, expected a tensor of maps {tuple(x.shape)}."
            )
        found |= check_maps({name: made.detach()}, x, "attribution")
    return found


def attribution_notes(
    model: nn.Module, x: Tensor, y: Tensor, attributions: Mapping[str, Attribution]
) -> tuple[str, ...]:
    """What to say of methods that give an image another map alone than beside others; their shapes are checked, too."""
    beside, alone = (attributed(model, x[:n], y[:n], attributions) for n in (2, 1))
    notes = []
    for name in attributions:
        first, second = (
            torch.nn.functional.normalize(found[name][:1].flatten(1).double()) for found in (beside, alone)
        )
        if float((first - second).norm()) > _SAME:
            notes.append(
                f"attribution '{name}': its map of an image depends on chance or on the other images of the batch, so "
                "its numbers do not hold for another batch size"
            )
    return tuple(notes)
