"""Every image classifier that transformers has, small and at random."""

from typing import Any

import torch

_VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
_PATCHES = {**_VIT, "image_size": 32, "patch_size": 8}
_STAGES = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}
_SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
_PYRAMID = {**_STAGES, "num_attention_heads": [1, 1, 2, 2]}
_DEPTHWISE = {"depth_multiplier": 0.25, "image_size": 32}

# Kind of a config to its settings; a network takes images of 3x32x32 unless SIDES says otherwise.
TINY: dict[str, dict[str, Any]] = {
    "beit": _PATCHES,
    "bit": {**_STAGES, "embedding_size": 8, "num_groups": 4},
    "clip": {"vision_config": _PATCHES},
    "convnext": {**_STAGES, "patch_size": 2},
    "convnextv2": {**_STAGES, "patch_size": 2},
    "cvt": {"embed_dim": [8, 8, 16], "num_heads": [1, 1, 2], "depth": [1, 2, 3]},
    "data2vec-vision": {**_PATCHES, "out_indices": [0, 0, 1, 1]},
    "deit": _PATCHES,
    "dinov2": {k: v for k, v in _PATCHES.items() if k != "intermediate_size"},
    "dinov2_with_registers": {k: v for k, v in _PATCHES.items() if k != "intermediate_size"},
    "donut-swin": _SWIN,
    "efficientnet": {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320},
    "focalnet": {"image_size": 32, "patch_size": 4, "embed_dim": 8, **_STAGES},
    "hgnet_v2": {
        "embedding_size": 8,
        "depths": [1, 1, 1, 1],
        "hidden_sizes": [16, 16, 16, 16],
        "stem_channels": [3, 8, 8],
        "stage_in_channels": [8, 16, 16, 16],
        "stage_mid_channels": [8, 8, 8, 8],
        "stage_out_channels": [16, 16, 16, 16],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [2, 2, 2, 2],
    },
    "hiera": {"image_size": [64, 64], "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
    "ijepa": _PATCHES,
    "levit": {
        "image_size": 64,
        "hidden_sizes": [16, 16, 16],
        "num_attention_heads": [2, 2, 2],
        "depths": [1, 1, 1],
        "key_dim": [4, 4, 4],
        "down_ops": [["Subsample", 4, 2, 2, 2, 2], ["Subsample", 4, 2, 2, 2, 2]],
    },
    "metaclip_2": {"vision_config": _PATCHES},
    "mobilenet_v1": _DEPTHWISE,
    "mobilenet_v2": _DEPTHWISE,
    "mobilevit": {"image_size": 64, "hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [4, 4, 8, 8, 8, 8, 16]},
    "mobilevitv2": {"image_size": 64, "width_multiplier": 0.25, "n_attn_blocks": [1, 1, 1]},
    "perceiver": {
        "image_size": 224,
        "num_latents": 4,
        "d_latents": 16,
        "d_model": 16,
        "num_self_attends_per_block": 1,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 1,
    },
    "poolformer": _STAGES,
    "pp_lcnet": {"scale": 0.25, "class_expand": 32},
    "pvt": {**_PYRAMID, "image_size": 32},
    "pvt_v2": {**_PYRAMID, "image_size": 32},
    "regnet": {**_STAGES, "embedding_size": 8, "groups_width": 4},
    "resnet": {**_STAGES, "embedding_size": 8},
    "segformer": _PYRAMID,
    "siglip": {"vision_config": _PATCHES},
    "swiftformer": {"image_size": 32, "depths": [1, 1, 1, 1], "embed_dims": [8, 8, 16, 16]},
    "swin": _SWIN,
    "swinv2": _SWIN,
    "textnet": {"image_size": [64, 64], "hidden_sizes": [8, 8, 8, 8, 8], "stem_out_channels": 8},
    "vit": _PATCHES,
    "vit_msn": _PATCHES,
}
SIDES = {"hiera": 64, "levit": 64, "mobilevit": 64, "mobilevitv2": 64, "perceiver": 224, "textnet": 64}


def classifier_kinds():
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as names

    return {kind: (value,) if isinstance(value, str) else tuple(value) for kind, value in names.items()}


def settle(net, side, channels):
    """Running statistics of batch normalisation as images make them, else differences die out layer by layer."""
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            net.train()(pixel_values=torch.rand(8, channels, side, side))
    net.eval()


def folder_of(tmp_path, kind, name=None, processor=None, **settings):
    """A small random network of transformers, written by itself, beside its processor."""
    import transformers

    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[kind](num_labels=5, **{**TINY[kind], **settings})
    net = getattr(transformers, name or classifier_kinds()[kind][0])._from_config(config).eval()
    for name, tensor in net.state_dict().items():
        # As they come, heads of zeros, small weights and small scales would hide what comes before them.
        if tensor.is_floating_point() and tensor.dim() > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
        elif name.endswith("weight") or "scale" in name or "lambda" in name:
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("bias"):
            tensor.uniform_(-0.5, 0.5)
    settle(net, SIDES.get(kind, 32), settings.get("num_channels", 3))
    net.save_pretrained(tmp_path / kind)
    if processor is not None:
        processor.save_pretrained(tmp_path / kind)
    return net, tmp_path / kind
