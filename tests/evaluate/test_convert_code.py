"""Networks that exist as code only become safetensors with a card, and are rebuilt only where that code is trusted."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from tangency.cli.app import app
from tangency.errors import ModelError
from tangency.evaluate.convert import convert_model
from tangency.models import load_model, read_classifier
from tangency.tensors import read_tensors, write_tensors

RAW = "range=-1,1&mean=none&shape=3x6x5"
ALL = ["export", "export of one image", "torchscript", "py file", "py module", "py classifier"]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 4 * 3, 5)
        self.lifted = torch.rand(5)  # a constant that is no weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x)).tanh().flatten(1)) + self.lifted


SOURCE = """
from pathlib import Path
import torch
from torch import nn
Path(__file__).with_suffix(".ran").touch()
def net():
    return nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(90, 5))
def classifier():
    from tangency.models import Classifier
    return Classifier.wrap(net(), (3, 6, 5), 5, (-1, 1))
class Hidden(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1)) + self.hidden
def forgetful():
    module = Hidden(90, 5)
    module.hidden = torch.rand(5)
    return module
def broken():
    return open("weights-that-are-not-there.pt")
def number():
    return 3
def leaves():
    print("good bye")
    raise SystemExit(0)
def infinite():
    module = net()
    nn.init.constant_(module[2].bias, float("inf"))
    return module
"""


def images(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 3, 6, 5, generator=torch.Generator().manual_seed(1))


def reference(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model of each kind of code in a folder."""
    if kind.startswith("export"):
        single = "one" in kind
        dynamic = None if single else ({0: torch.export.Dim("n")},)
        program = torch.export.export(Net().eval(), (images(1 if single else 2),), dynamic_shapes=dynamic)
        torch.export.save(program, folder / "net.pt2")
        return f"export:{folder / 'net.pt2'}?{RAW}"
    if kind == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls its own format old
            torch.jit.save(torch.jit.trace(Net().eval(), images(2)), str(folder / "net.pt"))
        return f"torchscript:{folder / 'net.pt'}?{RAW}"
    name = f"nets_{folder.name}"  # Python keeps modules by name
    (folder / f"{name}.py").write_text(SOURCE)
    monkeypatch.chdir(folder)
    where = name if kind == "py module" else f"{name}.py"
    return f"py:{where}:{'classifier' if kind == 'py classifier' else 'net'}?{RAW}"


@pytest.mark.parametrize("kind", ALL)
def test_a_converted_file_gives_the_same_and_runs_nothing_untrusted(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = reference(kind, tmp_path, monkeypatch), tmp_path / "o.safetensors"
    torch.manual_seed(5)
    with pytest.raises(ModelError, match="--trust-code"):
        convert_model(source, target)
    assert not target.exists()
    card = convert_model(source, target, trust_code=True)
    assert card["input_range"] == (-1.0, 1.0)
    assert card["architecture"] == (source.partition("?")[0] if source.startswith("py:") else kind.split()[0])
    ran = list(tmp_path.glob("*.ran"))
    for path in ran:
        path.unlink()
    with pytest.raises(ModelError, match=r"o\.safetensors: its network exists as code only .*--trust-code"):
        load_model(str(target))
    with pytest.raises(ModelError, match="exists as code only"):
        read_classifier(target)
    assert not list(tmp_path.glob("*.ran"))
    torch.manual_seed(6)  # the code's own weights are others
    found = load_model(str(target), trust_code=True)
    state = load_file(target)
    if ran:
        wanted_net = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(90, 5))
        wanted_net.load_state_dict(state)
    else:
        wanted_net = Net()
        torch.testing.assert_close(state["net.conv.weight"], wanted_net.conv.weight)
    wanted = wanted_net.eval()(2 * images() - 1)
    torch.testing.assert_close(found(images()), wanted, rtol=1e-5, atol=1e-5)
    assert found.card.classes == ("0", "1", "2", "3", "4")
    again = tmp_path / "again.safetensors"
    convert_model(str(target), again, trust_code=True)
    torch.testing.assert_close(read_classifier(again, trust_code=True)(images()), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["export", "torchscript"])
