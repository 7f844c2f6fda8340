"""Score networks on disk: safetensors with the card in the header."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import ModelError, TangencyError, quoted, unknown_name
from tangency.models.weights import fill
from tangency.score.edm.unet_options import DhariwalOptions, SongOptions, plain_options
from tangency.score.edm.unets import DhariwalUNet, SongUNet
from tangency.score.networks.card import ScoreCard, read_score_card
from tangency.score.networks.kdiffusion_transformers import (
    HourglassOptions,
    KDiffusionHourglass,
    KDiffusionTransformer,
    TransformerOptions,
)
from tangency.score.networks.kdiffusion_unet import KDiffusionUNet, KDiffusionUNetOptions
from tangency.score.networks.network import NetworkScore
from tangency.score.networks.unet import DiffusersUNet, ScoreUNet, ScoreUNetOptions, resolved_options
from tangency.tensors import read_tensors, write_tensors

# name on a card -> module, and what its one argument is made of
NETWORKS: dict[str, tuple[Callable[[Any], nn.Module], Callable[..., object]]] = {
    "unet": (ScoreUNet, ScoreUNetOptions),
    "diffusers": (DiffusersUNet, dict),
    "songunet": (SongUNet, SongOptions),
    "dhariwal": (DhariwalUNet, DhariwalOptions),
    "kdiffusion-unet": (KDiffusionUNet, KDiffusionUNetOptions),
    "kdiffusion-transformer": (KDiffusionTransformer, TransformerOptions),
    "kdiffusion-hourglass": (KDiffusionHourglass, HourglassOptions),
}
# What constructors raise for options that they do not check themselves.
UNBUILDABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)


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
            make, options = NETWORKS[card.network]
            module = make(options(**plain_options(card.options)))
        except TangencyError:
            raise
        except UNBUILDABLE as error:
            raise ModelError(
                f"score card: '{card.network}' cannot be built from its options: {quoted(error)}."
            ) from error
    return NetworkScore(module, card, kind)


def filled_network(card: ScoreCard, tensors: Mapping[str, Tensor], path: Path, kind: str) -> NetworkScore:
    """The network of a card with the tensors of a file; memory is taken only once they are known to fit it."""
    try:
        with torch.device("meta"):
            plan = build_network(card, kind=kind)
        fill(plan.module, {name: torch.empty(value.shape, device="meta") for name, value in tensors.items()}, path)
        score = build_network(card, kind=kind)
    except TangencyError as error:
        raise error if str(error).startswith(str(path)) else ModelError(f"{path}: {quoted(error)}") from error
    fill(score.module, tensors, path)
    return score


def _check_unet(card: ScoreCard) -> None:
    """Raise where the network would read other channels or labels than the card says."""
    for name, stated in (("channels", card.shape[0]), ("classes", len(card.classes))):
        if card.options.get(name) != stated:
            raise ModelError(
                f"score card: options.{name} is {card.options.get(name)}, the card is of {stated}; expected the same."
            )


def in_single_precision(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors in float32, and a note where some of them were in half precision."""
    half = any(value.dtype in (torch.float16, torch.bfloat16) for value in tensors.values())
    notes = ["weights in half precision, computed with in float32"] if half else []
    return {name: value.float() for name, value in tensors.items()}, notes


def save_score(score: NetworkScore, path: Path | str, half: bool = False) -> None:
    """Write tensors and card; `half` stores them in half precision, which `load_network` converts to float32."""
    if score.settings.network not in NETWORKS:
        raise ModelError(
            f"'{score.settings.network}': a network that has no name cannot be rebuilt, so it is not saved."
        )
    tensors = score.module.state_dict()
    if half:
        wide, tensors = tensors, {n: v.half() if v.is_floating_point() else v for n, v in tensors.items()}
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
