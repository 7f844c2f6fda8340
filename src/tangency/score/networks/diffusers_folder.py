"""Folders of Hugging Face diffusers as scores: unconditional and class-conditional pixel diffusions."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

import torch

from tangency.errors import ModelError, quoted
from tangency.score.networks.card import ScoreCard
from tangency.score.networks.config_values import Settings, read_settings
from tangency.score.networks.diffusers_schedule import read_schedule, schedule_file
from tangency.score.networks.diffusers_weights import current_names, find_weights, read_weights
from tangency.score.networks.network import NetworkScore
from tangency.score.networks.store import UNBUILDABLE, build_network, filled_network

_MODEL = "a folder that save_pretrained of diffusers wrote (UNet2DModel), with its scheduler"
_WIDEST, _MOST_LEVELS, _MOST_LAYERS, _LARGEST = 16_384, 12, 64, 100_000


def load_diffusers(
    folder: Path | str,
    device: str | torch.device = "cpu",
    *,
    size: int | None = None,
    variant: str | None = None,
    span: str | None = None,
    kind: str = "",
) -> NetworkScore:
    """A pipeline folder with `unet/` and `scheduler/`, or a `UNet2DModel` folder beside or above a scheduler's.

    D(x; σ) = x − σ ε_θ(x/√(1 + σ²), t(σ)) and likewise for v and x₀, with σ_t² = (1 − ᾱ_t)/ᾱ_t of the scheduler's own
    ᾱ, and t linear in ln σ between its steps; D(x; σ) = x + σ² s_θ(x, σ) for the networks of a `ScoreSdeVeScheduler`,
    that give the score of images in [0, 1]. Nothing is clipped. Weights of any version since 0.1, in float32.

    Args:
        folder: as `save_pretrained` writes it: safetensors or a pickle, none of which is run; whole or in shards.
        device: where it runs.
        size: side of the images, for a network whose configuration does not name one.
        variant: of the weights, such as "fp16"; by default the plain ones, or the only variant.
        span: "0..1" or "-1..1", images of a variance-exploding network that does not centre them itself.
        kind: short name for reports; by default that of the folder.

    Raises:
        ModelError: not such a folder, a latent or text-conditional network, an unknown schedule or variant, weights
            that do not fit.
    """
    folder = Path(folder)
    home = _home(folder)
    config = read_settings(home / "config.json", _MODEL)
    schedule = read_schedule(schedule_file(home, home != folder), config, span)
    _refuse_unknown(home, config, schedule.prediction)
    weights = find_weights(home, variant)
    tensors, notes = read_weights(weights)
    classes = config.whole("num_class_embeds", 0, _LARGEST, 0)
    card = ScoreCard(
        network="diffusers",
        prediction=schedule.prediction,
        options={name: value for name, value in config.values.items() if not name.startswith("_")},
        shape=_shape(home, config, size),
        classes=tuple(map(str, range(classes))),
        unconditional=not classes,
        data_range=schedule.data_range,
        sigma_range=schedule.sigma_range,
        levels=schedule.levels,
        sigma_data=schedule.sigma_data,
    )
    tensors, renamed = current_names({f"net.{name}": value for name, value in tensors.items()}, _planned(home, card))
    provenance: dict[str, object] = {
        "scheduler": schedule.scheduler,
        "diffusers": config.get("_diffusers_version", ""),
        "weights": [path.name for path in weights.files],
        "reading": [*schedule.reading, *notes, *renamed],
    }
    card = dataclasses.replace(card, provenance=provenance)
    return filled_network(card, tensors, weights.files[0], kind or f"diffusers:{folder.name}").to(device)


def diffusers_files(folder: Path | str, variant: str | None = None) -> tuple[Path, ...]:
    """Every file that `load_diffusers` reads, with what it finds in them."""
    folder = Path(folder)
    home = _home(folder)
    read_settings(home / "config.json", _MODEL)
    return (home / "config.json", schedule_file(home, home != folder), *find_weights(home, variant).all_files)


def _home(folder: Path) -> Path:
    return folder / "unet" if (folder / "unet").is_dir() else folder


def _planned(home: Path, card: ScoreCard) -> Collection[str]:
    """Names of the network's tensors; raises where it does not turn an image of the card into one of its size."""
    image, one = torch.empty(1, *card.shape, device="meta"), torch.empty(1, device="meta")
    try:
        with torch.device("meta"), torch.no_grad():
            plan = build_network(card).module
            size = plan(image, one, one.long() if card.classes else None).shape
    except UNBUILDABLE as error:
        raise ModelError(
            f"'{home}': the network of its config.json cannot be built, or does not run on images of {card.shape} "
            f"({quoted(error)})."
        ) from error
    if size[1] < card.shape[0] or size[2:] != image.shape[2:]:
        raise ModelError(
            f"'{home}': its network turns images of {card.shape} into {tuple(size[1:])}, expected as many channels or "
            "more, and the same sides."
        )
    return plan.state_dict().keys()


def _refuse_unknown(home: Path, config: Settings, prediction: str) -> None:
    """Raise for networks that the formulas of D do not hold for, and for absurd sizes."""
    name = config.get("_class_name")
    if name != "UNet2DModel":
        raise ModelError(
            f"'{home}': got a {name}, expected a UNet2DModel on pixels: latent and text-conditional diffusions have no "
            "score of images."
        )
    for key, wrong, why in (
        ("center_input_sample", True, "scales its input itself"),
        ("time_embedding_type", "fourier", "divides its output by the time, as score-SDE networks do"),
        ("time_embedding_type", "learned", "knows whole time steps only"),
        ("class_embed_type", "timestep", "takes numbers for classes"),
        ("class_embed_type", "identity", "takes embeddings for classes"),
    ):
        if config.get(key) == wrong and not (prediction == "score" and wrong in (True, "fourier")):
            raise ModelError(
                f"'{home}': {key} = {wrong}: no support for a network that {why}, under a scheduler other than "
                "ScoreSdeVeScheduler; wrap it as FunctionScore."
            )
    if "block_out_channels" in config.values:
        config.wholes("block_out_channels", 1, _WIDEST, _MOST_LEVELS)
    config.whole("layers_per_block", 1, _MOST_LAYERS, 2)
    for key, value in config.values.items():
        if type(value) is int and abs(value) > _LARGEST:
            raise ModelError(f"'{home}': {key} is {value}, expected no number above {_LARGEST} in its config.json.")


def _shape(home: Path, config: Settings, size: int | None) -> tuple[int, int, int]:
    """(C, H, W); sides that the network cannot halve and double again are refused."""
    given = config.get("sample_size") if size is None else size
    if given is None:
        raise ModelError(f"'{home}': its configuration names no sample_size; give the side of its images as ?size=32.")
    pair = {"sample_size": given if isinstance(given, list | tuple) else [given] * 2}
    sides = Settings(pair, config.where).pair("sample_size", _LARGEST)
    multiple = 2 ** (len(config.get("block_out_channels") or [1] * 4) - 1)
    if any(side % multiple for side in sides):
        raise ModelError(
            f"'{home}': its images are of {' x '.join(map(str, sides))}, expected two sides that {multiple} divides, "
            f"as its {multiple.bit_length()} levels need it; give the side as ?size=…."
        )
    return config.whole("in_channels", 1, 256, 3), *sides
