"""An optional package that is not installed is one paragraph with the line that installs it, wherever it is wanted."""

from __future__ import annotations

import re
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from models.onnx_graphs import network
from processes import run
from study_support import tiny_spec, write_data, write_spec
from tangency import cli
from tangency.data.search import Neighbours
from tangency.models import build, load_model, save_classifier
from tangency.worlds import load_dataset

ROOT = Path(__file__).parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
IMAGES = "shape=3x6x5&range=0,1&mean=none"


def onnx_file(folder: Path) -> list[str]:
    return ["--model", f"onnx:{network(folder / 'net.onnx')}?{IMAGES}"]


def onnx_card(folder: Path) -> list[str]:
    save_classifier(load_model(onnx_file(folder)[1]), folder / "net.safetensors")
    return ["--model", str(folder / "net.safetensors")]


def timm_weights(folder: Path) -> Path:
    import timm

    path = folder / "resnet10t.pth"
    torch.save(timm.create_model("resnet10t", num_classes=3, in_chans=1).state_dict(), path)
    return path


def timm_file(folder: Path) -> list[str]:
    return ["--model", f"timm:resnet10t?weights={timm_weights(folder)}"]


def timm_states(folder: Path) -> list[str]:
    return ["--model", f"state_dict:{timm_weights(folder)}?arch=timm:resnet10t"]


def timm_card(folder: Path) -> list[str]:
    data = load_dataset(f"npz:{write_data(folder)}")
    reference = f"{timm_file(folder)[1]}&range=0,1&mean=none&resize=32x32"
    save_classifier(load_model(reference, data), folder / "net.safetensors")
    return ["--model", str(folder / "net.safetensors")]


def hf_folder(folder: Path) -> list[str]:
    from transformers import ViTConfig, ViTForImageClassification

    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=3, **size)
    ViTForImageClassification(config).save_pretrained(folder / "vit")
    return ["--model", f"hf:{folder / 'vit'}?range=0,1&mean=none"]


def hf_card(folder: Path) -> list[str]:
    data = load_dataset(f"npz:{write_data(folder)}")
    save_classifier(load_model(hf_folder(folder)[1], data), folder / "net.safetensors")
    return ["--model", str(folder / "net.safetensors")]


def own(folder: Path) -> list[str]:
    save_classifier(build("convnet", (1, 8, 8), 3), folder / "net.safetensors")
    return ["--model", str(folder / "net.safetensors")]


def robustbench(_: Path) -> list[str]:
    return ["--model", "robustbench:Engstrom2019Robustness", "--trust-code"]


# package that is blocked, its extra, what makes the files and options of a command that wants it, further options
WANTED: list[tuple[str, str, Callable[[Path], list[str]], list[str]]] = [
    *(
        (package, "onnx", made, [])
        for package in ("onnx", "onnxruntime")
        for made in (onnx_file, onnx_card)
        if (package, made) != ("onnxruntime", onnx_card)  # the graph was compared with it when it was read
    ),
    *(("timm", "timm", made, []) for made in (timm_file, timm_states, timm_card)),
    *(("transformers", "hf", made, []) for made in (hf_folder, hf_card)),
    ("robustbench", "robustbench", robustbench, []),
    ("pyautoattack", "autoattack", own, ["--attacks", "pgd_linf:0.1,autoattack"]),
    ("dreamsim", "dreamsim", own, ["--metrics", "dreamsim"]),
]


@pytest.fixture
def block(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Make a package as good as not installed."""

    def blocked(package: str) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return blocked


@pytest.mark.parametrize(
    ("package", "extra", "made", "options"), WANTED, ids=[f"{entry[0]} for {entry[2].__name__}" for entry in WANTED]
)
def test_it_is_one_paragraph_with_the_line_that_installs_it(
    package: str,
    extra: str,
    made: Callable[[Path], list[str]],
    options: list[str],
    block: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the owners of the formats
        command = ["measure", "--data", f"npz:{write_data(tmp_path)}", *made(tmp_path), *options]
    block(package)
    monkeypatch.setattr("sys.argv", ["tangency", *command, "--limit", "4", "--out", str(tmp_path / "out")])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main()
    told = capsys.readouterr()
    assert end.value.code == 2, told.err
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert len(told.err.strip().splitlines()) == 1
    assert package in told.err
    assert f"pip install 'tangency[{extra}]'" in told.err
    assert not (tmp_path / "out").exists()
    assert any(name.startswith(package) for name in EXTRAS[extra])


WRAPPED = """
import sys
sys.modules["timm"] = None
from tangency.errors import ModelError
from tangency.models.foreign.rebuilt import build_foreign
config = {"model_type": "timm_wrapper", "architecture": "resnet10t"}
try:
    build_foreign("hf:TimmWrapper", (3, 64, 64), 3, {"config": config})
except ModelError as error:
    print(isinstance(error.__cause__, ImportError), error)
"""


@pytest.mark.slow
@pytest.mark.processes
def test_a_package_that_another_package_wants() -> None:
    """In a process of its own: transformers remembers which packages it once found."""
    told = run([sys.executable, "-W", "ignore", "-c", WRAPPED]).stdout
    assert re.fullmatch(r"True .*timm.*pip install 'tangency\[models\]'.*\n", told), told


def test_without_faiss_the_search_is_exact_all_the_same(
    block: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only makes short lists faster, so that nothing asks for it."""
    data = load_dataset("world:linear?shape=1x4x4&rank=3&train=60&test=5")
    block("faiss")
    monkeypatch.setattr("tangency.data.search._INDEXED", 10)
    found = Neighbours(data.train).of(data.test.images(), 3)
    distance = torch.cdist(data.test.images().flatten(1).double(), data.train.images().flatten(1).double())
    assert torch.equal(found, distance.argsort(1)[:, :3])


# package that is blocked, its extra, which is the engine
ENGINES = [("ray", "ray"), ("submitit", "slurm")]


@pytest.mark.parametrize(("package", "extra"), ENGINES)
def test_an_engine_without_its_package(
    package: str,
    extra: str,
    block: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path)))
    block(package)
    command = ["tangency", "study", "run", str(spec), "--engine", extra, "--out", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert f"error: engine {extra}: " in said
    assert f"pip install 'tangency[{extra}]'" in said


def test_every_optional_package_is_blocked_here() -> None:
    """But those of the tests, of the site and of notebooks, and the extra that is the sum of others."""
    blocked = {entry[1] for entry in [*WANTED, *ENGINES]} | {"faiss"}
    assert blocked == set(EXTRAS) - {"test", "models", "docs", "notebooks"}
