"""What may be measured in a gradient's place: a scalar's gradient, an attribution map, a map that the caller gives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from tangency.autodiff import (
    CALIBRATED,
    SHIFT_INVARIANT_SCALARS,
    AttributionOptions,
    Temperature,
    TemperatureScaled,
    attribution_maps,
    input_gradients,
    split_attribution,
)
from tangency.errors import NumericsError, SpecError

_MAP = re.compile(r"map\(([A-Za-z][\w-]*)\)")
_UNIDENTIFIED = {
    "logit_y": "the true class's logit",
    "logit_pred": "the predicted class's logit",
    "sum_logits": "the sum of the logits",
    "lse": "the log-sum-exp of the logits",
}


def map_quantity(name: str) -> str:
    """The quantity of a map that the caller gives: "gradcam" is "map(gradcam)"."""
    quantity = f"map({name})"
    if not _MAP.fullmatch(quantity):
        raise SpecError(f"map '{name}': expected a name of letters, digits, dashes and underscores, a letter first.")
    return quantity


def is_map(quantity: str) -> bool:
    """Whether a quantity is a map that the caller gives."""
    return _MAP.fullmatch(quantity) is not None


def is_calibrated(quantity: str) -> bool:
    """Whether a quantity is the calibrated log p(y|x), or an attribution map of it."""
    return not is_map(quantity) and split_attribution(quantity)[1] == CALIBRATED


def check_quantity(quantity: str) -> None:
    """Raise a `SpecError` unless it is a scalar, an attribution map of one, or map(NAME)."""
    if not is_map(quantity):
        split_attribution(quantity)


def check_given(quantities: Iterable[str], maps: Iterable[str]) -> None:
    """Raise a `SpecError` where map(NAME) is wanted and no such map is given."""
    absent = [q for q in quantities if is_map(q) and q[4:-1] not in set(maps)]
    if absent:
        raise SpecError(
            f"{', '.join(absent)}: no such map is given, expected it among attributions=; a map belongs to "
            "one classifier, so that a study measures none: use tangency measure --maps npz:FILE."
        )


def quantity_directions(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    ids: Tensor,
    quantities: Iterable[str],
    options: AttributionOptions,
    maps: Mapping[str, Tensor],
    temperature: Temperature | None = None,
) -> dict[str, Tensor]:
    """Each quantity as a direction in image space, (N, C, H, W).

    Args:
        model: classifier.
        x, y, ids: images (N, C, H, W), their labels (N,) and identities (N,).
        quantities: scalars, "METHOD(SCALAR)" and "map(NAME)".
        options: of attribution maps.
        maps: name to (N, C, H, W), of these very images.
        temperature: of the classifier, for calibrated quantities; they are NaN without one.
    """
    quantities = list(quantities)
    given = {q: maps[q[4:-1]] for q in quantities if is_map(q)}

    def directions(net: nn.Module, wanted: list[str]) -> dict[str, Tensor]:
        attributed = [q for q in wanted if "(" in q]
        plain = [q for q in wanted if "(" not in q]
        gradients = input_gradients(net, x, y, plain) | attribution_maps(net, x, y, attributed, ids, options)
        return {q: gradients[q].direction for q in wanted}

    scaled = {q: q.replace(CALIBRATED, "logp_y") for q in quantities if is_calibrated(q)}
    made = given | directions(model, [q for q in quantities if q not in given and q not in scaled])
    if scaled and temperature is not None:
        behind = directions(TemperatureScaled(model, temperature.value), list(scaled.values()))
        made |= {q: behind[plain] for q, plain in scaled.items()}
    return {q: made[q] if q in made else torch.full_like(x, torch.nan) for q in quantities}


def check_maps(maps: Mapping[str, Tensor], images: Tensor, what: str = "map") -> dict[str, Tensor]:
    """Maps as (N, C, H, W) of the images' dtype and device; a map without channels is the same in each.

    Args:
        maps: name to (N, C, H, W) or (N, H, W).
        images: (N, C, H, W).
        what: what errors call them.

    Raises:
        NumericsError: for a shape that is not that of the images, or values that are not finite.
    """
    n, channels, height, width = images.shape
    wide_maps = {}
    for name, values in maps.items():
        map_quantity(name)
        if tuple(values.shape) not in ((n, height, width), (n, channels, height, width)):
            raise NumericsError(
                f"{what} '{name}': got shape {tuple(values.shape)}, expected {(n, channels, height, width)} or "
                f"{(n, height, width)}, one map for each image in the images' order and size."
            )
        values = values.to(images)
        if not bool(values.isfinite().all()):
            bad = (~values.isfinite()).flatten(1).any(1).nonzero().flatten()[:5].tolist()
            raise NumericsError(f"{what} '{name}': NaN or infinite values for images {bad}, expected finite ones.")
        wide = values if values.dim() == 4 else values[:, None].expand(n, channels, height, width)
        wide_maps[name] = wide
    return wide_maps


def unidentified(quantities: Iterable[str]) -> list[str]:
    """A warning for each scalar among them that a shift of all logits changes, each once, in words."""
    scalars = dict.fromkeys(split_attribution(q)[1] for q in quantities if not is_map(q))
    return [
        f"{name}: {_UNIDENTIFIED[name]} is not identified. Training fixes logits only up to a shift c(x) common to all "
        "classes, so that this gradient can be made to look like anything without one prediction changing "
        "(Srinivas & Fleuret, ICLR 2021). Read margin or logp_y beside it."
        for name in scalars
        if name not in SHIFT_INVARIANT_SCALARS
    ]
