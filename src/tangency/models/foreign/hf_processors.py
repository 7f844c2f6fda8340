"""The input that an image processor of transformers makes, measured on its own output for generated images."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tangency.errors import ModelError, quoted
from tangency.models.foreign.feeding import Feeding
from tangency.models.foreign.rebuilt import optional
from tangency.models.foreign.shards import read_json

# Networks whose processors feed blue, green, red; without a processor in the folder their order is not known.
BGR_KINDS = ("mobilevit", "mobilevitv2", "pp_lcnet")
_TOLERANCE = 1e-5
_PROBES = (384, 480)  # sides of two square images, which get the same size only where the processor sets one
_LARGEST = 256  # largest side of the image of noise
_SWITCHES_OFF = ("do_resize", "do_center_crop", "do_pad", "do_thumbnail", "do_align_long_axis")
_KNOWN = {
    *_SWITCHES_OFF,
    *("do_rescale", "rescale_factor", "rescale_offset", "do_normalize", "image_mean", "image_std", "include_top"),
    *("size", "crop_size", "crop_pct", "resample", "do_convert_rgb", "do_flip_channel_order", "default_to_square"),
    *("image_processor_type", "feature_extractor_type", "processor_class", "data_format", "input_data_format"),
    *("size_divisor", "resize_short", "pad_size", "do_reduce_labels", "image_seq_length"),
}


@dataclass(frozen=True)
class Processing:
    """The input that a processor makes of images.

    Args:
        feeding: size, range, mean and std, in the order of the images' channels.
        channels: channel c of the input is channel channels[c] of the image; () for the same order.
    """

    feeding: Feeding
    channels: tuple[int, ...] = ()


def processing(folder: Path, channels: int) -> Processing | None:
    """Size, range, mean, std and order of channels of the folder's processor; None where it has none.

    The processor is built by transformers, so that a switch that its file leaves out has the value of its class, and
    run on noise: its output must be an affine map of each channel.

    Args:
        folder: that may hold preprocessor_config.json, or processor_config.json of a processor for images and text.
        channels: of the images that the network takes.

    Raises:
        ModelError: a processor that is unknown, has code of its own, or does something else; its switches are named.
    """
    file = _settings(folder)
    if file is None:
        return None
    name, settings = file
    processor = _processor(folder, name, settings)
    native = _native(processor, channels, name)
    x, y = _noise(processor, native, channels, name)
    order, scale, shift = _affine(x, y, _switches(processor, settings), name)
    declared = _declared(processor, channels)
    note = f"input as {name} says, by the output of {type(processor).__name__}"
    if declared is None or not _fits(declared, scale, shift):
        declared = _measured(scale, shift)
    same_order = order == tuple(range(channels))
    if not same_order:
        note += f"; channels are fed in the order {', '.join(map(str, order))}"
    limits, mean, std = declared
    feeding = Feeding(native=native, input_range=limits, mean=mean, std=std, notes=(note,))
    return Processing(feeding, () if same_order else order)


def _settings(folder: Path) -> tuple[str, dict[str, Any]] | None:
    """Name and settings of the file of the image processor."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if not (folder / name).is_file():
            continue
        content = read_json(folder / name)
        settings = content.get("image_processor") if name == "processor_config.json" else content
        if not isinstance(settings, dict):
            continue
        if "auto_map" in settings:
            raise ModelError(f"{folder / name}: asks for code of its own (auto_map), which is never run.")
        return name, settings
    return None


def _processor(folder: Path, name: str, settings: dict[str, Any]) -> Any:
    transformers = optional("transformers", "hf")
    kind = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "")
    base = kind.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast").removesuffix("Pil")
    # For a class that they do not know, some versions take the usual class of the network's kind.
    if kind and not any(hasattr(transformers, base + ending) for ending in ("", "Fast", "Pil")):
        raise ModelError(
            f"{folder / name}: asks for {kind}, which transformers {transformers.__version__} does not have. "
            f"{_way_out(name)}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return transformers.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except (ImportError, OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder / name}: transformers {transformers.__version__} cannot build the processor"
            f"{f' ({kind})' * bool(kind)}: {quoted(error)}. {_way_out(name)}"
        ) from error


def _way_out(name: str) -> str:
    return f"Take {name} out of the folder and give range=…, mean=… and std=… instead (channels=bgr where it needs it)."


def _run(processor: Any, pixels: np.ndarray, name: str, **switches: bool) -> Tensor:
    """Its output (C, H, W) for (H, W, C) bytes."""
    kind = type(processor).__name__
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fed = processor(pixels, return_tensors="pt", **switches)["pixel_values"]
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{name}: {kind} gives no pixel_values for an image of {pixels.shape[2]} channels "
            f"({quoted(error)}). {_way_out(name)}"
        ) from error
    if not isinstance(fed, Tensor) or fed.dim() != 4 or fed.shape[:2] != (1, pixels.shape[2]):
        got = tuple(fed.shape) if isinstance(fed, Tensor) else type(fed).__name__
        raise ModelError(
            f"{name}: {kind} gives pixel_values of shape {got} for one image, expected (1, {pixels.shape[2]}, H, W). "
            f"{_way_out(name)}"
        )
    return fed[0].double()


