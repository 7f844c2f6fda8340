"""What tangency reads of a processor of transformers is what the processor makes of an image."""

import json

import numpy as np
import pytest
import torch

from models.tiny import classifier_kinds
from tangency.errors import ModelError
from tangency.models.foreign.hf_processors import BGR_KINDS, processing


def processor_names():
    """Each processor that transformers maps to an image classifier, with one of its kinds."""
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES as names

    found = {}
    for kind in classifier_kinds():
        value = names.get(kind) or ()
        for name in value.values() if isinstance(value, dict) else (value,) if isinstance(value, str) else value:
            if name:
                found.setdefault(name, []).append(kind)
    return found


PROCESSORS = processor_names()
# Palettes, patches of varying number, and one whose settings stand in config.json of its network.
REFUSED = {"ImageGPT": "Clusters", "Siglip2": r"shape \(1, 256, 768\)"}
LATER = ("TimmWrapperImageProcessor",)


@pytest.fixture(autouse=True)
def quiet():
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def fed_by(found, x):
    """(C, H, W) in [0, 1] as the network behind the card is fed."""
    low, high = found.feeding.input_range
    x = low + x * (high - low)
    if found.feeding.mean:
        x = (x - torch.tensor(found.feeding.mean)[:, None, None]) / torch.tensor(found.feeding.std)[:, None, None]
    return x[list(found.channels)] if found.channels else x


def check_against(processor, found):
    """Map and size as the processor's own output has them."""
    height, width = found.feeding.native
    given = processor(np.full((500, 500, 3), 7, np.uint8), return_tensors="pt")["pixel_values"]
    assert tuple(given.shape[2:]) == (height, width)
    image = np.random.default_rng(1).integers(0, 256, (min(height, 300), min(width, 300), 3), dtype=np.uint8)
    own = processor(image, return_tensors="pt", do_resize=False, do_center_crop=False, do_pad=False)["pixel_values"]
    mine = fed_by(found, torch.from_numpy(image).permute(2, 0, 1).double() / 255)
    assert float((mine - own[0]).abs().max()) < 1e-5 * max(1.0, float(own.abs().max()))


def smaller(processor):
    """Settings that keep a processor of large pages quick; its switches stay what they are."""
    return {"size": {"height": 320, "width": 256}} if "Donut" in processor else {}


@pytest.mark.parametrize("name", [name for name in PROCESSORS if name not in LATER])
def test_every_processor(tmp_path, name):
    import transformers

    processor = getattr(transformers, name)(**smaller(name))
    processor.save_pretrained(tmp_path)
    refused = [words for start, words in REFUSED.items() if name.startswith(start)]
    if refused:
        with pytest.raises(ModelError, match=refused[0]):
            processing(tmp_path, 3)
        return
    found = processing(tmp_path, 3)
    check_against(processor, found)
    assert bool(found.channels) == bool(set(BGR_KINDS) & set(PROCESSORS[name]))


# preprocessor_config.json as published before processors had that name, and switches of every kind.
SETTINGS = {
    "deit": {
        "feature_extractor_type": "DeiTFeatureExtractor",
        "do_resize": True,
        "size": 256,
        "do_center_crop": True,
        "crop_size": 224,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
    },
    "vit": {
        "feature_extractor_type": "ViTFeatureExtractor",
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": 224,
    },
    "convnext": {
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "crop_pct": 0.875,
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": 224,
    },
    "perceiver": {
        "feature_extractor_type": "PerceiverFeatureExtractor",
        "crop_size": 256,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": 224,
    },
    "mobilevit": {
        "feature_extractor_type": "MobileViTFeatureExtractor",
        "crop_size": 256,
        "do_center_crop": True,
        "do_flip_channel_order": True,
        "do_resize": True,
        "resample": 2,
        "size": 288,
    },
    "poolformer": {
        "feature_extractor_type": "PoolFormerFeatureExtractor",
        "crop_pct": 0.95,
        "do_normalize": True,
        "do_resize_and_center_crop": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "size": 224,
    },
    "not flipped": {"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": False},
    "nothing but a class": {"image_processor_type": "EfficientNetImageProcessor"},
    "no class": {"size": {"height": 64, "width": 48}},
    "fast": {"image_processor_type": "ViTImageProcessorFast", "size": {"height": 64, "width": 64}},
    "once": {"image_processor_type": "EfficientNetImageProcessor", "include_top": False},
    "offset": {
        "image_processor_type": "EfficientNetImageProcessor",
        "include_top": False,
        "rescale_offset": True,
        "rescale_factor": 1 / 127.5,
        "do_normalize": False,
    },
    "offset and both": {
        "image_processor_type": "EfficientNetImageProcessor",
        "rescale_offset": True,
        "rescale_factor": 1 / 127.5,
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.4, 0.5, 0.6],
    },
    "bytes": {"image_processor_type": "ViTImageProcessor", "do_rescale": False, "do_normalize": False},
    "bytes with a mean": {
        "image_processor_type": "ViTImageProcessor",
        "do_rescale": False,
        "image_mean": [123.675, 116.28, 103.53],
        "image_std": [58.395, 57.12, 57.375],
    },
    "one factor": {"image_processor_type": "ViTImageProcessor", "rescale_factor": 0.00123},
    "edge and crop": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 72},
        "crop_size": {"height": 64, "width": 48},
    },
    "edge alone": {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 72}, "do_center_crop": False},
    "crop alone": {"image_processor_type": "BitImageProcessor", "do_resize": False, "crop_size": 96},
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_mean_what_their_class_makes_of_them(tmp_path, case):
    from transformers import AutoImageProcessor, ViTConfig

    ViTConfig().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SETTINGS[case]))
    check_against(AutoImageProcessor.from_pretrained(tmp_path), processing(tmp_path, 3))


def test_no_size_is_made_up(tmp_path):
    from transformers import ViTImageProcessor

    ViTImageProcessor(do_resize=False).save_pretrained(tmp_path)
    assert processing(tmp_path, 3).feeding.native is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_processor_type": "FooImageProcessor"}, "asks for FooImageProcessor, which transformers"),
        ({"image_processor_type": "SuperPointImageProcessor", "do_grayscale": True}, "do_grayscale=True"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": [0.5, 0.5]}, "preprocessor_config.json"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": [-0.5, 0.5, 0.5]}, "no affine map"),
        ({"auto_map": {"AutoImageProcessor": "evil.P"}}, "never run"),
        ({"image_processor_type": "ViTImageProcessor", "size": "large"}, "ViTImageProcessor"),
        ([1], "expected a mapping"),
    ],
)
def test_other_processors_are_refused_by_name(tmp_path, settings, words):
    from transformers import ViTConfig

    ViTConfig().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=words):
        processing(tmp_path, 3)


def test_a_processor_of_images_and_text(tmp_path):
    from transformers import AutoImageProcessor, CLIPImageProcessor, ViTConfig

    ViTConfig().save_pretrained(tmp_path)
    inner = CLIPImageProcessor(crop_size={"height": 64, "width": 48}, image_mean=[0.1, 0.2, 0.3]).to_dict()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    check_against(AutoImageProcessor.from_pretrained(tmp_path), processing(tmp_path, 3))
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "CLIPProcessor"}))
    assert processing(tmp_path, 3) is None
