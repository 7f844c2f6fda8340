"""Folders of transformers give what transformers gives: every processor's input, every classifier's logits."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.tiny import SIDES, TINY
from tangency.errors import ModelError
from tangency.models import load_classifier, load_model, save_classifier
from tangency.models.hf_processors import BGR_KINDS, processing
from tangency.study.convert import convert_model


def classifier_kinds():
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as names

    return {kind: (value,) if isinstance(value, str) else tuple(value) for kind, value in names.items()}


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
            processing(tmp_path, "vit", 3)
        return
    found = processing(tmp_path, "vit", 3)
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
    check_against(AutoImageProcessor.from_pretrained(tmp_path), processing(tmp_path, "vit", 3))


def test_no_size_is_made_up(tmp_path):
    from transformers import ViTImageProcessor

    ViTImageProcessor(do_resize=False).save_pretrained(tmp_path)
    assert processing(tmp_path, "vit", 3).feeding.native is None


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
        processing(tmp_path, "vit", 3)


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


# Minutes of initial values for one embedding of each pixel.
SLOW = ("PerceiverForImageClassificationLearned", "PerceiverForImageClassificationFourier")
ALL = [
    pytest.param(kind, name, marks=[pytest.mark.slow] if name in SLOW else [])
    for kind, names in classifier_kinds().items()
    for name in names
    if kind in TINY
]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_classifier(tmp_path, kind, name):
    import transformers

    _, folder = folder_of(tmp_path, kind, name)
    own = getattr(transformers, name).from_pretrained(folder).eval()
    side = SIDES.get(kind, 32)
    order = "&channels=bgr" if kind in BGR_KINDS else ""
    found = load_model(f"hf:{folder}?range=0,1&mean=none&resize=no&shape=3x{side}x{side}{order}")
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        given = own(pixel_values=x.flip(1) if order else x)
        wanted, got = given["logits"] if "logits" in given else given["last_hidden_state"], found(x)
        save_classifier(found, tmp_path / "again.safetensors")
        again = load_classifier(tmp_path / "again.safetensors")(x)
    size = float(wanted.abs().max())
    assert float((wanted[0] - wanted[1]).abs().max()) > 1e-3 * size
    for logits in (got, again):
        assert torch.allclose(logits, wanted, rtol=1e-5, atol=1e-5 * size)


def test_what_is_not_tried_is_refused_or_needs_another_package():
    assert set(classifier_kinds()) - set(TINY) == {"dinat", "imagegpt", "shieldgemma2", "siglip2", "timm_wrapper"}


@pytest.mark.parametrize("kind", ["imagegpt", "shieldgemma2", "siglip2", "dinat"])
def test_classifiers_of_something_else_are_refused_by_name(tmp_path, kind):
    name = classifier_kinds()[kind][0]
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "architectures": [name]}))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=f"{name} takes|natten"):
        load_model(f"hf:{tmp_path}")


@pytest.mark.parametrize("kind", BGR_KINDS)
def test_the_flip_of_channels_is_part_of_the_classifier(tmp_path, kind):
    from transformers import AutoImageProcessor, MobileViTImageProcessor, PPLCNetImageProcessor

    side = 64
    made = PPLCNetImageProcessor if kind == "pp_lcnet" else MobileViTImageProcessor
    processor = made(size={"shortest_edge": side}, resize_short=side, crop_size={"height": side, "width": side})
    net, folder = folder_of(tmp_path, kind, processor=processor)
    found = load_model(f"hf:{folder}")
    assert found.card.options["channels"] == [2, 1, 0]
    pixels = torch.randint(0, 256, (2, 3, side, side), generator=torch.Generator().manual_seed(1))
    fed = AutoImageProcessor.from_pretrained(folder)(list(pixels.to(torch.uint8)), return_tensors="pt")
    with torch.no_grad():
        given = net(**fed)
        wanted = given["logits"] if "logits" in given else given["last_hidden_state"]
        convert_model(f"hf:{folder}", tmp_path / "net.safetensors")
        for network in (found, load_classifier(tmp_path / "net.safetensors")):
            assert torch.allclose(network(pixels / 255), wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"channels=bgr or channels=rgb"):
        load_model(f"hf:{folder}?range=0,1&mean=none")
    asked = load_model(f"hf:{folder}?range=0,1&mean=none&channels=rgb&shape=3x64x64&resize=no")
    assert "channels" not in asked.card.options


def test_an_efficientnet_is_fed_as_its_processor_feeds_it(tmp_path):
    from transformers import EfficientNetImageProcessor

    processor = EfficientNetImageProcessor(size={"height": 32, "width": 32})
    net, folder = folder_of(tmp_path, "efficientnet", processor=processor)
    found, pixels = load_model(f"hf:{folder}"), torch.randint(0, 256, (2, 3, 32, 32))
    assert found.card.shape == (3, 32, 32)
    fed = processor(list(pixels.to(torch.uint8)), return_tensors="pt", do_resize=False)
    with torch.no_grad():
        wanted = net(**fed).logits
        assert torch.allclose(found(pixels / 255), wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_grey_networks(tmp_path):
    from transformers import ViTImageProcessor

    processor = ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.2], image_std=[0.3])
    net, folder = folder_of(tmp_path, "vit", processor=processor, num_channels=1)
    found, x = load_model(f"hf:{folder}"), torch.rand(2, 1, 32, 32)
    assert found.card.shape == (1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(found(x), net(pixel_values=(x - 0.2) / 0.3).logits, rtol=1e-5, atol=1e-5)
    with pytest.raises(ModelError, match="a network for images of 1 channel, these have 3"):
        load_model(f"hf:{folder}?shape=3x32x32")


def test_a_processor_of_another_size_than_the_network(tmp_path):
    from transformers import ViTImageProcessor

    _, folder = folder_of(tmp_path, "vit", processor=ViTImageProcessor())
    with pytest.raises(ModelError, match=r"cannot take images of 3x224x224.*resize="):
        load_model(f"hf:{folder}")
    assert load_model(f"hf:{folder}?resize=32").card.options["resize"] == [32, 32]


def weights_as(folder, form):
    """The folder's weights in another form; what a reference must add."""
    from transformers import ViTForImageClassification

    net, file = ViTForImageClassification.from_pretrained(folder), folder / "model.safetensors"
    if form == "shards":
        net.save_pretrained(folder, max_shard_size="10KB")
    elif form == "variant":
        net.half().save_pretrained(folder, variant="fp16")
    elif form == "variant shards":
        net.save_pretrained(folder, variant="fp16", max_shard_size="10KB")
    elif form == "pickle":
        torch.save(load_file(file), folder / "pytorch_model.bin")
    elif form == "pickled shards":
        state = load_file(file)
        for number, names in enumerate((list(state)[::2], list(state)[1::2])):
            torch.save({n: state[n] for n in names}, folder / f"pytorch_model-0000{number + 1}-of-00002.bin")
        where = {n: f"pytorch_model-0000{i % 2 + 1}-of-00002.bin" for i, n in enumerate(state)}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    file.unlink(missing_ok=True)
    return "fp16" if "variant" in form else None


