"""Files in the published form of a network of EDM that describe none, or an absurd one."""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from score.edm_fixture import Persistent, edm_bytes, persistent, precond
from tangency.score.edm.unet_options import SongOptions, plain_options
from tangency.score.edm.unets import SongUNet

OPTIONS: dict[str, Any] = {"img_resolution": 8, "in_channels": 3, "out_channels": 3, "label_dim": 0}
OPTIONS |= {"model_channels": 4, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}


def network(
    options: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    form: str = "EDMPrecond",
    **attributes: Any,
) -> Persistent:
    """A good network but for changes in the U-Net's arguments or attributes, or in those of its preconditioning."""
    model = persistent(SongUNet(SongOptions(**plain_options(OPTIONS))), {**OPTIONS, **(options or {})})
    model.meta["state"].update(state or {})
    return precond(model, form, **attributes)


def changed(**options: Any) -> bytes:
    return edm_bytes(network(options))


def asked(**attributes: Any) -> bytes:
    return edm_bytes(network(**attributes))


def with_meta(**meta: Any) -> bytes:
    """The record of the network itself with other entries."""
    found = network()
    found.meta.update(meta)
    return edm_bytes(found)


def with_tensor(value: torch.Tensor) -> bytes:
    found = network()
    found.meta["state"]["_modules"]["model"].meta["state"]["_modules"]["map_layer0"].meta["state"]["_parameters"][
        "bias"
    ] = value
    return edm_bytes(found)


def same_everywhere() -> bytes:
    """One tensor, many names: a small file for a large network."""
    model = SongUNet(SongOptions(**plain_options(OPTIONS)))
    model.map_layer1.bias = model.map_layer0.bias
    return edm_bytes(precond(persistent(model, dict(OPTIONS))))


def module_bomb() -> bytes:
    """Forty modules, each twice in the next: 2⁴⁰ names from a few thousand bytes."""
    inner = Persistent("Linear", {"_parameters": {}, "_buffers": {}, "_modules": {}})
    for _ in range(30):
        inner = Persistent("Linear", {"_parameters": {}, "_buffers": {}, "_modules": {"a": inner, "b": inner}})
    return asked(state={"_modules": {"a": inner}})


def tuple_bomb(depth: int = 30) -> Any:
    """Each tuple twice in the next: printed, it would fill the memory."""
    inner: Any = (1, 2)
    for _ in range(depth):
        inner = (inner, inner)
    return inner


VP = {"form": "VPPrecond", "sigma_min": 0.001, "sigma_max": 152.0, "beta_d": 19.9, "beta_min": 0.1, "M": 1000}
IDDPM: dict[str, Any] = {"options": {"out_channels": 6}, "form": "iDDPMPrecond", "sigma_min": 0.1, "sigma_max": 8.0}
NAN, INF = math.nan, math.inf

