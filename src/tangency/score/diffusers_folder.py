"""Folders of Hugging Face diffusers as scores: unconditional and class-conditional pixel diffusions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import ModelError
from tangency.models.weights import fill
from tangency.score.card import ScoreCard
from tangency.score.network import NetworkScore
from tangency.score.parametrisation import ddpm_levels

_PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v", "sample": "sample"}
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_SCHEDULE_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)
_LARGEST_LEVEL = 1e6  # of a schedule that ends in pure noise, whose last σ is infinite


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
    kind: str = "",
) -> NetworkScore:
    """A pipeline folder with `unet/` and `scheduler/`, or a `UNet2DModel` folder beside or above a scheduler's.

    D(x; σ) = x − σ ε_θ(x/√(1 + σ²), t(σ)) and likewise for v and x₀, with σ_t² = (1 − ᾱ_t)/ᾱ_t of the scheduler's own
    ᾱ, and t linear in ln σ between its steps. Nothing is clipped.

    Args:
        folder: as `save_pretrained` writes it, weights in safetensors.
        device: where it is asked.
        size: side of the images, for a network whose configuration does not name one.
        kind: short name for reports; by default that of the folder.

    Raises:
        ModelError: not such a folder, pickled weights, a latent or text-conditional network, an unknown schedule.
    """
    folder = Path(folder)
    home = folder / "unet" if (folder / "unet").is_dir() else folder
    config = _config(home, "config.json", "UNet2DModel")
    schedule = _schedule(home)
    _refuse_unknown(home, config)
    card = ScoreCard(
        network="diffusers",
        options={name: value for name, value in config.items() if not name.startswith("_")},
        shape=_shape(home, config, size),
        classes=tuple(map(str, range(config.get("num_class_embeds") or 0))),
        unconditional=not config.get("num_class_embeds"),
        provenance={"scheduler": schedule.pop("scheduler"), "diffusers": config.get("_diffusers_version", "")},
        **schedule,
    )
    score = NetworkScore(_built(home, card), card, kind or f"diffusers:{folder.name}")
    return score.to(device)


def _built(home: Path, card: ScoreCard) -> nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights = home / _WEIGHTS
    if not weights.is_file():
        pickled = sorted(path.name for path in home.glob("*.bin"))
        hint = (
            f"only the pickled {', '.join(pickled)}; write safetensors with save_pretrained(safe_serialization=True)"
            if pickled
            else "nothing of the kind"
        )
        raise ModelError(f"'{home}': expected the weights in {_WEIGHTS}, got {hint}.")
    try:
        tensors = load_file(weights)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{weights}: not a readable safetensors file ({error}). Fetch or write it again.") from error
    with torch.random.fork_rng(devices=[]):
        try:
            module = build_diffusers(card.options)
        except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError) as error:
            raise ModelError(f"'{home}': diffusers cannot build the network of its config.json ({error}).") from error
    fill(module, {f"net.{name}": value.float() for name, value in tensors.items()}, weights)
    return module


def _config(folder: Path, name: str, what: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise ModelError(
            f"'{folder}': no {name} in it, expected a folder that save_pretrained of diffusers wrote ({what}), with "
            "its scheduler."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error}); fetch or write it again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: got {type(content).__name__}, expected a mapping of settings.")
    return content


def _refuse_unknown(home: Path, config: dict[str, Any]) -> None:
    """Networks that D = … does not hold for."""
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
        if config.get(key) == wrong:
            raise ModelError(
                f"'{home}': {key} = {wrong}: no support for a network that {why}; wrap it as FunctionScore."
            )


def _shape(home: Path, config: dict[str, Any], size: int | None) -> tuple[int, int, int]:
    found = config.get("sample_size") if size is None else size
    if found is None:
        raise ModelError(f"'{home}': its configuration names no sample_size; give the side of its images as ?size=32.")
    height, width = found if isinstance(found, list | tuple) else (found, found)
    return int(config.get("in_channels", 3)), int(height), int(width)


def _schedule(home: Path) -> dict[str, Any]:
    """The parts of the card that the scheduler decides."""
    places = [home.parent / "scheduler", home / "scheduler", home]
    folder = next((place for place in places if (place / "scheduler_config.json").is_file()), None)
    if folder is None:
        raise ModelError(
            f"'{home}': no scheduler_config.json beside it, so its noise levels are unknown; put the scheduler that it "
            "was trained with into the folder (scheduler.save_pretrained)."
        )
    config = _config(folder, "scheduler_config.json", "scheduler")
    name, asked = str(config.get("_class_name", "")), str(config.get("prediction_type", "epsilon"))
    if name.startswith("EDM"):
        if asked != "epsilon":
            raise ModelError(f"'{folder}': {name} with prediction '{asked}', expected epsilon (Karras et al.).")
        low, high = float(config.get("sigma_min", 0.002)), float(config.get("sigma_max", 80.0))
        data = float(config.get("sigma_data", 0.5))
        return {"scheduler": name, "prediction": "edm", "sigma_data": data, "sigma_range": (low / 2, high / 2)}
    if asked not in _PREDICTIONS:
        raise ModelError(f"'{folder}': prediction '{asked}', expected one of {', '.join(_PREDICTIONS)}.")
    levels = _levels(folder, name, config)
    return {
        "scheduler": name,
        "prediction": _PREDICTIONS[asked],
        "levels": levels,
        "sigma_range": (levels[0] / 2, levels[-1] / 2),
    }


def _levels(folder: Path, name: str, config: dict[str, Any]) -> tuple[float, ...]:
    from diffusers import DDPMScheduler

    if "beta_schedule" not in config and "trained_betas" not in config:
        raise ModelError(
            f"'{folder}': the scheduler {name} has no beta_schedule, expected one of the DDPM family or an EDM one."
        )
    try:
        scheduler = DDPMScheduler(**{key: config[key] for key in _SCHEDULE_KEYS if key in config})
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ModelError(f"'{folder}': diffusers does not know its schedule ({error}).") from error
    levels = ddpm_levels(scheduler.alphas_cumprod)
    finite = tuple(level for level in levels if math.isfinite(level) and level < _LARGEST_LEVEL)
    if len(finite) < 2 or finite[0] <= 0:
        raise ModelError(f"'{folder}': its schedule has {len(finite)} finite noise levels, expected at least 2.")
    return finite
