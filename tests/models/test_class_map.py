"""A network of many classes on data of some of them: the right logits are kept, it is said, and nothing is guessed."""

import json
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.test_foreign import images, normalised, same_again
from tangency.data.classes import imagenet_synsets
from tangency.errors import ModelError
from tangency.evaluate.classifiers.saved import check_fits, find_classifier, find_mapped
from tangency.models import build, load_model, read_classifier, save_classifier
from tangency.models.class_map import data_outputs, with_option, without_option
from tangency.models.class_names import imagenet_names

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# fast.ai's Imagenette: folders, names, and the outputs of a network of ImageNet
IMAGENETTE = {
    "n01440764": ("tench", 0),
    "n02102040": ("English springer", 217),
    "n02979186": ("cassette player", 482),
    "n03000684": ("chain saw", 491),
    "n03028079": ("church", 497),
    "n03394916": ("French horn", 566),
    "n03417042": ("garbage truck", 569),
    "n03425413": ("gas pump", 571),
    "n03445777": ("golf ball", 574),
    "n03888257": ("parachute", 701),
}
NAMES, OUTPUTS = zip(*IMAGENETTE.values(), strict=True)


def imagenette(classes=tuple(IMAGENETTE), shape=(3, 32, 32)):
    return images(shape, classes, n=40, name="imagenette")


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    from torchvision.models import mobilenet_v3_small

    net = mobilenet_v3_small(num_classes=1000).eval()
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(net.state_dict(), path)
    return net, f"torchvision:mobilenet_v3_small?weights={path}&resize=64"


def own_logits(net, x):
    up = F.interpolate(x, (64, 64), mode="bilinear", align_corners=False)
    with torch.no_grad():
        return net(normalised(up, *IMAGENET))


@pytest.mark.parametrize(
    "classes", [tuple(IMAGENETTE), NAMES, tuple(reversed(NAMES))], ids=["synsets", "names", "turned"]
)
def test_folders_of_imagenette_and_a_network_of_torchvision(mobilenet, tmp_path, classes):
    net, reference = mobilenet
    data, x = imagenette(classes), torch.rand(3, 3, 32, 32)
    found = load_model(reference, data)
    order = list(OUTPUTS) if classes[0] != "parachute" else list(reversed(OUTPUTS))
    with torch.no_grad():
        assert torch.allclose(found(x), own_logits(net, x)[:, order], rtol=1e-4, atol=1e-4)
    assert found.card.classes == classes
    check_fits(found.card, data, "model")
    (said,) = [sentence for sentence in found.card.provenance["reading"] if "of its 1,000 outputs" in sentence]
    assert "taken for ImageNet's classes in the order of their synsets" in said
    assert f"'{classes[0]}' is output {order[0]}" in said
    same_again(found, tmp_path, x)


def test_all_of_imagenet_in_another_order_is_not_taken_by_number(mobilenet):
    """As the batches of downsampled ImageNet have them."""
    net, reference = mobilenet
    order = np.random.default_rng(0).permutation(1000)
    found = load_model(reference, imagenette(tuple(imagenet_synsets()[i] for i in order)))
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(found(x), own_logits(net, x)[:, order], rtol=1e-4, atol=1e-4)
    unordered = imagenette(tuple(f"clsloc {i + 1}" for i in range(1000)))
    numbered = load_model(reference, unordered)
    with pytest.raises(ModelError, match="--class-map"):
        check_fits(numbered.card, unordered, "model")
    check_fits(load_model(f"{reference}&class-map=order", unordered).card, unordered, "model")


def hf_folder(folder, labels):
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = ConvNextConfig(hidden_sizes=[4, 8], depths=[1, 1], num_stages=2, image_size=32, num_labels=len(labels))
    config.id2label, config.label2id = dict(enumerate(labels)), {name: i for i, name in enumerate(labels)}
    net = ConvNextForImageClassification(config).eval()
    net.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}}
            | {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": True, "do_rescale": True}
        )
    )
    return net


@pytest.mark.parametrize("classes", [tuple(IMAGENETTE), NAMES, ("tench, Tinca tinca", *NAMES[1:])])
def test_a_network_of_transformers_names_its_classes_itself(tmp_path, classes):
    labels = [f"{name}, Latina {i}" if i % 3 else name for i, name in enumerate(imagenet_names())]
    labels[0] = "tench, Tinca tinca"
    net = hf_folder(tmp_path, labels)
    found, x = load_model(f"hf:{tmp_path}", imagenette(classes)), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = net(pixel_values=(x - 0.5) / 0.5).logits[:, list(OUTPUTS)]
        assert torch.allclose(found(x), expected, rtol=1e-4, atol=1e-5)