def test_a_program_is_whole_in_the_file_and_its_weights_are_there_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wide(Net):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4000, 3), nn.BatchNorm2d(4000)
            self.head = nn.Linear(4000 * 4 * 3, 5)

    monkeypatch.setitem(globals(), "Net", Wide)
    source, target = reference(kind, tmp_path, monkeypatch), tmp_path / "o.safetensors"
    convert_model(source, target, trust_code=True)
    wanted = load_model(source, trust_code=True)(images())
    (tmp_path / source.split(":")[1].split("?")[0]).unlink()
    torch.testing.assert_close(read_classifier(target, trust_code=True)(images()), wanted, rtol=1e-5, atol=1e-5)
    weights = sum(value.numel() * value.element_size() for value in Wide().state_dict().values())
    assert target.stat().st_size < 1.1 * weights


def test_changed_code_is_told_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = reference("py file", tmp_path, monkeypatch), tmp_path / "away" / "o.safetensors"
    convert_model(source, target, trust_code=True)
    file = next(tmp_path.glob("*.py"))
    file.write_text(SOURCE + "# changed\n")
    (ran,) = tmp_path.glob("*.ran")
    ran.unlink()
    with pytest.raises(ModelError, match="no longer the code that the weights were saved with"):
        read_classifier(target, trust_code=True)
    assert not ran.exists()
    file.unlink()
    with pytest.raises(ModelError, match=r"is no Python file.*put it beside"):
        read_classifier(target, trust_code=True)
    (target.parent / file.name).write_text(SOURCE)  # sent along with the weights
    monkeypatch.chdir("/")
    assert read_classifier(target, trust_code=True)(images()).shape == (4, 5)


@pytest.mark.parametrize("kind", ["export", "torchscript"])
def test_a_program_that_was_tampered_with(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = reference(kind, tmp_path, monkeypatch), tmp_path / "o.safetensors"
    convert_model(source, target, trust_code=True)
    whole = bytearray(target.read_bytes())
    whole[-1] ^= 1
    target.write_bytes(whole)
    with pytest.raises(ModelError, match="checksum does not match"):
        read_classifier(target, trust_code=True)
    whole[-1] ^= 1
    target.write_bytes(whole)
    tensors, header = read_tensors(target)
    write_tensors(target, tensors | {"program": torch.ones(9, dtype=torch.uint8)}, header)
    with pytest.raises(ModelError, match="cannot read the program"):
        read_classifier(target, trust_code=True)
    write_tensors(target, {"net.w": torch.zeros(2)}, header)
    with pytest.raises(ModelError, match="holds no program"):
        read_classifier(target, trust_code=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("forgetful", "gives other logits .* not in its state_dict"),
        ("broken", "its own code raises FileNotFoundError.*weights-that-are-not-there"),
        ("leaves", "its own code raises SystemExit"),
        ("infinite", "NaN or infinite; nothing was written"),
        ("number", "returned a int"),
        ("absent", "no function 'absent'"),
    ],
)
def test_code_that_cannot_be_kept(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = reference("py file", tmp_path, monkeypatch).replace(":net?", f":{name}?")
    with pytest.raises(ModelError, match=said):
        convert_model(source, tmp_path / "o.safetensors", trust_code=True)
    assert not (tmp_path / "o.safetensors").exists()
    told = capsys.readouterr()
    assert not told.out
    assert ("good bye" in told.err) == (name == "leaves")


def test_another_size_and_order_of_classes_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = reference("torchscript", tmp_path, monkeypatch).replace("shape=3x6x5", "shape=3x9x9&resize=6x5")
    convert_model(source, tmp_path / "o.safetensors", trust_code=True)
    x = torch.rand(2, 3, 9, 9)
    wanted = load_model(source, trust_code=True)(x)
    torch.testing.assert_close(read_classifier(tmp_path / "o.safetensors", trust_code=True)(x), wanted)


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = reference("py file", tmp_path, monkeypatch), tmp_path / "o.safetensors"
    result = CliRunner().invoke(app, ["convert", source, str(target), "--trust-code", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["card"]["options"].keys() == {"sha256"}
