"""Short names of classifiers: a file's stem or an architecture, safe in any file system."""

from __future__ import annotations

import pytest

from tangency.evaluate import MeasureRequest
from tangency.evaluate.classifiers.names import short_names


@pytest.mark.parametrize(
    ("references", "names"),
    [
        (["onnx:x/09-ide_kw.onnx?range=0,1&mean=none"], ["09-ide_kw"]),
        (["net.safetensors", "torchvision:resnet18", "timm:resnet18.a1_in1k"], ["net", "resnet18", "resnet18.a1_in1k"]),
        (["robustness:a/resnet18_l2_eps3.ckpt?arch=resnet18", "hf:dir/vit-base/"], ["resnet18_l2_eps3", "vit-base"]),
        (["model_best.pth.tar", "py:a/net.py:build?range=0,1", "export:N.PT2"], ["model_best", "net-build", "N"]),
        (["run:runs/a/trials/standard-0-s0", "run:runs/a/trials/jacobian-1-s0"], ["standard-0-s0", "jacobian-1-s0"]),
        (
            ["run:runs/a/trials/standard-0-s0", "run:runs/b/trials/standard-0-s0"],
            ["a-standard-0-s0", "b-standard-0-s0"],
        ),
        (["n.pt?arch=vgg11&range=0,1", "n.pt?arch=vgg16&range=0,1"], ["n-arch-vgg11", "n-arch-vgg16"]),
        (["n.pt?arch=vgg11", "n.pt"], ["n-arch-vgg11", "n"]),
        (["a/Net.pt?arch=x", "b/net.pt?arch=y", "c/other.pt?arch=z"], ["Net-arch-x", "net-arch-y", "other"]),
        (["a/net.pt?arch=x", "a/net.pt?arch=y", "b/net.pt?arch=x"], ["a-net-arch-x", "a-net-arch-y", "b-net-arch-x"]),
        (["onnx:a/net.onnx", "a/net.pt"], ["a-net-1", "a-net-2"]),
        (["onnx:C:\\nets\\a b.onnx", "D:\\x\\été?.onnx", "hf:."], ["a-b", "été", "hf"]),
    ],
)
def test_names_are_short_and_differ(references: list[str], names: list[str]) -> None:
    assert short_names(references) == names


def test_folders_of_several_are_numbered_and_safe_on_windows() -> None:
    references = ["onnx:CON.onnx", "onnx:x/" + "é" * 300 + ".onnx", 'onnx:a|b<c>:"*.onnx', "onnx:dot..onnx", "onnx:…"]
    request = MeasureRequest(tuple(references), out="runs/several")
    folders = [request.folder(number) for number in range(len(references))]
    names = [folder.name for folder in folders if folder is not None]
    assert [name[:3] for name in names] == ["01-", "02-", "03-", "04-", "05-"]
    for name in names:
        assert not set(name) & set('<>:"/\\|?*')
        assert not name.endswith((".", " "))
        assert len(name.encode()) < 200
    assert names[0] == "01-CON"  # no device's name, since a number stands before it