def test_a_part_of_named_classes(tmp_path):
    net = hf_folder(tmp_path, ("Cat", "dog", "eel", "ice cream"))
    x, data = torch.rand(2, 3, 32, 32), images((3, 32, 32), ("Ice-Cream", "cat"))
    found = load_model(f"hf:{tmp_path}", data)
    with torch.no_grad():
        expected = net(pixel_values=(x - 0.5) / 0.5).logits[:, [3, 0]]
        assert torch.allclose(found(x), expected, rtol=1e-4, atol=1e-5)
    assert any("'Ice-Cream' is output 3" in sentence for sentence in found.card.provenance["reading"])
    partly = images((3, 32, 32), ("cat", "cow"))
    with pytest.raises(ModelError, match=r"of which 1 are none of its \(cow\)"):
        check_fits(load_model(f"hf:{tmp_path}", partly).card, partly, "model")


MAPS = {
    "indices": "4,0,2",
    "names": "fox,cat,eel",
    "text": "a.txt",
    "table": "a.csv",
    "json": "a.json",
    "list": "b.txt",
}


@pytest.mark.parametrize("kind", MAPS)
def test_every_form_of_the_option(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Red fox 4\nhouse cat 0\neels 2\nother 1\n")
    (tmp_path / "a.csv").write_text('house cat,cat\n"Red fox",fox\neels,eel\n')
    (tmp_path / "a.json").write_text(json.dumps({"eels": 2, "red fox": "fox", "House Cat": 0}))
    (tmp_path / "b.txt").write_text("fox\ncat\neel\n")
    net = build("convnet", (3, 8, 8), ("cat", "dog", "eel", "cow", "fox"), seed=1)
    save_classifier(net, tmp_path / "net.safetensors")
    data, x = images((3, 8, 8), ("Red fox", "house cat", "eels")), torch.rand(4, 3, 8, 8)
    found = load_model(f"net.safetensors?class-map={MAPS[kind]}", data)
    with torch.no_grad():
        assert torch.equal(found(x), net(x)[:, [4, 0, 2]])
    assert found.card.classes == data.test.classes
    same_again(found, tmp_path, x)
    part = images((3, 8, 8), ("eels", "red fox"))  # a part of the part
    twice = load_model(f"{tmp_path / 'again.safetensors'}", part)
    with torch.no_grad():
        assert torch.equal(twice(x), net(x)[:, [2, 4]])
    same_again(twice, tmp_path, x)


@pytest.mark.parametrize("given", [[4, 0, 2], ("fox", "cat", "eel"), {"eels": "eel", "red fox": 4, "house cat": 0}])
def test_the_argument_of_load_model(tmp_path, given):
    net = build("convnet", (3, 8, 8), ("cat", "dog", "eel", "cow", "fox"), seed=1)
    save_classifier(net, tmp_path / "net.safetensors")
    data, x = images((3, 8, 8), ("Red fox", "house cat", "eels")), torch.rand(4, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(
            load_model(str(tmp_path / "net.safetensors"), data, class_map=given)(x), net(x)[:, [4, 0, 2]]
        )
    with pytest.raises(ModelError, match="name the data, too"):
        load_model(str(tmp_path / "net.safetensors"), class_map=given)


def test_a_map_of_as_many_classes(mobilenet):
    """Nothing names the network's classes: with a map, the data's are not taken in their order."""
    from torchvision.models import mobilenet_v3_small

    net, x = mobilenet_v3_small(num_classes=3).eval(), torch.rand(2, 3, 32, 32)
    path = mobilenet[1].partition("weights=")[2].partition("&")[0] + "3"
    torch.save(net.state_dict(), path)
    reference = f"torchvision:mobilenet_v3_small?weights={path}&mean=imagenet&range=0,1&class-map=2,0,1"
    found = load_model(reference, images((3, 32, 32), ("a", "b", "c")))
    with torch.no_grad():
        assert torch.allclose(found(x), net(normalised(x, *IMAGENET))[:, [2, 0, 1]], rtol=1e-4, atol=1e-5)


WRONG = {
    "0,1": "names 2 outputs, the data have 3 classes (Red fox, house cat, eels)",
    "0,1,5": "names '5' for the class 'eels' of the data, which is none of its 5 outputs",
    "0,1,1": "gives output 1 to two classes of the data",
    "cat,dog,cwo": "names 'cwo' for the class 'eels'",
    "order": "class-map=order, but it has 5 outputs and the data 3 classes",
    "imagenet": "class-map=imagenet, but it has 5 outputs, expected 1000",
    "none.csv": "'none.csv' is no file",
    "": "class-map names no outputs",
    "0": "names 1 output, the data",
    "few.json": "lacks 1 of the data's 3 classes: eels",
    "odd.csv": "the line 'a,b,c', expected a class of the data and an output",
    "odd.json": "cannot be read as a class map",
}


@pytest.mark.parametrize("asked", WRONG)
def test_what_the_option_cannot_mean(tmp_path, monkeypatch, asked):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.json").write_text('{"Red fox": 4, "house cat": 0}')
    (tmp_path / "odd.csv").write_text("a,b,c\n")
    (tmp_path / "odd.json").write_text("{")
    own = ("cat", "dog", "eel", "cow", "fox")
    with pytest.raises(ModelError, match=re.escape(WRONG[asked])):
        data_outputs(own, ("Red fox", "house cat", "eels"), asked, "net")


def test_numbers_and_ambiguous_names_match_nothing():
    assert data_outputs(tuple("0123456789"), ("0", "1", "2"), None, "net") == (None, "")
    assert data_outputs(("crane, bird", "crane, machine", "cat"), ("crane", "cat"), None, "net") == (None, "")
    assert data_outputs(("a, x", "b, x"), ("a", "x"), None, "net") == (None, "")
    assert data_outputs(("Cat", "dog"), ("cat", "dog"), None, "net") == (None, "")
    assert data_outputs(("a", "b"), ("b", "a"), None, "net")[0] == [1, 0]


def test_the_option_and_references():
    assert with_option("hf:DIR", "a b.csv") == "hf:DIR?class-map=a%20b.csv"
    assert without_option("hf:DIR?resize=32&class-map=a%20b.csv") == ("hf:DIR?resize=32", "a b.csv")
    assert without_option(with_option("a.safetensors", "0,1")) == ("a.safetensors", "0,1")
    assert with_option("hf:DIR?class-map=order", "0,1") == "hf:DIR?class-map=order"
    assert without_option("run:a?b/trials/x") == ("run:a?b/trials/x", None)


def test_errors_list_ten_names_at_most(mobilenet):
    _, reference = mobilenet
    data = images((3, 32, 32), tuple(f"class-{i:03d}" for i in range(300)), n=600)
    with pytest.raises(ModelError) as caught:
        check_fits(load_model(reference, data).card, data, "model")
    assert "9 and 990 more" in str(caught.value)
    assert "class-009 and 290 more" in str(caught.value)
    assert len(str(caught.value)) < 1200


def test_a_reference_with_the_option_is_found(tmp_path):
    net = build("convnet", (3, 8, 8), ("cat", "dog", "eel"), seed=1)
    save_classifier(net, tmp_path / "net.safetensors")
    data = images((3, 8, 8), ("a", "b"))
    reference = f"{tmp_path / 'net.safetensors'}?class-map=2,0"
    found = find_classifier(reference, "cpu", data)
    assert (found.reference, found.classifier.card.classes) == (reference, ("a", "b"))
    assert read_classifier(tmp_path / "net.safetensors").classes == 3


def mapped_file(tmp_path, data, outputs=12):
    """A file of ours with the data's classes, made from a network of others with a map."""
    net = build("convnet", (3, 8, 8), outputs, seed=1)
    save_classifier(net, tmp_path / "net.safetensors")
    order = [11, 3, 5] if outputs == 12 else [2, 0, 1]
    found = load_model(f"{tmp_path / 'net.safetensors'}?class-map={','.join(map(str, order))}", data)
    save_classifier(found, tmp_path / "mapped.safetensors")
    return found, str(tmp_path / "mapped.safetensors"), ",".join(map(str, order))


@pytest.mark.parametrize("outputs", [12, 3])
@pytest.mark.parametrize("classes", [("0", "1", "2"), ("cat", "dog", "eel")], ids=["digits", "names"])
def test_a_map_for_all_models_is_not_applied_twice(tmp_path, classes, outputs):
    data, x = images((3, 8, 8), classes), torch.rand(3, 3, 8, 8)
    expected, reference, asked = mapped_file(tmp_path, data, outputs)
    found = find_mapped(reference, "cpu", data, class_map=asked)
    with torch.no_grad():
        assert torch.equal(found.classifier(x), expected(x))
    assert found.reference == reference
    assert "already are the data's" in found.classifier.card.provenance["reading"][-1]
    with pytest.raises(ModelError, match=r"names output 12, it has" if outputs == 12 else "names output 12, it has 3"):
        find_mapped(reference, "cpu", data, class_map="12,1,0")
    with pytest.raises(ModelError, match="leave class-map out"):
        load_model(f"{reference}?class-map=2,0,1", data)
    if classes[0] == "cat" or outputs == 12:
        other = find_mapped(str(tmp_path / "net.safetensors"), "cpu", data, class_map=asked)
        with torch.no_grad():
            assert torch.equal(other.classifier(x), expected(x))
        assert other.reference.endswith(f"?class-map={asked}")


def test_a_map_beside_equal_names_is_needless_or_refused():
    own = ("Cat", "dog", "eel")
    assert data_outputs(own, ("cat", "dog", "eel"), "0,1,2", "net") == (None, "")
    assert data_outputs(own, ("cat", "dog", "eel"), {"cat": 0, "dog": "dog", "eel": 2}, "net") == (None, "")
    for wrong, said in (("0,2,1", "already are the data's by name"), ("0,1,11", "names '11'"), ("cow,dog,eel", "cow")):
        with pytest.raises(ModelError, match=said):
            data_outputs(own, ("cat", "dog", "eel"), wrong, "net")
    assert data_outputs(tuple("012"), tuple("012"), "2,0,1", "net")[0] == [2, 0, 1]  # numbers may mean anything
