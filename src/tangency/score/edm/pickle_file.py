"""The published networks of Karras et al. (2022), read from their pickles without running anything in them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tangency.data.classes import CIFAR10, imagenet_synsets
from tangency.errors import DataError, ModelError, TangencyError, quoted, unknown_name
from tangency.formats.opening import existing_file
from tangency.formats.plain import brief
from tangency.formats.unpickle import MAX_BYTES, read_pickle
from tangency.score.edm.records import ModuleRecord, edm_table, is_record
from tangency.score.edm.unet_options import DhariwalOptions, SongOptions, UNetOptions, plain_options
from tangency.score.networks.card import ScoreCard
from tangency.score.networks.network import NetworkScore
from tangency.score.networks.store import filled_network

PREDICTION_OF = {"EDMPrecond": "edm", "VPPrecond": "vp", "VEPrecond": "ve", "iDDPMPrecond": "iddpm"}
NETWORK_OF: dict[str, tuple[str, type[UNetOptions]]] = {
    "SongUNet": ("songunet", SongOptions),
    "DhariwalUNet": ("dhariwal", DhariwalOptions),
}
LICENCE = "CC BY-NC-SA 4.0"

_EXPECTED = "a network in a pickle of EDM (.pkl)"
_TRAINED = (0.002, 80.0)  # σ on [-1, 1] that Karras et al. sample with, where the file itself names no limit
_VP_CONSTANTS = {"beta_d": 19.9, "beta_min": 0.1, "M": 1000}
_MOST_MODULES, _MOST_LEVELS, _MOST_PARTS, _LONGEST_NAME = 20_000, 100_000, 64, 100
_LARGEST = 1e30


def load_edm_pickle(path: Path | str, device: str | torch.device = "cpu") -> NetworkScore:
    """A published network of EDM as a score; nothing in the file is imported or called.

    Reads `edm-*.pkl` and `baseline-*.pkl` of Karras et al. (2022): DDPM++, NCSN++ and ADM, preconditioned as EDM, VP,
    VE or iDDPM. The averaged weights ('ema') are taken and computed with in float32, also where the file asks for
    float16. `save_score` writes the result as safetensors.

    Args:
        path: the file; its licence forbids commercial use.
        device: where the network is put.

    Raises:
        ModelError: another file, a truncated or altered one, or one that asks for more than a network.
    """
    path = Path(path)
    network = _averaged(_read(path), path)
    try:
        with open(path, "rb") as handle:
            card = _card(network, {"file": path.name, "sha256": hashlib.file_digest(handle, "sha256").hexdigest()})
        tensors = _tensors(_member(network, "model"))
        if len({id(tensor) for tensor in tensors.values()}) < len(tensors):
            raise ModelError("one tensor stands under several names, expected one for each.")
        weights = {name: _in_float32(tensor, name) for name, tensor in tensors.items()}
        score = filled_network(card, weights, path, path.stem)
    except TangencyError as error:
        raise error if str(error).startswith(str(path)) else ModelError(f"{path}: {quoted(error)}") from error
    return score.to(device)


def _read(path: Path) -> object:
    """The content of the pickle, as plain data and records."""
    try:
        size = existing_file(path, _EXPECTED).stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size} bytes, expected {_EXPECTED} of at most {MAX_BYTES}.")
        return read_pickle(path, edm_table(size), expected=_EXPECTED)
    except DataError as error:
        if not isinstance(error.__cause__, DataError):
            raise ModelError(str(error)) from error
        raise ModelError(
            f"{path}: the pickle asks for or holds {error.__cause__}; expected {_EXPECTED}. It was refused and nothing "
            "in it was run. Fetch the file again from its publisher, or convert it to safetensors with EDM's own code "
            "where you trust it."
        ) from error


def _averaged(content: object, path: Path) -> ModuleRecord:
    """The network under 'ema', or the content itself where it is one."""
    network = content.get("ema") if isinstance(content, dict) and not is_record(content) else content
    if is_record(network):
        return network
    names = brief(list(content)) if isinstance(content, dict) else f"a {type(content).__name__}"
    raise ModelError(
        f"{path}: the pickle holds {names}, expected the averaged network of EDM under 'ema'. It may come "
        "from other code than EDM's."
    )


def _card(network: ModuleRecord, origin: dict[str, str]) -> ScoreCard:
    """How to feed the network, from its class and attributes."""
    form, state, model = network["class_name"], network["state"], _member(network, "model")
    if form not in PREDICTION_OF:
        raise ModelError(unknown_name("preconditioning", form, PREDICTION_OF))
    if model["class_name"] not in NETWORK_OF:
        raise ModelError(unknown_name("class of U-Net", model["class_name"], NETWORK_OF))
    given, options = _options(model, state, learned=2 if form == "iDDPMPrecond" else 1)
    if form == "VPPrecond":
        _check_vp(state)
    low, high = _number(state, "sigma_min"), _number(state, "sigma_max")
    if form == "EDMPrecond":
        low, high = max(low, _TRAINED[0]), min(high, _TRAINED[1])
    count, side = options.label_dim, options.img_resolution
    return ScoreCard(
        network=NETWORK_OF[model["class_name"]][0],
        prediction=PREDICTION_OF[form],
        shape=(options.in_channels, side, side),
        options={name: list(v) if isinstance(v, tuple) else v for name, v in given.items()},
        classes=_classes(count, side),
        unconditional=count == 0 or options.label_dropout > 0,
        sigma_range=(low / 2, high / 2),
        levels=_levels(state) if form == "iDDPMPrecond" else (),
        sigma_data=_number(state, "sigma_data") if form == "EDMPrecond" else 0.5,
        licence=LICENCE,
        provenance={**origin, "preconditioning": form, "network": model["class_name"]},
    )


def _classes(count: int, side: int) -> tuple[str, ...]:
    """Class names of the published networks, which their files do not have; numbers for others."""
    if (count, side) == (len(CIFAR10), 32):
        return CIFAR10
    return imagenet_synsets() if (count, side) == (len(imagenet_synsets()), 64) else tuple(map(str, range(count)))


def _options(model: ModuleRecord, state: Mapping[str, object], learned: int) -> tuple[dict[str, object], UNetOptions]:
    """Constructor arguments of the U-Net as given, and all of them; its preconditioning must agree with them."""
    arguments = model["state"].get("_init_kwargs")
    if type(arguments) is not dict or model["state"].get("_init_args") not in ((), []):
        raise ModelError("the U-Net does not say by name how it was made, expected '_init_kwargs' and no '_init_args'.")
    options = {"label_dim": 0, **plain_options(arguments)}
    for name, value in options.items():
        parts = value if isinstance(value, tuple) else (value,)
        if not _is_name(name) or len(parts) > _MOST_PARTS or not all(map(_is_simple, parts)):
            raise ModelError(f"{brief(name)}: got {brief(value)}, expected a number, a word, or a few of them.")
    channels = state.get("img_channels")
    wanted = {
        "img_resolution": state.get("img_resolution"),
        "in_channels": channels,
        "out_channels": learned * channels if type(channels) is int else channels,
        "label_dim": state.get("label_dim"),
    }
    for name, value in wanted.items():
        if type(value) is not int or type(options.get(name)) is not int or options[name] != value:
            got = f"{brief(options.get(name))} for the U-Net and {brief(value)} for its preconditioning"
            raise ModelError(f"{name}: got {got}, expected the same whole number.")
    make: Callable[..., UNetOptions] = NETWORK_OF[model["class_name"]][1]
    try:
        return options, make(**options)
    except TypeError as error:
        raise ModelError(f"the U-Net has unknown arguments: {quoted(error)}.") from error


def _check_vp(state: Mapping[str, object]) -> None:
    for name, known in _VP_CONSTANTS.items():
        if not math.isclose(_number(state, name), known):
            raise ModelError(f"{name}: got {_number(state, name):g}, expected {known:g}, the only VP schedule known.")


def _levels(state: Mapping[str, object]) -> tuple[float, ...]:
    """σ of iDDPM's steps, rising; the file lists them falling to a last 0."""
    buffers = state.get("_buffers")
    falling = buffers.get("u") if isinstance(buffers, dict) else None
    if not isinstance(falling, Tensor) or not falling.is_floating_point() or falling.dim() != 1:
        raise ModelError("iDDPM: no list of levels of noise, 'u'.")
    if not 2 < len(falling) <= _MOST_LEVELS or falling[-1] != 0:
        raise ModelError(
            f"iDDPM: got {len(falling)} levels of noise, expected 3 to {_MOST_LEVELS}, the last of them 0."
        )
    return tuple(falling[:-1].flip(0).double().tolist())


