"""What the scheduler of a diffusers folder says of its network: prediction, noise levels, range of images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tangency.errors import ModelError, quoted, unknown_name
from tangency.score.networks.config_values import positive, read_settings, whole
from tangency.score.networks.parametrisation import ddpm_levels

RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0)}

_PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v", "sample": "sample"}
_SCHEDULE_KEYS = ("beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
_LARGEST_LEVEL = 1e6  # of a schedule that ends in pure noise, whose last σ is infinite
_MOST_STEPS = 1_000_000
# Smallest and largest σ where the file names none: diffusers' own defaults.
_VE = {"ScoreSdeVeScheduler": (0.01, 1348.0), "KarrasVeScheduler": (0.02, 100.0)}


def schedule_file(home: Path, parent: bool) -> Path:
    """The scheduler's file: the model's own, in its folder or below, before one beside it.

    Args:
        home: folder of the network.
        parent: whether it is the `unet` of a pipeline, whose scheduler may lie in the pipeline's folder.
    """
    places = [home / "scheduler", home, home.parent / "scheduler", *([home.parent] if parent else [])]
    found = next((p / "scheduler_config.json" for p in places if (p / "scheduler_config.json").is_file()), None)
    if found is None:
        raise ModelError(
            f"'{home}': no scheduler_config.json beside it, so its noise levels are unknown; put the scheduler that it "
            "was trained with into the folder (scheduler.save_pretrained)."
        )
    return found


def read_schedule(path: Path, network: dict[str, Any], span: str | None = None) -> dict[str, Any]:
    """Parts of a card that the scheduler decides, with its name as "scheduler" and sentences as "reading".

    Args:
        path: scheduler_config.json.
        network: settings of the network.
        span: "0..1" or "-1..1", range of its images, where the folder leaves it open.

    Raises:
        ModelError: a scheduler whose networks are no scores, or a setting out of bounds.
    """
    config = read_settings(path, "a scheduler")
    name = str(config.get("_class_name", ""))
    if name in _VE:
        return _variance_exploding(path, name, config, network, span)
    if span is not None:
        raise ModelError(f"'{path.parent}': range={span}, but networks of a {name} live on [-1, 1]; leave it out.")
    asked = str(config.get("prediction_type", "epsilon"))
    if name.startswith("EDM"):
        if asked != "epsilon":
            raise ModelError(f"'{path.parent}': {name} with prediction '{asked}', expected epsilon (Karras et al.).")
        low, high = positive(config, "sigma_min", path, 0.002), positive(config, "sigma_max", path, 80.0)
        data = positive(config, "sigma_data", path, 0.5)
        return _card(name, prediction="edm", sigma_data=data, sigma_range=(low / 2, high / 2))
    if asked not in _PREDICTIONS:
        raise ModelError(f"'{path.parent}': prediction '{asked}', expected one of {', '.join(_PREDICTIONS)}.")
    levels = _levels(path, name, config)
    return _card(name, prediction=_PREDICTIONS[asked], levels=levels, sigma_range=(levels[0] / 2, levels[-1] / 2))


def _card(scheduler: str, reading: tuple[str, ...] = (), **parts: Any) -> dict[str, Any]:
    return {"scheduler": scheduler, "reading": list(reading), **parts}


def _variance_exploding(
    path: Path, name: str, config: dict[str, Any], network: dict[str, Any], span: str | None
) -> dict[str, Any]:
    """Networks of Song et al. (2021) whose output is the score itself, at u + σn, of images in [0, 1].

    diffusers' own pipelines hand the score to the scheduler as it is, and show images cut off at 0 and 1; networks that
    want [-1, 1] inside centre their input themselves.
    """
    low, high = (
        positive(config, key, path, known) for key, known in zip(("sigma_min", "sigma_max"), _VE[name], strict=True)
    )
    if name == "KarrasVeScheduler":  # of images in [-1, 1], whose pipeline asks the network for those in [0, 1]
        low, high = low / 2, high / 2
    if span is not None and span not in RANGES:
        raise ModelError(f"'{path.parent}': {unknown_name('range', span, RANGES)}")
    centred = network.get("center_input_sample") is True
    if centred and span == "-1..1":
        raise ModelError(
            f"'{path.parent}': range={span}, but its network centres images of [0, 1] itself; leave it out."
        )
    note = f"the network of a {name} answers the score itself, of images in [{(span or '0..1').replace('..', ', ')}]"
    if not centred and span is None:
        note += ", as diffusers' pipeline has them; if it was trained on [-1, 1], say ?range=-1..1"
    data_range = RANGES[span or "0..1"]
    width = data_range[1] - data_range[0]
    return _card(name, (note,), prediction="score", data_range=data_range, sigma_range=(low / width, high / width))


def _levels(path: Path, name: str, config: dict[str, Any]) -> tuple[float, ...]:
    """σ of every time step, from the scheduler's own ᾱ."""
    from diffusers import DDPMScheduler

    if "beta_schedule" not in config and "trained_betas" not in config:
        raise ModelError(
            f"'{path.parent}': the scheduler {name} has no beta_schedule, expected one of the DDPM family, an EDM one, "
            f"or one of {', '.join(_VE)}."
        )
    settings = {key: config[key] for key in _SCHEDULE_KEYS if key in config}
    settings["num_train_timesteps"] = whole(config, "num_train_timesteps", path, 2, _MOST_STEPS, 1000)
    try:
        levels = ddpm_levels(DDPMScheduler(**settings).alphas_cumprod)
    except (NotImplementedError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"'{path.parent}': diffusers does not know its schedule ({quoted(error)}).") from error
    finite = tuple(level for level in levels if math.isfinite(level) and level < _LARGEST_LEVEL)
    if len(finite) < 2 or finite[0] <= 0:
        raise ModelError(f"'{path.parent}': its schedule has {len(finite)} finite noise levels, expected at least 2.")
    return finite
