"""Score networks on disk: safetensors with the card in the header."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tangency.errors import ModelError, TangencyError, quoted, unknown_name
from tangency.models.weights import fill
from tangency.score.edm.dhariwal import build_dhariwal
from tangency.score.edm.songunet import build_songunet
from tangency.score.networks.card import ScoreCard, read_score_card
from tangency.score.networks.diffusers_folder import build_diffusers
from tangency.score.networks.kdiffusion_file import BUILDERS
from tangency.score.networks.network import NetworkScore
from tangency.score.networks.unet import build_unet, resolved_options
from tangency.tensors import read_tensors, write_tensors

NETWORKS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "unet": build_unet,
    "diffusers": build_diffusers,
    "songunet": build_songunet,
    "dhariwal": build_dhariwal,
    **BUILDERS,
}


def build_network(card: ScoreCard, seed: int = 0, kind: str = "network") -> NetworkScore:
    """The network that a card describes, with weights drawn from a seed."""
    if card.network not in NETWORKS:
        raise ModelError(f"score card: {unknown_name('network', card.network, NETWORKS)}")
    if card.network == "unet":
        card = dataclasses.replace(card, options=resolved_options(card.options))
        _check_unet(card)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = NETWORKS[card.network](dict(card.options))
        except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
            if isinstance(error, TangencyError):
                raise
            raise ModelError(
                f"score card: '{card.network}' cannot be built from {card.options}: {quoted(error)}."
            ) from error
    return NetworkScore(module, card, kind)


def _check_unet(card: ScoreCard) -> None:
    """Raise where the network would read other channels or labels than the card says."""
    for name, stated in (("channels", card.shape[0]), ("classes", len(card.classes))):
        if card.options.get(name) != stated:
            raise ModelError(
                f"score card: options.{name} is {card.options.get(name)}, the card is of {stated}; expected the same."
            )


def save_score(score: NetworkScore, path: Path | str, half: bool = False) -> None:
    """Write tensors and card; `half` stores them in half precision, which is read back as float32."""
    if score.settings.network not in NETWORKS:
        raise ModelError(f"'{score.settings.network}': a network that has no name cannot be rebuilt, so is not saved.")
    tensors = score.module.state_dict()
    if half:
        wide = tensors
        tensors = {name: value.half() if value.is_floating_point() else value for name, value in wide.items()}
        lost = [n for n, v in tensors.items() if bool((torch.isfinite(wide[n]) & ~torch.isfinite(v)).any())]
        if lost:
            raise ModelError(f"{path}: half precision cannot hold the values of {', '.join(lost[:5])}; store it whole.")
    write_tensors(path, tensors, {"score": dataclasses.asdict(score.settings)})


def load_network(path: Path | str, device: str | torch.device = "cpu", kind: str = "") -> NetworkScore:
    """A file of `save_score`.

    Raises:
        ModelError: unreadable, not a score network, or tensors that do not fit the network that its card names.
    """
    tensors, header = read_tensors(path)
    score = build_network(read_score_card(header, path), kind=kind or Path(path).stem)
    fill(score.module, {n: v.float() if v.dtype == torch.float16 else v for n, v in tensors.items()}, path)
    return score.to(device)
