"""Weights and card survive the trip to disk; a file that is anything else is refused in one sentence."""

import json
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from tangency.errors import ModelError
from tangency.models import Classifier, build, load_weights, read_classifier, save_classifier
from tangency.tensors import digest, read_tensors, write_tensors


def net():
    return build("convnet", (2, 9, 11), ("cat", "dog", "eel"), seed=2, channels=(3, 5, 7), norm="batch")


def test_round_trip_keeps_every_tensor_and_the_card(tmp_path):
    original = net().train()
    original(torch.rand(5, 2, 9, 11))  # moves the running statistics
    save_classifier(original, tmp_path / "a" / "net.safetensors")
    loaded = read_classifier(tmp_path / "a" / "net.safetensors")
    assert loaded.card == original.card
    assert not loaded.training
    weights = loaded.state_dict()
    assert weights.keys() == original.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in original.state_dict().items())
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["net.safetensors"]


def test_loading_leaves_the_random_state_alone(tmp_path):
    save_classifier(net(), tmp_path / "net.safetensors")
    state = torch.get_rng_state()
    read_classifier(tmp_path / "net.safetensors")
    assert torch.equal(torch.get_rng_state(), state)


def test_the_card_is_plain_json_in_the_header(tmp_path):
    from safetensors import safe_open

    save_classifier(net(), tmp_path / "net.safetensors")
    with safe_open(str(tmp_path / "net.safetensors"), "pt") as handle:
        card = json.loads(handle.metadata()["tangency"])
    assert card["architecture"] == "convnet"
    assert card["classes"] == ["cat", "dog", "eel"]
    assert card["provenance"] == {"initial_seed": 2}


def test_a_custom_module_is_loaded_into_one_built_elsewhere(tmp_path):
    def wrapped(std):
        module = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
        return Classifier.wrap(module, (2, 2, 2), ["a", "b", "c"], std=std)

    original, other, path = wrapped((2.0, 5.0)), wrapped((1.0, 1.0)), tmp_path / "net.safetensors"
    save_classifier(original, path)
    with pytest.raises(ModelError, match=r"custom.*load_weights"):
        read_classifier(path)
    load_weights(other, path)
    x = torch.rand(5, 2, 2, 2)
    assert torch.equal(other(x), original(x))
    assert other.card == original.card
    with pytest.raises(ModelError, match="Wrap"):
        load_weights(Classifier.wrap(nn.Flatten(), (2, 2, 2), 8), path)


@pytest.mark.parametrize("kind", ["absent", "folder", "empty", "html", "zip", "pickle", "cut", "no card", "list"])
def test_files_of_another_kind_are_refused(tmp_path, kind):
    path = tmp_path / "net.safetensors"
    save_classifier(net(), tmp_path / "good")
    whole = (tmp_path / "good").read_bytes()
    words = {"html": "web page", "zip": "pickled", "pickle": "pickled", "empty": "empty", "no card": "no tangency card"}
    if kind == "folder":
        path.mkdir()
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", "x" * 99)
    elif kind == "no card":
        save_file({"a": torch.zeros(2)}, path)
    elif kind == "list":
        write_tensors(path, {"a": torch.zeros(2)}, {"shape": [1], "classes": 3, "architecture": []})
    elif kind != "absent":
        content = {"empty": b"", "html": b"<!DOCTYPE html><html>404", "pickle": b"\x80\x04K\x01.", "cut": whole[:-5]}
        path.write_bytes(content[kind])
    with pytest.raises(ModelError, match=words.get(kind, "net.safetensors: ")) as error:
        read_classifier(path)
    assert str(path) in str(error.value)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_single_damaged_byte_goes_unseen(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    write_tensors(folder / "good", {"w": torch.arange(7.0), "b": torch.tensor(3)}, {"classes": ["a"], "x": 1.5})
    whole = bytearray((folder / "good").read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "bad").write_bytes(whole)
    try:
        tensors, header = read_tensors(folder / "bad")
    except ModelError:
        return
    # What still reads (a flip in the padding) must read the same.
    assert header == {"classes": ["a"], "x": 1.5}
    assert torch.equal(tensors["w"], torch.arange(7.0))
    assert torch.equal(tensors["b"], torch.tensor(3))


def test_tensors_that_do_not_fit_are_named(tmp_path):
    save_classifier(net(), tmp_path / "good")
    tensors, header = read_tensors(tmp_path / "good")
    tensors["extra"] = torch.zeros(1)
    tensors["head.bias"] = torch.zeros(4)
    del tensors["features.0.weight"]
    write_tensors(tmp_path / "bad", tensors, header)
    with pytest.raises(ModelError) as error:
        read_classifier(tmp_path / "bad")
    for words in ("missing features.0.weight", "unexpected extra", "head.bias (4,) instead of (3,)"):
        assert words in str(error.value)


def test_a_card_of_another_version_is_refused(tmp_path):
    save_classifier(net(), tmp_path / "good")
    tensors, header = read_tensors(tmp_path / "good")
    for change, message in ({"colour": 1}, "newer"), ({"std": [0.0]}, "std"), ({"architecture": "vit"}, "vit"):
        write_tensors(tmp_path / "bad", tensors, {**header, **change})
        with pytest.raises(ModelError, match=message):
            read_classifier(tmp_path / "bad")


def test_provenance_that_json_cannot_hold_is_refused_and_leaves_no_file(tmp_path):
    classifier = net()
    for value in (float("nan"), object()):
        classifier.card.provenance["loss"] = value
        with pytest.raises(ModelError, match="JSON"):
            save_classifier(classifier, tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_lone_value_that_was_expanded_is_written(tmp_path: Path) -> None:
    lone = torch.tensor(0.25).expand(1)
    write_tensors(tmp_path / "x.safetensors", {"lone": lone, "none": torch.zeros(0, 3)}, {})
    found = read_tensors(tmp_path / "x.safetensors")[0]
    assert torch.equal(found["lone"], torch.tensor([0.25]))
    assert digest({"lone": lone}) == digest({"lone": lone.clone(memory_format=torch.contiguous_format)})


@pytest.mark.parametrize("change", [{"architecture": 3}, {"options": []}, {"provenance": "x"}])
def test_a_card_with_a_value_of_another_kind_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    save_classifier(build("convnet", (1, 8, 8), 3), tmp_path / "good.safetensors")
    tensors, header = read_tensors(tmp_path / "good.safetensors")
    write_tensors(tmp_path / "bad.safetensors", tensors, {**header, **change})
    with pytest.raises(ModelError, match=f"the card's {next(iter(change))} are of the wrong kind"):
        read_classifier(tmp_path / "bad.safetensors")


def test_what_torch_says_in_many_lines_is_told_in_one(tmp_path: Path) -> None:
    save_classifier(build("convnet", (1, 8, 8), 3), tmp_path / "good.safetensors")
    tensors, header = read_tensors(tmp_path / "good.safetensors")
    options = {"channels": [10**30, 4, 4]}  # torch adds a stack of C++ to its overflow
    write_tensors(tmp_path / "bad.safetensors", tensors, {**header, "options": options})
    with pytest.raises(ModelError, match="cannot be built with options") as told:
        read_classifier(tmp_path / "bad.safetensors")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 500
