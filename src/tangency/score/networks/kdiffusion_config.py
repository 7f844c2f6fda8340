"""The configuration of a k-diffusion network as arguments of ours: each value checked, defaults as there."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tangency.errors import ModelError, unknown_name
from tangency.formats.plain import brief
from tangency.score.networks.config_values import positive, whole, wholes

Settings = dict[str, Any]

_WIDEST, _MOST_LEVELS, _DEEPEST, _MOST_CLASSES = 16_384, 12, 256, 100_000
_HEAD = 64
_CONDITIONS = ("mapping_cond_dim", "unet_cond_dim", "cross_cond_dim")


def network_of(config: Settings, where: Path | str) -> tuple[str, Settings, tuple[int, int, int], int, Settings]:
    """Registered name, options, (C, H, W), sides that images must be multiples of, and the settings of the model.

    Raises:
        ModelError: a kind of network that is not known, one with conditions other than a class, a value out of bounds.
    """
    model = config.get("model")
    if not isinstance(model, dict):
        raise ModelError(f"{where}: its configuration has no mapping 'model'; expected one of k-diffusion.")
    kind = model.get("type")
    if kind not in _KINDS:
        raise ModelError(f"{where}: {unknown_name('type of network of k-diffusion', brief(kind), _KINDS)}")
    if asked := [name for name in _CONDITIONS if model.get(name)]:
        raise ModelError(
            f"{where}: {asked[0]} is {brief(model[asked[0]])}: a network that takes conditions other than a class has "
            "no score of images alone; wrap it as FunctionScore."
        )
    sides = wholes(model, "input_size", where, 1, _WIDEST, 2)
    if len(sides) != 2:
        raise ModelError(f"{where}: input_size is {sides}, expected (height, width).")
    name, read = _KINDS[kind]
    options, multiples = read(model, _classes(config, where), where)
    if any(side % multiple for side, multiple in zip(sides, multiples, strict=True)):
        raise ModelError(f"{where}: images of {sides}, expected sides that {list(multiples)} divide.")
    return name, options, (options["channels"], sides[0], sides[1]), _classes(config, where), model


def _classes(config: Settings, where: Path | str) -> int:
    """Classes of its data; the networks have one more, for "no class"."""
    data = config.get("dataset") or {}
    return whole(data if isinstance(data, dict) else {}, "num_classes", where, 0, _MOST_CLASSES, 0)


def _unet(model: Settings, classes: int, where: Path | str) -> tuple[Settings, tuple[int, int]]:
    depths = wholes(model, "depths", where, 1, _DEEPEST, _MOST_LEVELS)
    widths = wholes(model, "channels", where, 1, _WIDEST, _MOST_LEVELS)
    attention = model.get("self_attn_depths")
    if not isinstance(attention, list) or len(widths) != len(depths) or len(attention) != len(depths):
        raise ModelError(
            f"{where}: depths, channels and self_attn_depths differ in length, expected one of each a level."
        )
    patch, skipped = (
        whole(model, "patch_size", where, 1, 64, 1),
        whole(model, "skip_stages", where, 0, len(depths) - 1, 0),
    )
    multiple = patch * 2 ** (len(depths) - 1 - skipped)
    return {
        "channels": whole(model, "input_channels", where, 1, 64),
        "features": whole(model, "mapping_out", where, 2, _WIDEST),
        "depths": depths,
        "widths": widths,
        "attention": [bool(each) for each in attention],
        "patch": patch,
        "skip_stages": skipped,
        "augmented": bool(model.get("augment_wrapper", True)),
        "variance": bool(model.get("has_variance", False)),
    }, (multiple, multiple)


def _transformer(model: Settings, classes: int, where: Path | str) -> tuple[Settings, tuple[int, int]]:
    width = whole(model, "width", where, _HEAD, _WIDEST)
    if width % _HEAD:
        raise ModelError(f"{where}: width is {width}, expected a multiple of {_HEAD}.")
    patch = _patch(model, where)
    return {
        "channels": whole(model, "input_channels", where, 1, 64),
        "patch": list(patch),
        "width": width,
        "depth": whole(model, "depth", where, 1, _DEEPEST),
        "hidden": whole(model, "d_ff", where, 0, 8 * _WIDEST, 0) or _rounded(width * 8 / 3),
        "classes": classes + 1 if classes else 0,
    }, patch


def _hourglass(model: Settings, classes: int, where: Path | str) -> tuple[Settings, tuple[int, int]]:
    widths = wholes(model, "widths", where, 8, _WIDEST, _MOST_LEVELS)
    depths = wholes(model, "depths", where, 1, _DEEPEST, _MOST_LEVELS)
    hidden = (
        wholes(model, "d_ffs", where, 1, 8 * _WIDEST, _MOST_LEVELS) if model.get("d_ffs") else [3 * w for w in widths]
    )
    heads = _heads(model, len(widths), where)
    if not len(widths) == len(depths) == len(hidden):
        raise ModelError(f"{where}: widths, depths and d_ffs differ in length, expected one of each a level.")
    for width, head in zip(widths, heads, strict=True):
        if head and (width % head or head % 8):
            raise ModelError(f"{where}: heads of {head} channels of {width}, expected a multiple of 8 that divides it.")
    patch, mapping = _patch(model, where), whole(model, "mapping_width", where, 2, _WIDEST, 256)
    coarsest = 2 ** (len(widths) - 1)
    return {
        "channels": whole(model, "input_channels", where, 1, 64),
        "patch": list(patch),
        "widths": widths,
        "depths": depths,
        "hidden": hidden,
        "heads": heads,
        "mapping_width": mapping,
        "mapping_depth": whole(model, "mapping_depth", where, 0, _DEEPEST, 2),
        "mapping_hidden": whole(model, "mapping_d_ff", where, 0, 8 * _WIDEST, 0) or 3 * mapping,
        "classes": classes + 1 if classes else 0,
    }, (patch[0] * coarsest, patch[1] * coarsest)


def _heads(model: Settings, levels: int, where: Path | str) -> list[int]:
    """Channels of a head of each level; 0 where it does not attend."""
    # What k-diffusion takes where the configuration is silent: neighbourhoods of 7 x 7, and everywhere at the last.
    default = [{"type": "neighborhood", "kernel_size": 7}] * (levels - 1) + [{"type": "global"}]
    asked = model.get("self_attns") or default
    if not isinstance(asked, list) or len(asked) != levels or not all(isinstance(each, dict) for each in asked):
        raise ModelError(f"{where}: self_attns is {brief(asked)}, expected one mapping for each of {levels} levels.")
    found = []
    for level, each in enumerate(asked):
        kind = each.get("type")
        if kind not in ("global", "none"):
            raise ModelError(
                f"{where}: level {level} has {brief(kind)} attention"
                + (f" of {brief(each['kernel_size'])}" if "kernel_size" in each else "")
                + "; only global attention and none are computed here. Wrap the network as FunctionScore, in a Python "
                "where k-diffusion runs it."
            )
        found.append(whole(each, "d_head", where, 8, _WIDEST, _HEAD) if kind == "global" else 0)
    return found


def _patch(model: Settings, where: Path | str) -> tuple[int, int]:
    sides = wholes(model, "patch_size", where, 1, 64, 2)
    if len(sides) != 2:
        raise ModelError(f"{where}: patch_size is {sides}, expected (height, width).")
    return sides[0], sides[1]


def _rounded(x: float) -> int:
    """The multiple of the largest power of two that lies within 5 % of x, as k-diffusion chooses widths."""
    powers = [2**i for i in range(math.ceil(math.log2(x)))]
    near = [round(x / power) * power for power in powers if abs(round(x / power) * power - x) <= 0.05 * x]
    return near[-1] if near else round(x)


_KINDS: dict[str, tuple[str, Callable[[Settings, int, Path | str], tuple[Settings, tuple[int, int]]]]] = {
    "image_v1": ("kdiffusion-unet", _unet),
    "image_transformer_v1": ("kdiffusion-transformer", _transformer),
    "image_transformer_v2": ("kdiffusion-hourglass", _hourglass),
}


def sigma_settings(model: Settings, where: Path | str) -> tuple[float, float, float]:
    """σ_data, and the least and largest σ it is sampled with, of images in [−1, 1]."""
    low, high = positive(model, "sigma_min", where), positive(model, "sigma_max", where)
    return positive(model, "sigma_data", where, 1.0), low, high
