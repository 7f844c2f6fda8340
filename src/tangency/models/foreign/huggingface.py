"""Folders of Hugging Face image classifiers: config, weights, and the input that their processor makes."""

from __future__ import annotations

import inspect
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tangency.errors import ModelError, quoted
from tangency.models.foreign.feeding import Feeding
from tangency.models.foreign.hf_processors import BGR_KINDS, processing
from tangency.models.foreign.opening import Opened
from tangency.models.foreign.rebuilt import HuggingFaceNetwork, needs, optional
from tangency.models.foreign.shards import pieces, read_config, weights_of
from tangency.models.foreign.states import State, read_states

WHAT = "a folder that save_pretrained of transformers wrote (an image classifier)"
# Arguments that no image of fixed size gives: words, colours of a palette, patches of varying number.
_NOT_IMAGES = ("input_ids", "spatial_shapes")


def open_folder(folder: Path, variant: str | None = None, order: str | None = None) -> Opened:
    """The network of a folder, with the input of its processor.

    Args:
        folder: with config.json, weights, and usually preprocessor_config.json; nothing is fetched or run.
        variant: of the weights, as "fp16" of model.fp16.safetensors.
        order: "rgb" or "bgr", used instead of the processor's.

    Raises:
        ModelError: not such a folder, code of its own, a network of inputs other than images, weights that do not fit,
            or a processor that is no affine map of each channel.
    """
    config = folder_config(folder)
    file = _named_weights(folder, config) or weights_of(folder, WHAT, variant)
    kind = _classifier_class(folder, config)
    module, plain = _loaded(folder, kind, _state(file))
    channels, outputs = _channels_of(module.config), int(module.config.num_labels)
    processor = processing(folder, channels)
    known = Feeding(native=_pair(config.get("image_size")))
    known = known if processor is None else processor.feeding.or_else(known)
    known = replace(known, classes=_labels(module, outputs))
    own_order = None if processor is None else processor.channels
    fed = _order(folder, str(config.get("model_type")), channels, order, own_order)
    if file.name not in ("model.safetensors", "pytorch_model.bin"):
        known = replace(known, notes=(*known.notes, f"weights in {', '.join(path.name for path in pieces(file)[:4])}"))
    options: dict[str, Any] = {"config": plain} | ({"channels": list(fed)} if fed else {})
    network = HuggingFaceNetwork(module, options.get("channels"))
    return Opened(network, "hf:folder", outputs, options, known, file, channels)


