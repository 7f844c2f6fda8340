"""Inference checkpoints of k-diffusion as scores: safetensors with the configuration in the header or beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.data.classes import CIFAR10
from tangency.errors import ModelError, TangencyError, quoted
from tangency.models.foreign.states import read_states
from tangency.models.weights import fill
from tangency.score.networks.card import ScoreCard
from tangency.score.networks.config_values import parsed_settings, read_settings
from tangency.score.networks.kdiffusion_config import network_of, sigma_settings
from tangency.score.networks.kdiffusion_hourglass import build_kdiffusion_hourglass
from tangency.score.networks.kdiffusion_transformer import build_kdiffusion_transformer
from tangency.score.networks.kdiffusion_unet import build_kdiffusion_unet
from tangency.score.networks.network import NetworkScore

BUILDERS = {
    "kdiffusion-unet": build_kdiffusion_unet,
    "kdiffusion-transformer": build_kdiffusion_transformer,
    "kdiffusion-hourglass": build_kdiffusion_hourglass,
}
_PREFIX = "inner_model."  # of a network that was trained behind k-diffusion's wrapper for augmentations


def load_kdiffusion(
    path: Path | str, device: str | torch.device = "cpu", *, config: Path | None = None, kind: str = ""
) -> NetworkScore:
    """A network of k-diffusion: D(u; σ) = c_skip u + c_out F(c_in u; ¼ ln σ) of images in [−1, 1], as its `Denoiser`.

    Reads what its `convert_for_inference.py` writes. Weights in half precision are computed with in float32.
    Deviation: k-diffusion leaves the dropout of attention in image_v1 on when it samples; here it is off.

    Args:
        path: safetensors, with the configuration under "config" in the header.
        device: where it is asked.
        config: a file of JSON with the configuration, where the header has none or another is meant.
        kind: short name for reports; by default that of the file.

    Raises:
        ModelError: another file, no configuration, a network that is not known, weights that do not fit.
    """
    path = Path(path)
    settings, source = _settings(path, config)
    name, options, shape, classes, model = network_of(settings, source)
    sigma_data, low, high = sigma_settings(model, source)
    if classes and name == "kdiffusion-unet":
        classes = 0  # an image_v1 is not told the class, whatever its data have
    data: dict[str, Any] = settings.get("dataset") or {}
    cifar = data.get("type") == "cifar10" and classes == len(CIFAR10)
    tensors, reading = _tensors(path)
    if name == "kdiffusion-unet" and model.get("dropout_rate") and any(options["attention"]):
        reading.append("dropout of attention is off, which k-diffusion leaves on when it samples")
    card = ScoreCard(
        network=name,
        prediction="edm",
        shape=shape,
        options=options,
        classes=CIFAR10 if cifar else tuple(map(str, range(classes))),
        unconditional=not classes or bool(data.get("cond_dropout_rate", 0.1)),
        sigma_range=(low / 2, high / 2),
        sigma_data=sigma_data,
        provenance={"file": path.name, "network": model["type"], "reading": reading},
    )
    return NetworkScore(_filled(card, tensors, path, source), card, kind or path.stem).to(device)


def kdiffusion_files(path: Path, config: Path | None = None) -> tuple[Path, ...]:
    """Every file that `load_kdiffusion` reads."""
    beside = path.with_suffix(".json")
    return (path,) if config is None and (_header(path) or not beside.is_file()) else (path, config or beside)


def is_kdiffusion(path: Path) -> bool:
    """Whether the header of a file holds a configuration of k-diffusion; False also where it cannot be read."""
    try:
        model = parsed_settings(_header(path), str(path)).get("model")
    except ModelError:
        return False
    return isinstance(model, dict) and str(model.get("type", "")).startswith("image_")


def _header(path: Path) -> str:
    """The configuration in the header of a file, "" where there is none."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(f"{path}: no such file. Check the path.")
    try:
        with safe_open(str(path), framework="pt") as handle:
            return str((handle.metadata() or {}).get("config", ""))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: not a readable safetensors file ({quoted(error)}). Fetch or write it again."
        ) from error


def _settings(path: Path, config: Path | None) -> tuple[dict[str, Any], str]:
    """The configuration, and what it was read from."""
    if config is None and (text := _header(path)):
        return parsed_settings(text, f"{path} (its header)"), f"{path} (its header)"
    source = config or path.with_suffix(".json")
    if config is None and not source.is_file():
        raise ModelError(
            f"{path}: no configuration in its header, and no {source.name} beside it; give the one it was trained with "
            "as ?config=FILE.json, or write the file again with k-diffusion's convert_for_inference.py."
        )
    return read_settings(source, "a configuration of k-diffusion"), str(source)


def _tensors(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors in float32 without the wrapper's prefix, and what is to be said of them."""
    found = read_states(path)[""]
    half = any(value.dtype in (torch.float16, torch.bfloat16) for value in found.values())
    wrapped = all(name.startswith(_PREFIX) for name in found)
    plain = {name.removeprefix(_PREFIX) if wrapped else name: value.float() for name, value in found.items()}
    return plain, ["weights in half precision, computed with in float32"] if half else []


def _filled(card: ScoreCard, tensors: dict[str, Tensor], path: Path, source: str) -> nn.Module:
    """The network with its weights; memory is taken only once they are known to fit."""
    build = BUILDERS[card.network]
    try:
        with torch.device("meta"):
            plan = build(card.options)
        fill(plan, {name: torch.empty(value.shape, device="meta") for name, value in tensors.items()}, path)
        with torch.random.fork_rng(devices=[]):
            module = build(card.options)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, TangencyError):
            raise
        raise ModelError(f"{source}: no network can be built of its configuration ({quoted(error)}).") from error
    fill(module, tensors, path)
    return module
