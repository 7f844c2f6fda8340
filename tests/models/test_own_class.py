"""Weights of one's own class: rebuilt by the class where its code is trusted, and from a converted file again."""

import pytest
import torch
from torch import nn

from tangency.errors import ModelError
from tangency.evaluate.convert import convert_model
from tangency.models import load_model, read_classifier

SOURCE = """
from pathlib import Path
from torch import nn
Path(__file__).with_suffix(".ran").touch()
class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(48, 7)
    def forward(self, x):
        return self.head(self.norm(self.conv(x)).tanh().flatten(1))
class Sized(Plain):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(48, num_classes)
class Default(Sized):
    def __init__(self, width=4, num_classes=10):
        super().__init__(num_classes)
class Wide(Plain):
    def __init__(self, width, depth, num_classes=7):
        super().__init__()
def function():
    return Plain()
number = 3
"""
INPUT = "range=-1,1&mean=none&shape=3x6x5"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "net.py").write_text(SOURCE)
    space = {"__file__": str(tmp_path / "elsewhere")}
    exec(SOURCE, space)
    torch.manual_seed(0)
    net = space["Plain"]().eval()
    nn.init.uniform_(net.norm.running_mean)
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    torch.save({"epoch": 3, "model": state}, tmp_path / "w.pt")
    return tmp_path, net


@pytest.mark.parametrize("name", ["Plain", "Sized", "Default", "function"])
def test_weights_of_a_class(files, name):
    folder, net = files
    text = f"state_dict:{folder / 'w.pt'}?arch=py:{folder / 'net.py'}:{name}&{INPUT}"
    with pytest.raises(ModelError, match=r"loading 'arch=py:' runs code.*--trust-code"):
        load_model(text)
    assert not (folder / "net.ran").exists()
    found = load_model(text, trust_code=True)
    x = torch.rand(4, 3, 6, 5)
    with torch.no_grad():
        assert torch.equal(found(x), net(2 * x - 1))
    assert found.classes == 7
    assert any("weights taken from 'model'" in text for text in found.card.provenance["reading"])
    convert_model(text, folder / "net.safetensors", trust_code=True)
    again = read_classifier(folder / "net.safetensors", trust_code=True)
    with torch.no_grad():
        assert torch.equal(again(x), found(x))
    (folder / "net.py").write_text(SOURCE + "\n")
    with pytest.raises(ModelError, match="no longer the code"):
        read_classifier(folder / "net.safetensors", trust_code=True)


def test_a_class_of_a_module(files, monkeypatch):
    folder, net = files
    (folder / "own_nets_of_a_script.py").write_text(SOURCE)
    monkeypatch.chdir(folder)
    found = load_model(f"w.pt?arch=py:own_nets_of_a_script:Sized&{INPUT}&classes=7", trust_code=True)
    with torch.no_grad():
        assert torch.equal(found(torch.ones(1, 3, 6, 5)), net(torch.ones(1, 3, 6, 5)))


REFUSED = {
    "Wide": "takes width, depth, expected a function or class without required arguments.*num_classes",
    "number": "has no function",
    "Absent": "has no function",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_made_is_told(files, name):
    folder, _ = files
    with pytest.raises(ModelError, match=REFUSED[name]):
        load_model(f"state_dict:{folder / 'w.pt'}?arch=py:{folder / 'net.py'}:{name}&{INPUT}", trust_code=True)


def test_other_weights_are_a_misfit(files):
    folder, _ = files
    torch.save(nn.Linear(3, 4).state_dict(), folder / "w.pt")
    text = f"state_dict:{folder / 'w.pt'}?arch=py:{folder / 'net.py'}:Plain&{INPUT}"
    with pytest.raises(ModelError, match=r"do not fit Plain: missing conv.bias"):
        load_model(text, trust_code=True)
    with pytest.raises(ModelError, match="expected arch=py:MODULE:CLASS"):
        load_model(f"state_dict:{folder / 'w.pt'}?arch=py:net&{INPUT}", trust_code=True)