def folder_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder; one that needs its own code is refused."""
    config = read_config(folder, WHAT)
    if "auto_map" in config:
        raise ModelError(f"'{folder}': its config.json asks for code of its own (auto_map), which is never run.")
    if "quantization_config" in config:
        raise ModelError(
            f"'{folder}': its weights are quantised (quantization_config in config.json), which has no exact gradients "
            "here; write it again in float32."
        )
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise ModelError(
            f"'{folder}': its config.json says problem_type {config['problem_type']}, expected a network that gives "
            "each image one class of several (single_label_classification)."
        )
    return config


def _named_weights(folder: Path, config: dict[str, Any]) -> Path | None:
    """The file of weights that config.json itself names; None where it names none, as usual."""
    name = config.get("transformers_weights")
    if name is None:
        return None
    if Path(str(name)).name != name or not (folder / name).is_file():
        raise ModelError(f"'{folder}': its config.json names the weights {str(name)[:100]!r}, which is no file in it.")
    return folder / str(name)


def _classifier_class(folder: Path, config: dict[str, Any]) -> Any:
    """The class of transformers that config.json names, an image classifier."""
    transformers = optional("transformers", "hf")
    table = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    names = [str(name) for name in config.get("architectures") or []]
    known = {n for value in table.values() for n in ((value,) if isinstance(value, str) else value)}
    fitting = [name for name in names if name in known]
    if not fitting and any("ForImageClassification" in name for name in names):
        raise ModelError(
            f"'{folder}': holds {', '.join(names)}, which transformers {transformers.__version__} does not have among "
            "its image classifiers; write it again with a version that has."
        )
    if not fitting:
        raise ModelError(f"'{folder}': holds {', '.join(names) or 'no architecture'}, expected {WHAT}.")
    kind = getattr(transformers, fitting[0])
    taken = inspect.signature(kind.forward).parameters
    if "pixel_values" not in taken or any(name in taken for name in _NOT_IMAGES):
        raise ModelError(
            f"'{folder}': {fitting[0]} takes {', '.join(list(taken)[1:4])}, …, expected a classifier of images alone "
            "(pixel_values of shape (N, C, H, W))."
        )
    return kind


def _state(file: Path) -> State:
    states = read_states(file)
    if "" not in states:
        raise ModelError(f"{file}: holds weights under {', '.join(states)}, expected them by themselves, as {WHAT}.")
    return states[""]


def _loaded(folder: Path, kind: Any, state: State) -> tuple[Any, dict[str, Any]]:
    from transformers import AutoConfig
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A state, not the folder: transformers would unpickle a pytorch_model.bin itself.
            module, report = kind.from_pretrained(
                None,
                config=AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False),
                state_dict=state,
                output_loading_info=True,
                attn_implementation="eager",
                dtype=torch.float32,
            )
    except ImportError as error:
        raise needs(f"a package that '{folder}' takes", "models", error) from error
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise ModelError(f"'{folder}': transformers cannot read it ({quoted(error)}); expected {WHAT}.") from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    wrong = {
        kind: sorted(map(str, report.get(kind) or ()))[:5]
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }
    if any(wrong.values()):
        named = "; ".join(f"{kind.replace('_', ' ')} {', '.join(keys)}" for kind, keys in wrong.items() if keys)
        raise ModelError(f"'{folder}': the weights do not fit its config.json: {named}.")
    return module.eval(), json.loads(module.config.to_json_string(use_diff=False))


def check_outputs(module: nn.Module, shape: tuple[int, int, int], outputs: int, folder: Path) -> None:
    """Raise unless images of that shape give as many logits as config.json says."""
    kind = type(getattr(module, "net", module)).__name__
    try:
        with torch.no_grad():
            logits = module(torch.zeros(1, *shape))
    except (ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError, AssertionError) as error:
        raise ModelError(
            f"'{folder}': {kind} cannot take images of {shape[0]}x{shape[1]}x{shape[2]} ({quoted(error)}); give "
            "the size that it takes, as in resize=224."
        ) from error
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (1, outputs):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(f"'{folder}': {kind} gives {got} for one image, expected (1, {outputs}), as config.json says.")


def _channels_of(config: Any) -> int:
    """Channels of the images that a network of transformers takes."""
    for part in (config, getattr(config, "vision_config", None)):
        for name in ("num_channels", "stem_num_channels"):
            if isinstance(getattr(part, name, None), int):
                return int(getattr(part, name))
    return 3


def _labels(module: Any, outputs: int) -> tuple[str, ...] | None:
    """Names of the classes, unless they are transformers' placeholders."""
    labels = {int(key): str(value) for key, value in (module.config.id2label or {}).items()}
    if sorted(labels) != list(range(outputs)) or all(v == f"LABEL_{k}" for k, v in labels.items()):
        return None
    return tuple(labels[index] for index in range(outputs))


def _order(
    folder: Path, kind: str, channels: int, requested: str | None, own: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Order in which channels are fed, () for that of the images; a ModelError where it is not known."""
    if requested is not None:
        if requested not in ("rgb", "bgr") or channels != 3:
            raise ModelError(f"'{folder}': channels={requested}, expected rgb or bgr, of a network for colour images.")
        return (2, 1, 0) if requested == "bgr" else ()
    if own is None and kind in BGR_KINDS:
        raise ModelError(
            f"'{folder}': no preprocessor_config.json says in which order a network of kind {kind} takes the channels; "
            "most of them take blue first. Give ?channels=bgr or channels=rgb."
        )
    return own or ()


def _pair(size: Any) -> tuple[int, int] | None:
    """(H, W) of 224 or [224, 224]."""
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return size[0], size[1]
    return (size, size) if isinstance(size, int) else None