LAYOUTS: dict[str, Callable[[], bytes]] = {
    "meta_of_a_function": lambda: with_meta(type="function"),
    "meta_without_a_class": lambda: with_meta(class_name=None),
    "meta_with_a_list_for_state": lambda: with_meta(state=[1]),
    "meta_without_state": lambda: with_meta(state=None),
    "class_unknown": lambda: with_meta(class_name="EDM2Precond"),
    "class_is_a_path": lambda: with_meta(class_name="os.system"),
    "class_of_a_million_letters": lambda: with_meta(class_name="x" * 1_000_000),
    "class_of_several_lines": lambda: with_meta(class_name="EDM\nPrecond"),
    "network_class_unknown": lambda: edm_bytes(precond(persistent(nn.Linear(2, 3)))),
    "network_missing": lambda: with_meta(state={"_modules": {}}),
    "network_is_text": lambda: edm_bytes(precond("SongUNet")),
    "network_is_the_preconditioning": lambda: edm_bytes(precond(network())),
    "ema_missing": lambda: edm_bytes(None).replace(b"ema", b"emb"),
    "ema_is_none": lambda: edm_bytes(None),
    "ema_is_a_number": lambda: edm_bytes(3),
    "ema_is_a_dict": lambda: edm_bytes({"class_name": "EDMPrecond"}),
    "top_is_a_list": lambda: pickle.dumps([1, 2]),
    "top_is_a_state_dict": lambda: pickle.dumps(OrderedDict(weight=torch.zeros(2))),
    "arguments_missing": lambda: asked(state={"_init_kwargs": None}),
    "arguments_in_place": lambda: asked(state={"_init_args": (8, 3, 3)}),
    "argument_unknown": lambda: changed(colour="red"),
    "argument_of_a_number": lambda: edm_bytes(network({7: 1})),
    "argument_of_a_long_name": lambda: edm_bytes(network({"x" * 5000: 1})),
    "width_huge": lambda: changed(model_channels=10**9),
    "width_huge_but_allowed": lambda: changed(model_channels=2048, channel_mult=[16]),
    "width_of_a_million_digits": lambda: changed(model_channels=10**6000),
    "width_nan": lambda: changed(model_channels=NAN),
    "width_zero": lambda: changed(model_channels=0),
    "width_text": lambda: changed(model_channels="128"),
    "width_bomb": lambda: changed(model_channels=tuple_bomb()),
    "width_of_the_embedding_huge": lambda: changed(channel_mult_emb=10**9),
    "blocks_huge": lambda: changed(num_blocks=10**6),
    "blocks_many": lambda: changed(num_blocks=16),
    "levels_many": lambda: changed(channel_mult=[1] * 10**5),
    "levels_bomb": lambda: changed(channel_mult=tuple_bomb()),
    "levels_of_huge_widths": lambda: changed(channel_mult=[10**9]),
    "filter_nan": lambda: changed(resample_filter=[NAN, 1]),
    "filter_huge": lambda: changed(resample_filter=[1] * 10**5),
    "dropout_nan": lambda: changed(dropout=NAN),
    "label_dropout_infinite": lambda: changed(label_dropout=INF),
    "classes_huge": lambda: edm_bytes(network({"label_dim": 10**12}, label_dim=10**12)),
    "classes_negative": lambda: edm_bytes(network({"label_dim": -1}, label_dim=-1)),
    "classes_disagree": lambda: asked(label_dim=10),
    "resolution_huge": lambda: edm_bytes(network({"img_resolution": 2**40}, img_resolution=2**40)),
    "resolution_disagrees": lambda: asked(img_resolution=16),
    "channels_disagree": lambda: asked(img_channels=1),
    "channels_of_a_million_digits": lambda: asked(img_channels=10**6000),
    "sigma_data_nan": lambda: asked(sigma_data=NAN),
    "sigma_data_zero": lambda: asked(sigma_data=0.0),
    "sigma_data_missing": lambda: asked(sigma_data=None),
    "sigma_min_negative_infinite": lambda: asked(sigma_min=-INF),
    "sigma_max_nan": lambda: asked(sigma_max=NAN),
    "sigma_max_below_min": lambda: asked(sigma_min=2.0, sigma_max=1.0),
    "sigma_of_a_million_digits": lambda: asked(sigma_min=10**6000),
    "vp_of_another_schedule": lambda: asked(**{**VP, "beta_d": 10.0}),
    "vp_without_a_schedule": lambda: asked(**{**VP, "M": None}),
    "iddpm_without_levels": lambda: asked(**IDDPM),
    "iddpm_of_rising_levels": lambda: asked(**IDDPM, u=torch.tensor([1.0, 2.0, 3.0, 0.0])),
    "iddpm_of_nan_levels": lambda: asked(**IDDPM, u=torch.tensor([NAN, 2.0, 1.0, 0.0])),
    "iddpm_without_a_last_zero": lambda: asked(**IDDPM, u=torch.tensor([3.0, 2.0, 1.0])),
    "iddpm_of_integer_levels": lambda: asked(**IDDPM, u=torch.tensor([3, 2, 1, 0])),
    "iddpm_of_one_level": lambda: asked(**IDDPM, u=torch.tensor(0.0)),
    "tensor_nan": lambda: with_tensor(torch.full((16,), NAN)),
    "tensor_overflows": lambda: with_tensor(torch.full((16,), 1e300, dtype=torch.float64)),
    "tensor_of_integers": lambda: with_tensor(torch.zeros(16, dtype=torch.int64)),
    "tensor_of_another_shape": lambda: with_tensor(torch.zeros(4, 4)),
    "tensor_under_two_names": same_everywhere,
    "tensors_missing": lambda: asked(state={"_modules": {}}),
    "tensors_are_text": lambda: asked(state={"_parameters": {"weight": "0.1"}}),
    "tensors_are_a_list": lambda: asked(state={"_parameters": [torch.zeros(2)]}),
    "tensors_of_a_numbered_name": lambda: asked(state={"_buffers": {10**6000: torch.zeros(2)}}),
    "tensors_of_a_name_in_lines": lambda: asked(state={"_buffers": {"a\nb": torch.zeros(2)}}),
    "module_bomb": module_bomb,
    "module_is_a_function": lambda: asked(state={"_modules": {"enc": "os.system"}}),
}
