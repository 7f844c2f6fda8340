"""Foreign classifiers on the command line: measured, converted, asked about in one paragraph."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from models.onnx_graphs import network
from tangency.cli.app import app
from tangency.data import load
from tangency.models import build, load_model, read_classifier, save_classifier

DATA = "fashion-mnist-5k"


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A pickled state_dict of an untrained network of ours."""
    path = tmp_path_factory.mktemp("models") / "net.pt"
    net = build("convnet", (1, 28, 28), 10, channels=(2, 3, 4), seed=1)
    torch.save({"model": {f"module.{k}": v for k, v in net.module.state_dict().items()}, "args": nn.ReLU()}, path)
    return path


def test_measure_a_checkpoint_and_say_what_is_wrong(weights):
    reference = f"state_dict:{weights}?arch=convnet&channels=2,3,4&range=0,1&mean=none"
    asked = ("measure", "--model", reference, "--data", DATA, "--limit", 20)
    found = json.loads(run(*asked, "--json").output)
    assert found["measured"] == 20
    assert found["check"]["images"] == 512
    assert found["check"]["p_value"] > 1e-3
    assert found["check"]["warnings"]
    assert any("prefix 'module.'" in sentence for sentence in found["reading"])
    shown = run(*asked).output
    assert "Warning: it " in shown
    assert "model: weights taken from 'model'" in shown


def test_what_was_close_when_it_was_loaded_is_a_warning_of_the_summary(tmp_path):
    classifier = build("convnet", (1, 28, 28), load(DATA).test.classes, channels=(2, 3, 4))
    said = "the images do not tell mean and std of ImageNet from another"
    classifier.card = replace(classifier.card, provenance={"reading": [said], "warnings": [said]})
    save_classifier(classifier, tmp_path / "net.safetensors")
    result = run("measure", "--model", tmp_path / "net.safetensors", "--data", DATA, "--limit", 4, "--json")
    found = json.loads(result.output)
    assert found["warnings"][0] == said


def test_convert_and_load_again(weights, tmp_path):
    reference, target = f"state_dict:{weights}?arch=convnet&channels=2,3,4&mean=mnist", tmp_path / "net.safetensors"
    result = run("convert", reference, target, "--data", DATA)
    assert result.exit_code == 0, result.output
    assert "convnet of 1×28×28 images, 10 classes, range [0, 1]" in " ".join(result.output.split())
    x = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(read_classifier(target)(x), load_model(f"{reference}&shape=1x28x28")(x))
    again = json.loads(run("convert", target, tmp_path / "again.safetensors", "--json").output)
    assert again["card"]["architecture"] == "convnet"


def test_convert_onnx(tmp_path):
    reference = f"onnx:{network(tmp_path / 'a.onnx', 'nhwc', 1, 'Softmax')}?range=0,1&mean=none"
    result = run("convert", reference, tmp_path / "net.safetensors", "--json")
    assert json.loads(result.output)["card"]["shape"] == [3, 6, 5]
    x = torch.rand(3, 3, 6, 5)
    with torch.no_grad():
        assert torch.equal(read_classifier(tmp_path / "net.safetensors")(x), load_model(reference)(x))


def written(name, content):
    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


def tensors(folder):
    save_file({"w": torch.zeros(2)}, folder / "w.safetensors")
    return folder / "w.safetensors"


HTML = written("net.pt", b"<!DOCTYPE html><html>Too many requests</html>")
BAD = {
    "web page": (HTML, "state_dict:{}?arch=cifar:resnet18", "web page"),
    "bare name": (HTML, "{}?arch=cifar:resnet18", "web page"),
    "robustness": (HTML, "robustness:{}?arch=resnet18&dataset=cifar", "web page"),
    "web page without an architecture": (HTML, "{}", "web page"),
    "web page as state_dict": (HTML, "state_dict:{}", "web page"),
    "web page for robustness": (HTML, "robustness:{}", "web page"),
    "web page of onnx": (written("net.onnx", b"<html>Too many requests</html>"), "onnx:{}?shape=1x28x28", "web page"),
    "web page of safetensors": (written("net.safetensors", b"<html></html>"), "{}", "web page"),
    "absent without an architecture": (lambda folder: folder / "a.pt", "{}", "no such file"),
    "git lfs": (written("a.pt", b"version https://git-lfs"), "state_dict:{}?arch=cifar:resnet18", "Git LFS"),
    "no card": (tensors, "{}", "no tangency card"),
    "misfit": (tensors, "{}?arch=cifar:resnet18", "do not fit"),
    "trust": (HTML, "torchscript:{}", "--trust-code"),
    "unknown": (HTML, "keras:{}", "unknown model"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("command", ["measure", "convert"])
def test_bad_models_are_one_paragraph_and_code_two(tmp_path, case, command, monkeypatch, capsys):
    from tangency.cli import main

    make, reference, words = BAD[case]
    text = reference.format(make(tmp_path))
    more = ["--model", text, "--data", DATA] if command == "measure" else [text, str(tmp_path / "o.safetensors")]
    monkeypatch.setattr("sys.argv", ["tangency", command, *more])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert words in said
    assert "Traceback" not in said


@pytest.mark.processes  # Python asks `uname` for the processor
def test_doctor_lists_the_extras():
    found = json.loads(run("doctor", "--json").output)["extras"]
    assert found["onnx"].startswith("found: onnx ")
    assert found["robustbench"].startswith(("missing: pip install 'tangency[robustbench]'", "found"))
