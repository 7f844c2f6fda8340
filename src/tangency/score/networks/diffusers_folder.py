"""Folders of Hugging Face diffusers as scores: unconditional and class-conditional pixel diffusions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import ModelError, quoted
from tangency.models.weights import fill
from tangency.score.networks.card import ScoreCard
from tangency.score.networks.config_values import read_settings, whole, wholes
from tangency.score.networks.diffusers_schedule import read_schedule, schedule_file
from tangency.score.networks.diffusers_weights import FolderWeights, current_names, find_weights, read_weights
from tangency.score.networks.network import NetworkScore

_MODEL = "a folder that save_pretrained of diffusers wrote (UNet2DModel), with its scheduler"
# What diffusers raises for settings that it does not check itself.
_UNBUILDABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
_WIDEST, _MOST_LEVELS, _MOST_LAYERS, _LARGEST = 16_384, 12, 64, 100_000


class DiffusersUNet(nn.Module):
    """`diffusers.UNet2DModel` as `NetworkScore` asks it: a fractional time step stays fractional, as a tensor."""

    def __init__(self, **config: Any) -> None:
        from diffusers import UNet2DModel

        super().__init__()
        self.net = UNet2DModel.from_config(config)

    def forward(self, x: Tensor, time: Tensor, y: Tensor | None = None) -> Tensor:
        """F of images (N, C, H, W) at times (N,), of classes y (N,)."""
        found: Tensor = self.net(x, time, class_labels=y, return_dict=False)[0]
        return found


def build_diffusers(options: dict[str, Any]) -> nn.Module:
    """The network of a card's options."""
    return DiffusersUNet(**options)


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
    that answer the score of images in [0, 1]. Nothing is clipped. Weights of any version since 0.1, in float32.

    Args:
        folder: as `save_pretrained` writes it: safetensors or a pickle, none of which is run; whole or in shards.
        device: where it is asked.
        size: side of the images, for a network whose configuration does not name one.
        variant: of the weights, such as "fp16"; by default the plain ones, or the only variant that there is.
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
    _refuse_unknown(home, config, schedule["prediction"])
    weights = find_weights(home, variant)
    classes = whole(config, "num_class_embeds", home, 0, _LARGEST, 0)
    card = ScoreCard(
        network="diffusers",
        options={name: value for name, value in config.items() if not name.startswith("_")},
        shape=_shape(home, config, size),
        classes=tuple(map(str, range(classes))),
        unconditional=not classes,
        provenance={
            "scheduler": schedule.pop("scheduler"),
            "diffusers": config.get("_diffusers_version", ""),
            "weights": [path.name for path in weights.files],
            "reading": schedule.pop("reading"),
        },
        **schedule,
    )
    return NetworkScore(_built(home, card, weights), card, kind or f"diffusers:{folder.name}").to(device)


def diffusers_files(folder: Path | str, variant: str | None = None) -> tuple[Path, ...]:
    """Every file that `load_diffusers` reads, with what it finds in them."""
    folder = Path(folder)
    home = _home(folder)
    read_settings(home / "config.json", _MODEL)
    return (home / "config.json", schedule_file(home, home != folder), *find_weights(home, variant).all_files)


def _home(folder: Path) -> Path:
    return folder / "unet" if (folder / "unet").is_dir() else folder


def _built(home: Path, card: ScoreCard, weights: FolderWeights) -> nn.Module:
    """The network with its weights; memory is taken only once they are known to fit. Adds to the card's reading."""
    tensors, notes = read_weights(weights)
    with torch.device("meta"):
        plan = _made(home, card)
    tensors, renamed = current_names(
        {f"net.{name}": value for name, value in tensors.items()}, plan.state_dict().keys()
    )
    fill(plan, {name: torch.empty(value.shape, device="meta") for name, value in tensors.items()}, weights.files[0])
    _try_out(home, plan, card)
    module = _made(home, card)
    fill(module, tensors, weights.files[0])
    card.provenance["reading"] += notes + renamed
    return module


def _made(home: Path, card: ScoreCard) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        try:
            return build_diffusers(card.options)
        except _UNBUILDABLE as error:
            raise ModelError(
                f"'{home}': diffusers cannot build the network of its config.json ({quoted(error)})."
            ) from error


def _try_out(home: Path, plan: nn.Module, card: ScoreCard) -> None:
    """Raise where a network without memory does not turn an image of the card into an answer of its size."""
    image, one = torch.empty(1, *card.shape, device="meta"), torch.empty(1, device="meta")
    try:
        with torch.no_grad():
            found = plan(image, one, one.long() if card.classes else None).shape
    except _UNBUILDABLE as error:
        raise ModelError(
            f"'{home}': the network of its config.json does not run on images of {card.shape} ({quoted(error)})."
        ) from error
    if found[1] < card.shape[0] or found[2:] != image.shape[2:]:
        raise ModelError(
            f"'{home}': its network answers images of {card.shape} by {tuple(found[1:])}, expected as many channels or "
            "more, and the same sides."
        )


def _refuse_unknown(home: Path, config: dict[str, Any], prediction: str) -> None:
    """Networks that D = … does not hold for, and sizes that no network has."""
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
    if "block_out_channels" in config:
        wholes(config, "block_out_channels", home, 1, _WIDEST, _MOST_LEVELS)
    whole(config, "layers_per_block", home, 1, _MOST_LAYERS, 2)
    for key, value in config.items():
        if type(value) is int and abs(value) > _LARGEST:
            raise ModelError(f"'{home}': {key} is {value}, expected no number above {_LARGEST} in its config.json.")


def _shape(home: Path, config: dict[str, Any], size: int | None) -> tuple[int, int, int]:
    """(C, H, W); sides that the network cannot halve and double again are refused."""
    found = config.get("sample_size") if size is None else size
    if found is None:
        raise ModelError(f"'{home}': its configuration names no sample_size; give the side of its images as ?size=32.")
    sides = wholes(
        {"sample_size": found if isinstance(found, list | tuple) else [found] * 2}, "sample_size", home, 1, _LARGEST, 2
    )
    multiple = 2 ** (len(config.get("block_out_channels") or [1] * 4) - 1)
    if len(sides) != 2 or any(side % multiple for side in sides):
        raise ModelError(
            f"'{home}': its images are of {' x '.join(map(str, sides))}, expected two sides that {multiple} divides, "
            f"as its {multiple.bit_length()} levels need it; give the side as ?size=…."
        )
    return whole(config, "in_channels", home, 1, 256, 3), sides[0], sides[1]
