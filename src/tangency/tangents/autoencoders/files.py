"""Autoencoders on disk, ours and diffusers': a module with encode and decode on [0, 1], and its card."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import ModelError, quoted
from tangency.models.weights import fill
from tangency.score.networks.config_values import read_settings
from tangency.tangents.autoencoders.network import ConvAutoencoder
from tangency.tensors import read_tensors, write_tensors

_KEY = "autoencoder"


@dataclass(frozen=True)
class AutoencoderCard:
    """What travels with the weights of an autoencoder.

    Args:
        shape: (C, H, W) of an image in [0, 1].
        options: keyword arguments of `ConvAutoencoder`.
        beta: weight of the KL term it was trained with, the variance of a pixel's noise; 0 for a plain autoencoder.
        provenance: data digest, training, versions; JSON values.
    """

    shape: tuple[int, int, int]
    options: dict[str, Any] = field(default_factory=dict)
    beta: float = 0.0
    provenance: dict[str, Any] = field(default_factory=dict)


def build_autoencoder(card: AutoencoderCard, seed: int = 0) -> ConvAutoencoder:
    """The network that a card describes, with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return ConvAutoencoder(card.shape, **card.options)
        except TypeError as error:
            raise ModelError(f"autoencoder card: cannot be built from {card.options}: {quoted(error)}.") from error


def save_autoencoder(module: ConvAutoencoder, card: AutoencoderCard, path: Path | str) -> None:
    """Write the weights with the card in the header; the file is whole or absent."""
    write_tensors(path, module.state_dict(), {_KEY: dataclasses.asdict(card)})


def load_autoencoder(path: Path | str, device: str | torch.device = "cpu") -> tuple[ConvAutoencoder, AutoencoderCard]:
    """A file of `save_autoencoder`, in eval mode.

    Raises:
        ModelError: unreadable, not an autoencoder, or tensors that do not fit the network that its card names.
    """
    tensors, header = read_tensors(path)
    card = read_autoencoder_card(header, path)
    module = build_autoencoder(card)
    fill(module, tensors, path)
    return module.to(device).eval(), card


def read_autoencoder_card(header: Mapping[str, Any], path: Path | str) -> AutoencoderCard:
    """The card in the header of a file."""
    content = header.get(_KEY) if isinstance(header, Mapping) else None
    names = {f.name for f in dataclasses.fields(AutoencoderCard)}
    if not isinstance(content, Mapping) or not {"shape"} <= content.keys() <= names:
        raise ModelError(f"{path}: holds no autoencoder of this version: its header has {sorted(header)}.")
    shape = content["shape"]
    if not (isinstance(shape, list | tuple) and len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape)):
        raise ModelError(f"{path}: got shape {shape} in the card of the autoencoder, expected (C, H, W).")
    return AutoencoderCard(**{**content, "shape": tuple(shape)})


class DiffusersAutoencoder(nn.Module):
    """diffusers' `AutoencoderKL` or `AutoencoderTiny` on [0, 1]: codes are posterior means, as rows of numbers.

    Args:
        net: the diffusers module.
        shape: (C, H, W) of the images; for a network of three channels, one channel is repeated three times.
        data_range: of the images inside: [−1, 1] for `AutoencoderKL`, [0, 1] for `AutoencoderTiny`.
    """

    def __init__(self, net: Any, shape: tuple[int, int, int], data_range: tuple[float, float]) -> None:
        super().__init__()
        self.net, self.shape, self.low = net, shape, data_range[0]
        self.width = data_range[1] - data_range[0]
        channels = getattr(net, "config", {}).get("in_channels", 0)
        self.copies = 3 if shape[0] == 1 and channels == 3 else 1
        with torch.no_grad():
            self._cells = self._posterior(torch.zeros(1, *shape)).shape[1:]

    def _posterior(self, x: Tensor) -> Tensor:
        encoded = self.net.encode(self.low + self.width * x.repeat(1, self.copies, 1, 1))
        code: Tensor = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
        return code

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to codes (N, m)."""
        return self._posterior(x).flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        """Codes (N, m) to images (N, C, H, W)."""
        sample: Tensor = self.net.decode(z.reshape(len(z), *self._cells)).sample
        images = sample[:, :, : self.shape[1], : self.shape[2]]
        images = images.mean(1, keepdim=True) if self.copies == 3 else images
        return (images - self.low) / self.width


def load_diffusers_autoencoder(
    folder: Path, shape: tuple[int, int, int]
) -> tuple[DiffusersAutoencoder, dict[str, Any]]:
    """A folder of `save_pretrained`, read as safetensors, and what is known of it.

    Raises:
        ModelError: no such folder, another class, or a network that does not take images of that shape.
    """
    from diffusers import AutoencoderKL, AutoencoderTiny

    config = read_settings(folder / "config.json", "a folder of diffusers' save_pretrained")
    classes: dict[str, Any] = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
    name = str(config.get("_class_name"))
    if name not in classes:
        raise config.refused(f"is of class '{name}', expected one of {', '.join(classes)}.")
    try:
        net = classes[name].from_pretrained(str(folder), use_safetensors=True, local_files_only=True)
        module = DiffusersAutoencoder(net.eval(), shape, (-1.0, 1.0) if name == "AutoencoderKL" else (0.0, 1.0))
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"'{folder}': cannot be used for images of {shape} ({quoted(error)}).") from None
    return module, {"class": name, "latent": math.prod(module._cells)}
