"""Folders of Hugging Face image classifiers: weights in safetensors, and how their processor feeds them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tangency.errors import ModelError
from tangency.models.feeding import Feeding
from tangency.models.foreign import HuggingFaceNetwork, needs

_WHAT = "a folder that save_pretrained of transformers wrote (an image classifier)"


def open_folder(folder: Path) -> tuple[nn.Module, dict[str, Any], int, Feeding, Path]:
    """Module, options for a card, number of logits, what its processor says of the input, and the file of weights.

    Args:
        folder: with config.json, preprocessor_config.json and model.safetensors; nothing is fetched or run.

    Raises:
        ModelError: not such a folder, pickled weights, code of its own, or weights that do not fit.
    """
    config, weights = _json(folder, "config.json"), _weights(folder)
    if "auto_map" in config:
        raise ModelError(f"'{folder}': its config.json asks for code of its own (auto_map), which is never run.")
    names = config.get("architectures") or []
    if not any(str(name).endswith("ForImageClassification") for name in names):
        raise ModelError(f"'{folder}': holds {', '.join(map(str, names)) or 'no architecture'}, expected {_WHAT}.")
    module, plain = _loaded(folder)
    outputs = int(module.config.num_labels)
    labels = {int(key): str(value) for key, value in module.config.id2label.items()}
    known = _feeding(folder, config)
    named = sorted(labels) == list(range(outputs)) and not all(v == f"LABEL_{k}" for k, v in labels.items())
    if named:
        known = known.or_else(Feeding(classes=tuple(labels[index] for index in range(outputs))))
    return HuggingFaceNetwork(module), {"config": plain}, outputs, known, weights


def _loaded(folder: Path) -> tuple[Any, dict[str, Any]]:
    try:
        from safetensors import SafetensorError
        from transformers import AutoModelForImageClassification
        from transformers.utils import logging
    except ImportError as error:
        raise needs("transformers", "hf", error) from error
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module, told = AutoModelForImageClassification.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                attn_implementation="eager",
                dtype=torch.float32,
            )
    except ImportError as error:
        raise needs(f"a package that '{folder}' takes", "models", error) from error
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise ModelError(f"'{folder}': transformers cannot read it ({reason}); expected {_WHAT}.") from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    wrong = {
        kind: sorted(map(str, told.get(kind) or ()))[:5]
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }
    if any(wrong.values()):
        named = "; ".join(f"{kind.replace('_', ' ')} {', '.join(keys)}" for kind, keys in wrong.items() if keys)
        raise ModelError(f"'{folder}': the weights do not fit its config.json: {named}.")
    return module.eval(), json.loads(module.config.to_json_string(use_diff=False))


def _weights(folder: Path) -> Path:
    found = sorted(folder.glob("model*.safetensors"))
    if found:
        return found[0]
    if not folder.is_dir():
        raise ModelError(f"'{folder}': no such folder, expected {_WHAT}. Nothing is ever fetched from the network.")
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    hint = f"only the pickled {', '.join(pickled)}; write it again with save_pretrained" if pickled else "none"
    raise ModelError(f"'{folder}': expected weights in model.safetensors, got {hint}.")


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise ModelError(f"'{folder}': no {name} in it, expected {_WHAT}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error}); fetch or write it again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: got a {type(content).__name__}, expected a mapping of settings.")
    return content


def _feeding(folder: Path, config: dict[str, Any]) -> Feeding:
    """Size, range, mean and std of preprocessor_config.json; nothing where it is absent."""
    if not (folder / "preprocessor_config.json").is_file():
        return Feeding(native=_pair(config.get("image_size")))
    found = _json(folder, "preprocessor_config.json")
    size = found.get("crop_size") if found.get("do_center_crop") else found.get("size")
    # An absent switch is on for every processor of image classifiers that transformers has.
    factor = float(found.get("rescale_factor", 1 / 255)) if found.get("do_rescale", True) else 1.0
    offset = 1.0 if found.get("rescale_offset") else 0.0
    limits = (-offset, 255 * factor - offset)
    rounded = (round(limits[0], 6), round(limits[1], 6))
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if found.get("do_normalize", True) and found.get("image_mean") is not None:
        mean, std = _channels(found["image_mean"]), _channels(found["image_std"])
    return Feeding(
        native=_pair(size) or _pair(config.get("image_size")),
        input_range=rounded,
        mean=mean,
        std=std,
        notes=("input as preprocessor_config.json says",),
    )


def _channels(value: Any) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, list | tuple) else (float(value),) * 3


def _pair(size: Any) -> tuple[int, int] | None:
    """(H, W) of 224, [224, 224], {"height", "width"} or {"shortest_edge"}."""
    if isinstance(size, dict):
        size = [size.get("height"), size.get("width")] if "height" in size else size.get("shortest_edge")
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return size[0], size[1]
    return (size, size) if isinstance(size, int) else None
