"""What files of torch.export, TorchScript, ONNX and Python functions return, beside what torch computes itself."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.errors import ModelError
from tangency.evaluate.convert import convert_model
from tangency.models import Classifier, load_model, read_classifier, save_classifier
from tangency.models.outputs import logits_of

SHAPE = (3, 6, 5)
RAW = "range=0,1&mean=none&shape=3x6x5"
ENDINGS: dict[str, nn.Module] = {"softmax": nn.Softmax(1), "last axis": nn.Softmax(-1), "sigmoid": nn.Sigmoid()}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def images(n: int = 5) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Logits so far apart, at a scale of 320, that of probabilities in their place some are zero."""

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            self.head = nn.Linear(4 * 4 * 3, 5)
        self.norm.running_mean.fill_(0.1)
        self.head.weight.data *= scale

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.norm(self.conv(x)).tanh().flatten(1))
        return found


class Ended(nn.Module):
    def __init__(self, ending: str, scale: float) -> None:
        super().__init__()
        self.net, self.ending = Net(scale), ending

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        if self.ending == "by hand":
            return logits.log_softmax(1).exp()
        if self.ending == "between":
            return (1 + (logits / 2).tanh()) / 2
        return logits


def ended(ending: str, scale: float = 20.0) -> nn.Module:
    last = ENDINGS.get(ending)
    return (Ended(ending, scale) if last is None else nn.Sequential(Net(scale), last)).eval()


def written(kind: str, ending: str, folder: Path, scale: float = 20.0) -> str:
    """A reference to a network with an ending, in a file of its owner's own writer."""
    net, path = ended(ending, scale), folder / f"{kind}.{ending.replace(' ', '-')}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "script":
            torch.jit.script(net).save(str(path))
        elif kind == "trace":
            torch.jit.trace(net, images(2)).save(str(path))
        elif kind == "frozen":
            torch.jit.freeze(torch.jit.script(net)).save(str(path))
        elif kind == "export":
            path = path.with_suffix(".pt2")
            program = torch.export.export(net, (images(2),), dynamic_shapes=({0: torch.export.Dim("n")},))
            torch.export.save(program, path)
        else:
            torch.onnx.export(net, (images(1),), path, dynamo=False, opset_version=17)
    loader = {"export": "export", "onnx": "onnx"}.get(kind, "torchscript")
    return f"{loader}:{path}?{RAW}"


