"""Networks in the published form, made without the code under test: deepinv's modules, pickled as EDM pickles its own.

A published file calls `torch_utils.persistence._reconstruct_persistent_obj` with a dict for every module: class name,
source code of the module's file, and the module's attributes, constructor arguments among them. Unpickling runs that
source. Here it makes the file `ran`, so that nobody can run it unnoticed.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from deepinv.models import ADMUNet, NCSNpp
from deepinv.models.utils import UpDownConv2d
from torch import nn

SOURCE = "import pathlib\npathlib.Path('ran').write_text('the source in the pickle was run')\n"
CLASSES = {"UpDownConv2d": "Conv2d", "NCSNpp": "SongUNet", "ADMUNet": "DhariwalUNet"}


def fill_randomly(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter drawn at random, so that no layer answers 0; scaled so that activations stay of order 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.named_parameters():
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            if value.ndim > 1:
                value.copy_(noise / value[0].numel() ** 0.5)
            else:
                value.copy_(0.2 * noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    return module


def _published_groups(module: nn.Module) -> nn.Module:
    """Narrow layers have fewer groups, at least four channels each; deepinv always has 32."""
    for each in module.modules():
        if isinstance(each, nn.GroupNorm):
            each.num_groups = min(32, each.num_channels // 4)
    return module


def ncsn_oracle(
    kind: str, taps: tuple[int, ...] = (1, 1), skips: bool = False, seed: int = 0, **options: Any
) -> NCSNpp:
    """deepinv's DDPM++ ("ddpm") or NCSN++ ("ncsn") with random weights."""
    oracle = NCSNpp(model_type=kind, pretrained=None, **options)
    if skips:
        _add_skips(oracle, taps, options)
    return fill_randomly(_published_groups(oracle), seed).eval()


def adm_oracle(seed: int = 0, **options: Any) -> ADMUNet:
    """deepinv's ADM with random weights."""
    return fill_randomly(_published_groups(ADMUNet(pretrained=None, **options)), seed).eval()


def _add_skips(oracle: NCSNpp, taps: tuple[int, ...], options: dict[str, Any]) -> None:
    """The layers of "skip" encoders and decoders, where deepinv's `forward` expects them."""
    encoder, decoder, width = nn.ModuleDict(), nn.ModuleDict(), options["model_channels"]
    for module in oracle.modules():
        if isinstance(module, UpDownConv2d) and (module.up or module.down):
            line = torch.tensor(taps, dtype=torch.float32)
            module.resample_filter = torch.outer(line, line)[None, None] / line.sum() ** 2
    for name, layer in oracle.enc.items():
        encoder[name] = layer
        if name.endswith("_down"):
            size = name.removesuffix("_down")
            encoder[f"{size}_aux_down"] = UpDownConv2d(3, 3, 0, down=True, resample_filter=taps)
            encoder[f"{size}_aux_skip"] = UpDownConv2d(3, layer.out_channels, 1)
    levels = list(reversed(list(enumerate(options["channel_mult"]))))
    for level, multiple in levels:
        size = f"{options['img_resolution'] >> level}"
        size = f"{size}x{size}"
        for name, layer in oracle.dec.items():
            if name.startswith(f"{size}_") and "aux" not in name:
                decoder[name] = layer
        if (level, multiple) != levels[0]:
            decoder[f"{size}_aux_up"] = UpDownConv2d(3, 3, 0, up=True, resample_filter=taps)
        decoder[f"{size}_aux_norm"] = nn.GroupNorm(32, multiple * width, eps=1e-6)
        decoder[f"{size}_aux_conv"] = UpDownConv2d(multiple * width, 3, 3)
    oracle.enc, oracle.dec = encoder, decoder


class Persistent:
    """Pickles as a call of the reconstruction with `meta`."""

    def __init__(self, class_name: str, state: Any, source: str = SOURCE, **changes: Any) -> None:
        self.meta = {"type": "class", "version": 6, "module_src": source, "class_name": class_name, "state": state}
        self.meta.update(changes)

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], Any], tuple[dict[str, Any]]]:
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> Any:
    """What EDM's does first: the source runs."""
    exec(meta["module_src"], {})
    return meta


@contextlib.contextmanager
def published_names() -> Iterator[types.ModuleType]:
    """The modules that published files name, importable while the context lasts."""
    package, persistence = types.ModuleType("torch_utils"), types.ModuleType("torch_utils.persistence")
    persistence.__dict__["_reconstruct_persistent_obj"] = _reconstruct_persistent_obj
    dnnlib, util = types.ModuleType("dnnlib"), types.ModuleType("dnnlib.util")
    util.__dict__["EasyDict"] = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    added = {"torch_utils": package, "torch_utils.persistence": persistence, "dnnlib": dnnlib, "dnnlib.util": util}
    home = _reconstruct_persistent_obj.__module__
    sys.modules.update(added)
    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    try:
        yield util
    finally:
        _reconstruct_persistent_obj.__module__ = home
        for name in added:
            del sys.modules[name]


def persistent(module: nn.Module, kwargs: dict[str, Any] | None = None) -> Any:
    """The module as EDM pickles it: persistent but for torch's own containers, with deepinv's names put right."""
    if isinstance(module, nn.ModuleDict):
        copied = nn.ModuleDict()
        copied.__dict__["_modules"] = {name: persistent(child) for name, child in module.items()}
        return copied
    state = dict(nn.Module().__dict__)
    state["_parameters"] = dict(module._parameters)
    state["_buffers"] = dict(module._buffers)
    state["_modules"] = {name: persistent(child) for name, child in module._modules.items() if child is not None}
    state["skip_scale"] = np.sqrt(0.5)
    state["_init_args"], state["_init_kwargs"] = (), kwargs or {}
    name = type(module).__name__
    return Persistent(CLASSES.get(name, name), state)


def precond(model: Any, class_name: str = "EDMPrecond", u: torch.Tensor | None = None, **attributes: Any) -> Persistent:
    """The preconditioning around a persistent model."""
    state = dict(nn.Module().__dict__)
    state.update(img_resolution=8, img_channels=3, label_dim=0, use_fp16=True, sigma_min=0, sigma_max=float("inf"))
    state.update(sigma_data=0.5, _init_args=(), _init_kwargs={"model_type": "SongUNet"})
    state.update(attributes)
    state["_modules"] = {"model": model}
    state["_buffers"] = {} if u is None else {"u": u}
    return Persistent(class_name, state)


def edm_bytes(network: Any, **others: Any) -> bytes:
    """A file: the network under 'ema', beside what training leaves there."""
    with published_names() as util:
        settings = util.EasyDict()
        settings.update(path="data/cifar.zip", use_labels=True)
        loss = Persistent("EDMLoss", {"P_mean": -1.2, "_init_args": (), "_init_kwargs": {}})
        content = {"ema": network, "loss_fn": loss, "augment_pipe": None, "dataset_kwargs": settings}
        return pickle.dumps({**content, **others})


def run_by_the_standard_library(data: bytes) -> None:
    """What an ordinary unpickler does with the file."""
    with published_names():
        pickle.load(io.BytesIO(data))
