"""Networks of timm by name and by folder give what timm gives; its means are taken for its own weights only."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tangency.errors import ModelError
from tangency.models import load_model, read_classifier, save_classifier
from tangency.models.foreign.timm_models import own_feeding
from tangency.types import Dataset, LabelledImages

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def digits(labels, shape=(3, 32, 32), classes=5):
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(len(labels), shape[0], 1, 1, generator=generator)
    pixels = (0.8 * colours + 0.2 * torch.rand(len(labels), *shape, generator=generator)).clamp(0, 1)
    split = LabelledImages(pixels, labels, tuple("abcdefgh"[:classes]), "toy")
    return Dataset("toy", split, split)


def weights(tmp_path, name, **options):
    import timm

    torch.manual_seed(0)
    net = timm.create_model(name, **options).eval()
    for tensor in net.state_dict().values():
        if tensor.is_floating_point() and tensor.dim() > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    return net, f"timm:{name}?weights={tmp_path / 'w.safetensors'}"


def normalised(x, mean, std):
    return (x - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


def test_another_number_of_classes_takes_nothing_of_timms_own_weights(tmp_path):
    net, reference = weights(tmp_path, "test_resnet", num_classes=5)
    with pytest.raises(ModelError, match=r"nothing says what images it takes"):
        load_model(reference)
    with pytest.raises(ModelError, match="nothing says how its images are normalised"):
        load_model(f"{reference}&shape=3x32x32")
    x = torch.rand(2, 3, 32, 32)
    found = load_model(f"{reference}&shape=3x32x32&mean=none")
    assert any("its mean and std are not taken" in said for said in found.card.provenance["reading"])
    with torch.no_grad():
        assert torch.allclose(found(x), net(x), **CLOSE)


def test_another_number_of_classes_is_found_from_data(tmp_path):
    """Labels are what the network says of images in [0, 255], so that is how it is fed."""
    net, reference = weights(tmp_path, "test_resnet", num_classes=5)
    blank = digits(torch.zeros(400, dtype=torch.long))
    with torch.no_grad():
        for norm in net.modules():
            norm.momentum = 1.0  # running statistics are those of these images, in this range
        net.train()(blank.test.images() * 255)
        labels = net.eval()(blank.test.images() * 255).argmax(1)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    found = load_model(reference, digits(labels))
    assert (found.card.input_range, found.card.mean) == ((0.0, 255.0), ())


def test_another_number_of_channels_takes_nothing_of_timms_own_weights(tmp_path):
    _, reference = weights(tmp_path, "test_resnet", num_classes=1000, in_chans=1)
    with pytest.raises(ModelError, match="nothing says how"):
        load_model(f"{reference}&shape=1x32x32")


@pytest.mark.parametrize("name", ["test_resnet", "test_resnet.r160_in1k", "test_vit.r160_in1k"])
def test_timms_own_weights_are_fed_as_timm_feeds_them(tmp_path, name):
    import timm

    net, reference = weights(tmp_path, name)
    settings = timm.data.resolve_model_data_config(net)
    found, x = load_model(reference), torch.rand(2, *settings["input_size"])
    assert found.card.shape == settings["input_size"]
    with torch.no_grad():
        assert torch.allclose(found(x), net(normalised(x, settings["mean"], settings["std"])), **CLOSE)


def test_sets_of_weights_that_are_fed_differently():
    with pytest.raises(ModelError, match=r"fed differently: .*resnet34.*as in timm:resnet34\.") as caught:
        own_feeding("resnet34", 1000, 3, None, False)
    assert len(str(caught.value)) < 1000
    assert own_feeding("resnet34", 1000, 3, None, True).mean is None
    tagged = own_feeding("resnet34.tv_in1k", 1000, 3, None, False)
    assert tagged.mean == (0.485, 0.456, 0.406)
    with pytest.raises(ModelError, match=r"no_such_tag.*tv_in1k"):
        own_feeding("resnet34.no_such_tag", 1000, 3, None, True)


def test_a_fixed_size_is_one_of_the_network():
    assert own_feeding("vit_tiny_patch16_224", 7, 3, None, True).native == (224, 224)
    assert own_feeding("vit_tiny_patch16_224", 7, 3, 64, True).native == (64, 64)
    assert own_feeding("resnet18", 7, 3, None, True).native is None


def timm_folder(tmp_path, name="test_resnet", form=True, settings=None, **options):
    """As timm itself writes it."""
    import timm
    from timm.models import save_for_hf

    torch.manual_seed(0)
    net = timm.create_model(name, **{"num_classes": 5, **options}).eval()
    save_for_hf(
        net,
        tmp_path / "t",
        model_config={"label_names": list("vwxyz")},
        data_config={
            "input_size": (options.get("in_chans", 3), 32, 32),
            "mean": (0.1, 0.2, 0.3),
            "std": (0.4, 0.5, 0.6),
            "interpolation": "bilinear",
        }
        | (settings or {}),
        safe_serialization=form,
    )
    return net, tmp_path / "t"


@pytest.mark.parametrize("kind", ["hf", "timm"])
@pytest.mark.parametrize("form", [True, False])
def test_folders_of_timm(tmp_path, kind, form):
    import timm

    _, folder = timm_folder(tmp_path, form=form)
    own = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config(own.pretrained_cfg, model=own))
    found = load_model(f"{kind}:{folder}")
    assert (found.card.shape, found.card.classes) == ((3, 32, 32), tuple("vwxyz"))
    check_fed(found, own, transform)
    save_classifier(found, tmp_path / "again.safetensors")
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(read_classifier(tmp_path / "again.safetensors")(x), found(x), **CLOSE)


def check_fed(found, own, transform):
    """Logits of an image whose pixels are all one colour, which no resampling changes, and mean and std."""
    from PIL import Image

    for colour in ((250, 3, 77), (0, 128, 255)):
        pixels = np.full((32, 32, 3), colour, np.uint8)
        fed = transform(Image.fromarray(pixels))[None]
        with torch.no_grad():
            wanted, got = own(fed), found(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
        wanted = wanted if isinstance(wanted, torch.Tensor) else wanted.logits
        assert torch.allclose(got, wanted, **CLOSE)


@pytest.mark.parametrize("kind", ["hf", "timm"])
def test_the_wrapper_of_transformers(tmp_path, kind):
    from transformers import AutoImageProcessor, TimmWrapperForImageClassification

    _, folder = timm_folder(tmp_path, "test_vit", img_size=32)
    changed(folder, model_args={"img_size": 32})  # transformers trips over timm's num_classes there
    wrapped = TimmWrapperForImageClassification.from_pretrained(folder)
    wrapped.save_pretrained(tmp_path / "w")
    own = TimmWrapperForImageClassification.from_pretrained(tmp_path / "w").eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path / "w")
    assert json.loads((tmp_path / "w" / "config.json").read_text())["model_type"] == "timm_wrapper"
    found = load_model(f"{kind}:{tmp_path / 'w'}")
    assert (found.card.shape, found.card.classes) == ((3, 32, 32), tuple("vwxyz"))
    check_fed(found, own, processor.val_transforms)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        fed = normalised(x, processor.data_config["mean"], processor.data_config["std"])
        assert torch.allclose(found(x), own(pixel_values=fed).logits, **CLOSE)


def test_a_folder_with_settings_in_one_dict(tmp_path):
    """As timm wrote them before pretrained_cfg had a dict of its own."""
    import timm

    _, folder = timm_folder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    flat = {**config.pop("pretrained_cfg"), "architecture": config["architecture"], "labels": list("vwxyz")}
    (folder / "config.json").write_text(json.dumps(flat))
    own = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    found = load_model(f"hf:{folder}")
    assert found.card.classes == tuple("vwxyz")
    transform = timm.data.create_transform(**timm.data.resolve_data_config(own.pretrained_cfg, model=own))
    check_fed(found, own, transform)


def test_grey_folders(tmp_path):
    net, folder = timm_folder(tmp_path, settings={"mean": (0.3,), "std": (0.2,)}, in_chans=1)
    found, x = load_model(f"timm:{folder}"), torch.rand(2, 1, 32, 32)
    assert found.card.shape == (1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(found(x), net((x - 0.3) / 0.2), **CLOSE)
    config = json.loads((folder / "config.json").read_text())
    changed(folder, pretrained_cfg={**config["pretrained_cfg"], "mean": [0.3] * 3, "std": [0.2] * 3})
    with pytest.raises(ModelError, match="nothing says how"):
        load_model(f"timm:{folder}")
    with torch.no_grad():
        assert torch.allclose(load_model(f"timm:{folder}?mean=none&range=0,1")(x), net(x), **CLOSE)


def test_folders_in_pieces(tmp_path):
    net, folder = timm_folder(tmp_path)
    state = load_file(folder / "model.safetensors")
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for i, name in enumerate(names):
        save_file({key: state[key] for key in list(state)[i::2]}, folder / name)
    where = {key: names[i % 2] for i, key in enumerate(state)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    (folder / "model.safetensors").unlink()
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(load_model(f"timm:{folder}?mean=none&range=0,1")(x), net(x), **CLOSE)


def changed(folder, **settings):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    return folder


BAD = {
    "architecture": (lambda f: changed(f, architecture="resnet18x"), "unknown model of timm"),
    "hub": (lambda f: changed(f, architecture="hf-hub:evil/model"), "unknown model of timm"),
    "classes": (lambda f: changed(f, num_classes=7), "says 7 classes, the weights have 5"),
    "argument": (lambda f: changed(f, model_args={"colour": "red"}), "cannot be built"),
    "mean": (lambda f: changed(f, pretrained_cfg={"mean": "x"}), "does not say how images are fed"),
    "size": (lambda f: changed(f, pretrained_cfg={"input_size": 224}), "does not say how images are fed"),
    "mapping": (lambda f: changed(f, pretrained_cfg=[1]), "no mappings"),
    "no weights": (lambda f: [(f / "model.safetensors").unlink(), f][1], "expected weights in model.safetensors"),
    "no config": (lambda f: [(f / "config.json").unlink(), f][1], "no config.json"),
    "transformers": (lambda f: [(f / "config.json").write_text('{"model_type": "vit"}'), f][1], "hf:DIR"),
}


@pytest.mark.parametrize("case", BAD)
def test_other_folders_are_refused(tmp_path, case):
    _, folder = timm_folder(tmp_path)
    change, words = BAD[case]
    with pytest.raises(ModelError, match=words):
        load_model(f"timm:{change(folder)}")