def gradient(net: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(net(x).log_softmax(1)[:, 2].sum(), x)
    return found


def assert_near(got: Tensor, wanted: Tensor) -> None:
    """Equal to 1e-5 of the largest."""
    assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", ["script", "trace", "frozen", "export", "onnx"])
def test_an_ending_is_taken_off_exactly(tmp_path: Path, kind: str, ending: str) -> None:
    found = load_model(written(kind, ending, tmp_path, 320.0), trust_code=True)
    x, own = images(), Net(320.0).eval()
    assert "is taken off" in " ".join(found.card.provenance["reading"])
    assert_near(found(x), own(x))
    assert_near(gradient(found, x), gradient(own, x))
    assert not own(x).softmax(1).all()  # what its logarithm would have lost


@pytest.mark.parametrize("kind", ["script", "export"])
@pytest.mark.parametrize("ending", ["softmax", "sigmoid", "by hand", "between"])
def test_converted_networks_return_the_same(tmp_path: Path, kind: str, ending: str) -> None:
    source, target = written(kind, ending, tmp_path), tmp_path / "net.safetensors"
    source += "&outputs=sigmoid" if ending == "between" else ""
    convert_model(source, target, trust_code=True)
    direct, kept = load_model(source, trust_code=True), read_classifier(target, trust_code=True)
    torch.testing.assert_close(kept(images()), direct(images()), equal_nan=True)
    assert kept.card.options == direct.card.options
    wanted = Net().eval()(images())
    if ending in ENDINGS:
        torch.testing.assert_close(kept(images()), wanted, rtol=1e-4, atol=1e-4)


def test_rows_that_sum_to_one_and_numbers_that_may_be_anything(tmp_path: Path) -> None:
    x = 0.02 * images()  # a gap that float32 holds
    found = load_model(written("export", "by hand", tmp_path, 320.0), trust_code=True)
    assert "their logarithms are the logits" in " ".join(found.card.provenance["reading"])
    logits = Net(320.0).eval()(images())
    lost = (logits.softmax(1) < torch.finfo(torch.float32).tiny).any(1)
    assert lost.any()
    assert torch.equal(found(images()).isnan().any(1), lost)
    torch.testing.assert_close(found(images())[~lost], logits[~lost].log_softmax(1), rtol=1e-4, atol=1e-3)
    source = written("script", "between", tmp_path)
    with pytest.raises(ModelError, match=r"so can sigmoids.*\?outputs=logits or \?outputs=sigmoid"):
        load_model(source, trust_code=True)
    assert torch.equal(load_model(source + "&outputs=logits", trust_code=True)(x), ended("between")(x))
    for wrong in ("softmax", "nothing"):
        with pytest.raises(ModelError, match="outputs"):
            load_model(f"{source}&outputs={wrong}", trust_code=True)
    with pytest.raises(ModelError, match="ends in a sigmoid, but outputs=softmax"):
        load_model(written("export", "sigmoid", tmp_path) + "&outputs=softmax", trust_code=True)


def test_what_is_asked_for_goes_before_what_an_onnx_graph_says(tmp_path: Path) -> None:
    source = written("onnx", "sigmoid", tmp_path)
    kept = load_model(source + "&outputs=logits")
    torch.testing.assert_close(kept(images()), ended("sigmoid")(images()), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(load_model(source + "&outputs=sigmoid")(images()), Net().eval()(images()))
    with pytest.raises(ModelError, match="ends in Sigmoid, but outputs=softmax"):
        load_model(source + "&outputs=softmax")


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Net(), nn.Linear(90, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x).softmax(1), self.b(x.flatten(1)).softmax(1)


def test_the_softmax_of_the_head_that_is_asked_for(tmp_path: Path) -> None:
    net, path = Heads().eval(), tmp_path / "two.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (images(1),), path, dynamo=False, opset_version=17, output_names=["main", "aux"])
    for name, own in (("main", net.a(images())), ("aux", net.b(images().flatten(1)))):
        found = load_model(f"onnx:{path}?{RAW}&output={name}")(images())
        torch.testing.assert_close(found.log_softmax(1), own.log_softmax(1), rtol=1e-4, atol=1e-4)


FUNCTIONS = """
import torch
from torch import nn
from types import SimpleNamespace
class Dict(nn.Linear):
    def forward(self, x):
        return SimpleNamespace(logits=super().forward(x.flatten(1)))
class Casting(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1).to(self.weight.dtype)).float()
def seeded(module):
    torch.manual_seed(0)
    return module(90, 5)
def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(90, 5))
def softmax():
    return nn.Sequential(linear(), nn.Softmax(1))
def named():
    return seeded(Dict)
def half():
    return linear().half()
def double():
    return linear().double()
def casting():
    return seeded(Casting).half()
def wrapped():
    from tangency import Classifier
    return Classifier.wrap(softmax(), (3, 6, 5), 5, outputs="softmax")
def bare():
    from tangency import Classifier
    return Classifier.wrap(softmax(), (3, 6, 5), 5)
"""


@pytest.mark.parametrize("name", ["softmax", "named", "half", "double", "casting", "wrapped", "bare"])
def test_functions_and_what_is_kept_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(FUNCTIONS)
    source = f"py:nets.py:{name}" + ("" if name in ("wrapped", "bare") else f"?{RAW}")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(90, 5))
    wanted = (net.half().float() if name in ("half", "casting") else net)(images())
    tolerance = 1e-2 if name == "casting" else 1e-5
    convert_model(source, Path("net.safetensors"), trust_code=True)
    for found in (load_model(source, trust_code=True), read_classifier("net.safetensors", trust_code=True)):
        got = found(images())
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)
        assert torch.isfinite(gradient(found, images())).all()


def test_networks_by_name_return_logits_and_keep_a_change_of_size(tmp_path: Path) -> None:
    from tangency.models import build

    own = build("convnet", (1, 8, 8), ("a", "b"))
    save_classifier(own, tmp_path / "own.safetensors")
    torch.save(own.module.state_dict(), tmp_path / "own.pt")
    source = f"state_dict:{tmp_path / 'own.pt'}?arch=convnet&range=0,1&mean=none&shape=1x4x4&resize=8"
    convert_model(source, tmp_path / "net.safetensors")
    x = torch.rand(3, 1, 4, 4)
    wanted = own.module(F.interpolate(x, (8, 8), mode="bilinear", align_corners=False))
    for found in (load_model(source), read_classifier(tmp_path / "net.safetensors")):
        torch.testing.assert_close(found(x), wanted)


class Reshaping(Net):
    """Takes batches of one size only, where it has one."""

    def __init__(self, batch: int | None) -> None:
        super().__init__()
        self.batch = batch

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.norm(self.conv(x)).tanh().reshape(self.batch or x.shape[0], 48))
        return found


