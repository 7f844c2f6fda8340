"""The configuration of a k-diffusion network as options of ours: each value checked, defaults as there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tangency.errors import unknown_name
from tangency.formats.plain import brief
from tangency.score.networks.config_values import Settings
from tangency.score.networks.kdiffusion_transformers import HourglassOptions, TransformerOptions
from tangency.score.networks.kdiffusion_unet import KDiffusionUNetOptions

NetworkOptions = KDiffusionUNetOptions | TransformerOptions | HourglassOptions

_WIDEST, _MOST_LEVELS, _DEEPEST, _MOST_CLASSES = 16_384, 12, 256, 100_000
_HEAD = 64
_CONDITIONS = ("mapping_cond_dim", "unet_cond_dim", "cross_cond_dim")


@dataclass(frozen=True)
class KDiffusionConfig:
    """What the configuration says of a network.

    Args:
        name: registered name of the network.
        options: that shape it.
        size: (height, width) of an image.
        classes: of its data; the networks have one more, for "no class".
        model: the settings of the network.
        data: the settings of its data.
    """

    name: str
    options: NetworkOptions
    size: tuple[int, int]
    classes: int
    model: Settings
    data: Settings


def read_config(config: Settings) -> KDiffusionConfig:
    """The network that a configuration describes.

    Raises:
        ModelError: a kind of network that is not known, one with conditions other than a class, a value out of bounds.
    """
    values = config.get("model")
    if not isinstance(values, dict):
        raise config.refused("its configuration has no mapping 'model'; expected one of k-diffusion.")
    model = Settings(values, config.where)
    kind = model.get("type")
    if kind not in _KINDS:
        raise model.refused(unknown_name("type of network of k-diffusion", brief(kind), _KINDS))
    if conditions := [name for name in _CONDITIONS if model.get(name)]:
        raise model.refused(
            f"{conditions[0]} is {brief(model.get(conditions[0]))}: a network that takes conditions other than a class "
            "has no score of images alone; wrap it as FunctionScore."
        )
    size = model.pair("input_size", _WIDEST)
    dataset = config.get("dataset")
    data = Settings(dataset if isinstance(dataset, dict) else {}, config.where)
    classes = data.whole("num_classes", 0, _MOST_CLASSES, 0)
    name, read = _KINDS[kind]
    options = read(model, classes)
    if any(side % multiple for side, multiple in zip(size, options.multiples, strict=True)):
        raise model.refused(f"images of {list(size)}, expected sides that {list(options.multiples)} divide.")
    return KDiffusionConfig(name, options, size, classes, model, data)


def _unet(model: Settings, classes: int) -> KDiffusionUNetOptions:
    depths = model.wholes("depths", 1, _DEEPEST, _MOST_LEVELS)
    widths = model.wholes("channels", 1, _WIDEST, _MOST_LEVELS)
    attention = model.get("self_attn_depths")
    if not isinstance(attention, list) or not len(widths) == len(depths) == len(attention):
        raise model.refused("depths, channels and self_attn_depths differ in length, expected one of each a level.")
    return KDiffusionUNetOptions(
        channels=model.whole("input_channels", 1, 64),
        features=model.whole("mapping_out", 2, _WIDEST),
        depths=depths,
        widths=widths,
        attention=tuple(map(bool, attention)),
        patch=model.whole("patch_size", 1, 64, 1),
        skip_stages=model.whole("skip_stages", 0, len(depths) - 1, 0),
        augmented=bool(model.get("augment_wrapper", True)),
        variance=bool(model.get("has_variance", False)),
    )


def _transformer(model: Settings, classes: int) -> TransformerOptions:
    width = model.whole("width", _HEAD, _WIDEST)
    if width % _HEAD:
        raise model.refused(f"width is {width}, expected a multiple of {_HEAD}.")
    return TransformerOptions(
        channels=model.whole("input_channels", 1, 64),
        patch=model.pair("patch_size", 64),
        width=width,
        depth=model.whole("depth", 1, _DEEPEST),
        hidden=model.whole("d_ff", 0, 8 * _WIDEST, 0) or _rounded(width * 8 / 3),
        classes=classes + 1 if classes else 0,
    )


def _hourglass(model: Settings, classes: int) -> HourglassOptions:
    widths = model.wholes("widths", 8, _WIDEST, _MOST_LEVELS)
    depths = model.wholes("depths", 1, _DEEPEST, _MOST_LEVELS)
    given = model.get("d_ffs")
    hidden = model.wholes("d_ffs", 1, 8 * _WIDEST, _MOST_LEVELS) if given else tuple(3 * width for width in widths)
    heads = _heads(model, len(widths))
    if not len(widths) == len(depths) == len(hidden):
        raise model.refused("widths, depths and d_ffs differ in length, expected one of each a level.")
    for width, head in zip(widths, heads, strict=True):
        if head and (width % head or head % 8):
            raise model.refused(f"heads of {head} channels of {width}, expected a multiple of 8 that divides it.")
    mapping = model.whole("mapping_width", 2, _WIDEST, 256)
    return HourglassOptions(
        channels=model.whole("input_channels", 1, 64),
        patch=model.pair("patch_size", 64),
        widths=widths,
        depths=depths,
        hidden=hidden,
        heads=heads,
        mapping_width=mapping,
        mapping_depth=model.whole("mapping_depth", 0, _DEEPEST, 2),
        mapping_hidden=model.whole("mapping_d_ff", 0, 8 * _WIDEST, 0) or 3 * mapping,
        classes=classes + 1 if classes else 0,
    )


def _heads(model: Settings, levels: int) -> tuple[int, ...]:
    """Channels of a head of each level; 0 where it does not attend."""
    # What k-diffusion takes where the configuration is silent: neighbourhoods of 7 x 7, and everywhere at the last.
    default = [{"type": "neighborhood", "kernel_size": 7}] * (levels - 1) + [{"type": "global"}]
    attentions = model.get("self_attns") or default
    if not (isinstance(attentions, list) and len(attentions) == levels and all(type(a) is dict for a in attentions)):
        raise model.refused(f"self_attns is {brief(attentions)}, expected one mapping for each of {levels} levels.")
    heads = []
    for level, each in enumerate(attentions):
        kind = each.get("type")
        if kind not in ("global", "none"):
            size = f" of {brief(each['kernel_size'])}" if "kernel_size" in each else ""
            raise model.refused(
                f"level {level} has {brief(kind)} attention{size}; only global attention and none are computed here. "
                "Wrap the network as FunctionScore, in a Python where k-diffusion runs it."
            )
        heads.append(Settings(each, model.where).whole("d_head", 8, _WIDEST, _HEAD) if kind == "global" else 0)
    return tuple(heads)


def _rounded(x: float) -> int:
    """The multiple of the largest power of two that lies within 5 % of x, as k-diffusion chooses widths."""
    powers = [2**i for i in range(math.ceil(math.log2(x)))]
    near = [round(x / power) * power for power in powers if abs(round(x / power) * power - x) <= 0.05 * x]
    return near[-1] if near else round(x)


_KINDS: dict[str, tuple[str, Callable[[Settings, int], NetworkOptions]]] = {
    "image_v1": ("kdiffusion-unet", _unet),
    "image_transformer_v1": ("kdiffusion-transformer", _transformer),
    "image_transformer_v2": ("kdiffusion-hourglass", _hourglass),
}
