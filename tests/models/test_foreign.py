"""Networks of torchvision, timm and transformers give what their own libraries give, and come back from safetensors."""

import json
import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from tangency.autodiff import double_backward
from tangency.errors import ModelError
from tangency.models import load_model, read_classifier, save_classifier
from tangency.models.foreign.rebuilt import Adapted, build_foreign
from tangency.types import Dataset, LabelledImages

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def images(shape=(3, 32, 32), classes=("cat", "dog", "eel", "fox", "gnu"), n=40, name="toy"):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(n, *shape, generator=generator)
    split = LabelledImages(pixels, torch.arange(n) % len(classes), tuple(classes), name)
    return Dataset(name, split, split)


def same_again(classifier, tmp_path, x):
    """The classifier, saved and loaded, gives the same logits; returns it."""
    save_classifier(classifier, tmp_path / "again.safetensors")
    again = read_classifier(tmp_path / "again.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x), classifier(x))
    assert again.card == classifier.card
    return again


def normalised(x, mean, std):
    return (x - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_torchvision_with_imagenet_weights(tmp_path):
    from torchvision.models import mobilenet_v3_small

    net = mobilenet_v3_small(num_classes=1000).eval()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    found = load_model(f"torchvision:mobilenet_v3_small?weights={tmp_path / 'w.pth'}")
    assert (found.card.shape, found.card.mean, found.card.std) == ((3, 224, 224), *IMAGENET)
    x = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(found(x), net(normalised(x, *IMAGENET)), **CLOSE)
    same_again(found, tmp_path, x)


def test_small_images_are_brought_to_the_size_of_the_network(tmp_path):
    from torchvision.models import squeezenet1_1

    net = squeezenet1_1(num_classes=5).eval()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    reference = f"torchvision:squeezenet1_1?weights={tmp_path / 'w.safetensors'}&mean=imagenet&resize=64"
    found, x = load_model(reference, images()), torch.rand(2, 3, 32, 32, requires_grad=True)
    assert found.card.shape == (3, 32, 32)
    assert found.card.classes == ("cat", "dog", "eel", "fox", "gnu")
    up = F.interpolate(x, (64, 64), mode="bilinear", align_corners=False)
    expected = net(normalised(up, *IMAGENET))
    assert torch.allclose(found(x), expected, rtol=1e-4, atol=1e-4)
    assert any("brought to 64x64 by bilinear" in sentence for sentence in found.card.provenance["reading"])
    (gradient,) = torch.autograd.grad(found(x)[:, 0].sum(), x)
    (wanted,) = torch.autograd.grad(expected[:, 0].sum(), x)
    assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-5)
    same_again(found, tmp_path, x.detach())


def test_a_size_that_differs_is_asked_about(tmp_path):
    from torchvision.models import squeezenet1_1

    save_file(squeezenet1_1(num_classes=1000).state_dict(), tmp_path / "w.safetensors")
    names = tuple(f"c{i}" for i in range(1000))
    reference = f"torchvision:squeezenet1_1?weights={tmp_path / 'w.safetensors'}"
    with pytest.raises(ModelError, match=r"made for images of 224x224.*resize=224x224.*resize=no"):
        load_model(reference, images(classes=names))
    assert load_model(f"{reference}&resize=no", images(classes=names)).card.shape == (3, 32, 32)


TIMM = {
    "test_resnet.r160_in1k": (3, 160, 160),
    "test_vit.r160_in1k": (3, 160, 160),
    "resnet10t": (3, 176, 176),
}


@pytest.mark.parametrize("name", TIMM)
def test_timm(tmp_path, name):
    import timm

    net = timm.create_model(name, num_classes=1000).eval()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    found = load_model(f"timm:{name}?weights={tmp_path / 'w.safetensors'}")
    config = timm.get_pretrained_cfg(name)
    assert found.card.shape == TIMM[name] == config.input_size
    assert found.card.mean == pytest.approx(config.mean)
    x = torch.rand(2, *TIMM[name])
    with torch.no_grad():
        assert torch.allclose(found(x), net(normalised(x, config.mean, config.std)), **CLOSE)
    same_again(found, tmp_path, x)


def test_timm_for_grey_and_small_images(tmp_path):
    import timm

    net = timm.create_model("test_vit", num_classes=5, in_chans=1, img_size=32).eval()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    found = load_model(
        f"timm:test_vit?weights={tmp_path / 'w.safetensors'}&img_size=32&range=0,1&mean=none", images((1, 32, 32))
    )
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(found(x), net(x), **CLOSE)
    same_again(found, tmp_path, x)


def test_attention_has_second_derivatives_and_forward_mode(tmp_path):
    import timm

    save_file(timm.create_model("test_vit", num_classes=5).state_dict(), tmp_path / "w.safetensors")
    found = load_model(f"timm:test_vit?weights={tmp_path / 'w.safetensors'}&range=0,1&mean=none").double()
    x = torch.rand(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    v = torch.randn_like(x)
    with double_backward():
        (gradient,) = torch.autograd.grad(found(x)[:, 0].sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((gradient * v).sum(), x)
        slope = torch.func.jvp(lambda z: found(z)[:, 0], (x.detach(),), (v,))[1]
    assert float(slope.detach()) == pytest.approx(float((gradient * v).sum().detach()), rel=1e-8)
    assert float(second.norm()) > 0


def hf_folder(tmp_path, labels=None, processor=None, **changes):
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=16, patch_size=8
    )
    config.id2label = labels or {0: "Cat", 1: "dog", 2: "eel"}
    config.label2id = {name: index for index, name in config.id2label.items()}
    net = ViTForImageClassification(config).eval()
    net.save_pretrained(tmp_path / "hf")
    settings = {
        "do_resize": True,
        "size": {"height": 16, "width": 16},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
        "image_processor_type": "ViTImageProcessor",
        **(processor or {}),
    }
    (tmp_path / "hf" / "preprocessor_config.json").write_text(json.dumps(settings))
    if changes:
        content = json.loads((tmp_path / "hf" / "config.json").read_text())
        (tmp_path / "hf" / "config.json").write_text(json.dumps({**content, **changes}))
    return net, tmp_path / "hf"


def test_hugging_face_folders(tmp_path):
    net, folder = hf_folder(tmp_path)
    found = load_model(f"hf:{folder}")
    assert (found.card.shape, found.card.classes) == ((3, 16, 16), ("Cat", "dog", "eel"))
    assert found.card.input_range == (0.0, 1.0)
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        expected = net(pixel_values=normalised(x, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))).logits
        assert torch.allclose(found(x), expected, **CLOSE)
    same_again(found, tmp_path, x)


def test_the_processor_of_transformers_feeds_the_same(tmp_path):
    """Against the library's own image processor on bytes, for both kinds of rescaling."""
    from transformers import ViTImageProcessor

    for factor in (1 / 255, 1 / 127.5):
        net, folder = hf_folder(tmp_path, processor={"rescale_factor": factor})
        processor, pixels = ViTImageProcessor.from_pretrained(folder), torch.randint(0, 256, (2, 3, 16, 16))
        fed = processor(images=list(pixels.to(torch.uint8)), return_tensors="pt")
        found = load_model(f"hf:{folder}")
        with torch.no_grad():
            assert torch.allclose(found(pixels / 255), net(**fed).logits, rtol=1e-4, atol=1e-5)


def test_classes_in_another_order_are_brought_to_the_datas(tmp_path):
    _, folder = hf_folder(tmp_path)
    plain, x = load_model(f"hf:{folder}"), torch.rand(2, 3, 16, 16)
    found = load_model(f"hf:{folder}", images((3, 16, 16), ("eel", "cat", "dog")))
    assert found.card.classes == ("eel", "cat", "dog")
    with torch.no_grad():
        assert torch.equal(found(x), plain(x)[:, [2, 0, 1]])
    assert any("another order" in sentence for sentence in found.card.provenance["reading"])
    same_again(found, tmp_path, x)


HF = {
    "no folder": (lambda f: f.parent / "absent", "no such folder|no config.json"),
    "no weights": (lambda f: (f / "model.safetensors").rename(f / "weights").parent, "expected weights in model.safe"),
    "no torch file": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin").parent, "torch.save wrote"),
    "no config": (lambda f: (f / "config.json").rename(f / "c.json").parent, "no config.json"),
    "json": (lambda f: [(f / "config.json").write_text("{"), f][1], "not readable as JSON"),
    "web page": (lambda f: [(f / "model.safetensors").write_text("<html>"), f][1], "not a readable safetensors"),
}


@pytest.mark.parametrize("case", HF)
def test_other_folders_are_refused(tmp_path, case):
    _, folder = hf_folder(tmp_path)
    change, words = HF[case]
    with pytest.raises(ModelError, match=words):
        load_model(f"hf:{change(folder)}")


def test_folders_with_code_or_of_other_tasks_are_refused(tmp_path):
    _, folder = hf_folder(tmp_path, auto_map={"AutoConfig": "evil.Config"})
    with pytest.raises(ModelError, match="never run"):
        load_model(f"hf:{folder}")
    _, folder = hf_folder(tmp_path, architectures=["ViTForMaskedImageModeling"])
    with pytest.raises(ModelError, match="ViTForMaskedImageModeling"):
        load_model(f"hf:{folder}")
    _, folder = hf_folder(tmp_path, hidden_size=8)
    with pytest.raises(ModelError, match=r"do not fit|cannot read"):
        load_model(f"hf:{folder}")


BAD = {
    "torchvision:resnet19?weights=a.pt": "no such file|unknown classifier",
    "torchvision:resnet18": "no weights; give",
    "timm:resnet18": "no weights; give",
    "torchvision:": "nothing stands behind",
    "torch:resnet18": "unknown model",
    "timm:resnet18?weights=a.pt&colour=red": "unknown option",
    "net.onnx": "unknown model",
}


@pytest.mark.parametrize("reference", BAD)
def test_bad_references(reference):
    with pytest.raises(ModelError, match=BAD[reference]):
        load_model(reference)


def test_grey_images_for_a_colour_network(tmp_path):
    from torchvision.models import squeezenet1_1

    save_file(squeezenet1_1(num_classes=5).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="colour"):
        load_model(f"torchvision:squeezenet1_1?weights={tmp_path / 'w.safetensors'}", images((1, 28, 28)))


@pytest.mark.parametrize("name", ["torchvision:nothing", "timm:nothing", "timm:hf-hub:evil/model"])
def test_unknown_names_of_other_packages(name):
    with pytest.raises(ModelError, match="unknown"):
        build_foreign(name, (3, 32, 32), 10, {})


def test_adapted_shrinks_with_a_filter_and_orders():
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.rand(2, 3, 32, 32)
    found = Adapted(net, [8, 8], [2, 0, 1])(x)
    small = F.interpolate(x, (8, 8), mode="bilinear", antialias=True, align_corners=False)
    assert torch.equal(found, small.mean((2, 3))[:, [2, 0, 1]]) or torch.allclose(
        found, small.mean((2, 3))[:, [2, 0, 1]]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.allclose(Adapted(net)(x), x.mean((2, 3)))
