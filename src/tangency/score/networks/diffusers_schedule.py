"""What the scheduler of a diffusers folder says of its network: prediction, noise levels, range of images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from tangency.errors import ModelError, quoted, unknown_name
from tangency.score.networks.config_values import Settings, read_settings
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
    for place in places:
        if (place / "scheduler_config.json").is_file():
            return place / "scheduler_config.json"
    raise ModelError(
        f"'{home}': no scheduler_config.json beside it, so its noise levels are unknown; put the scheduler that it "
        "was trained with into the folder (scheduler.save_pretrained)."
    )


@dataclass(frozen=True)
class Schedule:
    """What the scheduler says of its network, as on a `ScoreCard`.

    Args:
        scheduler: name of its class.
        prediction, sigma_range, levels, sigma_data, data_range: as on a card.
        reading: notes on how the file was read.
    """

    scheduler: str
    prediction: str
    sigma_range: tuple[float, float]
    levels: tuple[float, ...] = ()
    sigma_data: float = 0.5
    data_range: tuple[float, float] = (-1.0, 1.0)
    reading: tuple[str, ...] = ()


def read_schedule(path: Path, network: Settings, span: str | None = None) -> Schedule:
    """What a scheduler says of a network.

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
    prediction = str(config.get("prediction_type", "epsilon"))
    if name.startswith("EDM"):
        if prediction != "epsilon":
            raise ModelError(
                f"'{path.parent}': {name} with prediction '{prediction}', expected epsilon (Karras et al.)."
            )
        limits = config.positive("sigma_min", 0.002) / 2, config.positive("sigma_max", 80.0) / 2
        return Schedule(name, "edm", limits, sigma_data=config.positive("sigma_data", 0.5))
    if prediction not in _PREDICTIONS:
        raise ModelError(f"'{path.parent}': prediction '{prediction}', expected one of {', '.join(_PREDICTIONS)}.")
    levels = _levels(path, name, config)
    return Schedule(name, _PREDICTIONS[prediction], (levels[0] / 2, levels[-1] / 2), levels)


def _variance_exploding(path: Path, name: str, config: Settings, network: Settings, span: str | None) -> Schedule:
    """Networks of Song et al. (2021) whose output is the score itself, at u + σn, of images in [0, 1].

    diffusers' own pipelines give the score to the scheduler as it is, and show images cut off at 0 and 1; networks that
    need [-1, 1] inside centre their input themselves.
    """
    low, high = (config.positive(key, known) for key, known in zip(("sigma_min", "sigma_max"), _VE[name], strict=True))
    if name == "KarrasVeScheduler":  # of images in [-1, 1], whose pipeline gives the network those in [0, 1]
        low, high = low / 2, high / 2
    if span is not None and span not in RANGES:
        raise ModelError(f"'{path.parent}': {unknown_name('range', span, RANGES)}")
    centred = network.get("center_input_sample") is True
    if centred and span == "-1..1":
        raise ModelError(
            f"'{path.parent}': range={span}, but its network centres images of [0, 1] itself; leave it out."
        )
    note = f"the network of a {name} gives the score itself, of images in [{(span or '0..1').replace('..', ', ')}]"
    if not centred and span is None:
        note += ", as diffusers' pipeline has them; if it was trained on [-1, 1], say ?range=-1..1"
    data_range = RANGES[span or "0..1"]
    width = data_range[1] - data_range[0]
    return Schedule(name, "score", (low / width, high / width), data_range=data_range, reading=(note,))


def _levels(path: Path, name: str, config: Settings) -> tuple[float, ...]:
    """σ of every time step, from the scheduler's own ᾱ."""
    from diffusers import DDPMScheduler

    if not {"beta_schedule", "trained_betas"} & config.values.keys():
        raise ModelError(
            f"'{path.parent}': the scheduler {name} has no beta_schedule, expected one of the DDPM family, an EDM one, "
            f"or one of {', '.join(_VE)}."
        )
    settings = {key: config.get(key) for key in _SCHEDULE_KEYS if key in config.values}
    settings["num_train_timesteps"] = config.whole("num_train_timesteps", 2, _MOST_STEPS, 1000)
    try:
        levels = ddpm_levels(DDPMScheduler(**settings).alphas_cumprod)
    except (NotImplementedError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"'{path.parent}': diffusers does not know its schedule ({quoted(error)}).") from error
    finite = tuple(level for level in levels if math.isfinite(level) and level < _LARGEST_LEVEL)
    if len(finite) < 2 or finite[0] <= 0:
        raise ModelError(f"'{path.parent}': its schedule has {len(finite)} finite noise levels, expected at least 2.")
    return finite
