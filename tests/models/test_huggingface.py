"""Folders of transformers give the logits that transformers gives, whatever the class and the form of the weights."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.tiny import SIDES, TINY, classifier_kinds, folder_of
from tangency.errors import ModelError
from tangency.evaluate.convert import convert_model
from tangency.models import load_model, read_classifier, save_classifier
from tangency.models.foreign.hf_processors import BGR_KINDS


@pytest.fixture(autouse=True)
def quiet():
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


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
        again = read_classifier(tmp_path / "again.safetensors")(x)
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
        for network in (found, read_classifier(tmp_path / "net.safetensors")):
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
        with pytest.raises(ModelError, match=r"pieces of the weights .* missing"):
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