@pytest.mark.parametrize(
    ("kind", "batch"), [("trace", 1), ("trace", 4), ("export", 1), ("export", 4), ("export", (2, 6))]
)
def test_fixed_batches_are_filled(tmp_path: Path, kind: str, batch: int | tuple[int, int]) -> None:
    fixed, path = batch if isinstance(batch, int) else None, tmp_path / "net.pt2"
    net = nn.Sequential(Reshaping(fixed), nn.Softmax(1)).eval()
    size = batch if isinstance(batch, int) else batch[0]
    if kind == "trace":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.trace(net, images(size)).save(str(path))
    else:
        dynamic = None if isinstance(batch, int) else ({0: torch.export.Dim("n", min=batch[0], max=batch[1])},)
        torch.export.save(torch.export.export(net, (images(size),), dynamic_shapes=dynamic), path)
    source = f"{'torchscript' if kind == 'trace' else 'export'}:{path}?{RAW}"
    convert_model(source, tmp_path / "net.safetensors", trust_code=True)
    own = Net().eval()
    for found in (
        load_model(source, trust_code=True),
        read_classifier(tmp_path / "net.safetensors", trust_code=True),
    ):
        said = " ".join(found.card.provenance["reading"])
        assert {1: "one by one", 4: "fixed at 4"}.get(fixed or 0, "at least 2 and at most 6") in said
        for n in (1, 3, 4, 9):
            assert_near(found(images(n)), own(images(n)))
            assert_near(gradient(found, images(n)), gradient(own, images(n)))


def test_outputs_are_named_where_a_classifier_is_wrapped() -> None:
    net = nn.Sequential(Net(), nn.Softmax(1)).eval()
    torch.testing.assert_close(Classifier.wrap(net, SHAPE, 5, outputs="softmax")(images()), Net().eval()(images()))
    assert torch.equal(Classifier.wrap(net, SHAPE, 5, outputs="logits")(images()), net(images()))
    assert torch.equal(Classifier.wrap(net, SHAPE, 5)(images()), net(images()))


def _scaled(z: Tensor) -> Tensor:
    p = z.softmax(1)
    p.mul_(0.8)
    p += 0.04
    return p


def _part_written(z: Tensor) -> Tensor:
    p = z.softmax(1)
    p[:, 0] = 0.5
    return p


def _logits_overwritten(z: Tensor) -> Tensor:
    p = z.softmax(1)
    z.view(-1).mul_(0)
    return p


def _dropped(z: Tensor) -> Tensor:
    return F.hardtanh(z.softmax(1), 0.1, 0.3, inplace=True)


WRITTEN = {
    "scaled": (_scaled, "softmax"),
    "a part": (_part_written, "softmax"),
    "its logits": (_logits_overwritten, "softmax"),
    "inplace": (_dropped, "softmax"),
    "clamped": (lambda z: z.sigmoid().clamp_(0.3, 0.7), "sigmoid"),
}


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_probabilities_that_are_written_into_are_not_those_of_the_softmax(kind: str) -> None:
    """What is changed in place after the softmax has other logits than those that it was applied to."""
    function, outputs = WRITTEN[kind]
    weight, x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 1, 12).reshape(4, 3)
    p = function(x @ weight)
    wanted = p.log() if outputs == "softmax" else p.log() - (-p).log1p()
    torch.testing.assert_close(logits_of(lambda x: function(x @ weight), x, outputs), wanted)
    alone = torch.func.vmap(lambda image: logits_of(lambda x: function(x @ weight), image[None], outputs)[0])(x)
    torch.testing.assert_close(alone, wanted)


class CastsItself(nn.Module):
    """Weights in half precision behind a cast of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(30, 4)).half()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.half()).float()


@pytest.mark.parametrize("kind", ["export", "torchscript"])
def test_programs_of_a_fixed_batch_that_cast_their_own_input(tmp_path: Path, kind: str) -> None:
    net, x, path = CastsItself().eval(), torch.rand(4, 1, 6, 5), tmp_path / "net.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own formats
        if kind == "export":
            torch.export.save(torch.export.export(net, (x,)), path)
        else:
            torch.jit.save(torch.jit.trace(net, x), path)
        loaded = load_model(f"{kind}:{path}?shape=1x6x5&range=0,1&mean=none", trust_code=True)
    with torch.no_grad():
        torch.testing.assert_close(loaded(torch.cat([x, x[:3]])), net(torch.cat([x, x[:3]])))
