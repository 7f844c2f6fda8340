"""Inference checkpoints of k-diffusion as scores: safetensors with the configuration in the header or beside it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from tangency.data.classes import CIFAR10
from tangency.errors import ModelError, quoted
from tangency.models.foreign.states import read_states
from tangency.score.networks.card import ScoreCard
from tangency.score.networks.config_values import Settings, parsed_settings, read_settings
from tangency.score.networks.kdiffusion_config import read_config
from tangency.score.networks.kdiffusion_unet import KDiffusionUNetOptions
from tangency.score.networks.network import NetworkScore
from tangency.score.networks.store import filled_network, in_single_precision

_PREFIX = "inner_model."  # of a network that was trained within k-diffusion's wrapper for augmentations


def load_kdiffusion(
    path: Path | str, device: str | torch.device = "cpu", *, config: Path | None = None, kind: str = ""
) -> NetworkScore:
    """A network of k-diffusion: D(u; σ) = c_skip u + c_out F(c_in u; ¼ ln σ) of images in [−1, 1], as its `Denoiser`.

    Reads what its `convert_for_inference.py` writes. Weights in half precision are computed with in float32.
    Deviation: k-diffusion leaves the dropout of attention in image_v1 on when it samples; here it is off.

    Args:
        path: safetensors, with the configuration under "config" in the header.
        device: where it runs.
        config: a file of JSON with the configuration, where the header has none or another is meant.
        kind: short name for reports; by default that of the file.

    Raises:
        ModelError: another file, no configuration, a network that is not known, weights that do not fit.
    """
    path = Path(path)
    network = read_config(_settings(path, config))
    name, options, classes = network.name, network.options, network.classes
    if name == "kdiffusion-unet":
        classes = 0  # an image_v1 has no input for the class, whatever its data have
    cifar = network.data.get("type") == "cifar10" and classes == len(CIFAR10)
    tensors = read_states(path)[""]
    if all(each.startswith(_PREFIX) for each in tensors):
        tensors = {each.removeprefix(_PREFIX): value for each, value in tensors.items()}
    tensors, reading = in_single_precision(tensors)
    if isinstance(options, KDiffusionUNetOptions) and network.model.get("dropout_rate") and any(options.attention):
        reading.append("dropout of attention is off, which k-diffusion leaves on when it samples")
    card = ScoreCard(
        network=name,
        prediction="edm",
        shape=(options.channels, *network.size),
        options={key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(options).items()},
        classes=CIFAR10 if cifar else tuple(map(str, range(classes))),
        unconditional=not classes or bool(network.data.get("cond_dropout_rate", 0.1)),
        sigma_range=(network.model.positive("sigma_min") / 2, network.model.positive("sigma_max") / 2),
        sigma_data=network.model.positive("sigma_data", 1.0),
        provenance={"file": path.name, "network": network.model.get("type"), "reading": reading},
    )
    return filled_network(card, tensors, path, kind or path.stem).to(device)


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
    """The configuration in the header of a file, "" if it has none."""
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


def _settings(path: Path, config: Path | None) -> Settings:
    """The configuration, from the header or from a file."""
    if config is None and (text := _header(path)):
        return parsed_settings(text, f"{path} (its header)")
    source = config or path.with_suffix(".json")
    if config is None and not source.is_file():
        raise ModelError(
            f"{path}: no configuration in its header, and no {source.name} beside it; give the one it was trained with "
            "as ?config=FILE.json, or write the file again with k-diffusion's convert_for_inference.py."
        )
    return read_settings(source, "a configuration of k-diffusion")