@pytest.mark.parametrize("form", ["shards", "variant", "variant shards", "pickle", "pickled shards"])
def test_weights_in_every_form(tmp_path, form):
    from transformers import ViTForImageClassification

    _, folder = folder_of(tmp_path, "vit")
    variant = weights_as(folder, form)
    own = ViTForImageClassification.from_pretrained(folder, variant=variant, dtype=torch.float32).eval()
    options = "?range=0,1&mean=none" + (f"&variant={variant}" if variant else "")
    found, x = load_model(f"hf:{folder}{options}"), torch.rand(2, 3, 32, 32)
    assert ("index" in found.card.provenance["file"]) == ("shards" in form)
    with torch.no_grad():
        assert torch.allclose(found(x), own(pixel_values=x).logits, rtol=1e-5, atol=1e-5)
        if variant:  # the only ones there are
            assert torch.equal(load_model(f"hf:{folder}?range=0,1&mean=none")(x), found(x))
    if "shards" in form:
        next(path for path in folder.iterdir() if "-of-" in path.name).unlink()
        with pytest.raises(ModelError, match=r"pieces of the weights .* lacks"):
            load_model(f"hf:{folder}{options}")


def test_which_weights_is_asked_where_there_are_several(tmp_path):
    _, folder = folder_of(tmp_path, "vit")
    for variant in ("a", "b"):
        (folder / f"model.{variant}.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert load_model(f"hf:{folder}?range=0,1&mean=none").card.provenance["file"] == "model.safetensors"
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"variants a, b; choose one with \?variant="):
        load_model(f"hf:{folder}")
    with pytest.raises(ModelError, match=r"model\.c\.safetensors"):
        load_model(f"hf:{folder}?variant=c")


@pytest.mark.parametrize("index", [{}, {"weight_map": {"a": "../x.safetensors"}}, {"weight_map": {"a": "absent"}}, []])
def test_a_broken_index(tmp_path, index):
    _, folder = folder_of(tmp_path, "vit")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"index\.json"):
        load_model(f"hf:{folder}")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"problem_type": "multi_label_classification"}, "one class of several"),
        ({"transformers_weights": "../model.safetensors"}, "no file in it"),
        ({"architectures": ["FooForImageClassification"]}, "FooForImageClassification, which transformers"),
    ],
)
def test_configs_that_are_refused(tmp_path, settings, words):
    _, folder = folder_of(tmp_path, "vit")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    with pytest.raises(ModelError, match=words):
        load_model(f"hf:{folder}")


def test_weights_that_the_config_names(tmp_path):
    from transformers import ViTForImageClassification

    _, folder = folder_of(tmp_path, "vit")
    state = load_file(folder / "model.safetensors")
    save_file({name: value * 1.5 for name, value in state.items()}, folder / "other.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "other.safetensors"}))
    own, x = ViTForImageClassification.from_pretrained(folder).eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        wanted = own(pixel_values=x).logits
        assert torch.allclose(load_model(f"hf:{folder}?range=0,1&mean=none")(x), wanted, rtol=1e-5, atol=1e-5)


def test_a_processor_of_images_and_text(tmp_path):
    from transformers import AutoImageProcessor, CLIPImageProcessor, ViTConfig

    ViTConfig().save_pretrained(tmp_path)
    inner = CLIPImageProcessor(crop_size={"height": 64, "width": 48}, image_mean=[0.1, 0.2, 0.3]).to_dict()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    check_against(AutoImageProcessor.from_pretrained(tmp_path), processing(tmp_path, "vit", 3))
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "CLIPProcessor"}))
    assert processing(tmp_path, "vit", 3) is None
