"""What runs code is loaded only where the caller says so; then it gives what torch gives."""

import warnings

import pytest
import torch
from torch import nn

from tangency.errors import ModelError
from tangency.models import load_model

RAW = "range=0,1&mean=none&shape=3x6x5"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 4 * 3, 5)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).tanh().flatten(1))


def images(n=4):
    return torch.rand(n, 3, 6, 5, generator=torch.Generator().manual_seed(1))


def exported(path, single=False):
    dynamic = None if single else ({0: torch.export.Dim("n")},)
    torch.export.save(torch.export.export(Net().eval(), (images(1 if single else 2),), dynamic_shapes=dynamic), path)
    return f"export:{path}?{RAW}"


def scripted(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own format old
        torch.jit.save(torch.jit.trace(Net().eval(), images(2)), str(path))
    return f"torchscript:{path}?{RAW}"


PYTHON = """
from pathlib import Path
import torch
from torch import nn
Path(__file__).with_suffix(".ran").touch()
def net():
    torch.manual_seed(3)
    return nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(90, 5))
def classifier():
    from tangency.models import build
    return build("convnet", (3, 8, 8), ("a", "b"), channels=(2, 3, 4))
def number():
    return 3
def pair():
    return nn.Flatten()
"""


@pytest.mark.parametrize("single", [False, True])
def test_programs_of_torch_export(tmp_path, single):
    reference, x = exported(tmp_path / "a.pt2", single), images()
    with pytest.raises(ModelError, match=r"runs code.*--trust-code"):
        load_model(reference)
    found = load_model(reference, trust_code=True)
    assert torch.allclose(found(x), Net().eval()(x), rtol=1e-5, atol=1e-5)
    assert ("one by one" in " ".join(found.card.provenance["reading"])) == single
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(found(x)[:, 0].sum(), x)
    (wanted,) = torch.autograd.grad(Net().eval()(x)[:, 0].sum(), x)
    assert torch.allclose(gradient, wanted, atol=1e-6)
    found.train().eval()  # as the measures do; an exported program itself refuses


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript(tmp_path):
    reference, x = scripted(tmp_path / "a.pt"), images()
    with pytest.raises(ModelError, match=r"runs code.*--trust-code"):
        load_model(reference)
    assert torch.allclose(load_model(reference, trust_code=True)(x), Net().eval()(x), rtol=1e-5, atol=1e-5)
    with pytest.raises(ModelError, match="torchscript:FILE with --trust-code"):
        load_model(f"state_dict:{tmp_path / 'a.pt'}?arch=cifar:resnet18&{RAW}")


def test_an_exported_program_is_named_where_weights_are_expected(tmp_path):
    exported(tmp_path / "a.pt2")
    with pytest.raises(ModelError, match="export:FILE with --trust-code"):
        load_model(f"state_dict:{tmp_path / 'a.pt2'}?arch=cifar:resnet18&{RAW}")


def test_python_functions(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(PYTHON)
    monkeypatch.chdir(tmp_path)
    for where in ("my_nets", str(tmp_path / "my_nets.py")):
        (tmp_path / "my_nets.ran").unlink(missing_ok=True)
        with pytest.raises(ModelError, match="--trust-code"):
            load_model(f"py:{where}:net?{RAW}")
        assert not (tmp_path / "my_nets.ran").exists()
        found = load_model(f"py:{where}:net?{RAW}", trust_code=True)
        torch.manual_seed(3)
        net = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(90, 5)).eval()
        assert torch.allclose(found(images()), net(images()))
        assert not found.module.training
        own = load_model(f"py:{where}:classifier", trust_code=True)
        assert (own.card.architecture, own.card.classes) == ("convnet", ("a", "b"))
        assert own.card.mean == (0.5, 0.5, 0.5)


BAD = {
    "py:my_nets": "py:MODULE:FUNCTION",
    "py:my_nets:nothing": "no function 'nothing'",
    "py:no_such_module:net": "cannot import",
    "py:absent.py:net": "no Python file",
    f"py:my_nets:number?{RAW}": "returned a int",
    "py:my_nets:net": "nothing says what images",
    "py:my_nets:net?shape=3x6x6": "does not take images",
    f"export:absent.pt2?{RAW}": "no such file",
    f"export:my_nets.py?{RAW}": "cannot read it as export",
    f"torchscript:my_nets.py?{RAW}": "cannot read it as torchscript",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("reference", BAD)
def test_bad_references(tmp_path, monkeypatch, reference):
    (tmp_path / "my_nets.py").write_text(PYTHON)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=BAD[reference]):
        load_model(reference, trust_code=True)