def _native(processor: Any, channels: int, name: str) -> tuple[int, int] | None:
    """(H, W) of its output; None where that depends on the image."""
    outputs = (_run(processor, np.full((side, side, channels), 128, np.uint8), name) for side in _PROBES)
    sizes = {(fed.shape[1], fed.shape[2]) for fed in outputs}
    return sizes.pop() if len(sizes) == 1 else None


def _noise(processor: Any, native: tuple[int, int] | None, channels: int, name: str) -> tuple[Tensor, Tensor]:
    """(C, P) pixels in [0, 1], and the output for them without a change of size."""
    height, width = (min(side, _LARGEST) for side in native or (32, 32))
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    off = {switch: False for switch in _SWITCHES_OFF if hasattr(processor, switch)}
    fed = _run(processor, pixels, name, **off)
    if fed.shape[1:] != (height, width):
        raise ModelError(
            f"{name}: {type(processor).__name__} makes {tuple(fed.shape[1:])} of {height}x{width} pixels with every "
            f"change of size switched off. {_way_out(name)}"
        )
    return torch.from_numpy(pixels).permute(2, 0, 1).double().flatten(1) / 255, fed.flatten(1)


def _affine(x: Tensor, y: Tensor, switches: str, name: str) -> tuple[tuple[int, ...], Tensor, Tensor]:
    """Order of channels, and scale and shift of each channel of the images; y_c = scale · x_order[c] + shift."""
    design = torch.cat([x, torch.ones_like(x[:1])]).T
    mixing = torch.linalg.lstsq(design, y.T).solution.T
    order = mixing[:, :-1].abs().argmax(1)
    slope, size = mixing[torch.arange(len(y)), order], float(y.abs().max().clamp(min=1))
    gap = float((slope[:, None] * x[order] + mixing[:, -1:] - y).abs().max())
    if sorted(order.tolist()) != list(range(len(y))) or not bool((slope > 0).all()) or not gap <= _TOLERANCE * size:
        raise ModelError(
            f"{name}: what its processor gives is no affine map of each channel (off by {gap:.2g}), so it cannot be "
            f"part of a classifier. Its switches: {switches}. {_way_out(name)}"
        )
    scale, shift = torch.empty_like(slope), torch.empty_like(slope)
    scale[order], shift[order] = slope, mixing[:, -1]
    return tuple(order.tolist()), scale, shift


def _switches(processor: Any, settings: dict[str, Any]) -> str:
    """Its class, and the settings that are on beside the usual ones."""
    switches = {name: value for name, value in vars(processor).items() if name.startswith("do_")}
    odd = sorted(f"{name}={value}" for name, value in {**settings, **switches}.items() if name not in _KNOWN and value)
    return f"{type(processor).__name__} with {', '.join(odd)[:300] or 'none that is unknown'}"


Declared = tuple[tuple[float, float], tuple[float, ...], tuple[float, ...]]


def _declared(processor: Any, channels: int) -> Declared | None:
    """Range, mean and std of its settings, which are rounder numbers than those of its output."""
    factor = float(getattr(processor, "rescale_factor", 1 / 255)) if getattr(processor, "do_rescale", False) else 1.0
    low = -1.0 if getattr(processor, "rescale_offset", None) else 0.0
    high = low + 255 * factor
    if abs(high - round(high, 6)) < 1e-9:
        high = round(high, 6)
    if not low < high:
        return None
    if not getattr(processor, "do_normalize", False):
        return (low, high), (), ()
    mean, std = (_per_channel(getattr(processor, name, None), channels) for name in ("image_mean", "image_std"))
    return ((low, high), mean, std) if len(mean) == len(std) == channels and min(std) > 0 else None


def _per_channel(value: object, channels: int) -> tuple[float, ...]:
    if isinstance(value, list | tuple):
        return tuple(map(float, value)) * (channels if len(value) == 1 else 1)
    return (float(value),) * channels if isinstance(value, int | float) else ()


def _fits(declared: Declared, scale: Tensor, shift: Tensor) -> bool:
    """Whether the settings alone give the map that was measured."""
    (low, high), mean, std = declared
    spread, middle = (torch.tensor(part or (empty,)).double() for part, empty in ((std, 1.0), (mean, 0.0)))
    size = float(scale.max() + shift.abs().max())
    gaps = ((high - low) / spread - scale).abs() + ((low - middle) / spread - shift).abs()
    return float(gaps.max()) <= _TOLERANCE * size


def _measured(scale: Tensor, shift: Tensor) -> Declared:
    """The map as images in [0, 1] with a mean and a std."""
    mean, std = (-shift / scale).tolist(), (1 / scale).tolist()
    return (0.0, 1.0), tuple(float(f"{m:.7g}") for m in mean), tuple(float(f"{s:.7g}") for s in std)