def _number(state: Mapping[str, object], name: str) -> float:
    """An attribute; it is finite, but the largest σ need not be."""
    value = state.get(name)
    if isinstance(value, np.floating):
        value = float(value)
    endless = name == "sigma_max" and value == math.inf
    if isinstance(value, int | float) and (endless or abs(value) < _LARGEST):
        return float(value)
    raise ModelError(f"{name}: got {brief(value)}, expected a number.")


def _is_name(value: object) -> bool:
    return type(value) is str and len(value) <= _LONGEST_NAME and value.isprintable()


def _is_simple(value: object) -> bool:
    if type(value) is int:
        return abs(value) < _LARGEST
    return value is None or type(value) in (bool, float) or _is_name(value)


def _member(record: ModuleRecord, name: str) -> ModuleRecord:
    """A module inside a module."""
    modules = record["state"].get("_modules")
    member = modules.get(name) if isinstance(modules, dict) else None
    if not is_record(member):
        raise ModelError(f"'{record['class_name']}' has no module '{name}', expected the U-Net there.")
    return member


def _tensors(model: ModuleRecord) -> dict[str, Tensor]:
    """Tensors of a module and of those inside it, under dotted names."""
    tensors: dict[str, Tensor] = {}
    todo: list[tuple[str, ModuleRecord]] = [("", model)]
    left = _MOST_MODULES  # a module may be held many times, so the size of the file does not bound their number
    while todo:
        prefix, record = todo.pop()
        where = f"model.{prefix}"[:100].rstrip(".")
        for kind in ("_parameters", "_buffers", "_modules"):
            members = record["state"].get(kind, {})
            left -= len(members) if isinstance(members, dict) else left + 1
            if not isinstance(members, dict) or left < 0:
                raise ModelError(
                    f"{kind} of '{where}' is no dict, or there are more than {_MOST_MODULES} parts in all."
                )
            for name, value in members.items():
                if kind == "_modules" and is_record(value) and _is_name(name):
                    todo.append((f"{prefix}{name}.", value))
                elif kind != "_modules" and isinstance(value, Tensor) and _is_name(name):
                    tensors[f"{prefix}{name}"] = value
                elif value is not None:
                    raise ModelError(f"{kind} of '{where}' hold {brief(name)}, a {type(value).__name__}.")
    return tensors


def _in_float32(tensor: Tensor, name: str) -> Tensor:
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ModelError(f"'{name}' holds {kind}, expected floating-point numbers.")
    if not bool(tensor.float().isfinite().all()):
        raise ModelError(f"'{name}' holds numbers that are not finite, the file is damaged.")
    return tensor.float()
